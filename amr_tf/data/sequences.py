"""Any sequence of pictures as images of a `Split`: Hugging Face data sets, PyTorch's, lists."""

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
    """Pictures of a sequence, read when a batch asks for them.

    Args:
        items: anything with a length and an item for each number: a `datasets.Dataset` of Hugging
            Face, a `torch.utils.data.Dataset`, a `tfds.data_source`, a list.
        preprocessor: makes what a model sees of a picture.
        image: which part of an item is the picture: a key or a position of it, a function of the
            item, or None for the whole item. A picture is a `PIL.Image`, an array of uint8 (H, W),
            (H, W, 1), (H, W, 3) or (H, W, 4), the path of a file, or the bytes of one.

    Returns:
        `LazyImages`, uint8 (N, image_size, image_size, channels), for a `Split`.

    Raises:
        ValueError: an item has no such part. It is raised for the first item at once.

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
        # Threads: Pillow decodes and resizes without Python's lock.
        if len(numbers) < 2:
            return np.stack([read(number) for number in numbers.tolist()])
        return np.stack(list(_pool().map(read, numbers.tolist())))

    if not len(items):
        raise ValueError("items is empty: it must hold at least one picture.")
    read(0)
    return LazyImages(render, np.arange(len(items)), preprocessor.image_shape)


_pools: list[concurrent.futures.ThreadPoolExecutor] = []


def _pool() -> concurrent.futures.ThreadPoolExecutor:
    """One pool for all: each batch would start threads of its own."""
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
    """A picture as a preprocessor takes it."""
    if isinstance(picture, np.ndarray):
        if picture.dtype != np.uint8:
            raise ValueError(f"Pictures must be arrays of uint8; got {picture.dtype.name}.")
        return Image.fromarray(picture[..., 0] if picture.shape[2:] == (1,) else picture)
    if isinstance(picture, dict):  # Hugging Face's, not decoded.
        picture = picture.get("bytes") or picture.get("path")
    if not isinstance(picture, (Image.Image, str, os.PathLike, bytes)):
        raise ValueError(
            "A picture must be a PIL.Image, an array of uint8, or the path or bytes of a file; got "
            f"{type(picture).__name__}."
        )
    return picture
