"""dSprites [Matthey et al. 2017], generated: every image is computed from its factors.

White sprites on black, in all combinations of five factors, of which the first varies slowest:

| factor | values |
|---|---|
| shape | square, ellipse, heart |
| scale | 6, from 0.5 to 1 |
| orientation | 40, from 0 to 2 pi, anticlockwise; the first and last agree, as in the original |
| x_position | 32, one pixel apart, to the right |
| y_position | 32, one pixel apart, downwards |

These are not the original files, which `dsprites_tfds` reads. Order, factors, size and mean
brightness match the original, but outlines differ by a few pixels, the heart has a different shape,
and some small sprites at nearly the same angle look the same.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from amr_tf.data.attributes import choose_attributes
from amr_tf.data.lazy import LazyImages
from amr_tf.data.sources import DATASETS, Source
from amr_tf.data.splits import Split, split_off

FACTOR_NAMES = ("shape", "scale", "orientation", "x_position", "y_position")
FACTOR_SIZES = (3, 6, 40, 32, 32)
SHAPES = ("square", "ellipse", "heart")
SCALES = np.linspace(0.5, 1.0, FACTOR_SIZES[1])
ORIENTATIONS = np.linspace(0.0, 2 * np.pi, FACTOR_SIZES[2])
IMAGE_SHAPE = (64, 64, 1)
COUNT = int(np.prod(FACTOR_SIZES))
ATTRIBUTE_NAMES = ("square", "ellipse", "large", "right", "low")

_TEST_FRACTION = 0.1
_HALF_SIDE = 8.6  # Of the largest square, in pixels. Each scale then adds two pixels of width.
_AREA = (2 * _HALF_SIDE) ** 2
_ELLIPSE_STRETCH = 1.25
_HEART_AREA, _HEART_CENTRE = 3.66197, 0.29348  # Area and centroid (0, c) of the heart's curve.
# Width of a canvas, in which a window of an image's size can take all positions.
_CANVAS = IMAGE_SHAPE[0] + FACTOR_SIZES[3] - 1
_CANVAS_CENTRE = _CANVAS // 2


def factors_of(indices: np.ndarray) -> np.ndarray:
    """Returns the factors of images.

    Args:
        indices: integers (N,) from 0 to 737,279.

    Returns:
        int64 (N, 5), the index of each factor's value, in the order of `FACTOR_NAMES`.

    Raises:
        ValueError: an index is out of range.
    """
    indices = np.asarray(indices)
    if indices.size and not 0 <= indices.min() <= indices.max() < COUNT:
        raise ValueError(
            f"indices must lie in 0 to {COUNT - 1}; got {indices.min()} to {indices.max()}."
        )
    return np.stack(np.unravel_index(indices, FACTOR_SIZES), axis=-1).astype("int64")


def index_of(factors: np.ndarray) -> np.ndarray:
    """Returns the indices of images, the inverse of `factors_of`.

    Args:
        factors: integers (N, 5), each below its entry of `FACTOR_SIZES`.

    Returns:
        int64 (N,).

    Raises:
        ValueError: a factor is out of range, or there are not five.
    """
    return np.ravel_multi_index(_columns(factors), FACTOR_SIZES).astype("int64")


def render(factors: np.ndarray) -> np.ndarray:
    """Draws the images with the given factors.

    Args:
        factors: integers (N, 5), each below its entry of `FACTOR_SIZES`.

    Returns:
        uint8 (N, 64, 64, 1), 0 or 255.

    Raises:
        ValueError: a factor is out of range, or there are not five.
    """
    shape, scale, orientation, x, y = _columns(factors)
    last = FACTOR_SIZES[3] - 1
    # Moving the window left and up moves the sprite right and down.
    return _windows()[shape, scale, orientation, last - y, last - x][..., None]


def draw_sprite(shape: str, scale: float, angle: float) -> np.ndarray:
    """Draws a sprite in the middle of an empty canvas, as the pixels whose centres it covers.

    Args:
        shape: "square", "ellipse" or "heart".
        scale: size, 1 for the largest in the data set.
        angle: angle in radians, anticlockwise.

    Returns:
        bool (95, 95); the sprite's centroid lies at the corner between pixels 46 and 47.
    """
    offsets = (np.arange(_CANVAS) + 0.5 - _CANVAS_CENTRE) / scale
    right, up = offsets[None, :], -offsets[:, None]
    cosine, sine = np.cos(angle), np.sin(angle)
    return _INSIDE[shape](cosine * right + sine * up, cosine * up - sine * right)


def _in_square(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.maximum(abs(x), abs(y)) <= _HALF_SIDE


def _in_ellipse(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (x / _ELLIPSE_STRETCH) ** 2 + (y * _ELLIPSE_STRETCH) ** 2 <= _AREA / np.pi


def _in_heart(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Returns whether points lie inside the curve (x^2 + y^2 - 1)^3 = x^2 y^3."""
    unit = np.sqrt(_AREA / _HEART_AREA)
    x, y = x / unit, y / unit + _HEART_CENTRE
    return (x**2 + y**2 - 1) ** 3 <= x**2 * y**3


_INSIDE = {"square": _in_square, "ellipse": _in_ellipse, "heart": _in_heart}


@functools.cache
def _windows() -> np.ndarray:
    """Returns all images without their channel axis, as a view into the 720 canvases.

    The result is uint8 (3, 6, 40, 32, 32, 64, 64), but takes only 6.5 MB. Since positions are one
    pixel apart, an image is a window of its sprite's canvas.
    """
    sprites = [
        draw_sprite(shape, scale, angle)
        for shape in SHAPES
        for scale in SCALES
        for angle in ORIENTATIONS
    ]
    canvases = np.reshape(sprites, (*FACTOR_SIZES[:3], _CANVAS, _CANVAS)).astype("uint8") * 255
    return np.lib.stride_tricks.sliding_window_view(canvases, IMAGE_SHAPE[:2], axis=(-2, -1))


def _columns(factors: np.ndarray) -> tuple[np.ndarray, ...]:
    """Checks the factors and returns the five columns, each int64 (N,)."""
    factors = np.asarray(factors, dtype="int64")
    if factors.ndim != 2 or factors.shape[1] != len(FACTOR_SIZES):
        raise ValueError(f"factors must have the shape (N, 5); got {factors.shape}.")
    for name, size, column in zip(FACTOR_NAMES, FACTOR_SIZES, factors.T):
        if len(column) and not 0 <= column.min() <= column.max() < size:
            raise ValueError(
                f"{name} must lie in 0 to {size - 1}; got {column.min()} to {column.max()}."
            )
    return tuple(factors.T)


def attributes_of(factors: np.ndarray) -> np.ndarray:
    """Returns binary attributes computed from the factors.

    Args:
        factors: integers (N, 5).

    Returns:
        int64 (N, 5) in {0, 1}, in the order of `ATTRIBUTE_NAMES`: a square; an ellipse; scale 0.8
        or more; the right half of the x positions; the lower half of the y positions.
    """
    shape, scale, _, x, y = _columns(factors)
    half = FACTOR_SIZES[3] // 2
    return np.stack([shape == 0, shape == 1, scale >= 3, x >= half, y >= half], axis=1).astype(
        "int64"
    )


def factor_source(images: np.ndarray | LazyImages, factors: np.ndarray) -> Source:
    """Creates a `Source` of all sprites, labelled by shape, with a fixed tenth for testing.

    Args:
        images: array-like of uint8 (N, 64, 64, 1).
        factors: int64 (N, 5).
    """
    train, test = split_off(Split(images, factors[:, 0], factors), _TEST_FRACTION, seed=0)
    return Source(
        train,
        test,
        SHAPES,
        image_size=IMAGE_SHAPE[0],
        factor_names=FACTOR_NAMES,
        factor_sizes=FACTOR_SIZES,
    )


@DATASETS.register("dsprites")
def _dsprites() -> Source:
    """737,280 generated sprites, labelled by shape and rendered on demand."""
    numbers = np.arange(COUNT)
    images = LazyImages(lambda chosen: render(factors_of(chosen)), numbers, IMAGE_SHAPE)
    return factor_source(images, factors_of(numbers))


@DATASETS.register("dsprites_attributes")
def _dsprites_attributes(attributes: Sequence[str] | str | None = None) -> Source:
    """The sprites of `dsprites`, labelled with binary attributes: see `attributes_of`."""
    names, columns = choose_attributes(ATTRIBUTE_NAMES, attributes)
    source = _dsprites()

    def relabel(split: Any) -> Split:
        return dataclasses.replace(split, labels=attributes_of(split.factors)[:, columns])

    return dataclasses.replace(
        source,
        train=relabel(source.train),
        test=relabel(source.test),
        class_names=names,
        multi_label=True,
    )
