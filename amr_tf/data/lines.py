"""ACAI's synthetic lines [Berthelot et al. 2019], generated."""

import numpy as np

from amr_tf.data.sources import DATASETS, Source
from amr_tf.data.splits import Split

TRAIN_COUNT, TEST_COUNT = 10_000, 2_000
_SIZE = 32
_LINE_WIDTH = 2.0  # In pixels, as in ACAI's code.
_SEED = 0
_CHUNK = 1024


def draw_lines(angles: np.ndarray, size: int = _SIZE) -> np.ndarray:
    """Draws anti-aliased lines from the centre of the image outward.

    A line is half as long as the image is wide (16 of 32 pixels), and 2 pixels wide. A pixel's
    brightness is the share of it that the line covers. This is exact for lines along the grid, and
    otherwise computed from the distances of the pixel's centre to the line's edges. (ACAI's code
    draws lines one pixel shorter, and measures their width along a row or column.)

    Args:
        angles: angles in radians (N,), anticlockwise from the right.
        size: width and height of the images.

    Returns:
        uint8 (N, size, size, 1): 255 on the line, 0 elsewhere.
    """
    angles = np.asarray(angles, dtype="float64")
    images = np.empty((len(angles), size, size, 1), dtype="uint8")
    for start in range(0, len(angles), _CHUNK):
        chunk = slice(start, start + _CHUNK)
        images[chunk, ..., 0] = np.round(255 * _coverage(angles[chunk], size))
    return images


def _coverage(angles: np.ndarray, size: int) -> np.ndarray:
    """Returns the covered share of each pixel, float64 (N, size, size) in [0, 1]."""
    offsets = np.arange(size) + 0.5 - size / 2
    right, up = offsets[None, None, :], -offsets[None, :, None]
    cosine, sine = (part[:, None, None] for part in (np.cos(angles), np.sin(angles)))
    along = cosine * right + sine * up
    across = cosine * up - sine * right
    lengthwise = np.minimum(along, size / 2 - along) + 0.5
    crosswise = _LINE_WIDTH / 2 - abs(across) + 0.5
    return np.clip(lengthwise, 0, 1) * np.clip(crosswise, 0, 1)


@DATASETS.register("lines")
def _lines() -> Source:
    """10,000 training and 2,000 test images of lines at random angles, without labels."""
    angles = np.random.default_rng(_SEED).uniform(0, 2 * np.pi, TRAIN_COUNT + TEST_COUNT)
    images = draw_lines(angles)
    train, test = (Split(part, None) for part in np.split(images, [TRAIN_COUNT]))
    return Source(train, test, class_names=None, image_size=_SIZE)
