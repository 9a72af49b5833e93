"""Figures of mixes with several labels, with marks for the labels (paper, figure 5)."""

import itertools
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from amr_tf import checks
from amr_tf.figures.grids import Models, as_models
from amr_tf.figures.sheet import CELL_INCHES, LABEL_INCHES, Sheet, shortened
from amr_tf.models.base import ResynthesisModel
from amr_tf.models.inference import label_mixer_of

_MARK_INCHES = 0.19
_GAP_INCHES = 0.15
_HEADER_INCHES = 0.22
_NAME_CHARACTERS = 22
# More attributes would need too many columns, 2^A.
_ALL_COMBINATIONS = 3


def check_label_mixers(models: Models) -> None:
    """Raises a ValueError unless each model mixes by labels.

    Args:
        models: a `ResynthesisModel`, or a dictionary from captions to models.
    """
    for caption, model in as_models(models).items():
        if label_mixer_of(model) is None:
            raise ValueError(
                f"'{caption}' has no label mixer: only models of --method=supervised_amr mix "
                "under labels."
            )


def class_label_mixes(labels_a: np.ndarray, labels_b: np.ndarray, num_classes: int) -> np.ndarray:
    """Returns labels y~ for mixes of classes: the first parent's, their mean, and the second's.

    Args:
        labels_a: class numbers (N,).
        labels_b: like `labels_a`.
        num_classes: number of classes.

    Returns:
        float32 (N, 3, num_classes).
    """
    a, b = (np.eye(num_classes, dtype="float32")[labels] for labels in (labels_a, labels_b))
    return np.stack([a, (a + b) / 2, b], axis=1)


def attribute_label_mixes(labels_a: np.ndarray, combinations: bool | None = None) -> np.ndarray:
    """Returns labels y~ for mixes of attributes.

    Args:
        labels_a: attributes of the first parents, (N, A) in {0, 1}.
        combinations: True for all 2^A combinations, from none of the attributes to all, as in the
            paper's figure 5. False for the first parent's labels, and then these with one attribute
            changed at a time. None uses all combinations for up to 3 attributes.

    Returns:
        float32 (N, 2^A, A) or (N, 1 + A, A).
    """
    labels_a = np.asarray(labels_a, "float32")
    count, attributes = labels_a.shape
    if combinations is None:
        combinations = attributes <= _ALL_COMBINATIONS
    if combinations:
        every = np.array(list(itertools.product((0, 1), repeat=attributes)), "float32")
        return np.repeat(every[None], count, axis=0)
    changed = np.concatenate([np.zeros((1, attributes)), np.eye(attributes)])
    return np.abs(labels_a[:, None] - changed).astype("float32")


def label_mix_figure(
    models: Models,
    images_a: np.ndarray,
    images_b: np.ndarray,
    labels_a: np.ndarray,
    labels_b: np.ndarray,
    class_names: Sequence[str],
    title: str | None = None,
    combinations: bool | None = None,
    seed: int = 0,
) -> Figure:
    """Draws pairs of images, and between them their mixes with several labels (paper, figure 5).

    The label is shown above each image: a square for each attribute, filled if it is 1, or a square
    for each of the two images' classes, filled to the class's share. All mixes of a pair use the
    same random numbers, so they differ only by their labels.

    Args:
        models: a `SupervisedAMR`, or a dictionary from captions to such models.
        images_a: float images (N, H, W, C) in [-1, 1], on the left.
        images_b: like `images_a`, on the right.
        labels_a: class numbers (N,), or attributes (N, A) of 0 and 1, of `images_a`.
        labels_b: like `labels_a`, of `images_b`.
        class_names: a name for each class or attribute.
        title: text above the grid, or None.
        combinations: see `attribute_label_mixes`; ignored for classes.
        seed: seed of the masks.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ValueError: a model has no label mixer, labels are unknown (-1), or arrays do not match.
    """
    models = as_models(models)
    check_label_mixers(models)
    labels_a, labels_b = np.asarray(labels_a), np.asarray(labels_b)
    attributes = labels_a.ndim == 2
    for name, labels in (("labels_a", labels_a), ("labels_b", labels_b)):
        _check_known(name, labels, len(images_a), len(class_names), attributes)
    if attributes:
        own_a, own_b = labels_a.astype("float32"), labels_b.astype("float32")
        mixed = attribute_label_mixes(labels_a, combinations)
    else:
        mixed = class_label_mixes(labels_a, labels_b, len(class_names))
        own_a, own_b = mixed[:, 0], mixed[:, -1]
    mixes = {
        caption: label_mixes(model, images_a, images_b, mixed, own_a, own_b, seed)
        for caption, model in models.items()
    }
    blocks = []
    for pair in range(len(images_a)):
        # The shares of classes other than the parents' are always 0.
        shown = range(len(class_names)) if attributes else (labels_a[pair], labels_b[pair])
        labels = np.stack([own_a[pair], *mixed[pair], own_b[pair]])
        marks = {class_names[label]: labels[:, label] for label in shown}
        rows = {
            f"{pair + 1}: {caption}": [images_a[pair], *images[pair], images_b[pair]]
            for caption, images in mixes.items()
        }
        blocks.append((marks, rows))
    return _draw_blocks(blocks, 2 + mixed.shape[1], title)


def label_mixes(
    model: ResynthesisModel,
    images_a: np.ndarray,
    images_b: np.ndarray,
    mixed_labels: np.ndarray,
    labels_a: np.ndarray,
    labels_b: np.ndarray,
    seed: int = 0,
) -> np.ndarray:
    """Mixes each pair with several labels, using the same random numbers for each label.

    Args:
        model: a `SupervisedAMR`.
        images_a: float images (N, H, W, C) in [-1, 1].
        images_b: like `images_a`.
        mixed_labels: y~, (N, M, classes) in [0, 1].
        labels_a: one-hot labels or attributes (N, classes) of `images_a`.
        labels_b: like `labels_a`, of `images_b`.
        seed: seed of the masks.

    Returns:
        float images (N, M, H, W, C).
    """
    mixes = [
        model.mix_labels(images_a, images_b, labels, labels_a, labels_b, seed)
        for labels in np.moveaxis(mixed_labels, 1, 0)
    ]
    return np.stack(mixes, axis=1)


def _check_known(
    name: str, labels: np.ndarray, count: int, num_classes: int, attributes: bool
) -> None:
    check = checks.check_attributes if attributes else checks.check_labels
    check(labels, count, num_classes, name)
    if labels.min() < 0:
        raise ValueError(f"{name} must be known; it holds -1, which stands for an unknown label.")


def _draw_blocks(blocks: Sequence[tuple[dict, dict]], columns: int, title: str | None) -> Figure:
    """Draws a block per pair: a line of marks for each name, a row of images for each model."""
    heights = [
        len(marks) * _MARK_INCHES + len(rows) * CELL_INCHES + _GAP_INCHES for marks, rows in blocks
    ]
    sheet = Sheet(LABEL_INCHES + columns * CELL_INCHES, sum(heights) + _HEADER_INCHES, title)
    for column, header in enumerate(("parent", *["mix"] * (columns - 2), "parent")):
        middle = LABEL_INCHES + (column + 0.48) * CELL_INCHES
        sheet.text(header, middle, _HEADER_INCHES / 2, ha="center", fontsize=8)
    for (marks, rows), top in zip(blocks, np.cumsum([_HEADER_INCHES, *heights])):
        for name, shares in marks.items():
            short = shortened(name, _NAME_CHARACTERS)
            sheet.text(short, LABEL_INCHES - 0.12, top + _MARK_INCHES / 2, ha="right", fontsize=8)
            for column, share in enumerate(shares):
                middle = LABEL_INCHES + (column + 0.48) * CELL_INCHES
                sheet.mark(share, middle, top + _MARK_INCHES / 2)
            top += _MARK_INCHES
        for caption, images in rows.items():
            sheet.caption(caption, top + CELL_INCHES / 2)
            for column, image in enumerate(images):
                sheet.image(image, LABEL_INCHES + column * CELL_INCHES, top)
            top += CELL_INCHES
    return sheet.figure
