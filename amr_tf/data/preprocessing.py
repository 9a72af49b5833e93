"""Preprocessing of image files, identical in training and inference.

    upright (EXIF)  ->  on the background  ->  crop  ->  square (`fit`)  ->  size  ->  [-1, 1]

An `ImagePreprocessor` reads the files of a training folder, is saved with the model, is used to
encode files in Python, and is part of the exported model's graph.
"""

import os
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from PIL import Image, ImageColor

from amr_tf import checks
from amr_tf.data.image_files import (
    MOST_PIXELS,
    Damaged,
    check_damaged,
    decoded,
    opened,
    put_images,
    upright,
)

FITS = ("crop", "pad", "stretch")
_LUMINANCE = (0.299, 0.587, 0.114)  # As in Pillow. TensorFlow's differ in the fourth digit.
_PNG_DEPTH = 24  # Offset of the bit depth in a PNG file.


@keras.saving.register_keras_serializable(package="amr_tf")
class ImagePreprocessor:
    """Converts image files to square float images in [-1, 1].

    The image is rotated according to its EXIF orientation, blended with the background where it is
    transparent, cropped to the central `crop` pixels, made square as set by `fit`, and resized
    (bilinear, with antialiasing).

    Args:
        image_size: width and height of the result in pixels.
        channels: 3 for red, green and blue; 1 for luminance.
        fit: how to make images square: "crop" to the central square, "pad" with the background,
            or "stretch".
        crop: side in pixels of a central square to cut out first, or None.
        background: colour for transparency and padding, a name or "#rrggbb".
        max_pixels: largest number of pixels in a file; larger ones are rejected.

    Raises:
        ValueError: an argument is not allowed.

    Example:

    >>> from PIL import Image
    >>> preprocessor = ImagePreprocessor(32, fit="pad", background="black")
    >>> image = preprocessor(Image.new("RGB", (40, 20), "white"))
    >>> image.shape, image.dtype
    ((32, 32, 3), dtype('float32'))
    >>> float(image[0, 0, 0]), float(image[16, 16, 0])
    (-1.0, 1.0)
    """

    def __init__(
        self,
        image_size: int,
        channels: int = 3,
        fit: str = "crop",
        crop: int | None = None,
        background: str = "white",
        max_pixels: int = MOST_PIXELS,
    ) -> None:
        checks.check_positive_integer("image_size", image_size)
        checks.check_positive_integer("max_pixels", max_pixels)
        if crop is not None:
            checks.check_positive_integer("crop", crop)
        if channels not in (1, 3):
            raise ValueError(f"channels must be 1 or 3; got {channels!r}.")
        if fit not in FITS:
            raise ValueError(f"fit must be 'crop', 'pad' or 'stretch'; got {fit!r}.")
        self.image_size = int(image_size)
        self.channels = channels
        self.fit = fit
        self.crop = crop
        self.background = background
        self.max_pixels = int(max_pixels)
        self._colour = _parse_colour(background)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(H, W, C) of the result."""
        return (self.image_size, self.image_size, self.channels)

    def __call__(self, image: Any) -> np.ndarray:
        """Preprocesses one image.

        Args:
            image: the path of a file, the bytes of a file, or a `PIL.Image`.

        Returns:
            float32 (image_size, image_size, channels) in [-1, 1].

        Raises:
            ValueError: the file cannot be read as an image or has more than `max_pixels` pixels,
                or the image is smaller than `crop`.
        """
        return _scale(self.pixels(image))

    def batch(self, files: Sequence[Any]) -> np.ndarray:
        """Reads many files in threads and returns 8-bit images, as in a data set.

        `batch(files) / 127.5 - 1` equals the results of `__call__`.

        Args:
            files: paths, bytes of files or `PIL.Image`s.

        Returns:
            uint8 (N, image_size, image_size, channels).

        Raises:
            ValueError: files cannot be read. The message names up to ten of them.
        """
        images = np.empty((len(files), *self.image_shape), dtype="uint8")
        damaged = put_images(decoded(list(files), self.pixels), images.__setitem__)
        check_damaged(damaged, len(files), "raise")
        return images

    def pixels(self, image: Any, name: str | None = None) -> np.ndarray:
        """Preprocesses one image to 8 bits, uint8 (image_size, image_size, channels).

        Args:
            image: see `__call__`.
            name: the image's name in errors; None for its path.
        """
        if name is None:
            name = str(image) if isinstance(image, (str, os.PathLike)) else "image"
        if isinstance(image, Image.Image):
            return self._fitted(upright(image, self._colour, self.channels), name)
        try:
            with opened(image, self.max_pixels) as file:
                ready = upright(file, self._colour, self.channels)
        except Exception as error:  # Pillow's decoders raise nearly anything for broken files.
            raise Damaged(name, error) from error
        return self._fitted(ready, name)

    def _fitted(self, image: Image.Image, name: str) -> np.ndarray:
        """Crops, squares and resizes an upright, opaque image, and returns its pixels."""
        if self.crop is not None:
            if self.crop > min(image.size):
                width, height = image.size
                raise ValueError(
                    f"crop = {self.crop} is more than the {width} x {height} pixels of '{name}'."
                )
            image = _cut(image, self.crop)
        if self.fit == "crop":
            image = _cut(image, min(image.size))
        size = self.image_size
        inner = (size, size)
        if self.fit == "pad":
            longest = max(image.size)
            width, height = (
                max(1, (2 * side * size + longest) // (2 * longest)) for side in image.size
            )
            inner = (width, height)
        if image.size != inner:
            image = image.resize(inner, Image.Resampling.BILINEAR)
        pixels = np.asarray(image, dtype="uint8").reshape(inner[1], inner[0], self.channels)
        if inner == (size, size):
            return pixels
        ground = Image.new("RGB", (1, 1), self._colour)
        square = np.empty(self.image_shape, dtype="uint8")
        square[:] = np.asarray(ground if self.channels == 3 else ground.convert("L"))
        left, top = ((size - side) // 2 for side in inner)
        square[top : top + inner[1], left : left + inner[0]] = pixels
        return square

    def in_graph(self, contents: Any) -> tf.Tensor:
        """Preprocesses one image with TensorFlow operations, for exported models.

        The result differs from `__call__` by at most 0.02, except that a graph cannot read the EXIF
        orientation. Rotated files must be turned upright before, for example with
        `PIL.ImageOps.exif_transpose`.

        Args:
            contents: scalar string tensor, the bytes of a PNG file (8 or 16 bits, grey, colour or
                palette, with or without transparency) or a JPEG file (grey, RGB or CMYK).

        Returns:
            float32 tensor (image_size, image_size, channels) in [-1, 1].
        """
        image = _decoded(tf.convert_to_tensor(contents))
        if self.crop is not None:
            tf.debugging.assert_less_equal(
                self.crop,
                tf.reduce_min(tf.shape(image)[:2]),
                f"crop = {self.crop} is more than the pixels of the image",
            )
            image = _cut_tensor(image, self.crop)
        if self.fit == "crop":
            image = _cut_tensor(image, tf.reduce_min(tf.shape(image)[:2]))
        image = self._on_background(tf.cast(image, "float32"))
        size = self.image_size
        if self.fit == "pad":
            shape = tf.shape(image)[:2]
            longest = tf.reduce_max(shape)
            inner = tf.maximum(1, (2 * shape * size + longest) // (2 * longest))
            image = tf.image.resize(image, inner, antialias=True)
            # Subtracts the background before padding with 0, and adds it again afterwards.
            before = (size - inner) // 2
            sides = tf.stack([before, size - inner - before], axis=1)
            ground = tf.constant(self._ground(), "float32")
            image = tf.pad(image - ground, tf.concat([sides, [[0, 0]]], axis=0)) + ground
        else:
            image = tf.image.resize(image, (size, size), antialias=True)
        return tf.ensure_shape(image / 127.5 - 1.0, self.image_shape)

    def _on_background(self, rgba: tf.Tensor) -> tf.Tensor:
        """Blends RGBA values with the background, to float (H, W, channels) from 0 to 255."""
        colours, alpha = rgba[..., :3], rgba[..., 3:] / 255.0
        image = colours * alpha + tf.constant(self._colour, "float32") * (1.0 - alpha)
        if self.channels == 1:
            image = tf.reduce_sum(image * tf.constant(_LUMINANCE), axis=-1, keepdims=True)
        return image

    def _ground(self) -> tuple[float, ...]:
        if self.channels == 3:
            return self._colour
        return (sum(share * part for share, part in zip(_LUMINANCE, self._colour, strict=True)),)

    def describe(self) -> dict[str, Any]:
        """Describes the preprocessing as a dictionary of JSON values."""
        return {
            "image_size": self.image_size,
            "channels": self.channels,
            "fit": self.fit,
            "crop": self.crop,
            "background": self.background,
            "resize": "bilinear, antialiased",
            "exif_orientation": "to be applied before",
        }

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            "image_size": self.image_size,
            "channels": self.channels,
            "fit": self.fit,
            "crop": self.crop,
            "background": self.background,
            "max_pixels": self.max_pixels,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "ImagePreprocessor":
        """Creates a preprocessor from the result of `get_config`."""
        return cls(**config)

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in self.get_config().items())
        return f"ImagePreprocessor({given})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ImagePreprocessor):
            return NotImplemented
        return self.get_config() == other.get_config()

    def __hash__(self) -> int:
        return hash(tuple(self.get_config().items()))


def are_files(images: Any) -> bool:
    """Returns whether images are given as files: a list of paths, bytes or `PIL.Image`s."""
    kinds = (str, os.PathLike, bytes, Image.Image)
    if isinstance(images, np.ndarray):
        return images.dtype.kind in "US" and images.ndim == 1 and len(images) > 0
    if not isinstance(images, (list, tuple)) or not images:
        return False
    return all(isinstance(image, kinds) for image in images)


def for_arrays(image_shape: tuple[int, ...], image_size: int) -> ImagePreprocessor | None:
    """Creates the preprocessor that treats files as the pipeline treats arrays of images.

    Arrays are scaled and resized. Files that are not square are cropped if the arrays are square,
    and stretched otherwise.

    Args:
        image_shape: (H, W, C) of the arrays.
        image_size: width to which they are resized.

    Returns:
        An `ImagePreprocessor`, or None for points and for images without 1 or 3 channels.
    """
    if len(image_shape) != 3 or image_shape[-1] not in (1, 3):
        return None
    square = image_shape[0] == image_shape[1]
    return ImagePreprocessor(image_size, image_shape[-1], fit="crop" if square else "stretch")


def _parse_colour(background: str) -> tuple[int, int, int]:
    try:
        return ImageColor.getrgb(background)[:3]
    except (ValueError, AttributeError, TypeError):
        raise ValueError(
            f"background must be a colour, a name such as 'white' or '#rrggbb'; got {background!r}."
        ) from None


def _scale(pixels: np.ndarray) -> np.ndarray:
    return pixels.astype("float32") / np.float32(127.5) - np.float32(1)


def _cut(image: Image.Image, side: int) -> Image.Image:
    width, height = image.size
    left, top = (width - side) // 2, (height - side) // 2
    if (left, top) == (0, 0) and image.size == (side, side):
        return image
    # Pillow's `crop` would reject more pixels than its own limit, which may be below `max_pixels`.
    if side * side <= (Image.MAX_IMAGE_PIXELS or side * side):
        return image.crop((left, top, left + side, top + side))
    return Image.fromarray(np.asarray(image)[top : top + side, left : left + side])


def _cut_tensor(image: tf.Tensor, side: int | tf.Tensor) -> tf.Tensor:
    left = (tf.shape(image)[:2] - side) // 2
    return image[left[0] : left[0] + side, left[1] : left[1] + side]


def _decoded(contents: tf.Tensor) -> tf.Tensor:
    """Decodes a PNG or JPEG file to RGBA values, uint8 (H, W, 4)."""

    def jpeg() -> tf.Tensor:
        # The default `dct_method` is faster, but off by up to 13 levels.
        image = tf.io.decode_jpeg(contents, channels=3, dct_method="INTEGER_ACCURATE")
        return tf.pad(image, [[0, 0], [0, 0], [0, 1]], constant_values=255)

    def png() -> tf.Tensor:
        return _with_opaque(tf.io.decode_png(contents, channels=4), contents)

    return tf.ensure_shape(tf.cond(tf.io.is_jpeg(contents), jpeg, png), (None, None, 4))


def _with_opaque(image: tf.Tensor, contents: tf.Tensor) -> tf.Tensor:
    """Sets alpha to 255 in the RGBA values of a file without transparency.

    For files with a bit depth of 1, 2 or 4, `decode_png` sets alpha to the largest value of that
    depth instead.
    """
    # Pads the contents, since a damaged file may be shorter than a header.
    header = tf.strings.join([contents, "\0" * 32])
    depth = tf.io.decode_raw(tf.strings.substr(header, _PNG_DEPTH, 1), "uint8")[0]
    alpha = image[..., 3:]
    filler = tf.bitwise.left_shift(tf.constant(1, "uint8"), tf.minimum(depth, 7)) - 1
    filled = (depth < 8) & tf.reduce_all(tf.equal(alpha, filler))
    alpha = tf.where(filled, tf.fill(tf.shape(alpha), tf.constant(255, "uint8")), alpha)
    return tf.concat([image[..., :3], alpha], axis=-1)
