"""Figures of decoded mixes and the points that they are made of."""

from collections.abc import Mapping

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from amr_tf.models.base import ResynthesisModel


def manifold_figure(
    models: Mapping[str, ResynthesisModel], points: np.ndarray, seed: int = 0
) -> Figure:
    """Draws data in blue and decoded mixes in orange, one panel per model (paper, figure 12).

    For a model without a mixer, the orange points are reconstructions.

    Args:
        models: dictionary from captions to `ResynthesisModel`s of points (N, 2).
        points: float (N, 2).
        seed: seed of the mixes.

    Returns:
        A `matplotlib.figure.Figure`.
    """
    figure = Figure(figsize=(3.4 * len(models), 3.7), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    panels = np.atleast_1d(figure.subplots(1, len(models)))
    for axes, (caption, model) in zip(panels, models.items()):
        mixes = model.mixer is not None
        decoded = model.mix(points, seed=seed) if mixes else model.reconstruct(points)
        axes.scatter(*points.T, s=2, color="tab:blue")
        axes.scatter(*decoded.T, s=2, color="tab:orange")
        axes.set(xlim=(-1.2, 1.2), ylim=(-1.2, 1.2), aspect="equal", title=caption)
    return figure
