"""How real and how even interpolations of lines are [Berthelot et al. 2019, section 4.1].

The definitions are those of the authors' code (`line_eval`): images in [-1, 1], cosine distances,
matched angles unwrapped. Where ours differ, the docstrings say so.
"""

import numpy as np

from amr_tf import checks
from amr_tf.data.lines import draw_lines
from amr_tf.models.base import ResynthesisModel

STEPS = 16  # ACAI's images per interpolation.
CANDIDATES = 5_000  # Real lines that an image is compared with (10,000 in ACAI's code).
_SMALLEST_TURN = 1e-4  # Radians, as in ACAI's code: below it there is nothing to divide by.
_CHUNK = 1024


def interpolation_quality(images: np.ndarray, candidates: int = CANDIDATES) -> dict[str, float]:
    """Mean Distance and Smoothness of interpolations between lines.

    Each image is matched with the nearest of real lines at equally spaced angles, by the cosine
    distance of pixels in [-1, 1]. Then, for matched angles theta_1 to theta_S:

    - "mean_distance": the mean distance to the matched line, over all images. 0 is perfect.
    - "smoothness": max_n |theta_n+1 - theta_n| / |theta_S - theta_1| - 1 / (S - 1), the largest
      step as a share of the way, less its share in an even interpolation; the mean over the
      interpolations. 0 is perfect, (S - 2) / (S - 1) is one jump. Angles are unwrapped first
      (each step goes the shorter way round), so an even turn the long way round scores 0 too.
      It is undefined where both ends match the same line. ACAI's code leaves these out of the sum
      but counts them in the mean, which rewards a decoder that collapses; here they are left out
      of both, and counted.
    - "excess_travel": ours, not ACAI's. The sum of |theta_n+1 - theta_n| over all interpolations,
      divided by the sum of the shortest ways from theta_1 to theta_S, less 1. It sees what
      smoothness does not: 0 is straight, 2 is 270 degrees in place of 90. A ratio of sums, since
      single ratios explode where the ends are near each other.

    Scaling the values of an image by a positive number changes nothing; shifting them does.

    Args:
        images: float (N, S, size, size, 1), S at least 2, in [-1, 1] but for what a decoder
            overshoots; both ends included.
        candidates: how many real lines to match with. The matched angles are multiples of
            2 pi / candidates, and so the scores of perfect lines are not exactly 0.

    Returns:
        A dictionary of the three figures, and of "undefined", the number of interpolations
        without a smoothness. "smoothness" and "excess_travel" are NaN if that is all of them.

    Raises:
        ValueError: the images have another shape, are empty, or not finite.
    """
    images = np.asarray(images)
    _check_interpolations(images)
    checks.check_positive_integer("candidates", candidates)
    distances, angles = _nearest_lines(images.reshape(-1, *images.shape[2:]), candidates)
    angles = np.unwrap(angles.reshape(images.shape[:2]))
    steps = abs(np.diff(angles))
    turn = abs(angles[:, -1] - angles[:, 0])
    # The way round the other side may be shorter than the one that was gone.
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
    """`interpolation_quality` of a model between lines at random angles.

    Args:
        model: a trained `ResynthesisModel` of lines: its images have the shape (size, size, 1).
        pairs: how many pairs of lines to interpolate between.
        steps: images per interpolation, both ends included.
        seed: of the angles; the same for every model that is to be compared.
        smallest_turn: see `draw_angles`.
        batch_size: images decoded at a time.

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
    """What blended pixels and perfect interpolations score on the pairs that models are given.

    Args:
        pairs: see `model_interpolation_quality`.
        steps: see `model_interpolation_quality`.
        seed: see `model_interpolation_quality`.
        smallest_turn: see `model_interpolation_quality`.
        size: width and height of the images.

    Returns:
        A dictionary with "pixel" and "perfect", each with the figures of
        `interpolation_quality`.
    """
    first, second = draw_angles(pairs, seed, smallest_turn)
    blended = pixel_interpolation(_render(first, size), _render(second, size), steps)
    drawn = perfect_interpolation(first, second, steps, size)
    return {"pixel": interpolation_quality(blended), "perfect": interpolation_quality(drawn)}


def draw_angles(
    pairs: int, seed: int = 0, smallest_turn: float = np.pi / 36
) -> tuple[np.ndarray, np.ndarray]:
    """Random pairs of angles.

    Args:
        pairs: how many.
        seed: of the angles.
        smallest_turn: radians from 0 to below pi that the angles of a pair are at least apart.
            ACAI's code has no such limit; its figures depend much on the few pairs whose ends
            nearly meet, since smoothness divides by the turn. 0 draws as it does.

    Returns:
        Two float64 arrays (pairs,) in radians. All first angles, turns from `smallest_turn` to pi
        and both directions are equally likely.

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
    """Images blended in pixel space: the poor end of the scale.

    Args:
        images_a: (N, H, W, C), step 0.
        images_b: (N, H, W, C), the last step.
        steps: images per line, at least 2, both ends included.

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
    """Lines drawn at equally spaced angles along the shorter arc: the good end of the scale.

    Args:
        angles_a: radians (N,), step 0.
        angles_b: radians (N,), the last step.
        steps: images per line, at least 2, both ends included.
        size: width and height of the images.

    Returns:
        float32 (N, steps, size, size, 1) in [-1, 1].

    Raises:
        ValueError: the angles are not as many or not finite, or there are too few steps.
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
    """Cosine distances (N,) to the nearest real line, and its angles (N,) in [0, 2 pi)."""
    angles = np.linspace(0, 2 * np.pi, candidates, endpoint=False)
    lines = _unit_rows(_render(angles, images.shape[1])).T
    distances, nearest = np.empty(len(images)), np.empty(len(images), dtype=int)
    for start in range(0, len(images), _CHUNK):
        chunk = slice(start, start + _CHUNK)
        # In float64, for the lines next to each other differ by less than float32 resolves.
        similarities = _unit_rows(images[chunk]) @ lines
        nearest[chunk] = similarities.argmax(axis=1)
        distances[chunk] = 1 - similarities.max(axis=1)
    return np.maximum(distances, 0), angles[nearest]


def _unit_rows(images: np.ndarray) -> np.ndarray:
    rows = images.reshape(len(images), -1).astype("float64")
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    # An image of zeros has no direction; it is as far from every line as orthogonal ones are.
    return rows / np.where(norms > 0, norms, 1)


def _excess(travelled: float, shortest: float) -> float:
    if shortest < _SMALLEST_TURN:
        return float("nan")
    return max(float(travelled / shortest - 1), 0.0)  # Rounding may leave less than none.


def _render(angles: np.ndarray, size: int) -> np.ndarray:
    """Lines as models see them, float32 (N, size, size, 1) in [-1, 1]."""
    return draw_lines(angles, size).astype("float32") / 127.5 - 1


def _shares(steps: int) -> np.ndarray:
    """How much of the second end is in each step."""
    checks.check_steps(steps)
    return np.linspace(0, 1, steps)


def _line_size(image_shape: tuple[int, ...]) -> int:
    """The width of images of lines."""
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
