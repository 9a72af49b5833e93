"""Figures of mixes of images: triangles of three, and crossovers of two."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

from amr_tf import checks
from amr_tf.figures.grids import Models, as_models, between_originals, grid_figure
from amr_tf.figures.sheet import CELL_INCHES, Sheet
from amr_tf.models.base import ResynthesisModel
from amr_tf.models.inference import combine

_CORNER_CELLS = 1.25  # From a corner to the original image next to it.
_PANEL_TOP_INCHES = 0.55  # For a caption, and the word above the first original.
_PANEL_GAP_INCHES = 0.35


def barycentric_weights(steps: int) -> np.ndarray:
    """Returns the weights of three corners on a triangular grid, from the first corner downwards.

    Args:
        steps: number of points along each side, at least 2.

    Returns:
        float32 (steps * (steps + 1) / 2, 3), whose rows sum to one: the points of the grid row by
        row, which have 1, 2, ... `steps` points.
    """
    checks.check_steps(steps)
    points = [
        (steps - 1 - row, row - column, column) for row in range(steps) for column in range(row + 1)
    ]
    return np.array(points, "float32") / (steps - 1)


def triangle_images(model: ResynthesisModel, corners: np.ndarray, steps: int = 7) -> np.ndarray:
    """Mixes three images with the model's mixer, with coefficients on a triangular grid.

    Most mixers form convex combinations of the codes (paper, equation 6 with k = 3).

    Args:
        model: a `ResynthesisModel`.
        corners: float images (3, H, W, C) in [-1, 1].
        steps: number of images along each side, at least 2.

    Returns:
        float images (steps * (steps + 1) / 2, H, W, C), in the order of `barycentric_weights`.

    Raises:
        ValueError: there are not three images, or `steps` is out of range.
    """
    if len(corners) != 3:
        raise ValueError(f"A triangle has 3 corners; got {len(corners)} images.")
    weights, codes = barycentric_weights(steps), model.encode(corners)
    stacks = np.repeat(codes[None], len(weights), axis=0)
    shares = weights.reshape(*weights.shape, *(1,) * (codes.ndim - 1))
    mixed = combine(model, tf.constant(stacks), tf.constant(shares))
    return model.decode(np.asarray(mixed))


def triangle_figure(
    models: Models,
    images_a: np.ndarray,
    images_b: np.ndarray,
    images_c: np.ndarray,
    steps: int = 7,
    title: str | None = None,
) -> Figure:
    """Draws triangles of mixes of three images: a row for each triple, a column for each model.

    The originals are drawn next to the decoded corners: the first at the top, the second on the
    left, the third on the right.

    Args:
        models: a `ResynthesisModel`, or a dictionary from captions to models.
        images_a: float images (N, H, W, C) in [-1, 1], for the tops of the triangles.
        images_b: like `images_a`, for the left corners.
        images_c: like `images_a`, for the right corners.
        steps: number of images along each side, at least 2.
        title: text above the figure, or None.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ValueError: the numbers of images differ, or `steps` is out of range.
    """
    models = as_models(models)
    if not len(images_a) == len(images_b) == len(images_c):
        counts = f"{len(images_a)}, {len(images_b)} and {len(images_c)}"
        raise ValueError(
            f"images_a, images_b and images_c must have the same length; got {counts}."
        )
    checks.check_steps(steps)
    width = (steps + 2 * _CORNER_CELLS) * CELL_INCHES + _PANEL_GAP_INCHES
    height = _PANEL_TOP_INCHES + steps * CELL_INCHES + _PANEL_GAP_INCHES
    sheet = Sheet(len(models) * width, len(images_a) * height, title)
    for row, corners in enumerate(zip(images_a, images_b, images_c)):
        for column, (caption, model) in enumerate(models.items()):
            images = triangle_images(model, np.stack(corners), steps)
            left, top = column * width + _PANEL_GAP_INCHES / 2, row * height
            sheet.text(f"{row + 1}: {caption}", left, top + 0.16, fontsize=10)
            _draw_triangle(sheet, images, corners, steps, left, top + _PANEL_TOP_INCHES)
    return sheet.figure


def _draw_triangle(
    sheet: Sheet,
    images: np.ndarray,
    corners: Sequence[np.ndarray],
    steps: int,
    left: float,
    top: float,
) -> None:
    """Draws the mixes row by row, and each original next to its corner."""
    mixes = iter(images)
    for row in range(steps):
        start = _CORNER_CELLS + (steps - 1 - row) / 2
        for column in range(row + 1):
            place = left + (start + column) * CELL_INCHES
            sheet.image(next(mixes), place, top + row * CELL_INCHES)
    places: tuple[tuple[float, int], ...] = (
        ((steps - 1) / 2, 0),
        (0, steps - 1),
        (steps - 1 + 2 * _CORNER_CELLS, steps - 1),
    )
    for image, (across, down) in zip(corners, places):
        x, y = left + across * CELL_INCHES, top + down * CELL_INCHES
        sheet.image(image, x, y)
        sheet.text("original", x + 0.48 * CELL_INCHES, y - 0.1, ha="center", fontsize=8)


def crossover_stages(models: Models, steps: int) -> int:
    """Returns the number of stages of a crossover: `steps`, or fewer for codes with few maps.

    Args:
        models: a `ResynthesisModel`, or a dictionary from captions to models.
        steps: largest number of stages, at least 2.

    Returns:
        `steps`, or one more than the largest number of feature maps of any model if that is less.
    """
    checks.check_steps(steps)
    maps = max(model.latent_shape[-1] for model in as_models(models).values())
    return min(steps, maps + 1)


def crossover_counts(maps: int, stages: int) -> np.ndarray:
    """Returns how many feature maps come from the second image at each stage, int64 (stages,)."""
    return np.round(np.linspace(0, maps, stages)).astype("int64")


def crossover_rows(
    models: Models, images_a: np.ndarray, images_b: np.ndarray, steps: int = 9, seed: int = 0
) -> dict[str, np.ndarray]:
    """Replaces feature maps of one image by another's, a few at a time (paper, equation 5).

    Each stage is a Bernoulli mix with k = 2 that takes more maps from the second image than the
    previous stage. Vector codes are crossed element by element.

    Args:
        models: a `ResynthesisModel`, or a dictionary from captions to models.
        images_a: float images (N, H, W, C) in [-1, 1], whose codes come first.
        images_b: like `images_a`, whose codes come last.
        steps: largest number of stages, including both ends, at least 2 (see `crossover_stages`).
        seed: seed of the order in which maps are replaced. Each pair has its own order, which is
            the same in all models with the same number of maps.

    Returns:
        Dictionary from captions to float images (N, stages, H, W, C).

    Raises:
        ValueError: the numbers of images differ, or an argument is out of range.
    """
    if len(images_a) != len(images_b):
        counts = f"{len(images_a)} and {len(images_b)}"
        raise ValueError(f"images_a and images_b must have the same length; got {counts}.")
    checks.check_not_negative("seed", seed)
    stages = crossover_stages(models, steps)
    return {
        caption: _crossover(model, images_a, images_b, stages, seed)
        for caption, model in as_models(models).items()
    }


def _crossover(
    model: ResynthesisModel, images_a: np.ndarray, images_b: np.ndarray, stages: int, seed: int
) -> np.ndarray:
    maps = model.latent_shape[-1]
    generator = np.random.default_rng(seed)
    # The position of each map in the order of its pair, (N, maps).
    places = np.stack([generator.permutation(maps) for _ in range(len(images_a))])
    mask = places[:, None] < crossover_counts(maps, stages)[:, None]
    mask = mask.reshape(*mask.shape[:2], *(1,) * (len(model.latent_shape) - 1), maps)
    a, b = (model.encode(np.asarray(images))[:, None] for images in (images_a, images_b))
    codes = np.where(mask, b, a)
    images = model.decode(codes.reshape(-1, *model.latent_shape))
    return images.reshape(len(images_a), stages, *model.image_shape)


def crossover_figure(
    models: Models,
    images_a: np.ndarray,
    images_b: np.ndarray,
    steps: int = 9,
    title: str | None = None,
    seed: int = 0,
) -> Figure:
    """Draws crossovers of pairs of images, a row for each method (paper, figures 8, 10 and 11).

    If all codes have the same number of feature maps, columns are labelled with the number that
    comes from the second image.

    Args:
        models: see `crossover_rows`.
        images_a: see `crossover_rows`; on the left.
        images_b: see `crossover_rows`; on the right.
        steps: see `crossover_rows`.
        title: text above the grid, or None.
        seed: see `crossover_rows`.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ValueError: see `crossover_rows`.
    """
    rows = crossover_rows(models, images_a, images_b, steps, seed)
    sizes = {model.latent_shape[-1] for model in as_models(models).values()}
    headers = None
    if len(sizes) == 1:
        (maps,) = sizes
        counts = crossover_counts(maps, crossover_stages(models, steps))
        headers = ["original", *(f"{count}/{maps}" for count in counts), "original"]
    return grid_figure(between_originals(rows, images_a, images_b), title, headers)
