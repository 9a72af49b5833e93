"""Images with labels, and deterministic ways to split them."""

import dataclasses

import numpy as np
from sklearn.model_selection import train_test_split

from amr_tf.data.lazy import LazyImages

UNLABELLED = -1


@dataclasses.dataclass(frozen=True)
class Split:
    """The images, or points, of one split.

    Attributes:
        images: uint8 (N, H, W, C), an array or `LazyImages`; or points, float32 (N, D) in [-1, 1].
        labels: class numbers, int64 (N,); or binary attributes, int64 (N, A) in {0, 1}; or None.
            In both, -1 stands for an unknown label.
        factors: int64 (N, F), the index of each ground-truth factor's value, or None.
    """

    images: np.ndarray | LazyImages
    labels: np.ndarray | None
    factors: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.images)

    def take(self, indices: np.ndarray) -> "Split":
        """Returns the images at `indices`, with their labels and factors, as a new `Split`."""
        labels = None if self.labels is None else self.labels[indices]
        factors = None if self.factors is None else self.factors[indices]
        return Split(self.images[indices], labels, factors)


def check_fraction(fraction: float) -> None:
    """Raises a ValueError unless a fraction is above 0 and below 1."""
    if not 0 < fraction < 1:
        raise ValueError(f"validation_fraction must be above 0 and below 1; got {fraction}.")


def split_off(split: Split, fraction: float, seed: int) -> tuple[Split, Split]:
    """Splits off a share of the images, stratified by class if labels are class numbers.

    If there are too few images for every class to be in both parts, the split is not stratified.

    Args:
        split: a `Split`.
        fraction: share to split off, above 0 and below 1.
        seed: seed of the random choice.

    Returns:
        The rest and the part split off, each a `Split` in the original order.

    Raises:
        ValueError: the fraction is out of range, or one of the parts would be empty.
    """
    check_fraction(fraction)
    if not len(split):
        raise ValueError("The data set is empty: it holds no training images.")
    count = round(fraction * len(split))
    if not 0 < count < len(split):
        raise ValueError(
            f"validation_fraction = {fraction} of {len(split)} images leaves no image on one side."
        )
    rest, part = _stratified(split.labels, len(split), count, seed)
    return split.take(rest), split.take(part)


def draw_subset(split: Split, count: int, seed: int) -> Split:
    """Draws `count` images, stratified as in `split_off`.

    Raises:
        ValueError: `count` is below 1 or above the number of images.
    """
    if not 1 <= count <= len(split):
        raise ValueError(
            f"train_subset must lie in 1 to {len(split)}, the number of training images; "
            f"got {count}."
        )
    if count == len(split):
        return split
    return split.take(_stratified(split.labels, len(split), count, seed)[1])


def hide_labels(split: Split, count: int, seed: int) -> Split:
    """Keeps the labels of `count` images and sets the others to -1.

    The labelled images are stratified as in `split_off`. Factors are kept, since they are used for
    evaluation only.

    Raises:
        ValueError: there are no labels, or `count` is below 1 or above the number of labelled
            images.
    """
    if split.labels is None:
        raise ValueError(f"labelled = {count} needs labels, but the data set has none.")
    labels = split.labels
    known = np.flatnonzero((labels.reshape(len(labels), -1) != UNLABELLED).any(axis=1))
    if not 1 <= count <= len(known):
        raise ValueError(
            f"labelled must lie in 1 to {len(known)}, the number of labelled training images; "
            f"got {count}."
        )
    if count == len(known):
        return split
    kept = known[_stratified(labels[known], len(known), count, seed)[1]]
    visible = np.full_like(labels, UNLABELLED)
    visible[kept] = labels[kept]
    return dataclasses.replace(split, labels=visible)


def _stratified(
    labels: np.ndarray | None, size: int, count: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Splits `range(size)` into the rest and a part of `count` indices, both sorted."""
    if labels is not None and labels.ndim > 1:
        labels = None  # Many combinations of attributes are too rare to stratify by.
    if labels is not None:
        classes, members = np.unique(labels, return_counts=True)
        # Ignores the labels if the parts cannot both hold an image of each class.
        if members.min() < 2 or min(count, size - count) < len(classes):
            labels = None
    rest, part = train_test_split(
        np.arange(size), test_size=count, random_state=seed, stratify=labels
    )
    return np.sort(rest), np.sort(part)
