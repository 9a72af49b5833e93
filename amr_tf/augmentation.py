"""Augmentation: random changes of the training images, which keep what they show."""

import math
from typing import Any

import keras
from keras import ops

from amr_tf.layers import ReplicaSeedGenerator, SeedStateSaving
from amr_tf.registry import Registry

AUGMENTATIONS = Registry("augmentation", context={"seed": "--seed"})
"""Layers from images to images in [-1, 1], by the names that `--augmentation` takes."""

FLIPS = ("horizontal", "vertical", "horizontal_and_vertical")


@AUGMENTATIONS.register("standard")
@keras.saving.register_keras_serializable(package="amr_tf")
class ImageAugmentation(SeedStateSaving, keras.layers.Layer):
    """Flips, shifts and colour jitter of images in [-1, 1], by Keras' own layers.

    Each image gets changes of its own. A model applies them in training only. The state of the
    random generator is saved, so a resumed training continues its draws.

    Args:
        flip: "horizontal", "vertical", "horizontal_and_vertical", or None.
        shift: the largest shift, as a share of height and width, at least 0 and below 0.5. What
            becomes visible at the border is the image's reflection; shifts are whole pixels, so
            that nothing is blurred.
        brightness: the largest change, as a share of the range of values, 0 to 1.
        contrast: the largest change of the factor, 0 to 1.
        saturation: the same of the colours' saturation, 0 to 1. For 3 channels.
        hue: the largest change, where 1 is half the circle of colours, 0 to 1. For 3 channels.
        seed: an integer, or None for one drawn from Keras' global seed.
        **kwargs: further arguments of `keras.layers.Layer`.

    Call arguments:
        images: (N, H, W, C) in [-1, 1].
        training: whether anything is changed.

    Returns:
        float32 images, shaped as `images`.

    Raises:
        ValueError: a value out of range, or `saturation` or `hue` for images without colours.

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
    ):
        # Always float32: these are the images that reconstructions are compared with.
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

    def _layers_of(self):
        layers = keras.layers
        unit = {"value_range": (0, 1), "dtype": "float32"}
        # Keras' saturation leaves an image as it is at a factor of a half.
        around_half = (0.5 - self.saturation / 2, 0.5 + self.saturation / 2)
        # One layer for both directions would flip in both or in none.
        flips = [] if self.flip is None else self.flip.split("_and_")
        made = {
            "brightness": lambda: layers.RandomBrightness(self.brightness, **unit),
            # A single number would only ever increase it.
            "contrast": lambda: layers.RandomContrast((self.contrast, self.contrast), **unit),
            "saturation": lambda: layers.RandomSaturation(around_half, **unit),
            "hue": lambda: layers.RandomHue(self.hue, **unit),
        }
        return [
            *(layers.RandomFlip(direction, dtype="float32") for direction in flips),
            *(make() for name, make in made.items() if getattr(self, name)),
        ]

    def build(self, input_shape):
        if len(input_shape) != 4:
            raise ValueError(
                f"Images of the shape (N, H, W, C) can be augmented; got {tuple(input_shape)}."
            )
        if input_shape[-1] != 3 and (self.saturation or self.hue):
            raise ValueError(
                f"saturation and hue need images of 3 channels; these have {input_shape[-1]}."
            )
        super().build(input_shape)

    def call(self, images, training=False):
        if not training:
            return ops.cast(images, "float32")
        changed = (ops.cast(images, "float32") + 1.0) / 2.0
        for layer in self._steps:
            # A layer's own generator would not be saved.
            drawn = layer.get_random_transformation(
                changed, training=True, seed=self.seed_generator
            )
            changed = layer.transform_images(changed, drawn, training=True)
        if self.shift:
            changed = self._shifted(changed)
        return ops.clip(2.0 * changed - 1.0, -1.0, 1.0)

    def _shifted(self, images):
        """Crops of the images with a reflected border; XLA cannot compile Keras' translation."""
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

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        names = ("flip", "shift", "brightness", "contrast", "saturation", "hue", "seed")
        config = {**super().get_config(), **{name: getattr(self, name) for name in names}}
        del config["dtype"]
        return config


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)
