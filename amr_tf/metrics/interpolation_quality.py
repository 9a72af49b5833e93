"""Realism and smoothness of interpolations between lines [Berthelot et al. 2019, section 4.1].

The definitions follow the authors' code (`line_eval`): images in [-1, 1], cosine distances, and
unwrapped matched angles. The docstrings state all differences.
"""

import numpy as np
import sklearn
from sklearn.metrics import pairwise_distances_argmin_min

from amr_tf import checks
from amr_tf.data.lines import draw_lines
from amr_tf.models.base import ResynthesisModel

STEPS = 16  # Images per interpolation, as in ACAI.
CANDIDATES = 5_000  # Number of real lines that an image is compared with (10,000 in ACAI's code).
_SMALLEST_TURN = 1e-4  # Radians, as in ACAI's code; smaller turns cannot be divided by.
_WORKING_MEMORY = 64  # MiB of distances at a time.


def interpolation_quality(images: np.ndarray, candidates: int = CANDIDATES) -> dict[str, float]:
    """Computes the mean distance and smoothness of interpolations between lines.

    Each image is matched with the nearest of many real lines at equally spaced angles, by the
    cosine distance of pixels in [-1, 1]. With matched angles theta_1 to theta_S, the metrics are:

    - "mean_distance": mean distance to the matched line, over all images. 0 is perfect.
    - "smoothness": mean over interpolations of max_n |theta_n+1 - theta_n| / |theta_S - theta_1| -
      1 / (S - 1), the largest step as a share of the turn, minus its share in an even
      interpolation. 0 is perfect, and (S - 2) / (S - 1) is a single jump. Angles are unwrapped
      first (each step takes the shorter way round), so an even turn the long way round also
      scores 0. Smoothness is undefined if both ends match the same line. ACAI's code omits such
      interpolations from the sum but counts them in the mean, which rewards a collapsed decoder.
      Here they are omitted from both, and their number is returned.
    - "excess_travel" (not part of ACAI): the sum of |theta_n+1 - theta_n| over all
      interpolations, divided by the sum of the shortest turns from theta_1 to theta_S, minus 1. It
      detects what smoothness does not: 0 is straight, and 2 is 270 degrees instead of 90. It is a
      ratio of sums, since individual ratios explode for close ends.

    Scaling an image by a positive number does not change the metrics; shifting its values does.

    Args:
        images: float (N, S, size, size, 1), with S at least 2, including both ends. Values are in
            [-1, 1], which decoded images may exceed.
        candidates: number of real lines to match with. Matched angles are multiples of
            2 pi / candidates, so perfect lines do not score exactly 0.

    Returns:
        A dictionary of the three metrics, and of "undefined", the number of interpolations
        without a smoothness. If this is all of them, "smoothness" and "excess_travel" are NaN.

    Raises:
        ValueError: the images have the wrong shape, are empty, or are not finite.
    """
    images = np.asarray(images)
    _check_interpolations(images)
    checks.check_positive_integer("candidates", candidates)
    distances, angles = _nearest_lines(images.reshape(-1, *images.shape[2:]), candidates)
    angles = np.unwrap(angles.reshape(images.shape[:2]))
    steps = abs(np.diff(angles))
    turn = abs(angles[:, -1] - angles[:, 0])
    # The turn in the other direction may be shorter than the one taken.
    shortest = abs(np.angle(np.exp(1j * turn)))
    defined = turn >= _SMALLEST_TURN
    uneven = steps[defined].max(axis=1) / turn[defined] - 1 / steps.shape[1]
    return {
        "mean_distance": float(distances.mean()),
        "smoothness": float(uneven.mean()) if defined.any() else float("nan"),
        "excess_travel": _excess(steps[defined].sum(), shortest[defined].sum()),
        "undefined": int((~defined).sum()),
    }


def model_interpolation_quality(
    model: ResynthesisModel,
    pairs: int = 1_000,
    steps: int = STEPS,
    seed: int = 0,
    smallest_turn: float = np.pi / 36,
    batch_size: int = 256,
) -> dict[str, float]:
    """Computes `interpolation_quality` of a model between lines at random angles.

    Args:
        model: a trained `ResynthesisModel` of lines, with images of shape (size, size, 1).
        pairs: number of pairs of lines to interpolate between.
        steps: number of images per interpolation, including both ends.
        seed: seed of the angles. Use the same for all models to be compared.
        smallest_turn: see `draw_angles`.
        batch_size: number of images decoded at a time.

    Returns:
        See `interpolation_quality`.

    Raises:
        ValueError: the model's images are not lines, or an argument is out of range.
    """
    size = _line_size(model.image_shape)
    first, second = draw_angles(pairs, seed, smallest_turn)
    images = model.interpolate(_render(first, size), _render(second, size), steps, batch_size)
    return interpolation_quality(images)


def ends_of_the_scale(
    pairs: int = 1_000,
    steps: int = STEPS,
    seed: int = 0,
    smallest_turn: float = np.pi / 36,
    size: int = 32,
) -> dict[str, dict[str, float]]:
    """Computes reference scores: of blended pixels and of perfect interpolations.

    They use the same pairs as `model_interpolation_quality`.

    Args:
        pairs: see `model_interpolation_quality`.
        steps: see `model_interpolation_quality`.
        seed: see `model_interpolation_quality`.
        smallest_turn: see `model_interpolation_quality`.
        size: width and height of the images.

    Returns:
        A dictionary with "pixel" and "perfect", each with the results of
        `interpolation_quality`.
    """
    first, second = draw_angles(pairs, seed, smallest_turn)
    blended = pixel_interpolation(_render(first, size), _render(second, size), steps)
    drawn = perfect_interpolation(first, second, steps, size)
    return {"pixel": interpolation_quality(blended), "perfect": interpolation_quality(drawn)}


def draw_angles(
    pairs: int, seed: int = 0, smallest_turn: float = np.pi / 36
) -> tuple[np.ndarray, np.ndarray]:
    """Draws random pairs of angles.

    Args:
        pairs: number of pairs.
        seed: seed of the angles.
        smallest_turn: smallest difference in radians between the angles of a pair, at least 0 and
            below pi. ACAI's code has no such limit (0), so its results depend strongly on the few
            pairs with close ends, since smoothness divides by the turn.

    Returns:
        Two float64 arrays (pairs,) in radians. First angles, turns from `smallest_turn` to pi, and
        the direction are uniformly distributed.

    Raises:
        ValueError: an argument is out of range.
    """
    checks.check_positive_integer("pairs", pairs)
    checks.check_not_negative("smallest_turn", smallest_turn)
    if smallest_turn >= np.pi:
        raise ValueError(f"smallest_turn must lie below pi; got {smallest_turn!r}.")
    generator = np.random.default_rng(seed)
    first = generator.uniform(0, 2 * np.pi, pairs)
    turns = generator.uniform(smallest_turn, np.pi, pairs) * generator.choice([-1, 1], pairs)
    return first, (first + turns) % (2 * np.pi)


def pixel_interpolation(
    images_a: np.ndarray, images_b: np.ndarray, steps: int = STEPS
) -> np.ndarray:
    """Blends images in pixel space, as a reference for poor interpolations.

    Args:
        images_a: (N, H, W, C), the first step.
        images_b: (N, H, W, C), the last step.
        steps: number of images per line, at least 2, including both ends.

    Returns:
        NumPy array (N, steps, H, W, C), float32 for float32 images.

    Raises:
        ValueError: the images differ in shape, or there are too few steps.
    """
    images_a, images_b = np.asarray(images_a), np.asarray(images_b)
    if images_a.shape != images_b.shape or images_a.ndim != 4:
        raise ValueError(
            "images_a and images_b must have the same shape (N, H, W, C); got "
            f"{images_a.shape} and {images_b.shape}."
        )
    shares = _shares(steps).astype("float32").reshape(1, -1, 1, 1, 1)
    return (1 - shares) * images_a[:, None] + shares * images_b[:, None]


def perfect_interpolation(
    angles_a: np.ndarray, angles_b: np.ndarray, steps: int = STEPS, size: int = 32
) -> np.ndarray:
    """Draws lines at equally spaced angles along the shorter arc, as a perfect reference.

    Args:
        angles_a: angles in radians (N,) of the first step.
        angles_b: angles in radians (N,) of the last step.
        steps: number of images per line, at least 2, including both ends.
        size: width and height of the images.

    Returns:
        float32 (N, steps, size, size, 1) in [-1, 1].

    Raises:
        ValueError: the angles differ in number or are not finite, or there are too few steps.
    """
    angles_a, angles_b = (np.asarray(angles, "float64") for angles in (angles_a, angles_b))
    if angles_a.shape != angles_b.shape or angles_a.ndim != 1:
        raise ValueError(
            "angles_a and angles_b must have the same shape (N,); got "
            f"{angles_a.shape} and {angles_b.shape}."
        )
    if not np.isfinite(angles_a).all() or not np.isfinite(angles_b).all():
        raise ValueError("angles must be finite; they hold NaN or infinite values.")
    turns = np.angle(np.exp(1j * (angles_b - angles_a)))
    angles = angles_a[:, None] + turns[:, None] * _shares(steps)
    return _render(angles.ravel(), size).reshape(len(angles), steps, size, size, 1)


def _nearest_lines(images: np.ndarray, candidates: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns cosine distances (N,) to the nearest real lines, and their angles in [0, 2 pi)."""
    angles = np.linspace(0, 2 * np.pi, candidates, endpoint=False)
    # In float64, since adjacent lines differ by less than float32 can resolve. An image of zeros
    # has no direction: its distance from every line is 1.
    rows, lines = (
        each.reshape(len(each), -1).astype("float64")
        for each in (images, _render(angles, images.shape[1]))
    )
    with sklearn.config_context(working_memory=_WORKING_MEMORY):
        nearest, distances = pairwise_distances_argmin_min(rows, lines, metric="cosine")
    return distances, angles[nearest]


def _excess(travelled: float, shortest: float) -> float:
    if shortest < _SMALLEST_TURN:
        return float("nan")
    return max(float(travelled / shortest - 1), 0.0)  # May be negative through rounding.


def _render(angles: np.ndarray, size: int) -> np.ndarray:
    """Draws lines as models see them, float32 (N, size, size, 1) in [-1, 1]."""
    return draw_lines(angles, size).astype("float32") / 127.5 - 1


def _shares(steps: int) -> np.ndarray:
    """Returns the weight of the second end in each step."""
    checks.check_steps(steps)
    return np.linspace(0, 1, steps)


def _line_size(image_shape: tuple[int, ...]) -> int:
    """Checks the shape of images of lines and returns their width."""
    if len(image_shape) != 3 or image_shape[0] != image_shape[1] or image_shape[2] != 1:
        raise ValueError(f"Images of lines have the shape (size, size, 1); got {image_shape}.")
    return image_shape[0]


def _check_interpolations(images: np.ndarray) -> None:
    """Raises a ValueError unless `images` are finite interpolations of lines."""
    if images.ndim != 5 or images.shape[1] < 2 or not images.size:
        raise ValueError(
            "Interpolations must have the shape (N, steps, size, size, 1) with N at least 1 and "
            f"steps at least 2; got {images.shape}."
        )
    _line_size(images.shape[2:])
    if not np.issubdtype(images.dtype, np.floating):
        raise ValueError(f"Interpolations must be floating point; got {images.dtype}.")
    if not np.isfinite(images).all():
        raise ValueError("Interpolations must be finite; they hold NaN or infinite values.")
