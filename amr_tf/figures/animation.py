"""Films (GIF and MP4) of interpolations, forwards and backwards."""

import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.animation import FFMpegWriter, PillowWriter

from amr_tf import checks
from amr_tf.figures.grids import grid_figure
from amr_tf.figures.sheet import cell_pixels

WRITERS: dict[str, Any] = {".gif": PillowWriter, ".mp4": FFMpegWriter}


def check_film_path(path: str | pathlib.Path) -> None:
    """Raises a ValueError unless `save_animation` can write a file of this name.

    Args:
        path: a file name that ends in .gif or .mp4.
    """
    suffix = pathlib.Path(path).suffix.lower()
    if suffix not in WRITERS:
        raise ValueError(f"A film is a .gif or .mp4 file; got '{path}'.")
    if not WRITERS[suffix].isAvailable():
        raise ValueError(f"'{path}' needs the program ffmpeg, which is not on PATH; use .gif.")


def there_and_back(steps: int) -> list[int]:
    """Returns the indices of the steps in a film that loops smoothly: forwards, then backwards.

    Args:
        steps: number of steps, at least 2.

    Returns:
        A list of `2 * steps - 2` integers.
    """
    return [*range(steps), *range(steps - 2, 0, -1)]


def save_animation(
    path: str | pathlib.Path,
    rows: Mapping[str, np.ndarray],
    title: str | None = None,
    frames_per_second: int = 8,
) -> None:
    """Writes a film of a grid with a row for each method and a column for each pair.

    Args:
        path: file to write, .gif (repeats forever) or .mp4 (requires the program ffmpeg).
        rows: dictionary from captions to float images (pairs, steps, H, W, C) in [-1, 1]. All have
            the same numbers of pairs and of steps, which is at least 2. See
            `grids.interpolation_rows` and `mixes.crossover_rows`.
        title: text above the grid, or None.
        frames_per_second: at least 1.

    Raises:
        ValueError: the file has another extension, ffmpeg is missing, or the rows do not match.
    """
    check_film_path(path)
    checks.check_positive_integer("frames_per_second", frames_per_second)
    rows = {caption: np.asarray(images) for caption, images in rows.items()}
    shapes = {images.shape[:2] for images in rows.values()}
    if len(shapes) != 1 or min(min(shapes)) < 1 or min(shapes)[1] < 2:
        raise ValueError(
            "Each row of a film must have as many pairs, and as many steps, at least 2; got "
            f"(pairs, steps) of {', '.join(map(str, sorted(shapes)))}."
        )
    figure = grid_figure({caption: images[:, 0] for caption, images in rows.items()}, title)
    cells = [axes.get_images()[0] for axes in figure.axes]
    lines = np.concatenate(list(rows.values()))
    writer = WRITERS[pathlib.Path(path).suffix.lower()](fps=frames_per_second)
    with writer.saving(figure, path, dpi=figure.dpi):
        for step in there_and_back(lines.shape[1]):
            for cell, line in zip(cells, lines):
                cell.set_data(cell_pixels(line[step]))
            writer.grab_frame()
