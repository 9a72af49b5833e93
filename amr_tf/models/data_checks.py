"""Checks of what a user hands to `fit`, before any training."""

import keras
import numpy as np
import tensorflow as tf

from amr_tf import checks


def check_fit_data(model, x, y, batch_size, k, prefix=""):
    """Raises a ValueError unless a model can train on the data.

    Arrays are checked whole, of a data set its first batch.

    Args:
        model: a `ResynthesisModel`.
        x: as of `model.fit`.
        y: labels, or None.
        batch_size: images per step for arrays, or None for all of them.
        k: how many examples a mix combines; a batch must hold as many.
        prefix: "validation " or nothing, for the messages.
    """
    if isinstance(x, (tf.data.Dataset, keras.utils.PyDataset)):
        x, y = _first_batch(x, prefix)
        batch_size = None
    if x is None or not hasattr(x, "shape"):
        return  # Something of Keras' own, such as a Python generator: no look without taking.
    images = np.asarray(x)
    checks.check_images(images, model.image_shape, f"{prefix}images")
    checks.check_batch_size(min(batch_size or len(images), len(images)), k)
    if y is None:
        if model.needs_labels:
            raise ValueError(
                f"'{model.name}' learns from labels, but the {prefix}data have none: pass "
                "(images, labels), with -1 for an image whose label is not known."
            )
    elif model.num_classes is not None:
        check = checks.check_attributes if model.multi_label else checks.check_labels
        check(y, len(images), model.num_classes, f"{prefix}labels")


def _first_batch(data, prefix):
    if isinstance(data, tf.data.Dataset):
        first = next(iter(data.take(1)), None)
    else:
        first = data[0] if len(data) else None
    if first is None:
        raise ValueError(f"The {prefix}data set is empty: it must hold at least one batch.")
    return keras.utils.unpack_x_y_sample_weight(first)[:2]
