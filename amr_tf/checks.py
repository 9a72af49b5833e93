"""Checks of user input, each with a one-sentence error before any work starts."""

from collections.abc import Iterable, Sequence
from typing import Any

import ml_dtypes
import numpy as np

# Resizing and float arithmetic may exceed [-1, 1] by rounding errors.
RANGE_TOLERANCE = 1e-4
_DECODED_LIMIT = 10.0
_CHUNK = 4096
_LARGEST_WITH_SQUARE = 1e100


def check_positive_integer(name: str, value: Any) -> None:
    """Raises a ValueError unless `value` is an integer of at least 1."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{name} must be a positive integer; got {value!r}.")


def check_steps(steps: Any) -> None:
    """Raises a ValueError unless `steps`, which includes both ends, is an integer of at least 2."""
    if isinstance(steps, bool) or not isinstance(steps, (int, np.integer)) or steps < 2:
        raise ValueError(f"steps must be an integer of at least 2; got {steps!r}.")


def check_not_negative_integer(name: str, value: Any) -> None:
    """Raises a ValueError unless `value` is an integer of at least 0."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 0:
        raise ValueError(f"{name} must be an integer of at least 0; got {value!r}.")


def check_not_negative(name: str, value: Any) -> None:
    """Raises a ValueError unless `value` is a finite number of at least 0."""
    if not _is_finite(value) or value < 0:
        raise ValueError(f"{name} must be a finite number of at least 0; got {value!r}.")


def _is_finite(value: Any) -> bool:
    """Returns whether a value is a number and finite as a float; True and False are not numbers."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)):
        return False
    try:
        return bool(np.isfinite(float(value)))  # NumPy has no integers of more than 64 bits.
    except OverflowError:
        return False


def check_bool(name: str, value: Any) -> None:
    """Raises a ValueError unless `value` is True or False."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be True or False; got {value!r}.")


def check_share(name: str, value: Any) -> None:
    """Raises a ValueError unless `value` is a number from 0 to 1."""
    check_not_negative(name, value)
    if value > 1:
        raise ValueError(f"{name} must lie in 0 to 1; got {value!r}.")


def check_positive(name: str, value: Any) -> None:
    """Raises a ValueError unless `value` is a finite number above 0."""
    if not _is_finite(value) or value <= 0:
        raise ValueError(f"{name} must be a finite number above 0; got {value!r}.")


def check_momentum(name: str, value: Any) -> None:
    """Raises a ValueError unless `value` is a number of at least 0 and below 1."""
    check_not_negative(name, value)
    if value >= 1:
        raise ValueError(f"{name} must be at least 0 and below 1; got {value!r}.")


def check_same_images(model: Any, data: Any) -> None:
    """Raises a ValueError unless an `ImageData` holds images of the model's shape."""
    if model.image_shape != data.image_shape:
        raise ValueError(
            f"The model takes images of {model.image_shape}; data set '{data.name}' has "
            f"{data.image_shape}."
        )


def check_squares(name: str, *arrays: np.ndarray) -> None:
    """Raises a ValueError unless all numbers are small enough for finite squares."""
    if any(np.abs(array).max(initial=0) > _LARGEST_WITH_SQUARE for array in arrays):
        raise ValueError(
            f"{name} must lie within +-{_LARGEST_WITH_SQUARE:g}, so that their squares do."
        )


def check_shape(name: str, shape: Iterable, expected: Sequence[int | str]) -> None:
    """Raises a ValueError unless `shape` is (N, *expected).

    Args:
        name: the tensor's name in the message.
        shape: its shape, with None for unknown sizes.
        expected: the sizes; a name, such as "classes", stands for any size.
    """
    shape = tuple(shape)
    fits = len(shape) == len(expected) + 1 and all(
        size is None or size == want or isinstance(want, str)
        for size, want in zip(shape[1:], expected)
    )
    if not fits:
        want = ", ".join(["N", *map(str, expected)]) if expected else "N,"
        raise ValueError(f"{name} must have the shape ({want}); got {shape}.")


def is_floating(dtype: Any) -> bool:
    """Returns whether a dtype is floating point, including bfloat16, which NumPy does not know."""
    return np.issubdtype(dtype, np.floating) or dtype == ml_dtypes.bfloat16


def not_floating(name: str, dtype: Any) -> str:
    """Returns the error message for images that are not floating point."""
    return (
        f"{name} must be floating point with values in [-1, 1]; got {dtype}. For uint8 images use "
        "images / 127.5 - 1."
    )


def as_images(images: Any, image_shape: tuple[int, ...], name: str = "images") -> np.ndarray:
    """Checks images for a trained model and converts them to float32.

    Decoded images are accepted too. A decoder without an output activation may exceed [-1, 1], so
    only values that a decoder does not produce, such as those from 0 to 255, are rejected.

    Args:
        images: an array-like of shape (N, *image_shape).
        image_shape: (H, W, C).
        name: the array's name in the message.

    Returns:
        A float32 NumPy array.

    Raises:
        ValueError: the shape or dtype is wrong, or values are far outside [-1, 1].
    """
    images = np.asarray(images)
    check_images(images, image_shape, name, limit=_DECODED_LIMIT)
    return images.astype("float32")


def check_images(
    images: Any, image_shape: tuple[int, ...], name: str = "images", limit: float = 1.0
) -> None:
    """Raises a ValueError unless `images` is a non-empty float array in [-1, 1].

    Args:
        images: array of shape (N, *image_shape).
        image_shape: (H, W, C).
        name: the array's name in the message.
        limit: the largest absolute value allowed.
    """
    if not is_floating(images.dtype):
        raise ValueError(not_floating(name, images.dtype))
    check_shape(name, images.shape, image_shape)
    if not len(images):
        raise ValueError(f"{name} is empty: it must hold at least one image.")
    for start in range(0, len(images), _CHUNK):
        chunk = np.asarray(images[start : start + _CHUNK], dtype="float32")
        low, high = float(chunk.min()), float(chunk.max())
        if not np.isfinite(low) or not np.isfinite(high):
            raise ValueError(f"{name} must be finite; it holds NaN or infinite values.")
        if max(-low, high) > limit + RANGE_TOLERANCE:
            raise ValueError(f"{name} must lie in [-1, 1]; its values span {low:g} to {high:g}.")


def check_labels(labels: Any, count: int, num_classes: int, name: str = "labels") -> None:
    """Raises a ValueError unless `labels` holds `count` class labels.

    Args:
        labels: integers (count,) or (count, 1) below `num_classes`, -1 for an unlabelled image; or
            one-hot rows (count, num_classes), all zero for an unlabelled image.
        count: number of labels.
        num_classes: number of classes.
        name: the array's name in the message.
    """
    labels = np.asarray(labels)
    if labels.ndim == 2 and labels.shape[1] > 1:
        _check_one_hot(labels, count, num_classes, name)
        return
    if labels.shape not in ((count,), (count, 1)):
        raise ValueError(f"{name} must have the shape ({count},); got {labels.shape}.")
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"{name} must be integers (class numbers); got {labels.dtype}.")
    if labels.min() < -1 or labels.max() >= num_classes:
        raise ValueError(
            f"{name} must lie in 0 to {num_classes - 1}, or be -1 where unlabelled; got "
            f"{labels.min()} to {labels.max()}."
        )


def _check_one_hot(labels: np.ndarray, count: int, num_classes: int, name: str) -> None:
    if labels.shape != (count, num_classes):
        raise ValueError(
            f"{name} must have the shape ({count},) or, one-hot, ({count}, {num_classes}); got "
            f"{labels.shape}."
        )
    if not np.isin(labels, (0, 1)).all() or labels.sum(axis=1).max() > 1:
        raise ValueError(f"{name} must be one-hot: at most a single 1 in a row of zeros.")


def check_attributes(labels: Any, count: int, attributes: int, name: str = "labels") -> None:
    """Raises a ValueError unless `labels` is (count, attributes) of 0, 1, or -1 for unknown."""
    labels = np.asarray(labels)
    if labels.shape != (count, attributes):
        raise ValueError(
            f"{name} must have the shape ({count}, {attributes}), a column for each attribute; "
            f"got {labels.shape}."
        )
    wrong = labels[~np.isin(labels, (-1, 0, 1))]
    if wrong.size:
        raise ValueError(
            f"{name} must be 0 or 1, or -1 where unknown, for attributes; got {wrong[0]}."
        )


def check_batch_size(batch_size: int, k: int) -> None:
    """Raises a ValueError if a batch holds fewer than k examples."""
    if batch_size < k:
        raise ValueError(
            f"A batch of {batch_size} is too small to mix k = {k} examples: "
            "k can be at most the batch size."
        )
