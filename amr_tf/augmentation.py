"""Random augmentation of training images and of the discriminator's input."""

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from amr_tf import checks
from amr_tf.layers import ReplicaSeedGenerator, SeedStateSaving
from amr_tf.registry import Registry
from amr_tf.types import Shape, Tensor

AUGMENTATIONS = Registry("augmentation", context={"seed": "--seed"})
"""Layers from images to images in [-1, 1], by the names that `--augmentation` takes."""

DISCRIMINATOR_AUGMENTATIONS = Registry("discriminator augmentation", context={"seed": "--seed"})
"""Layers by the names that `--discriminator_augmentation` takes."""

FLIPS = ("horizontal", "vertical", "horizontal_and_vertical")


@AUGMENTATIONS.register("standard")
@keras.saving.register_keras_serializable(package="amr_tf")
class ImageAugmentation(SeedStateSaving, keras.layers.Layer):
    """Randomly flips, shifts and colour-jitters images in [-1, 1].

    Each image is changed independently. The layer is active in training only. The state of the
    random generator is saved, so a resumed run continues the same random sequence.

    Args:
        flip: "horizontal", "vertical", "horizontal_and_vertical", or None.
        shift: largest shift as a share of height and width, at least 0 and below 0.5. It is
            rounded up to whole pixels to avoid blurring. The border is filled by reflection.
        brightness: largest change, as a share of the value range, 0 to 1.
        contrast: largest change of the contrast factor, 0 to 1.
        saturation: largest change of the saturation, 0 to 1. Needs 3 channels.
        hue: largest change, where 1 is half of the colour circle, 0 to 1. Needs 3 channels.
        seed: an integer, or None to draw one from Keras' global seed.
        **kwargs: passed on to `keras.layers.Layer`.

    Call arguments:
        images: (N, H, W, C) in [-1, 1].
        training: whether to change the images.

    Returns:
        float32 images with the shape of `images`.

    Raises:
        ValueError: a value is out of range, or `saturation` or `hue` is set for images that do not
            have 3 channels.

    Example:

    >>> augment = ImageAugmentation(flip="horizontal", shift=0.1, brightness=0.2, seed=0)
    >>> augment(keras.random.uniform((4, 32, 32, 3), -1, 1), training=True).shape
    TensorShape([4, 32, 32, 3])
    """

    def __init__(
        self,
        flip: str | None = "horizontal",
        shift: float = 0.0,
        brightness: float = 0.0,
        contrast: float = 0.0,
        saturation: float = 0.0,
        hue: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        # Always float32, since reconstructions are compared with these images.
        super().__init__(**{**kwargs, "dtype": "float32", "autocast": False})
        if flip is not None and flip not in FLIPS:
            raise ValueError(f"flip must be {', '.join(FLIPS)} or None; got {flip!r}.")
        if not _is_number(shift) or not 0 <= shift < 0.5:
            raise ValueError(f"shift must be at least 0 and below 0.5; got {shift!r}.")
        colours = {"brightness": brightness, "contrast": contrast}
        colours |= {"saturation": saturation, "hue": hue}
        for name, value in colours.items():
            if not _is_number(value) or not 0 <= value <= 1:
                raise ValueError(f"{name} must lie in 0 to 1; got {value!r}.")
        self.flip = flip
        self.shift = shift
        self.brightness = brightness
        self.contrast = contrast
        self.saturation = saturation
        self.hue = hue
        self.seed = seed
        self.seed_generator = ReplicaSeedGenerator(seed)
        self._steps = self._layers_of()

    def _layers_of(self) -> list[keras.layers.Layer]:
        layers = keras.layers
        unit = {"value_range": (0, 1), "dtype": "float32"}
        # In Keras' saturation layer, a factor of 0.5 leaves an image unchanged.
        around_half = (0.5 - self.saturation / 2, 0.5 + self.saturation / 2)
        # A single layer for both directions would flip both or neither.
        flips = [] if self.flip is None else self.flip.split("_and_")
        made = {
            "brightness": lambda: layers.RandomBrightness(self.brightness, **unit),
            # A single number would only increase the contrast.
            "contrast": lambda: layers.RandomContrast((self.contrast, self.contrast), **unit),
            "saturation": lambda: layers.RandomSaturation(around_half, **unit),
            "hue": lambda: layers.RandomHue(self.hue, **unit),
        }
        return [
            *(layers.RandomFlip(direction, dtype="float32") for direction in flips),
            *(make() for name, make in made.items() if getattr(self, name)),
        ]

    def build(self, input_shape: Shape) -> None:
        _check_images(input_shape)
        if input_shape[-1] != 3 and (self.saturation or self.hue):
            raise ValueError(
                f"saturation and hue need images of 3 channels; these have {input_shape[-1]}."
            )
        super().build(input_shape)

    def call(self, images: Tensor, training: bool = True) -> Tensor:
        if not training:
            return ops.cast(images, "float32")
        changed = (ops.cast(images, "float32") + 1.0) / 2.0
        for layer in self._steps:
            # The layers' own generators would not be saved.
            drawn = layer.get_random_transformation(
                changed, training=True, seed=self.seed_generator
            )
            changed = layer.transform_images(changed, drawn, training=True)
        if self.shift:
            changed = self._shifted(changed)
        return ops.clip(2.0 * changed - 1.0, -1.0, 1.0)

    def _shifted(self, images: Tensor) -> Tensor:
        """Crops the images with a reflected border; XLA cannot compile Keras' translation."""
        height, width = images.shape[1:3]
        borders = [math.ceil(self.shift * side) for side in (height, width)]
        images = ops.pad(
            images, [[0, 0], *([border, border] for border in borders), [0, 0]], "reflect"
        )
        for axis, (side, border) in enumerate(zip((height, width), borders), start=1):
            first = keras.random.randint(
                (ops.shape(images)[0], 1), 0, 2 * border + 1, seed=self.seed_generator
            )
            rows = first + ops.arange(side, dtype=first.dtype)
            shape = [-1, 1, 1, 1]
            shape[axis] = side
            images = ops.take_along_axis(images, ops.reshape(rows, shape), axis=axis)
        return images

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        names = ("flip", "shift", "brightness", "contrast", "saturation", "hue", "seed")
        config = {**super().get_config(), **{name: getattr(self, name) for name in names}}
        del config["dtype"]
        return config


def _check_images(shape: Shape) -> None:
    if len(shape) != 4:
        raise ValueError(f"Images of the shape (N, H, W, C) can be augmented; got {tuple(shape)}.")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


@DISCRIMINATOR_AUGMENTATIONS.register("diff_augment")
@keras.saving.register_keras_serializable(package="amr_tf")
class DiffAugment(SeedStateSaving, keras.layers.Layer):
    """Differentiable augmentation of real and fake images (Zhao et al. 2020).

    A discriminator memorises small data sets; random augmentation prevents this. Since the
    auto-encoder's gradient passes through the augmentation, it does not leak into decoded images.
    An example is changed in the same way in all groups of a step, such as real images,
    reconstructions and mixes, so that features of an image and its reconstruction are comparable.
    The defaults are those of that paper, for images in [-1, 1].

    Args:
        brightness: largest absolute value added to an image.
        saturation: largest deviation from 1 of the factor of a pixel's distance from its grey.
        contrast: largest deviation from 1 of the factor of a pixel's distance from the image's
            mean.
        translation: largest shift along each axis, as a share of the image's size, 0 to 1. The
            border is filled with 0.
        cutout: size of a rectangle that is set to 0, as a share of the image's size, 0 to 1.
        seed: an integer, or None to draw one from Keras' global seed. The state of the random
            generator is saved with the layer.
        **kwargs: passed on to `keras.layers.Layer`.

    Call arguments:
        images: (groups * N, H, W, C).
        groups: number of groups of N images.
        training: whether to change the images, as in Keras' own augmentation layers.

    Returns:
        Images of the same shape and dtype.

    Raises:
        ValueError: a value is negative, a share is above 1, or the data are points.

    Reference: [Differentiable augmentation](https://arxiv.org/abs/2006.10738).
    """

    def __init__(
        self,
        brightness: float = 0.5,
        saturation: float = 1.0,
        contrast: float = 0.5,
        translation: float = 0.125,
        cutout: float = 0.5,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
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

    def build(self, input_shape: Shape) -> None:
        _check_images(input_shape)
        super().build(input_shape)

    def call(self, images: Tensor, groups: int = 1, training: bool = True) -> Tensor:
        if not training:
            return images
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

    def _draw(self, count: Tensor, groups: int, largest: float) -> Tensor:
        """Draws (groups * count, 1, 1, 1) numbers in +-`largest`, the same in all groups."""
        drawn = keras.random.uniform((count, 1, 1, 1), -largest, largest, seed=self.seed_generator)
        return ops.tile(drawn, (groups, 1, 1, 1))

    def compute_output_spec(
        self, images: keras.KerasTensor, groups: int = 1, training: bool = True
    ) -> keras.KerasTensor:
        return keras.KerasTensor(images.shape, images.dtype)

    def get_config(self) -> dict[str, Any]:
        names = ("brightness", "saturation", "contrast", "translation", "cutout", "seed")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def _scaled(images: Tensor, axes: int | tuple[int, ...], factors: Tensor) -> Tensor:
    """Scales the images' distance from their mean over some axes."""
    mean = ops.mean(images, axis=axes, keepdims=True)
    return mean + factors * (images - mean)


def _shifted(images: Tensor, axis: int, shares: Tensor) -> Tensor:
    """Shifts images along an axis by shares of its length, in whole pixels, and fills with 0."""
    length = images.shape[axis]
    shift = ops.cast(ops.round(shares * length), "int32")[:, :, 0, 0]
    # One matrix per image, each row of which selects a pixel, or none outside the image.
    chosen = ops.one_hot(ops.arange(length, dtype="int32")[None] - shift, length, dtype="float32")
    equation = "nij,njwc->niwc" if axis == 1 else "nij,nhjc->nhic"
    return ops.einsum(equation, chosen, images)


def _square(images: Tensor, places: Sequence[Tensor], share: float) -> Tensor:
    """Returns 1 in a rectangle of each image and 0 elsewhere, (N, H, W, 1)."""
    inside = 1.0
    for axis, place in zip((1, 2), places):
        length = images.shape[axis]
        centre = (0.5 + place) * length
        shape = [1, 1, 1, 1]
        shape[axis] = length
        pixels = ops.reshape(ops.arange(length, dtype="float32") + 0.5, shape)
        inside = inside * ops.cast(ops.abs(pixels - centre) <= 0.5 * share * length, "float32")
    return inside
