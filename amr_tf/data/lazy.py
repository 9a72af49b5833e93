"""Images that are created only when needed."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np


class LazyImages:
    """An array-like of uint8 images: indexing selects images, and `np.asarray` creates them.

    It serves as the images of a `Split` if an array of all images would not fit into memory.
    `lazy[indices]` is another view and creates no images; `lazy[3]`, `lazy[:, 0]` and
    `np.asarray(lazy)` create the images they need.

    Args:
        render: function from int64 numbers (N,) to uint8 images (N, H, W, C). The same number must
            always give the same image.
        numbers: int64 (N,), the argument of `render` for each image.
        image_shape: (H, W, C).
        names: a string for every number that `render` accepts, such as a file name; or None.

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
        """List of the images' names, or None."""
        return None if self._names is None else [self._names[number] for number in self._numbers]

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, tuple):  # Selects parts of images, which must be created first.
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
