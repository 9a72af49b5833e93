"""Figures of images, drawn with matplotlib without a display."""

import csv

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from amr_tf.evaluation.manifold import manifold_figure

_CELL_INCHES = 0.75
_LABEL_INCHES = 1.7
_TITLE_INCHES = 0.4


def to_uint8(images):
    """Float images in [-1, 1] as uint8; values outside are clipped."""
    return np.clip(np.round((np.asarray(images) + 1.0) * 127.5), 0, 255).astype("uint8")


def grid_figure(rows, title=None):
    """A grid of images with a caption before each row.

    Args:
        rows: dictionary from captions to float images (columns, H, W, C) in [-1, 1], C 1 or 3;
            None in place of an image leaves its cell empty.
        title: text above the grid, or None.

    Returns:
        A `matplotlib.figure.Figure`.
    """
    columns = max(len(images) for images in rows.values())
    top = _TITLE_INCHES if title else 0.05
    width = _LABEL_INCHES + columns * _CELL_INCHES
    height = top + len(rows) * _CELL_INCHES
    figure = Figure(figsize=(width, height), dpi=120)
    FigureCanvasAgg(figure)
    if title:
        figure.text(0.5, 1 - 0.5 * top / height, title, ha="center", va="center", fontsize=11)
    for row, (caption, images) in enumerate(rows.items()):
        bottom = height - top - (row + 1) * _CELL_INCHES
        middle = (bottom + _CELL_INCHES / 2) / height
        figure.text(
            (_LABEL_INCHES - 0.12) / width, middle, caption, ha="right", va="center", fontsize=9
        )
        for column, image in enumerate(images):
            if image is not None:
                left = _LABEL_INCHES + column * _CELL_INCHES
                _draw(figure, image, left / width, bottom / height, width, height)
    return figure


def _draw(figure, image, left, bottom, width, height):
    size = _CELL_INCHES * 0.96
    axes = figure.add_axes((left, bottom, size / width, size / height))
    axes.imshow(to_uint8(image).squeeze(), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axes.set_axis_off()


def figure_pixels(figure):
    """A figure as a uint8 array (H, W, 3)."""
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3]


def curve_figure(logs, metric, title=None):
    """A metric over the epochs of several runs.

    Args:
        logs: dictionary from labels to paths of `log.csv` files.
        metric: a column of these, such as "val_probe_accuracy".
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
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def _read_curve(path, metric):
    """Epoch numbers from 1, and the metric's values, of a `log.csv`."""
    with open(path, newline="") as file:  # noqa: PTH123, str or Path
        reader = csv.DictReader(file)
        if metric not in (reader.fieldnames or ()):
            columns = ", ".join(reader.fieldnames or ())
            raise ValueError(f"'{path}' has no metric '{metric}'; it has {columns}.")
        rows = list(reader)
    return [int(row["epoch"]) + 1 for row in rows], [float(row[metric]) for row in rows]


def sample_figure(model, images, title=None):
    """Originals, reconstructions and, with a mixer, mixes with the images that went into them.

    Args:
        model: a `ResynthesisModel`.
        images: float images (N, H, W, C) in [-1, 1].
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
        # Each image meets its right-hand neighbours; the coefficients are the same at each call.
        permutations = np.stack([np.roll(np.arange(len(images)), -shift) for shift in range(k)])
        rows[f"mix of {k} neighbours"] = model.mix(images, permutations, seed=0)
    return grid_figure(rows, title)


def interpolation_figure(model, images_a, images_b, steps=9, title=None, pixels=True):
    """Lines between pairs of images: one row per pair, decoded, and optionally in pixel space.

    Args:
        model: a `ResynthesisModel`.
        images_a: float images (N, H, W, C) in [-1, 1], at the left.
        images_b: likewise, at the right.
        steps: decoded images between them, ends included.
        title: text above the grid, or None.
        pixels: whether to put the plain blend of the two images above each row.

    Returns:
        A `matplotlib.figure.Figure`.
    """
    lines = model.interpolate(images_a, images_b, steps)
    weights = np.linspace(0, 1, steps).reshape(-1, 1, 1, 1)
    rows = {}
    for number, (a, b, line) in enumerate(zip(images_a, images_b, lines), start=1):
        if pixels:
            rows[f"{number}: pixel space"] = [a, *((1 - weights) * a + weights * b), b]
        rows[f"{number}: latent space"] = [a, *line, b]
    return grid_figure(rows, title)
