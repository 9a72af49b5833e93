"""Evaluation of a trained model on the splits of its data."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from amr_tf import checks
from amr_tf.data import ImageData, evaluation_batches
from amr_tf.metrics.disentanglement import disentanglement
from amr_tf.metrics.extractors import classifier_extractor, inception_extractor
from amr_tf.metrics.image_quality import check_held_out, model_image_quality
from amr_tf.metrics.interpolation_quality import ends_of_the_scale, model_interpolation_quality
from amr_tf.metrics.label_mixing import label_consistency, train_classifier
from amr_tf.metrics.probes import PROBES
from amr_tf.models.base import ResynthesisModel
from amr_tf.models.inference import can_sample, label_mixer_of
from amr_tf.registry import unknown_name
from amr_tf.runs.sampling import some_images

_PROBED = 60_000
SPLITS = ("train", "validation", "test")
# The measures that `measure` supports, besides probes.
MEASURES = ("disentanglement", "image_quality", "interpolation", "label_mixing")


def evaluate(
    model: ResynthesisModel,
    data: ImageData,
    batch_size: int = 256,
    probes: Sequence[str] = ("linear",),
    splits: Sequence[str] = ("validation", "test"),
) -> dict[str, Any]:
    """Evaluates a model's metrics, and probes of frozen codes.

    Args:
        model: a compiled `ResynthesisModel`.
        data: an `ImageData` with the model's image shape.
        batch_size: number of images at a time.
        probes: names of probes of frozen codes: "linear", "knn", "mlp".
        splits: names of the splits whose metrics to return: "train", "validation", "test". Probes
            are always fitted on training codes and selected on validation codes.

    Returns:
        A dictionary from the names of existing splits to the model's metrics, which include the
        probe trained with the model. If the training data have two or more classes, it also holds
        the results of the chosen probes ("linear_probe", "knn_probe", "mlp_probe"), described in
        `metrics.probes`.

    Raises:
        ValueError: the images' shape is not the model's, or a probe or split is unknown.
    """
    check_probes(probes)
    _check_names("split", splits, SPLITS)
    checks.check_same_images(model, data)
    results, codes = {}, {}
    labelled = bool(probes) and _has_classes(data.train.labels)
    for name in SPLITS:
        split = getattr(data, name)
        if split is None:
            continue
        if name in splits:
            batches = evaluation_batches(split, batch_size, data.image_size)
            metrics = model.evaluate(batches, verbose=0, return_dict=True)
            results[name] = {key: float(value) for key, value in metrics.items()}
        if labelled and split.labels is not None:
            codes[name] = _codes(model, split, batch_size, data.image_size)
    if codes:
        results.update({f"{name}_probe": PROBES[name](**codes) for name in probes})
    return results


def measure(
    model: ResynthesisModel,
    data: ImageData,
    probes: Sequence[str] = ("linear",),
    splits: Sequence[str] = SPLITS,
    measures: Sequence[str] = (),
    inception_weights: str | None = None,
) -> dict[str, Any]:
    """Computes everything that `python -m amr_tf.evaluate` reports.

    "image_quality" fits the model's density of codes if it needs one (`fit_density`).

    Args:
        model: a compiled `ResynthesisModel`.
        data: an `ImageData` with the model's image shape.
        probes: see `evaluate`.
        splits: see `evaluate`.
        measures: names from `MEASURES`: "disentanglement" (for data with factors), "interpolation"
            (for the data set lines, with both reference scores), "image_quality", and
            "label_mixing" (for `SupervisedAMR`). They use test images, or validation images if
            there is no test split.
        inception_weights: see `extractors.inception_extractor`; None to use the features of a
            classifier trained on the data.

    Returns:
        The dictionary of `evaluate`, with a further dictionary for each measure.

    Raises:
        ValueError: a name is unknown, or the data or model do not support a measure.
    """
    _check_names("measure", measures, MEASURES)
    _check_measures(model, data, measures, inception_weights)
    results = evaluate(model, data, probes=probes, splits=splits)
    if "disentanglement" in measures:
        held_out = "validation" if data.test is None else "test"
        results["disentanglement"] = disentanglement(model, data, held_out)
    if "interpolation" in measures:
        results["interpolation"] = model_interpolation_quality(model)
        for end, figures in ends_of_the_scale(size=data.image_shape[0]).items():
            results[f"interpolation, {end}"] = figures
    if {"image_quality", "label_mixing"} & set(measures):
        classifier = None if inception_weights else train_classifier(data)
    if "image_quality" in measures:
        extractor = (
            inception_extractor(inception_weights)
            if inception_weights
            else classifier_extractor(classifier)
        )
        if not can_sample(model):
            model.fit_density(some_images(data))
        results["image_quality"] = model_image_quality(model, data, extractor)
    if "label_mixing" in measures:
        classifier = classifier or train_classifier(data)
        results["label_mixing"] = label_consistency(
            model, classifier, data.held_out, data.image_size
        )
    return results


def _check_names(kind: str, names: Sequence[str], known: Collection[str]) -> None:
    for name in names:
        if name not in known:
            raise unknown_name(kind, name, known)


def check_probes(probes: Sequence[str]) -> None:
    """Raises a ValueError for a name that is not one of `PROBES`."""
    _check_names("probe", probes, PROBES)


def _check_measures(
    model: ResynthesisModel, data: ImageData, measures: Sequence[str], inception_weights: str | None
) -> None:
    """Raises a ValueError for unsupported measures before any long computation."""
    if "disentanglement" in measures and data.train.factors is None:
        raise ValueError(
            f"disentanglement needs ground-truth factors, but data set '{data.name}' has none; "
            "dsprites has."
        )
    if "interpolation" in measures and data.name != "lines":
        raise ValueError(
            f"interpolation is measured on the data set lines only; the run is of '{data.name}'."
        )
    if "image_quality" in measures:
        check_held_out(data)
        if not inception_weights and not _has_classes(data.train.labels):
            raise ValueError(
                "image_quality looks at images with a classifier that is trained on them, but the "
                f"training images of data set '{data.name}' have no labels of two classes: give "
                "inception_weights."
            )
    if "label_mixing" in measures and label_mixer_of(model) is None:
        raise ValueError(
            f"label_mixing needs a model that mixes by labels, such as supervised_amr; got "
            f"{type(model).__name__}."
        )


def results_table(results: Mapping[str, Any]) -> str:
    """Formats the dictionary of `evaluate` as a table of metrics (rows) and splits (columns)."""
    rows = {}
    for group, figures in results.items():
        if not isinstance(figures, dict):
            rows[group] = {"": figures}
            continue
        for name, value in _flat(figures):
            split, _, figure = name.partition("_")
            if group in SPLITS:
                rows.setdefault(name, {})[group] = value
            elif split in SPLITS:  # For example, "test_accuracy" of a probe.
                rows.setdefault(f"{group} {figure}", {})[split] = value
            else:
                rows.setdefault(f"{group} {name}", {})[""] = value
    columns = [column for column in ("", *SPLITS) if any(column in row for row in rows.values())]
    width = max(map(len, rows))
    lines = [f"{'':{width}}" + "".join(f"{column:>14}" for column in columns)]
    for name, row in rows.items():
        lines.append(f"{name:{width}}" + "".join(_cell(row.get(column)) for column in columns))
    return "\n".join(line.rstrip() for line in lines)


def _flat(figures: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Yields names and values of a dictionary with nested dictionaries and lists."""
    for name, value in figures.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{name} ")
        else:
            yield before + name, ", ".join(value) if isinstance(value, list) else value


def _cell(value: Any) -> str:
    text = "" if value is None else value if isinstance(value, str) else f"{value:.4g}"
    return f"{text:>14}" if len(text) < 14 else f"  {text}"


def _has_classes(labels: np.ndarray | None) -> bool:
    """Returns whether there are at least two classes, or an attribute with both values."""
    if labels is None:
        return False
    columns = labels if labels.ndim == 2 else labels[:, None]
    return any(len(np.unique(column[column >= 0])) > 1 for column in columns.T)


def _codes(
    model: ResynthesisModel, split: Any, batch_size: int, image_size: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Returns codes and labels of up to 60,000 labelled images, enough for a linear probe."""
    known = np.flatnonzero(np.reshape(split.labels, (len(split), -1)).max(axis=1) >= 0)
    if len(known) > _PROBED:
        known = np.sort(np.random.default_rng(0).choice(known, _PROBED, replace=False))
    split = split.take(known)
    batches = evaluation_batches(split, batch_size, image_size)
    return np.concatenate([model.encode(images) for images, _ in batches]), split.labels
