"""Sequences of pictures as images of a `Split`: Hugging Face or PyTorch data sets, lists."""

import concurrent.futures
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from PIL import Image

from amr_tf.data.lazy import LazyImages
from amr_tf.data.preprocessing import ImagePreprocessor
from amr_tf.registry import unknown_name


def images_of(
    items: Any, preprocessor: ImagePreprocessor, image: str | int | Callable | None = None
) -> LazyImages:
    """Wraps the pictures of a sequence, to be read only when a batch needs them.

    Args:
        items: an object with a length and integer indexing: a Hugging Face `datasets.Dataset`, a
            `torch.utils.data.Dataset`, a `tfds.data_source`, a list.
        preprocessor: an `ImagePreprocessor` that converts pictures for the model.
        image: the part of an item that is the picture: a key or index, a function of the item, or
            None for the whole item. A picture is a `PIL.Image`, a uint8 array (H, W), (H, W, 1),
            (H, W, 3) or (H, W, 4), the path of a file, or the bytes of a file.

    Returns:
        `LazyImages`, uint8 (N, image_size, image_size, channels), for a `Split`.

    Raises:
        ValueError: there are no items, or an item has no such part. The first item is checked
            immediately.

    Example:

    >>> from PIL import Image
    >>> items = [{"image": Image.new("RGB", (40, 30), "red"), "label": 1}] * 3
    >>> images = images_of(items, ImagePreprocessor(16), image="image")
    >>> images.shape
    (3, 16, 16, 3)
    """

    def read(number: int) -> np.ndarray:
        return preprocessor.pixels(_picture(_part(items[number], image)), f"image {number}")

    def render(numbers: np.ndarray) -> np.ndarray:
        # Pillow releases the GIL while it decodes and resizes, so threads run in parallel.
        if len(numbers) < 2:
            return np.stack([read(number) for number in numbers.tolist()])
        return np.stack(list(_pool().map(read, numbers.tolist())))

    if not len(items):
        raise ValueError("items is empty: it must hold at least one picture.")
    read(0)
    return LazyImages(render, np.arange(len(items)), preprocessor.image_shape)


_pools: list[concurrent.futures.ThreadPoolExecutor] = []


def _pool() -> concurrent.futures.ThreadPoolExecutor:
    """Returns a shared pool of threads, so that batches do not start new ones."""
    if not _pools:
        _pools.append(concurrent.futures.ThreadPoolExecutor())
    return _pools[0]


def _part(item: Any, image: str | int | Callable | None) -> Any:
    if image is None:
        return item
    if callable(image):
        return image(item)
    try:
        return item[image]
    except (KeyError, IndexError, TypeError):
        if isinstance(item, dict):
            raise unknown_name("part of an item", image, map(str, item)) from None
        what = f"a {type(item).__name__}" + (
            f" of {len(item)} parts" if isinstance(item, Sequence) else ""
        )
        raise ValueError(f"image = {image!r} is not a part of an item, which is {what}.") from None


def _picture(picture: Any) -> Any:
    """Converts a picture to a type that a preprocessor accepts."""
    if isinstance(picture, np.ndarray):
        if picture.dtype != np.uint8:
            raise ValueError(f"Pictures must be arrays of uint8; got {picture.dtype.name}.")
        return Image.fromarray(picture[..., 0] if picture.shape[2:] == (1,) else picture)
    if isinstance(picture, dict):  # An undecoded picture from Hugging Face.
        picture = picture.get("bytes") or picture.get("path")
    if not isinstance(picture, (Image.Image, str, os.PathLike, bytes)):
        raise ValueError(
            "A picture must be a PIL.Image, an array of uint8, or the path or bytes of a file; got "
            f"{type(picture).__name__}."
        )
    return picture
