"""Figures of mixes of one image's layout and another's look."""

import numpy as np
from matplotlib.figure import Figure

from amr_tf.figures.grids import Models, as_models, grid_figure
from amr_tf.models.base import ResynthesisModel
from amr_tf.models.inference import combine, has_looks


def check_look_mixers(models: Models) -> None:
    """Raises a ValueError unless each model mixes layout and look separately.

    Args:
        models: a `ResynthesisModel`, or a dictionary from captions to models.
    """
    for caption, model in as_models(models).items():
        if not has_looks(model):
            raise ValueError(
                f"'{caption}' does not take layout and look apart: only models of --mixer=style do."
            )


def look_mixes(model: ResynthesisModel, layouts: np.ndarray, looks: np.ndarray) -> np.ndarray:
    """Mixes the layout of each image with each of the looks.

    Args:
        model: a `ResynthesisModel` whose mixer is a `StyleMixup`.
        layouts: float images (N, H, W, C) in [-1, 1].
        looks: float images (M, H, W, C) in [-1, 1].

    Returns:
        float32 (M, N, H, W, C): a row for each look.

    Raises:
        ValueError: the mixer does not mix layout and look separately.
    """
    check_look_mixers(model)
    rows, columns = len(looks), len(layouts)
    first = np.tile(model.encode(layouts), (rows, 1, 1, 1))
    second = np.repeat(model.encode(looks), columns, axis=0)
    # The layout of the first image and the look of the second.
    swap = np.eye(2, dtype="float32").reshape(1, 2, 1, 1, 2)
    mixed = combine(model, np.stack([first, second], axis=1), swap)
    return model.decode(np.asarray(mixed)).reshape(rows, columns, *model.image_shape)


def looks_figure(
    models: Models, layouts: np.ndarray, looks: np.ndarray, title: str | None = None
) -> Figure:
    """Draws a table of mixes: each column has the layout of an image, each row the look of another.

    Args:
        models: a `ResynthesisModel` whose mixer is a `StyleMixup`, or a dictionary from captions
            to such models, which are drawn below each other.
        layouts: float images (N, H, W, C) in [-1, 1], drawn above the columns.
        looks: float images (M, H, W, C) in [-1, 1], drawn before the rows.
        title: text above the table, or None.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ValueError: a mixer does not mix layout and look separately.

    Example:

    >>> import amr_tf
    >>> model = amr_tf.AMR.create((16, 16, 3), "residual(latent_width=4)", mixer="style")
    >>> images = np.random.default_rng(0).uniform(-1, 1, (5, 16, 16, 3))
    >>> figure = looks_figure(model, layouts=images[:3], looks=images[3:])
    """
    rows: dict = {}
    several = len(as_models(models)) > 1
    for caption, model in as_models(models).items():
        of = f"{caption}: " if several else ""
        rows[f"{of}layout"] = [None, *layouts]
        for number, mixes in enumerate(look_mixes(model, layouts, looks)):
            rows[f"{of}look {number + 1}"] = [looks[number], *mixes]
    return grid_figure(rows, title)
