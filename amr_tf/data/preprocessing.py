"""What is done to a picture before a model sees it: the same in training and wherever it is used.

    upright (EXIF)  ->  on the background  ->  crop  ->  square (`fit`)  ->  size  ->  [-1, 1]

An `ImagePreprocessor` reads the files of a training folder, is saved with the model, encodes files
in Python, and is part of the exported model's graph.
"""

import os
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from PIL import Image, ImageColor

from amr_tf import checks
from amr_tf.data.image_files import MOST_PIXELS, Damaged, opened, read_images, upright

FITS = ("crop", "pad", "stretch")
_LUMINANCE = (0.299, 0.587, 0.114)  # Pillow's; TensorFlow's differ in the fourth digit.
_PNG_DEPTH = 24  # Where a PNG file says its bits of a value.


@keras.saving.register_keras_serializable(package="amr_tf")
class ImagePreprocessor:
    """From an image file to what a model sees: a float square in [-1, 1].

    The image is turned upright as its EXIF orientation says, laid on the background where it is
    transparent, cut to the central `crop` pixels, made a square as `fit` says, and resized with
    antialiasing (bilinear).

    Args:
        image_size: width and height of the result in pixels.
        channels: 3 for red, green and blue; 1 for luminance.
        fit: how an image that is not square becomes one: "crop" to its central square, "pad" it
            with the background, or "stretch" it.
        crop: side in pixels of a central square that is cut out first, or None.
        background: a colour, a name or "#rrggbb", on which transparency is laid and padding is
            made.
        max_pixels: files with more pixels are refused.

    Raises:
        ValueError: a value that is not allowed.

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
        """One image as a model sees it.

        Args:
            image: the path of a file, the bytes of one, or a `PIL.Image`.

        Returns:
            float32 (image_size, image_size, channels) in [-1, 1].

        Raises:
            ValueError: it cannot be read as an image, has more than `max_pixels` pixels, or is
                smaller than `crop`.
        """
        return _scale(self.pixels(image))

    def batch(self, files: Sequence[Any], on_error: str = "raise") -> np.ndarray:
        """Images of many files, read in threads, in 8 bits, as a data set holds them.

        `batch(files) / 127.5 - 1` is what `__call__` makes of each.

        Args:
            files: paths, bytes of files or `PIL.Image`s.
            on_error: "raise", or "skip" to leave out files that cannot be read.

        Returns:
            uint8 (N, image_size, image_size, channels).

        Raises:
            ValueError: files cannot be read, all named at once.
        """
        return self.readable(files, on_error)[0]

    def readable(
        self, files: Sequence[Any], on_error: str = "raise"
    ) -> tuple[np.ndarray, np.ndarray]:
        """As `batch`, and which of the files could be read: bool (files,)."""
        return read_images(list(files), self.pixels, self.image_shape, on_error)

    def pixels(self, image: Any, name: str | None = None) -> np.ndarray:
        """One image in 8 bits: uint8 (image_size, image_size, channels).

        Args:
            image: as `__call__` takes it.
            name: what to call the image in an error; None for its path.
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
        """The square of an upright image without transparency, as an array."""
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
        """One image as a model sees it, by TensorFlow alone, for an exported model.

        The result is that of `__call__` within 0.02, except that a graph cannot read the EXIF
        orientation: whoever sends a file must turn it upright before, as
        `PIL.ImageOps.exif_transpose` does.

        Args:
            contents: scalar string tensor, the bytes of a PNG file (8 or 16 bits, grey, colour or
                palette, with transparency or without) or a JPEG file (grey, RGB or CMYK).

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
            # The background is 0 for a moment, which is what is padded with.
            before = (size - inner) // 2
            sides = tf.stack([before, size - inner - before], axis=1)
            ground = tf.constant(self._ground(), "float32")
            image = tf.pad(image - ground, tf.concat([sides, [[0, 0]]], axis=0)) + ground
        else:
            image = tf.image.resize(image, (size, size), antialias=True)
        return tf.ensure_shape(image / 127.5 - 1.0, self.image_shape)

    def _on_background(self, rgba: tf.Tensor) -> tf.Tensor:
        """Float (H, W, channels) from 0 to 255, of RGBA values."""
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
        """What is done, for people and programs: a dictionary of JSON values."""
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
        """The constructor's arguments."""
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
        """The preprocessor of what `get_config` returned."""
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
    """Whether images are given as files: a list of paths, bytes of files or `PIL.Image`s."""
    kinds = (str, os.PathLike, bytes, Image.Image)
    if isinstance(images, np.ndarray):
        return images.dtype.kind in "US" and images.ndim == 1 and len(images) > 0
    if not isinstance(images, (list, tuple)) or not images:
        return False
    return all(isinstance(image, kinds) for image in images)


def for_arrays(image_shape: tuple[int, ...], image_size: int) -> ImagePreprocessor | None:
    """The preprocessor that does to files what the pipeline does to arrays of images.

    Arrays are scaled and resized. A file that is not square is cropped, where the arrays are
    squares, and stretched as they are otherwise.

    Args:
        image_shape: (H, W, C) of the arrays.
        image_size: width to which they are resized.

    Returns:
        None for points, and for images of other than 1 or 3 channels.
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
    # Pillow's `crop` would refuse more pixels than its limit, which is not the one chosen.
    if side * side <= (Image.MAX_IMAGE_PIXELS or side * side):
        return image.crop((left, top, left + side, top + side))
    return Image.fromarray(np.asarray(image)[top : top + side, left : left + side])


def _cut_tensor(image: tf.Tensor, side: int | tf.Tensor) -> tf.Tensor:
    left = (tf.shape(image)[:2] - side) // 2
    return image[left[0] : left[0] + side, left[1] : left[1] + side]


def _decoded(contents: tf.Tensor) -> tf.Tensor:
    """RGBA values of a PNG or JPEG file, uint8 (H, W, 4)."""

    def jpeg() -> tf.Tensor:
        # The default of `dct_method` is faster, and off by up to 13 levels.
        image = tf.io.decode_jpeg(contents, channels=3, dct_method="INTEGER_ACCURATE")
        return tf.pad(image, [[0, 0], [0, 0], [0, 1]], constant_values=255)

    def png() -> tf.Tensor:
        return _with_opaque(tf.io.decode_png(contents, channels=4), contents)

    return tf.ensure_shape(tf.cond(tf.io.is_jpeg(contents), jpeg, png), (None, None, 4))


def _with_opaque(image: tf.Tensor, contents: tf.Tensor) -> tf.Tensor:
    """RGBA values whose alpha is 255 where the file has none.

    For files of 1, 2 or 4 bits `decode_png` fills in the most that so many bits hold, such as 1.
    """
    # A file may be shorter than its header.
    header = tf.strings.join([contents, "\0" * 32])
    depth = tf.io.decode_raw(tf.strings.substr(header, _PNG_DEPTH, 1), "uint8")[0]
    alpha = image[..., 3:]
    filler = tf.bitwise.left_shift(tf.constant(1, "uint8"), tf.minimum(depth, 7)) - 1
    filled = (depth < 8) & tf.reduce_all(tf.equal(alpha, filler))
    alpha = tf.where(filled, tf.fill(tf.shape(alpha), tf.constant(255, "uint8")), alpha)
    return tf.concat([image[..., :3], alpha], axis=-1)
