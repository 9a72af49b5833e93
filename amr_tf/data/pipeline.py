"""The pipeline from arrays of uint8 images to batches of float images in [-1, 1]."""

from typing import Any

import numpy as np
import tensorflow as tf

from amr_tf.data.splits import Split
from amr_tf.types import Array


def preprocess(images: Array, image_size: int | None) -> Array:
    """Scales and resizes a batch of images; points pass through unchanged.

    Args:
        images: uint8 (N, H, W, C), an array, tensor or `LazyImages`; or float points (N, D) in
            [-1, 1].
        image_size: width and height to resize to, such as 32 for MNIST in the paper (bilinear,
            with antialiasing if the image shrinks). Ignored for points.

    Returns:
        float32 tensor in [-1, 1], (N, image_size, image_size, C) or (N, D).
    """
    images = images if tf.is_tensor(images) else np.asarray(images)
    if tf.as_dtype(images.dtype).is_floating:
        return tf.cast(images, "float32")
    images = tf.cast(images, "float32") / 127.5 - 1.0
    if images.shape[1] != image_size or images.shape[2] != image_size:
        # Without antialiasing, 256 positions of a sprite give only 81 images at a quarter size.
        shrinks = images.shape[1] > image_size or images.shape[2] > image_size
        images = tf.image.resize(images, (image_size, image_size), antialias=shrinks)
    return images


def prepared(split: Split, indices: np.ndarray | slice, image_size: int | None) -> np.ndarray:
    """Returns images of a split, preprocessed for a model.

    Args:
        split: a `Split`.
        indices: the images' indices, or a slice.
        image_size: width of the model's images, or None for points.

    Returns:
        Float array (N, H, W, C) in [-1, 1], or points (N, D).
    """
    return np.asarray(preprocess(np.asarray(split.images[indices]), image_size))


def training_batches(
    split: Split, batch_size: int, image_size: int | None, seed: int = 0, first_step: int = 0
) -> tf.data.Dataset:
    """Creates an infinite data set of shuffled batches, with a new order for each epoch.

    The order depends only on `seed` and the number of the epoch, so a data set that starts at
    `first_step` exactly continues an interrupted one. An epoch has `len(split) // batch_size` full
    batches; the images left out differ from epoch to epoch.

    Args:
        split: a `Split`.
        batch_size: number of images per batch.
        image_size: width and height of the images, or None for points.
        seed: seed of the order.
        first_step: number of batches to skip.

    Returns:
        `tf.data.Dataset` of images, or of (images, labels) if there are labels.

    Raises:
        ValueError: the split is smaller than one batch.
    """
    steps = steps_per_epoch(split, batch_size)
    first_epoch, first_batch = divmod(first_step, steps)

    @tf.autograph.experimental.do_not_convert  # It has no loops or conditions.
    def order(epoch: tf.Tensor) -> tf.Tensor:
        """Returns the image indices of one epoch, (steps, batch_size)."""
        numbers = tf.range(len(split), dtype="int64")
        numbers = tf.random.experimental.stateless_shuffle(numbers, tf.stack([seed, epoch]))
        return tf.reshape(numbers[: steps * batch_size], (steps, batch_size))

    epochs = tf.data.Dataset.counter(start=first_epoch)
    numbers = epochs.map(order).unbatch().skip(first_batch)
    # Selecting whole batches is many times cheaper than batching single images.
    return _gather(split, numbers, image_size)


def evaluation_batches(split: Split, batch_size: int, image_size: int | None) -> tf.data.Dataset:
    """Creates a data set of all batches of a split in order; the last one may be smaller.

    Args:
        split: a `Split`.
        batch_size: number of images per batch.
        image_size: width and height of the images, or None for points.

    Returns:
        `tf.data.Dataset` of images, or of (images, labels) if there are labels.
    """
    numbers = tf.data.Dataset.range(len(split)).batch(batch_size)
    return _gather(split, numbers, image_size)


def steps_per_epoch(split: Split, batch_size: int) -> int:
    """Returns the number of full batches in a split.

    Raises:
        ValueError: the split is smaller than one batch.
    """
    if len(split) < batch_size:
        raise ValueError(
            f"batch_size = {batch_size} is more than the {len(split)} training images."
        )
    return len(split) // batch_size


def _gather(split: Split, numbers: tf.data.Dataset, image_size: int | None) -> tf.data.Dataset:
    """Maps batches of indices to images and labels.

    NumPy selects them, so that the data stay in host memory or on disk. TensorFlow would copy them
    to a device.
    """
    own: Any = split.labels
    kinds = [split.images.dtype] if own is None else [split.images.dtype, "int64"]

    def choose(indices: np.ndarray) -> list[np.ndarray]:
        images = np.asarray(split.images[indices])
        if own is None:
            return [images]
        return [images, np.asarray(own[indices], "int64")]

    @tf.autograph.experimental.do_not_convert
    def batch(indices: tf.Tensor) -> Any:
        images, *labels = tf.numpy_function(choose, [indices], kinds, stateful=False)
        images = tf.ensure_shape(images, (*indices.shape, *split.images.shape[1:]))
        images = preprocess(images, image_size)
        if not labels:
            return images
        return images, tf.ensure_shape(labels[0], (*indices.shape, *own.shape[1:]))

    parallel = tf.data.AUTOTUNE
    dataset = numbers.map(batch, num_parallel_calls=parallel, deterministic=True)
    return dataset.prefetch(parallel)
