"""Inference with a trained model: encoding, decoding, mixing and interpolating."""

import functools
import os
from typing import Any

import numpy as np
import tensorflow as tf

from amr_tf import checks
from amr_tf.data.preprocessing import are_files
from amr_tf.models.density import prior
from amr_tf.registry import unknown_name


class Inference:
    """A model's networks as TensorFlow functions, with float32 inputs and outputs.

    Each function is traced once, for batches of any size. The model's own methods, the figures and
    the signatures of an export all use them.

    Args:
        model: a `ResynthesisModel`.

    Attributes:
        encode: from images (N, H, W, C) to codes (N, *latent_shape).
        decode: from codes to images.
        interpolate: from two batches of images and a number of steps to (N, steps, H, W, C), along
            the mixer's path (`Mixer.between`), or a straight line without a mixer.
        interpolations: such functions for each of `PATHS`, by name; `interpolate` has the key None.
        mix: from at least k images to their mixes, drawn with the mixer's generator.
        mix_given: from images, permutations (k, N) and coefficients to their mixes. Coefficients
            have as many axes as the stack of mixed codes (or images).
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        images, codes = _spec(*model.image_shape), _spec(*model.latent_shape)
        self.encode = tf.function(self._encode, input_signature=[images], autograph=False)
        self.decode = tf.function(self._decode, input_signature=[codes], autograph=False)
        line = [images, images, tf.TensorSpec((), "int32")]
        self.interpolations = {
            path: tf.function(
                functools.partial(self._interpolate, path=path),
                input_signature=line,
                autograph=False,
            )
            for path in (None, *PATHS)
        }
        self.interpolate = self.interpolations[None]
        if model.mixer is not None:
            k, axes = model.mixer.k, [None] * len(model.mixed_shape)
            given = [
                images,
                tf.TensorSpec((k, None), "int32"),
                tf.TensorSpec((None, None, *axes), "float32"),
            ]
            self.mix = tf.function(self._mix, input_signature=[images], autograph=False)
            self.mix_given = tf.function(self._mix, input_signature=given, autograph=False)

    def _encode(self, images: tf.Tensor) -> tf.Tensor:
        encoded = self._model.encoder(images, training=False)
        return tf.cast(self._model.codes_of(encoded), "float32")

    def _decode(self, codes: tf.Tensor) -> tf.Tensor:
        return tf.cast(self._model.decoder(codes, training=False), "float32")

    def draw(self, count: Any, seed: Any) -> tf.Tensor:
        """Draws codes, float32 (count, *latent_shape). The same seed gives the same codes.

        They are drawn from the fitted density of codes if there is one, else from a VAE's prior.

        Raises:
            ValueError: the model has neither.
        """
        shape = self._model.latent_shape
        if self._model.density is not None:
            codes = self._model.density.draw(count, seed)
        elif self._model.unit_prior:
            codes = prior(count, int(np.prod(shape)), seed)
        else:
            raise ValueError(
                f"'{self._model.name}' has no prior: fit a density on codes first, with "
                "model.fit_density(images)."
            )
        return tf.reshape(codes, [-1, *shape])

    def before_mixing(self, images: tf.Tensor) -> tf.Tensor:
        """Returns the mixer's inputs: codes, or images for methods that mix pixels."""
        return images if self._model.mixes_pixels else self.encode(images)

    def after_mixing(self, mixed: tf.Tensor) -> tf.Tensor:
        """Decodes the mixer's outputs. Mixed images are encoded first."""
        return self.decode(self.encode(mixed) if self._model.mixes_pixels else mixed)

    def _mix(
        self,
        images: tf.Tensor,
        permutations: tf.Tensor | None = None,
        coefficients: tf.Tensor | None = None,
    ) -> tf.Tensor:
        given = self.before_mixing(images)
        mixed, _ = self._model.mixer.mix_batch(given, permutations, coefficients)
        return self.after_mixing(tf.cast(mixed, "float32"))

    def _interpolate(
        self, images_a: tf.Tensor, images_b: tf.Tensor, steps: tf.Tensor, path: str | None
    ) -> tf.Tensor:
        start, end = self.before_mixing(images_a), self.before_mixing(images_b)
        along = between(self._model) if path is None else PATHS[path]
        lines = along(start, end, tf.linspace(0.0, 1.0, steps))
        images = self.after_mixing(tf.reshape(lines, [-1, *start.shape[1:]]))
        shape = tf.stack([tf.shape(start)[0], steps, *self._model.image_shape])
        return tf.ensure_shape(tf.reshape(images, shape), (None, None, *self._model.image_shape))


def combine(model: Any, codes: tf.Tensor, coefficients: tf.Tensor) -> tf.Tensor:
    """Combines any number of codes as the model's mixer does.

    Without a mixer, or if the method mixes pixels, this is the weighted sum.

    Args:
        model: a `ResynthesisModel`.
        codes: float32 (N, K, *latent_shape); K may differ from the mixer's k.
        coefficients: float32 (N, K, ...), broadcastable to the shape of `codes`.

    Returns:
        Codes (N, *latent_shape).
    """
    if model.mixer is None or model.mixes_pixels:
        return tf.reduce_sum(coefficients * codes, axis=1)
    return model.mixer.combine(codes, model.mixer.weigh(codes, coefficients))


def has_looks(model: Any) -> bool:
    """Returns whether the model's mixer mixes the layout and the look of codes separately."""
    return not model.mixes_pixels and getattr(model.mixer, "mixes_looks", False)


def can_sample(model: Any) -> bool:
    """Returns whether the model has a distribution of codes to draw from."""
    return model.density is not None or model.unit_prior


def label_mixer_of(model: Any) -> Any:
    """Returns the model's label mixer, or None."""
    return getattr(model, "label_mixer", None)


def between(model: Any) -> Any:
    """Returns the model's interpolation function: `Mixer.between`, or `straight_line`."""
    return straight_line if model.mixer is None else model.mixer.between


def straight_line(start: tf.Tensor, end: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """Interpolates linearly between points (N, ...), at weights (S,), to (N, S, ...)."""
    weights = tf.reshape(weights, [1, -1] + [1] * (len(start.shape) - 1))
    return (1.0 - weights) * start[:, None] + weights * end[:, None]


def great_circle(start: tf.Tensor, end: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """Interpolates on arcs around the origin (slerp; White 2016, "Sampling generative networks").

    A straight line between two samples of a high-dimensional Gaussian passes through a region of
    low probability. The arc keeps their distance from the origin. Arguments and result are those
    of `straight_line`, which is used for parallel or opposite points and for the origin.
    """
    axes = list(range(1, len(start.shape)))

    lengths = [
        tf.sqrt(tf.reduce_sum(tf.square(points), axes, keepdims=True)) for points in (start, end)
    ]
    product = tf.maximum(lengths[0] * lengths[1], 1e-12)
    cosine = tf.reduce_sum(start * end, axes, keepdims=True) / product
    angle = tf.acos(tf.clip_by_value(cosine, -1.0, 1.0))[:, None]
    weights = tf.reshape(weights, [1, -1] + [1] * len(axes))
    sine = tf.sin(angle)
    arc = (
        tf.sin((1.0 - weights) * angle) * start[:, None] + tf.sin(weights * angle) * end[:, None]
    ) / tf.maximum(sine, 1e-12)
    no_arc = tf.logical_or(sine < 1e-3, tf.minimum(*lengths)[:, None] < 1e-6)
    return tf.where(no_arc, straight_line(start, end, tf.reshape(weights, [-1])), arc)


PATHS = {"linear": straight_line, "spherical": great_circle}
"""Interpolation functions, by the names that `interpolate` takes."""


def _spec(*shape: int) -> tf.TensorSpec:
    return tf.TensorSpec((None, *shape), "float32")


def as_images(model: Any, images: Any) -> np.ndarray:
    """Converts an array or a list of files to images for a model, float32 (N, H, W, C).

    Raises:
        ValueError: the model has no preprocessor for files, a file cannot be read, or
            `checks.as_images` rejects the images.
    """
    if not are_files(images):
        if isinstance(images, (str, os.PathLike)):
            raise ValueError(f"images must be a list of files: [{str(images)!r}].")
        return checks.as_images(images, model.image_shape)
    preprocessor = getattr(model, "preprocessor", None)
    if preprocessor is None:
        raise ValueError(
            f"'{model.name}' has no preprocessor to read files with: pass float images, or set "
            "model.preprocessor = amr_tf.data.ImagePreprocessor(...)."
        )
    model.check_preprocessor(preprocessor)
    return preprocessor.batch(images).astype("float32") / np.float32(127.5) - np.float32(1)


def in_batches(function: Any, arrays: Any, batch_size: int) -> np.ndarray:
    """Applies a function of tensors to arrays, `batch_size` rows at a time.

    Args:
        function: takes one tensor for each array and returns one tensor with as many rows.
        arrays: an array with at least one row, or a tuple of arrays with equally many rows.
        batch_size: number of rows in one call.
    """
    checks.check_positive_integer("batch_size", batch_size)
    given = arrays if isinstance(arrays, tuple) else (arrays,)
    given = tuple(np.asarray(array, dtype="float32") for array in given)
    parts = []
    for start in range(0, len(given[0]), batch_size):
        rows = slice(start, start + batch_size)
        parts.append(function(*(tf.constant(array[rows]) for array in given)).numpy())
    return np.concatenate(parts)


def mix(
    model: Any,
    images: np.ndarray,
    permutations: Any = None,
    coefficients: Any = None,
    seed: int | None = None,
    batch_size: int = 256,
) -> np.ndarray:
    """Mixes images through their codes; see `ResynthesisModel.mix`."""
    if model.mixer is None:
        raise ValueError(f"'{model.name}' has no mixer; build it with one to mix images.")
    images = as_images(model, images)
    if permutations is None:
        checks.check_batch_size(len(images), model.mixer.k)
    else:
        _check_permutations(np.asarray(permutations), model.mixer.k, len(images))
    # A single call of a graph is enough if the mixer makes all draws or all are given.
    if len(images) <= batch_size:
        if permutations is None and coefficients is None and seed is None:
            return model.inference.mix(images).numpy()
        axes = len(model.mixed_shape) + 2
        if permutations is not None and np.ndim(coefficients) == axes:
            permutations = np.asarray(permutations, "int32")
            coefficients = np.asarray(coefficients, "float32")
            return model.inference.mix_given(images, permutations, coefficients).numpy()
    given = in_batches(model.inference.before_mixing, images, batch_size)
    mixed, _ = model.mixer.mix_batch(tf.constant(given), permutations, coefficients, seed)
    return in_batches(model.inference.after_mixing, mixed, batch_size)


def _check_permutations(permutations: np.ndarray, k: int, count: int) -> None:
    """Raises a ValueError unless permutations are image indices of shape (k, N)."""
    integers = np.issubdtype(permutations.dtype, np.integer)
    if permutations.shape != (k, count) or not integers:
        raise ValueError(
            f"permutations must be integers of the shape ({k}, {count}); got "
            f"{permutations.dtype} of {permutations.shape}."
        )
    if permutations.min() < 0 or permutations.max() >= count:
        raise ValueError(
            f"permutations must lie in 0 to {count - 1}; got {permutations.min()} to "
            f"{permutations.max()}."
        )


def interpolate(
    model: Any,
    images_a: np.ndarray,
    images_b: np.ndarray,
    steps: int = 9,
    batch_size: int = 256,
    path: str | None = None,
) -> np.ndarray:
    """Decodes interpolations between images; see `ResynthesisModel.interpolate`."""
    checks.check_steps(steps)
    if path is not None and path not in PATHS:
        raise unknown_name("path", path, PATHS)
    checks.check_positive_integer("batch_size", batch_size)
    pair = tuple(as_images(model, images) for images in (images_a, images_b))
    if len(pair[0]) != len(pair[1]):
        raise ValueError(
            "images_a and images_b must hold the same number of images; got "
            f"{len(pair[0])} and {len(pair[1])}."
        )
    steps = tf.constant(steps, "int32")  # A tensor, so that other values do not retrace the graph.
    lines = max(1, batch_size // int(steps))
    return in_batches(lambda a, b: model.inference.interpolations[path](a, b, steps), pair, lines)
