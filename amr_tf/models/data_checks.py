"""Checks of what a user hands to `fit` and `evaluate`."""

import contextlib
import re
import types
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from amr_tf import checks

# Around a sentence that a graph or a generator raises, to find it in TensorFlow's error.
_BEGIN, _END = "<amr_tf: ", " :amr_tf>"


def check_options(
    class_weight: Any = None, sample_weight: Any = None, x: Any = None, steps: int | None = None
) -> None:
    """Raises a ValueError for weights, which no loss would use, and for data without an end."""
    for name, value in (("class_weight", class_weight), ("sample_weight", sample_weight)):
        if value is not None:
            raise ValueError(
                f"{name} is not supported: mixes have several classes and samples. Draw rare "
                "images more often instead."
            )
    endless = isinstance(x, tf.data.Dataset) and x.cardinality() == tf.data.INFINITE_CARDINALITY
    if endless and steps is None:
        raise ValueError("The data set never ends: say how many steps make an epoch.")


def checked_data(
    model: Any, x: Any, y: Any, batch_size: int | None, k: int, prefix: str = ""
) -> tuple[Any, Any]:
    """What `fit` or `evaluate` is given, checked, or with a check of each batch as it comes.

    Args:
        model: a `ResynthesisModel`.
        x: images, or a data set, `PyDataset` or generator of batches.
        y: labels, or None.
        batch_size: images per step for arrays, or None for all of them.
        k: how many examples a mix combines; a batch must hold as many.
        prefix: "validation " or nothing, for the messages.

    Returns:
        `x` and `y` for Keras.

    Raises:
        ValueError: the model cannot be trained on the data.
    """
    if isinstance(x, tf.data.Dataset):
        return _checked_dataset(model, x, k, prefix), y
    if isinstance(x, types.GeneratorType):
        return _checked_batches(model, x, k, prefix), y
    if isinstance(x, keras.utils.PyDataset):
        if not len(x):
            raise ValueError(f"The {prefix}data set is empty: it must hold at least one batch.")
        _check_batch(model, x[0], k, prefix)
        return x, y
    if x is None or isinstance(x, (list, tuple, dict)):
        raise ValueError(
            f"{prefix}images must be one array (N, {', '.join(map(str, model.image_shape))}) or a "
            f"data set of batches; got {type(x).__name__}."
        )
    if not hasattr(x, "shape"):
        return x, y  # Something of Keras' own, such as a strategy's data set.
    images = np.asarray(x)
    checks.check_images(images, model.image_shape, f"{prefix}images")
    checks.check_batch_size(min(batch_size or len(images), len(images)), k)
    _check_labels(model, y, len(images), prefix)
    return x, y


def _check_labels(model, labels, count, prefix):
    if labels is None:
        if model.needs_labels:
            raise ValueError(
                f"'{model.name}' learns from labels, but the {prefix}data have none: pass "
                "(images, labels), with -1 for an image whose label is not known."
            )
    elif model.num_classes is not None:
        check = checks.check_attributes if model.multi_label else checks.check_labels
        check(labels, count, model.num_classes, f"{prefix}labels")


def _check_batch(model, batch, k, prefix):
    """Checks one batch of arrays; `k` is None where it may hold fewer."""
    images, labels, weights = keras.utils.unpack_x_y_sample_weight(batch)
    check_options(None, weights)
    if not hasattr(images, "shape"):
        raise ValueError(
            f"A batch of {prefix}data must be images or (images, labels); its images are of type "
            f"{type(images).__name__}."
        )
    images = np.asarray(images)
    checks.check_images(images, model.image_shape, f"{prefix}images")
    if k is not None:
        checks.check_batch_size(len(images), k)
    _check_labels(model, labels, len(images), prefix)


def _checked_batches(model, batches, k, prefix) -> Iterator:
    for number, batch in enumerate(batches):
        try:
            _check_batch(model, batch, None if number else k, prefix)
        except ValueError as error:
            # Keras takes the first batch itself, the others from TensorFlow.
            text = f"{_BEGIN}{error}{_END}" if number else str(error)
            raise ValueError(text) from None
        yield batch


def _checked_dataset(model, dataset, k, prefix):
    """The data set with a check of every batch in its graph: it is opened once, by Keras."""
    if dataset.cardinality() == 0:
        raise ValueError(f"The {prefix}data set is empty: it must hold at least one batch.")
    spec = dataset.element_spec
    images, labels, weights = keras.utils.unpack_x_y_sample_weight(spec)
    check_options(None, weights)
    if not isinstance(images, tf.TensorSpec):
        raise ValueError(
            f"A batch of {prefix}data must be images or (images, labels); its images are "
            f"{type(images).__name__}."
        )
    if not images.dtype.is_floating:
        raise ValueError(checks.not_floating(f"{prefix}images", images.dtype.name))
    if images.shape.rank is not None:
        checks.check_shape(f"{prefix}images", images.shape, model.image_shape)
    if labels is None:
        _check_labels(model, None, None, prefix)

    def check(number, *batch):
        batch = batch[0] if len(batch) == 1 else batch
        images, labels, _ = keras.utils.unpack_x_y_sample_weight(batch)
        asserted = [*_image_assertions(images, prefix), *_size_assertion(number, images, k)]
        if labels is not None and model.num_classes is not None:
            asserted += _label_assertions(model, labels, prefix)
        with tf.control_dependencies(asserted):
            return tf.nest.map_structure(tf.identity, batch)

    return dataset.enumerate().map(
        lambda number, batch: check(number, *(batch if isinstance(batch, tuple) else (batch,)))
    )


def _image_assertions(images, prefix):
    values = tf.cast(images, "float32")
    low, high = tf.reduce_min(values), tf.reduce_max(values)
    finite = tf.reduce_all(tf.math.is_finite(values))
    limit = 1 + checks.RANGE_TOLERANCE
    return [
        _assert(finite, f"{prefix}images must be finite; a batch holds NaN or infinite values."),
        _assert(
            tf.logical_or(tf.logical_not(finite), tf.maximum(-low, high) <= limit),
            f"{prefix}images must lie in [-1, 1]; the values of a batch span {{}} to {{}}.",
            low,
            high,
        ),
    ]


def _size_assertion(number, images, k):
    size = tf.shape(images)[0]
    text = f"A batch of {{}} is too small to mix k = {k} examples: k can be at most the batch size."
    return [_assert(tf.logical_or(number > 0, size >= k), text, size)]


def _label_assertions(model, labels, prefix):
    if labels.dtype.is_floating or (labels.shape.rank == 2 and labels.shape[1] != 1):
        low, high = 0 if not model.multi_label else -1, 1
    else:
        low, high = -1, model.num_classes - 1
    least, most = tf.reduce_min(labels), tf.reduce_max(labels)
    fits = tf.logical_and(least >= low, most <= high)
    text = f"{prefix}labels must lie in {low} to {high}; a batch holds {{}} to {{}}."
    return [_assert(tf.logical_or(tf.equal(tf.size(labels), 0), fits), text, least, most)]


def _assert(holds, text, *values):
    message = tf.strings.format(_BEGIN + text + _END, values) if values else _BEGIN + text + _END
    return tf.debugging.Assert(holds, [message])


@contextlib.contextmanager
def naming_bad_batches() -> Iterator[None]:
    """Turns TensorFlow's error about a batch that failed a check into that check's ValueError."""
    try:
        yield
    except tf.errors.OpError as error:
        found = re.search(f"{_BEGIN}(.*?){_END}", str(error), re.DOTALL)
        if found is None:
            raise
        raise ValueError(found[1]) from None
