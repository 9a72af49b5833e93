"""The figures of a trained model on the splits of its data."""

import numpy as np

from amr_tf.data import evaluation_batches
from amr_tf.evaluation.probes import PROBES
from amr_tf.registry import unknown_name

_PROBED = 60_000
SPLITS = ("train", "validation", "test")


def evaluate(model, data, batch_size=256, probes=("linear",), splits=("validation", "test")):
    """Losses, the probe trained in unison, and probes on frozen codes.

    Args:
        model: a compiled `ResynthesisModel`.
        data: an `ImageData` of the model's image shape.
        batch_size: images at a time.
        probes: names of probes on frozen codes: "linear", "knn", "mlp".
        splits: names of the splits whose metrics to return: "train", "validation", "test". The
            probes are always fitted on training codes and chosen on validation codes.

    Returns:
        A dictionary from the names of splits, where there are such, to the model's metrics on
        them; and, for training data of two classes or more, "linear_probe", "knn_probe" and
        "mlp_probe" as of `evaluation.probes`.

    Raises:
        ValueError: images of another shape than the model's, or an unknown probe or split.
    """
    for kind, names, known in (("probe", probes, PROBES), ("split", splits, SPLITS)):
        for name in names:
            if name not in known:
                raise unknown_name(kind, name, known)
    if model.image_shape != data.image_shape:
        raise ValueError(
            f"The model takes images of {model.image_shape}; data set '{data.name}' has "
            f"{data.image_shape}."
        )
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
        if labelled:
            codes[name] = _codes(model, split, batch_size, data.image_size)
    if codes:
        results.update({f"{name}_probe": PROBES[name](**codes) for name in probes})
    return results


def results_table(results):
    """The dictionary of `evaluate` as lines of text: a row a figure, a column a split."""
    rows = {}
    for group, figures in results.items():
        if not isinstance(figures, dict):
            rows[group] = {"": figures}
            continue
        for name, value in figures.items():
            split, _, figure = name.partition("_")
            if group in SPLITS:
                rows.setdefault(name, {})[group] = value
            elif split in SPLITS:  # A probe's "test_accuracy".
                rows.setdefault(f"{group} {figure}", {})[split] = value
            else:
                rows.setdefault(f"{group} {name}", {})[""] = value
    columns = [column for column in ("", *SPLITS) if any(column in row for row in rows.values())]
    width = max(map(len, rows))
    lines = [f"{'':{width}}" + "".join(f"{column:>14}" for column in columns)]
    for name, row in rows.items():
        lines.append(f"{name:{width}}" + "".join(_cell(row.get(column)) for column in columns))
    return "\n".join(line.rstrip() for line in lines)


def _cell(value):
    text = "" if value is None else value if isinstance(value, str) else f"{value:.4g}"
    return f"{text:>14}"


def _has_classes(labels):
    """Whether there is something to tell apart; a classifier of a single class has nothing."""
    if labels is None:
        return False
    columns = labels if labels.ndim == 2 else labels[:, None]
    return any(len(np.unique(column[column >= 0])) > 1 for column in columns.T)


def _codes(model, split, batch_size, image_size):
    """Codes and labels of a split, or of 60,000 of its images: a linear probe needs no more."""
    known = np.flatnonzero(np.reshape(split.labels, (len(split), -1)).max(axis=1) >= 0)
    if len(known) > _PROBED:
        known = np.sort(np.random.default_rng(0).choice(known, _PROBED, replace=False))
    split = split.take(known)
    batches = evaluation_batches(split, batch_size, image_size)
    encoded = [model.encoder.predict_on_batch(images) for images, _ in batches]
    return model.codes_of(np.concatenate(encoded)), split.labels
