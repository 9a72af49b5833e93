"""Figures of images, drawn by matplotlib without a display."""

import csv
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from amr_tf.figures.manifold import manifold_figure
from amr_tf.figures.sheet import CELL_INCHES, Sheet, label_inches
from amr_tf.metrics.interpolation_quality import pixel_interpolation
from amr_tf.models.base import ResynthesisModel

Models: TypeAlias = ResynthesisModel | dict[str, ResynthesisModel]
"""A model, or models by their captions."""

_PIXELS = "pixel space"
_HEADER_INCHES = 0.22
_HEADER_POINTS = 7  # "reconstruction" is as wide as a cell.


def grid_figure(
    rows: Mapping[str, Any], title: str | None = None, headers: Sequence[str] | None = None
) -> Figure:
    """Draws a grid of images with a caption before each row.

    Args:
        rows: dictionary from captions to float images (columns, H, W, C) in [-1, 1], C 1 or 3.
            None instead of an image leaves its cell empty.
        title: text above the grid, or None.
        headers: a text for each column, which may be empty; or None.

    Returns:
        A `matplotlib.figure.Figure`.
    """
    columns = max(len(images) for images in rows.values())
    above = _HEADER_INCHES if headers else 0
    left = label_inches(rows)
    sheet = Sheet(left + columns * CELL_INCHES, above + len(rows) * CELL_INCHES, title)
    for column, header in enumerate(headers or ()):
        middle = left + (column + 0.48) * CELL_INCHES
        if header:
            sheet.text(header, middle, above / 2, ha="center", fontsize=_HEADER_POINTS)
    for row, (caption, images) in enumerate(rows.items()):
        top = above + row * CELL_INCHES
        sheet.caption(caption, top + CELL_INCHES / 2, left)
        for column, image in enumerate(images):
            if image is not None:
                sheet.image(image, left + column * CELL_INCHES, top)
    return sheet.figure


def sheet_figure(images: np.ndarray, columns: int = 8, title: str | None = None) -> Figure:
    """Draws images in rows of `columns`, without captions.

    Args:
        images: float (N, H, W, C) in [-1, 1], C 1 or 3.
        columns: number of images per row.
        title: text above the images, or None.

    Returns:
        A `matplotlib.figure.Figure`.
    """
    rows = -(-len(images) // columns)
    sheet = Sheet(min(columns, len(images)) * CELL_INCHES, rows * CELL_INCHES, title)
    for number, image in enumerate(images):
        row, column = divmod(number, columns)
        sheet.image(image, column * CELL_INCHES, row * CELL_INCHES)
    return sheet.figure


def figure_pixels(figure: Any) -> np.ndarray:
    """Renders a figure to a uint8 array (H, W, 3)."""
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3]


def curve_figure(
    logs: Mapping[str, str | pathlib.Path], metric: str, title: str | None = None
) -> Figure:
    """Draws a metric over the epochs of several runs.

    Args:
        logs: dictionary from labels to paths of `log.csv` files.
        metric: a column of these files, such as "val_probe_accuracy".
        title: text above the axes, or None.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ValueError: a log has no such column.
    """
    figure = Figure(figsize=(7, 4), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for label, path in logs.items():
        epochs, values = _read_curve(path, metric)
        axes.plot(epochs, values, label=label, linewidth=1.2)
    axes.set(xlabel="epoch", ylabel=metric.replace("_", " "), title=title)
    locator: Any = axes.xaxis.get_major_locator()
    locator.set_params(integer=True)  # Avoids ticks such as epoch 1.5.
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def _read_curve(path: str | pathlib.Path, metric: str) -> tuple[list[int], list[float]]:
    """Reads the epochs, counted from 1, and a metric's values from a `log.csv`."""
    with open(path, newline="", encoding="utf-8") as file:  # noqa: PTH123, str or Path
        reader = csv.DictReader(file)
        if metric not in (reader.fieldnames or ()):
            columns = ", ".join(reader.fieldnames or ())
            raise ValueError(f"'{path}' has no metric '{metric}'; it has {columns}.")
        rows = list(reader)
    return [int(row["epoch"]) + 1 for row in rows], [float(row[metric]) for row in rows]


def sample_figure(model: ResynthesisModel, images: np.ndarray, title: str | None = None) -> Figure:
    """Draws originals, reconstructions and, with a mixer, mixes with their parents.

    Args:
        model: a `ResynthesisModel`.
        images: float images (N, H, W, C) in [-1, 1]; or points (N, 2), which are drawn as in
            `manifold.manifold_figure`.
        title: text above the grid, or None.

    Returns:
        A `matplotlib.figure.Figure`.
    """
    images = np.asarray(images)
    if images.ndim == 2:
        return manifold_figure({title or "decoded mixes": model}, images)
    rows = {"original": images, "reconstruction": model.reconstruct(images)}
    if model.mixer is not None:
        k = model.mixer.k
        # Mix each image with its right-hand neighbours, with the same coefficients in every call.
        permutations = np.stack([np.roll(np.arange(len(images)), -shift) for shift in range(k)])
        rows[f"mix of {k} neighbours"] = model.mix(images, permutations, seed=0)
    return grid_figure(rows, title)


def as_models(models: Models) -> dict[str, ResynthesisModel]:
    """Returns a dictionary from captions to models; a single model is called "latent space"."""
    return models if isinstance(models, dict) else {"latent space": models}


def interpolation_rows(
    models: Models,
    images_a: np.ndarray,
    images_b: np.ndarray,
    steps: int = 9,
    pixels: bool = True,
    path: str | None = None,
) -> dict[str, Any]:
    """Interpolates between pairs of images, in pixel space and with each model.

    Args:
        models: a `ResynthesisModel`, or a dictionary from captions to models.
        images_a: float images (N, H, W, C) in [-1, 1], at the start.
        images_b: like `images_a`, at the end.
        steps: number of images per line, including both ends, at least 2.
        pixels: whether to include blends in pixel space, which come first.
        path: "linear", "spherical" or None; see `ResynthesisModel.interpolate`.

    Returns:
        Dictionary from captions to float images (N, steps, H, W, C).
    """
    lines = {
        caption: np.asarray(model.interpolate(images_a, images_b, steps, path=path))
        for caption, model in as_models(models).items()
    }
    if not pixels:
        return lines
    return {_PIXELS: pixel_interpolation(images_a, images_b, steps), **lines}


def interpolation_figure(
    models: Models,
    images_a: np.ndarray,
    images_b: np.ndarray,
    steps: int = 9,
    title: str | None = None,
    pixels: bool = True,
    path: str | None = None,
) -> Figure:
    """Draws interpolations of pairs of images, a row for each method (paper, figures 6, 7 and 9).

    Interpolations of codes begin and end with the reconstructions of the two images, which are
    drawn next to the originals in labelled columns. Pixel blends leave these columns empty.

    Args:
        models: a `ResynthesisModel`, or a dictionary from captions to models.
        images_a: float images (N, H, W, C) in [-1, 1], on the left.
        images_b: like `images_a`, on the right.
        steps: number of decoded images between the originals, at least 2.
        title: text above the grid, or None.
        pixels: whether to draw the pixel blend of the two images above each pair's rows.
        path: "linear", "spherical" or None; see `ResynthesisModel.interpolate`.

    Returns:
        A `matplotlib.figure.Figure`.
    """
    rows = interpolation_rows(models, images_a, images_b, steps, pixels, path)
    if pixels:  # The ends of a pixel blend are the originals again.
        rows[_PIXELS] = [[None, *line[1:-1], None] for line in rows[_PIXELS]]
    ends = ["original", "reconstruction"]
    headers = [*ends, *[""] * (steps - 2), *reversed(ends)]
    return grid_figure(between_originals(rows, images_a, images_b), title, headers)


def between_originals(
    rows: Mapping[str, Any], images_a: np.ndarray, images_b: np.ndarray
) -> dict[str, list]:
    """Arranges the rows of a grid: one per pair and method, with the two originals at its ends.

    Args:
        rows: dictionary from captions to float images (N, steps, H, W, C).
        images_a: float images (N, H, W, C).
        images_b: like `images_a`.

    Returns:
        Dictionary from captions, with the pair's number, to lists of `steps + 2` images.
    """
    return {
        f"{number + 1}: {caption}": [images_a[number], *lines[number], images_b[number]]
        for number in range(len(images_a))
        for caption, lines in rows.items()
    }
