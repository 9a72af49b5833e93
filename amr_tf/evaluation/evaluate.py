"""The figures of a trained model on the splits of its data."""

import numpy as np

from amr_tf.data import evaluation_batches
from amr_tf.evaluation.probes import linear_probe

_PROBED = 60_000


def evaluate(model, data, batch_size=256):
    """Losses, the probe trained in unison, and a linear probe on frozen codes.

    Args:
        model: a compiled `ResynthesisModel`.
        data: an `ImageData` of the model's image shape.
        batch_size: images at a time.

    Returns:
        A dictionary from split names ("validation", and "test" where there is one) to the model's
        metrics on it, and, for training data of two classes or more, "linear_probe" as of
        `probes.linear_probe`.
    """
    if model.image_shape != data.image_shape:
        raise ValueError(
            f"The model takes images of {model.image_shape}; data set '{data.name}' has "
            f"{data.image_shape}."
        )
    splits = {"train": data.train, "validation": data.validation, "test": data.test}
    splits = {name: split for name, split in splits.items() if split is not None}
    results, codes = {}, {}
    labelled = _has_classes(data.train.labels)
    for name, split in splits.items():
        if name != "train":
            batches = evaluation_batches(split, batch_size, data.image_size)
            metrics = model.evaluate(batches, verbose=0, return_dict=True)
            results[name] = {key: float(value) for key, value in metrics.items()}
        if labelled:
            codes[name] = _codes(model, split, batch_size, data.image_size)
    if codes:
        results["linear_probe"] = linear_probe(**codes)
    return results


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
