"""The two-dimensional spiral of the paper's supplement (7.3, figure 12), generated.

The paper only says "points along the spiral"; turns, size and noise are choices of this library.
"""

import functools
from typing import Any

import numpy as np

from amr_tf.data.sources import DATASETS, Source
from amr_tf.data.splits import Split

TRAIN_COUNT, TEST_COUNT = 10_000, 2_000
TURNS = 2
RADIUS = 0.9
NOISE = 0.01  # Standard deviation; the arms are 0.45 apart.
_SEED = 0
_CURVE_POINTS = 200_000  # At most 6e-5 apart.


def spiral_points(t: np.ndarray) -> np.ndarray:
    """Returns points of an Archimedean spiral, without noise.

    Args:
        t: float (N,) in [0, 1]. Radius and angle grow from 0 in proportion to it.

    Returns:
        float32 (N, 2) in [-0.9, 0.9].

    Raises:
        ValueError: a `t` is out of range.
    """
    t = np.asarray(t, dtype="float64")
    if t.size and not 0 <= t.min() <= t.max() <= 1:
        raise ValueError(f"t must lie in [0, 1]; got {t.min():g} to {t.max():g}.")
    angle = 2 * np.pi * TURNS * t
    points = RADIUS * t[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return points.astype("float32")


def sample_spiral(count: int, seed: int, noise: float = NOISE) -> np.ndarray:
    """Draws points approximately uniformly along the spiral, with Gaussian noise.

    Args:
        count: number of points.
        seed: seed of the points and the noise.
        noise: standard deviation of each coordinate's noise, 0 for none.

    Returns:
        float32 (count, 2), clipped to [-1, 1].
    """
    generator = np.random.default_rng(seed)
    # The curve's length grows with the square of t, except near the origin.
    points = spiral_points(np.sqrt(generator.uniform(size=count)))
    noisy = points + noise * generator.standard_normal(points.shape)
    return np.clip(noisy, -1, 1).astype("float32")


def distance_to_spiral(points: np.ndarray) -> np.ndarray:
    """Returns the distance of points to the noiseless spiral.

    Args:
        points: float (N, 2).

    Returns:
        float64 (N,), overestimated by at most 3e-5.
    """
    return _curve().query(np.asarray(points, dtype="float64"))[0]


@functools.cache
def _curve() -> Any:
    """Returns a search tree of densely sampled points of the spiral."""
    from scipy.spatial import KDTree

    return KDTree(spiral_points(np.linspace(0, 1, _CURVE_POINTS)))


@DATASETS.register("spiral")
def _spiral() -> Source:
    """10,000 training and 2,000 test points with noise, without labels."""
    points = sample_spiral(TRAIN_COUNT + TEST_COUNT, _SEED)
    train, test = (Split(part, None) for part in np.split(points, [TRAIN_COUNT]))
    return Source(train, test, class_names=None, image_size=None)
