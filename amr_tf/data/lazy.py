"""Images that are made only when they are looked at."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np


class LazyImages:
    """An array-like of uint8 images: indexing chooses images, `np.asarray` makes them.

    It stands in a `Split` where an array of all images would not fit into memory: `lazy[indices]`
    is another view, without any image made; `lazy[3]`, `lazy[:, 0]` and `np.asarray(lazy)` make
    theirs.

    Args:
        render: function from int64 numbers (N,) to uint8 images (N, H, W, C); the same number
            must always give the same image.
        numbers: int64 (N,), what `render` is given for each image.
        image_shape: (H, W, C).
        names: a string for each number that `render` knows, such as a file's name; or None.

    Example:

    >>> def black(numbers):
    ...     return np.zeros((len(numbers), 8, 8, 1), dtype="uint8")
    >>> lazy = LazyImages(black, np.arange(10**6), (8, 8, 1))
    >>> lazy[::2].shape
    (500000, 8, 8, 1)
    >>> np.asarray(lazy[:3]).dtype
    dtype('uint8')
    """

    dtype = np.dtype("uint8")
    ndim = 4

    def __init__(
        self,
        render: Callable[[np.ndarray], np.ndarray],
        numbers: np.ndarray,
        image_shape: tuple[int, ...],
        names: Sequence[str] | None = None,
    ) -> None:
        self._render = render
        self._names = names
        self._numbers = np.asarray(numbers, dtype="int64")
        self._image_shape = tuple(image_shape)

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, H, W, C)."""
        return (len(self._numbers), *self._image_shape)

    @property
    def names(self) -> list[str] | None:
        """The images' names, a list, or None."""
        return None if self._names is None else [self._names[number] for number in self._numbers]

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, tuple):  # Parts of images, which must be made for that.
            chosen = self[key[0]]
            if isinstance(chosen, LazyImages):
                return np.asarray(chosen)[(slice(None), *key[1:])]
            return chosen[key[1:]]
        numbers = self._numbers[key]
        if numbers.ndim == 0:
            return self._render(numbers[None])[0]
        return LazyImages(self._render, numbers, self._image_shape, self._names)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("Lazy images cannot be had without a copy: they are not in memory.")
        return np.asarray(self._render(self._numbers), dtype=dtype)
