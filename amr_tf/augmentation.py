"""Random changes of what the discriminator sees, through which gradients flow."""

import keras
from keras import ops

from amr_tf import checks
from amr_tf.layers import ReplicaSeedGenerator, SeedStateSaving
from amr_tf.registry import Registry

DISCRIMINATOR_AUGMENTATIONS = Registry("discriminator augmentation", context={"seed": "--seed"})
"""Layers by the names that `--discriminator_augmentation` takes."""


@DISCRIMINATOR_AUGMENTATIONS.register("diff_augment")
@keras.saving.register_keras_serializable(package="amr_tf")
class DiffAugment(SeedStateSaving, keras.layers.Layer):
    """Differentiable augmentation of real and fake images alike (Zhao et al. 2020).

    With few images a discriminator learns them by heart; changes at random keep it from that, and
    since the auto-encoder's gradient passes through them, they do not leak into what is decoded.
    All groups of a step, such as real images, reconstructions and mixes, are changed in the same
    way example by example, so that features of an image and its reconstruction can be compared.
    The defaults are the paper's, for images in [-1, 1].

    Args:
        brightness: what is added to an image lies within this much of 0.
        saturation: the factor of a pixel's distance from its grey lies within this much of 1.
        contrast: the factor of a pixel's distance from the image's mean lies within this much of 1.
        translation: the largest shift along each axis, as a share of the image's width. What
            comes in is 0.
        cutout: the width of a square that becomes 0, as a share of the image's width.
        seed: an integer, or None for one drawn from Keras' global seed. The state of the random
            generator is saved with the layer.
        **kwargs: as of `keras.layers.Layer`.

    Call arguments:
        images: (groups * N, H, W, C).
        groups: how many groups of N images there are.

    Returns:
        Images of the same shape and dtype.

    Raises:
        ValueError: a value is negative, or a share above 1.

    Reference: [Differentiable augmentation](https://arxiv.org/abs/2006.10738).
    """

    def __init__(
        self,
        brightness=0.5,
        saturation=1.0,
        contrast=0.5,
        translation=0.125,
        cutout=0.5,
        seed=None,
        **kwargs,
    ):
        for name, value in (("brightness", brightness), ("saturation", saturation)):
            checks.check_not_negative(name, value)
        checks.check_not_negative("contrast", contrast)
        for name, value in (("translation", translation), ("cutout", cutout)):
            checks.check_share(name, value)
        super().__init__(**{"dtype": "float32", **kwargs, "autocast": False})
        self.brightness = brightness
        self.saturation = saturation
        self.contrast = contrast
        self.translation = translation
        self.cutout = cutout
        self.seed = seed
        self.seed_generator = ReplicaSeedGenerator(seed)

    def call(self, images, groups=1):
        x = ops.cast(images, "float32")
        count = ops.shape(images)[0] // groups
        if self.brightness:
            x = x + self._draw(count, groups, self.brightness)
        if self.saturation:
            x = _scaled(x, -1, 1.0 + self._draw(count, groups, self.saturation))
        if self.contrast:
            x = _scaled(x, (1, 2, 3), 1.0 + self._draw(count, groups, self.contrast))
        if self.translation:
            for axis in (1, 2):
                x = _shifted(x, axis, self._draw(count, groups, self.translation))
        if self.cutout:
            places = [self._draw(count, groups, 0.5) for _ in range(2)]
            x = x * (1.0 - _square(x, places, self.cutout))
        return ops.cast(x, images.dtype)

    def _draw(self, count, groups, largest):
        """Uniform numbers within `largest` of 0, (groups * count, 1, 1, 1), alike in all groups."""
        drawn = keras.random.uniform((count, 1, 1, 1), -largest, largest, seed=self.seed_generator)
        return ops.tile(drawn, (groups, 1, 1, 1))

    def compute_output_spec(self, images, groups=1):
        return keras.KerasTensor(images.shape, images.dtype)

    def get_config(self):
        names = ("brightness", "saturation", "contrast", "translation", "cutout", "seed")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def _scaled(images, axes, factors):
    """Images with their distance from the mean over some axes multiplied."""
    mean = ops.mean(images, axis=axes, keepdims=True)
    return mean + factors * (images - mean)


def _shifted(images, axis, shares):
    """Images shifted along an axis by shares of its length, in whole pixels, with 0 coming in."""
    length = images.shape[axis]
    shift = ops.cast(ops.round(shares * length), "int32")[:, :, 0, 0]
    # A matrix for each image, whose rows choose a pixel, or none outside of the image.
    chosen = ops.one_hot(ops.arange(length, dtype="int32")[None] - shift, length, dtype="float32")
    equation = "nij,njwc->niwc" if axis == 1 else "nij,nhjc->nhic"
    return ops.einsum(equation, chosen, images)


def _square(images, places, share):
    """1 in a square of each image and 0 elsewhere, (N, H, W, 1)."""
    inside = 1.0
    for axis, place in zip((1, 2), places):
        length = images.shape[axis]
        centre = (0.5 + place) * length
        shape = [1, 1, 1, 1]
        shape[axis] = length
        pixels = ops.reshape(ops.arange(length, dtype="float32") + 0.5, shape)
        inside = inside * ops.cast(ops.abs(pixels - centre) <= 0.5 * share * length, "float32")
    return inside
