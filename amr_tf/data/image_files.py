"""From image files to arrays: decoding, cropping, fitting to a square."""

import concurrent.futures

import numpy as np
from PIL import Image, ImageOps

EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
# Whatever a file is called. Pillow would hand one that holds PostScript to Ghostscript.
_FORMATS = ("PNG", "JPEG", "BMP", "WEBP")
# Of one image: twice those of the largest photographs. A small file can say that it has any number.
_MOST_PIXELS = 100_000_000


def read_images(paths, image_size, crop=None, pad=False):
    """Reads image files as RGB squares.

    Args:
        paths: list of paths.
        image_size, crop, pad: as of `fit_to_square`.

    Returns:
        uint8 (N, image_size, image_size, 3).

    Raises:
        ValueError: a file cannot be read as a PNG, JPEG, BMP or WebP image, has more than 100
            million pixels, or is smaller than `crop`.
    """

    def read(path):
        return fit_to_square(_decode(path), image_size, crop, pad, name=path)

    images = np.empty((len(paths), image_size, image_size, 3), dtype="uint8")
    # Pillow decodes and resizes without Python's lock, so threads share the work.
    with concurrent.futures.ThreadPoolExecutor() as pool:
        for number, image in enumerate(pool.map(read, paths)):
            images[number] = image
    return images


def fit_to_square(image, image_size, crop=None, pad=False, name="image"):
    """Cuts and resizes one image.

    Args:
        image: a `PIL.Image` in RGB.
        image_size: width and height of the result.
        crop: side in pixels of the central square that is cut out first, or None.
        pad: whether an image that is no square is fitted into a white one, and not cropped to its
            central square.
        name: what to call the image in an error.

    Returns:
        uint8 (image_size, image_size, 3).

    Raises:
        ValueError: `crop` is more than the image's width or height.
    """
    size = (image_size, image_size)
    if crop is not None:
        image = _central_square(image, crop, name)
    if pad:
        square = ImageOps.pad(image, size, Image.Resampling.LANCZOS, color="white")
    else:
        square = ImageOps.fit(image, size, Image.Resampling.LANCZOS)
    return np.asarray(square, dtype="uint8")


def _central_square(image, side, name):
    width, height = image.size
    if side > min(width, height):
        raise ValueError(f"crop = {side} is more than the {width} x {height} pixels of '{name}'.")
    left, top = (width - side) // 2, (height - side) // 2
    return image.crop((left, top, left + side, top + side))


def _decode(path):
    try:
        with Image.open(path, formats=_FORMATS) as image:
            if image.width * image.height > _MOST_PIXELS:
                raise ValueError(
                    f"it has {image.width} x {image.height} pixels; at most {_MOST_PIXELS:,} are "
                    "allowed"
                )
            # Applies the camera's orientation, which viewers do and decoders do not.
            return _eight_bits(ImageOps.exif_transpose(image)).convert("RGB")
    except Exception as error:  # Pillow's decoders raise nearly anything for broken files.
        raise ValueError(f"'{path}' cannot be read as an image: {error}") from error


def _eight_bits(image):
    """A 16-bit grayscale image scaled to 8 bits, where Pillow's own conversion would clip it."""
    if not image.mode.startswith("I"):
        return image
    return Image.fromarray(np.round(np.asarray(image) / 257).astype("uint8"))
