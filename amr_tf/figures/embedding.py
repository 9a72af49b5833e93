"""Two-dimensional embeddings of codes by PCA and t-SNE, coloured by label."""

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from amr_tf import checks
from amr_tf.figures.grids import Models, as_models
from amr_tf.figures.sheet import shortened

_PERPLEXITY = 30
_TSNE_COMPONENTS = 50  # Longer codes are reduced by PCA before t-SNE, as its authors advise.
_FEWEST = 4
_ATTRIBUTES = 4  # Maximum number of attributes, each with a row of panels.
_LEGEND_ROWS = 14
_NAME_CHARACTERS = 18
_PANEL_INCHES = 3.4
_UNKNOWN = "0.8"


def embed_codes(codes: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Embeds codes in two dimensions, by PCA and by t-SNE (van der Maaten 2008).

    Args:
        codes: float (N, ...), at least 4 codes of at least 2 numbers each.
        seed: seed of t-SNE.

    Returns:
        The first two principal components (N, 2), their shares of the variance (2,), and t-SNE's
        map (N, 2).

    Raises:
        ValueError: there are too few codes, or they are too short, not finite or all equal.
    """
    codes = np.asarray(codes, "float32")
    if len(codes) < _FEWEST:
        raise ValueError(f"A map of codes needs at least {_FEWEST} of them; got {len(codes)}.")
    codes = codes.reshape(len(codes), -1)
    if codes.shape[1] < 2:
        raise ValueError("A map of codes needs codes of at least 2 numbers; they have 1.")
    if not np.isfinite(codes).all():
        raise ValueError("codes must be finite; they hold NaN or infinite values.")
    if not np.ptp(codes, axis=0).any():
        raise ValueError("A map of codes needs codes that differ; all are equal.")
    pca = PCA(min(_TSNE_COMPONENTS, *codes.shape), random_state=seed)
    components = pca.fit_transform(codes)
    perplexity = min(_PERPLEXITY, (len(codes) - 1) / 3)
    tsne = TSNE(perplexity=perplexity, random_state=seed).fit_transform(components)
    return components[:, :2], pca.explained_variance_ratio_[:2], tsne


@matplotlib.rc_context({"text.parse_math": False})  # A class may be called "$5".
def codes_figure(
    models: Models,
    images: np.ndarray,
    labels: np.ndarray | None = None,
    class_names: Sequence[str] | None = None,
    title: str | None = None,
    seed: int = 0,
) -> Figure:
    """Draws codes by PCA and t-SNE, in a row of two panels for each model.

    Args:
        models: a `ResynthesisModel`, or a dictionary from captions to models.
        images: float images (N, H, W, C) in [-1, 1], or points (N, D), at least 4.
        labels: class numbers (N,), which select the colours; or attributes (N, A), with a row of
            panels for each of the first four; -1 if unknown. None for a single colour.
        class_names: a name for each class or attribute; required with `labels`.
        title: text above the panels, or None.
        seed: seed of t-SNE.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ValueError: the labels do not match the images or the names, or see `embed_codes`.
    """
    models = as_models(models)
    colourings = _colourings(labels, class_names, len(images))
    rows = len(models) * len(colourings)
    figure = Figure(
        figsize=(2 * _PANEL_INCHES + 1.9, _PANEL_INCHES * rows + 0.4), dpi=120, layout="constrained"
    )
    FigureCanvasAgg(figure)
    if title:
        figure.suptitle(title, fontsize=11)
    panels = iter(figure.subplots(rows, 2, squeeze=False))
    for caption, model in models.items():
        components, shares, tsne = embed_codes(model.encode(images), seed)
        for name, groups in colourings.items():
            left, right = next(panels)
            heading = ", ".join(part for part in (caption, name) if part)
            _scatter(left, components, groups, f"{heading}: PCA")
            left.set_xlabel(f"first component, {shares[0]:.0%} of the variance", fontsize=8)
            left.set_ylabel(f"second component, {shares[1]:.0%}", fontsize=8)
            _scatter(right, tsne, groups, f"{heading}: t-SNE")
            if len(groups) > 1:
                _legend(right, len(groups))
    return figure


def _colourings(
    labels: np.ndarray | None, class_names: Sequence[str] | None, count: int
) -> dict[str | None, list[tuple]]:
    """Returns a dictionary from attribute names, or None, to groups: (name, colour, members)."""
    if labels is None:
        return {None: [("all", "tab:blue", np.ones(count, "bool"))]}
    if class_names is None:
        raise ValueError("labels need class_names, a name for each class or attribute.")
    labels = np.asarray(labels)
    if labels.ndim == 1:
        checks.check_labels(labels, count, len(class_names))
        return {None: _groups(labels, class_names)}
    checks.check_attributes(labels, count, len(class_names))
    names = class_names[:_ATTRIBUTES]
    return {name: _groups(labels[:, column], ("no", "yes")) for column, name in enumerate(names)}


def _groups(labels: np.ndarray, names: Sequence[str]) -> list[tuple]:
    colours = _colours(len(names))
    groups = [(name, colours[value], labels == value) for value, name in enumerate(names)]
    if (labels < 0).any():
        # Unknown labels come first, so that known ones are drawn above them.
        groups.insert(0, ("unknown", _UNKNOWN, labels < 0))
    return groups


def _colours(count: int) -> Any:
    """Returns colours that are as distinguishable as possible."""
    for name, size in (("tab10", 10), ("tab20", 20)):
        if count <= size:
            listed: Any = matplotlib.colormaps[name]
            return listed.colors
    return matplotlib.colormaps["nipy_spectral"](np.linspace(0.03, 0.95, count))


def _scatter(axes: Axes, points: np.ndarray, groups: list[tuple], title: str) -> None:
    for name, colour, members in groups:
        label = shortened(name, _NAME_CHARACTERS)
        x, y = points[members].T
        axes.scatter(x, y, s=9, color=colour, linewidth=0, label=label)
    axes.set_title(title, fontsize=10)
    # Only distances between codes have a meaning, and their scale differs from model to model.
    axes.xaxis.set_major_locator(NullLocator())
    axes.yaxis.set_major_locator(NullLocator())


def _legend(axes: Axes, count: int) -> None:
    axes.legend(
        loc="center left",
        bbox_to_anchor=(1.0, 0.5),
        ncols=-(-count // _LEGEND_ROWS),
        fontsize=8,
        markerscale=2,
        frameon=False,
        handletextpad=0.2,
    )
