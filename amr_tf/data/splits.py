"""Arrays of images with labels, and deterministic ways to cut them."""

import dataclasses

import numpy as np
from sklearn.model_selection import train_test_split


@dataclasses.dataclass(frozen=True)
class Split:
    """Images of one split in memory.

    Attributes:
        images: uint8, (N, H, W, C).
        labels: int64, (N,), or None.
    """

    images: np.ndarray
    labels: np.ndarray | None

    def __len__(self):
        return len(self.images)

    def take(self, indices):
        """The images at `indices`, as a new `Split`."""
        labels = None if self.labels is None else self.labels[indices]
        return Split(self.images[indices], labels)


def split_off(split, fraction, seed):
    """Cuts a share of the images off, stratified by label where there are labels.

    Args:
        split: a `Split`.
        fraction: share to cut off, above 0 and below 1.
        seed: the same seed cuts the same images.

    Returns:
        The rest and the part cut off, each a `Split` in the original order.

    Raises:
        ValueError: the fraction is out of range, or leaves one of the parts empty.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"validation_fraction must be above 0 and below 1; got {fraction}.")
    if not len(split):
        raise ValueError("The data set is empty: it holds no training images.")
    count = round(fraction * len(split))
    if not 0 < count < len(split):
        raise ValueError(
            f"validation_fraction = {fraction} of {len(split)} images leaves no image on one side."
        )
    rest, part = _stratified(split, count, seed)
    return split.take(rest), split.take(part)


def draw_subset(split, count, seed):
    """`count` of the images, stratified by label where there are labels, as a `Split`.

    Raises:
        ValueError: `count` is below 1 or more than there are.
    """
    if not 1 <= count <= len(split):
        raise ValueError(
            f"train_subset must lie in 1 to {len(split)}, the number of training images; "
            f"got {count}."
        )
    if count == len(split):
        return split
    return split.take(_stratified(split, count, seed)[1])


def _stratified(split, count, seed):
    """Sorted indices: of all but `count` images, and of these."""
    labels = split.labels
    if labels is not None:
        classes, members = np.unique(labels, return_counts=True)
        # Too few images for one of each class on both sides: draw without regard to labels.
        if members.min() < 2 or min(count, len(split) - count) < len(classes):
            labels = None
    rest, part = train_test_split(
        np.arange(len(split)), test_size=count, random_state=seed, stratify=labels
    )
    return np.sort(rest), np.sort(part)
