"""Checks of the data passed to `fit` and `evaluate`."""

import contextlib
import functools
import re
import types
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from amr_tf import checks

# Mark the message of a check in a graph or generator, to find it again in TensorFlow's error.
_BEGIN, _END = "<amr_tf: ", " :amr_tf>"


def check_weights(sample_weight: Any, class_weight: Any = None) -> None:
    """Raises a ValueError for sample or class weights, which the losses do not support."""
    for name, value in (("class_weight", class_weight), ("sample_weight", sample_weight)):
        if value is not None:
            raise ValueError(
                f"{name} is not supported: mixes have several classes and samples. Draw rare "
                "images more often instead."
            )


def checked_data(
    model: Any,
    x: Any,
    y: Any,
    batch_size: int | None,
    k: int,
    prefix: str = "",
    steps: tuple[str, int | None] = ("steps", None),
) -> tuple[Any, Any]:
    """Checks arrays immediately, and adds a check of each batch to data sets and generators.

    Args:
        model: a `ResynthesisModel`.
        x: images, or a data set, `PyDataset` or generator of batches.
        y: labels, or None.
        batch_size: images per step for arrays, or None for all of them.
        k: smallest number of examples in a batch.
        prefix: "validation " or an empty string, for the messages.
        steps: name and value of the argument that limits an infinite data set.

    Returns:
        `x` and `y` to pass to Keras.

    Raises:
        ValueError: the model cannot be trained on the data.
    """
    # The checks get only these attributes of the model, since worker processes get a copy of them.
    names = ("name", "image_shape", "num_classes", "multi_label", "needs_labels")
    expected = types.SimpleNamespace(**{name: getattr(model, name) for name in names})
    if isinstance(x, tf.data.Dataset):
        if x.cardinality() == tf.data.INFINITE_CARDINALITY and steps[1] is None:
            raise ValueError(
                f"The {prefix}data set never ends: pass {steps[0]}, its batches in an epoch."
            )
        return _checked_dataset(expected, x, k, prefix), y
    if isinstance(x, (types.GeneratorType, keras.utils.PyDataset)):
        check = functools.partial(_check_batch, expected, k, prefix)
        if isinstance(x, types.GeneratorType):
            return _checked_generator(x, check), y
        if x.num_batches == 0:
            raise ValueError(f"The {prefix}data set is empty: it must hold at least one batch.")
        return _CheckedPyDataset(x, check), y
    if x is None or isinstance(x, (list, tuple, dict)):
        raise ValueError(
            f"{prefix}images must be one array (N, {', '.join(map(str, model.image_shape))}) or a "
            f"data set of batches; got {type(x).__name__}."
        )
    if not hasattr(x, "shape"):
        return x, y  # Keras accepts further types, such as a strategy's data set.
    images = np.asarray(x)
    checks.check_images(images, model.image_shape, f"{prefix}images")
    checks.check_batch_size(min(batch_size or len(images), len(images)), k)
    # Keras would take a list as the labels of several outputs.
    y = np.asarray(y) if isinstance(y, (list, tuple)) else y
    _check_labels(expected, y, len(images), prefix)
    return x, y


def check_validation_split(share: Any, x: Any, batch_size: int | None, k: int) -> None:
    """Raises a ValueError unless a share of arrays can be held out for validation.

    Args:
        share: the `validation_split` passed to `fit`.
        x: images, or data of another type, which cannot be split.
        batch_size: images per step, or None for all that are left.
        k: smallest number of examples in a batch of the images that are left.
    """
    if not share:
        return
    if not isinstance(share, (int, float)) or not 0 <= share < 1:
        raise ValueError(f"validation_split must be at least 0 and below 1; got {share!r}.")
    if not hasattr(x, "shape"):
        raise ValueError(
            f"validation_split = {share} is for arrays: pass validation_data with a data set."
        )
    left = int(len(x) * (1 - share))  # Rounded as in Keras.
    if not 0 < left < len(x):
        raise ValueError(
            f"validation_split = {share} of {len(x)} images leaves no image on one side."
        )
    checks.check_batch_size(min(batch_size or left, left), k)


def _check_labels(
    expected: types.SimpleNamespace, labels: Any, count: int | None, prefix: str
) -> None:
    if labels is None:
        if expected.needs_labels:
            raise ValueError(
                f"'{expected.name}' learns from labels, but the {prefix}data have none: pass "
                "(images, labels), with -1 for an image whose label is not known."
            )
    elif expected.num_classes is not None:
        check: Callable = checks.check_attributes if expected.multi_label else checks.check_labels
        check(labels, count, expected.num_classes, f"{prefix}labels")


# Batches of arrays, from a generator or a `PyDataset`.


def _check_batch(
    expected: types.SimpleNamespace, k: int, prefix: str, batch: Any, number: int
) -> None:
    """Raises a ValueError with a marked message if a batch of arrays does not fit the model."""
    try:
        images, labels, weights = keras.utils.unpack_x_y_sample_weight(batch)
        check_weights(weights)
        if not hasattr(images, "shape"):
            raise ValueError(_not_images(prefix, type(images).__name__))
        images = np.asarray(images)
        checks.check_images(images, expected.image_shape, f"{prefix}images")
        if number == 0:  # The last batch may be smaller.
            checks.check_batch_size(len(images), k)
        _check_labels(expected, labels, len(images), prefix)
    except ValueError as error:
        raise ValueError(f"{_BEGIN}{error}{_END}") from None


def _not_images(prefix: str, got: str) -> str:
    return (
        f"A batch of {prefix}data must be images or (images, labels); its images are of type {got}."
    )


def _checked_generator(batches: Iterator, check: Callable) -> Iterator:
    for number, batch in enumerate(batches):
        check(batch, number)
        yield batch if isinstance(batch, tuple) else (batch,)  # Keras takes only tuples.


class _CheckedPyDataset(keras.utils.PyDataset):
    """Wraps a `PyDataset` to check its batches."""

    def __init__(self, dataset: keras.utils.PyDataset, check: Callable) -> None:
        super().__init__(dataset.workers, dataset.use_multiprocessing, dataset.max_queue_size)
        self._dataset = dataset
        self._check = check

    def __getitem__(self, index: int) -> Any:
        batch = self._dataset[index]
        self._check(batch, index)
        return batch

    @property
    def num_batches(self) -> int | None:
        return self._dataset.num_batches

    def on_epoch_begin(self) -> None:
        self._dataset.on_epoch_begin()

    def on_epoch_end(self) -> None:
        self._dataset.on_epoch_end()


# Batches of tensors, from a `tf.data` pipeline.


def _checked_dataset(
    expected: types.SimpleNamespace, dataset: tf.data.Dataset, k: int, prefix: str
) -> tf.data.Dataset:
    """Adds a check of every batch to the data set's graph, so that it is read only once."""
    if dataset.cardinality() == 0:
        raise ValueError(f"The {prefix}data set is empty: it must hold at least one batch.")
    images, labels, weights = keras.utils.unpack_x_y_sample_weight(dataset.element_spec)
    check_weights(weights)
    _check_spec(images, f"{prefix}images", _not_images(prefix, type(images).__name__))
    if not images.dtype.is_floating:
        raise ValueError(checks.not_floating(f"{prefix}images", images.dtype.name))
    checks.check_shape(f"{prefix}images", images.shape, expected.image_shape)
    if labels is None or expected.num_classes is None:
        _check_labels(expected, labels, None, prefix)
    else:
        _check_label_spec(expected, labels, f"{prefix}labels")

    # It has no loops or conditions. AutoGraph would take a third of a second to find that out.
    @tf.autograph.experimental.do_not_convert
    def check(number: tf.Tensor, batch: Any) -> Any:
        images, labels, _ = keras.utils.unpack_x_y_sample_weight(batch)
        asserted = [
            *_image_assertions(expected, images, f"{prefix}images"),
            *_size_assertion(number, images, k),
        ]
        if labels is not None and expected.num_classes is not None:
            asserted += _label_assertions(expected, labels, f"{prefix}labels")
        with tf.control_dependencies(asserted):
            return tf.nest.map_structure(tf.identity, batch)

    return dataset.enumerate().map(check)


def _check_spec(spec: Any, name: str, message: str) -> None:
    if not isinstance(spec, tf.TensorSpec):
        raise ValueError(message)
    if spec.shape.rank is None:
        raise ValueError(
            f"The shape of {name} is not known: the data set must name it, as from_generator does "
            "with output_signature."
        )


def _check_label_spec(expected: types.SimpleNamespace, labels: Any, name: str) -> None:
    """Raises a ValueError unless labels have a shape and dtype that `fit` accepts."""
    _check_spec(labels, name, f"{name} must be one tensor; got {type(labels).__name__}.")
    classes = expected.num_classes
    if expected.multi_label or _is_one_hot(labels):
        checks.check_shape(name, labels.shape, (classes,))
        if not (labels.dtype.is_floating or labels.dtype.is_integer or labels.dtype == tf.bool):
            raise ValueError(f"{name} must be numbers; got {labels.dtype.name}.")
        return
    if labels.shape.rank not in (1, 2):
        raise ValueError(f"{name} must have the shape (N,); got {tuple(labels.shape)}.")
    if not labels.dtype.is_integer:
        raise ValueError(f"{name} must be integers (class numbers); got {labels.dtype.name}.")


def _is_one_hot(labels: Any) -> bool:
    return labels.shape.rank == 2 and labels.shape[1] != 1


def _image_assertions(expected: types.SimpleNamespace, images: tf.Tensor, name: str) -> list:
    values = tf.cast(images, "float32")
    low, high = tf.reduce_min(values), tf.reduce_max(values)
    finite = tf.reduce_all(tf.math.is_finite(values))
    limit = 1 + checks.RANGE_TOLERANCE
    want = ", ".join(["N", *map(str, expected.image_shape)])
    fits = tf.reduce_all(tf.equal(tf.shape(images)[1:], expected.image_shape))
    return [
        _assert(fits, f"{name} must have the shape ({want}); a batch has {{}}.", tf.shape(images)),
        _assert(finite, f"{name} must be finite; a batch holds NaN or infinite values."),
        _assert(
            tf.logical_or(tf.logical_not(finite), tf.maximum(-low, high) <= limit),
            f"{name} must lie in [-1, 1]; the values of a batch span {{}} to {{}}.",
            low,
            high,
        ),
    ]


def _size_assertion(number: tf.Tensor, images: tf.Tensor, k: int) -> list:
    size = tf.shape(images)[0]
    text = f"A batch of {{}} is too small to mix k = {k} examples: k can be at most the batch size."
    return [_assert(tf.logical_or(number > 0, size >= k), text, size)]


def _label_assertions(expected: types.SimpleNamespace, labels: tf.Tensor, name: str) -> list:
    labels = tf.cast(labels, "float32")
    zero_or_one = tf.logical_or(tf.equal(labels, 0), tf.equal(labels, 1))
    if expected.multi_label:
        fits = tf.reduce_all(tf.logical_or(zero_or_one, tf.equal(labels, -1)))
        text = f"{name} must be 0 or 1, or -1 where unknown, for attributes; a batch holds others."
        return [_assert(fits, text)]
    if _is_one_hot(labels):
        fits = tf.logical_and(
            tf.reduce_all(zero_or_one), tf.reduce_all(tf.reduce_sum(labels, axis=1) <= 1)
        )
        return [_assert(fits, f"{name} must be one-hot: at most a single 1 in a row of zeros.")]
    last = expected.num_classes - 1
    fits = tf.reduce_all(tf.logical_and(labels >= -1, labels <= last))
    text = f"{name} must lie in 0 to {last}, or be -1 where unlabelled; a batch holds others."
    return [_assert(fits, text)]


def _assert(holds: tf.Tensor, text: str, *values: Any) -> Any:
    message = tf.strings.format(_BEGIN + text + _END, values) if values else _BEGIN + text + _END
    return tf.debugging.Assert(holds, [message])


@contextlib.contextmanager
def naming_bad_batches() -> Iterator[None]:
    """Replaces the error for a batch that failed a check by a ValueError with its message."""
    try:
        yield
    except (tf.errors.OpError, ValueError) as error:
        found = re.search(f"{_BEGIN}(.*?){_END}", str(error), re.DOTALL)
        if found is None:
            raise
        raise ValueError(found[1]) from None
