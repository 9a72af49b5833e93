"""Draws held-out images for figures: groups, labelled pairs and samples."""

import numpy as np

from amr_tf.data import Split, prepared


def draw_groups(
    split: Split, image_size: int | None, groups: int, members: int = 2, seed: int = 0
) -> list[np.ndarray]:
    """Draws groups of images without replacement.

    Args:
        split: a `Split`.
        image_size: width of the model's images.
        groups: number of groups.
        members: number of images per group, such as 2 for pairs.
        seed: seed of the draw.

    Returns:
        `members` float arrays (groups, H, W, C) in [-1, 1]; their n-th images form group n.

    Raises:
        ValueError: there are too few images.
    """
    needed = members * groups
    if len(split) < needed:
        raise ValueError(f"pairs = {groups} needs {needed} images of the {len(split)} there are.")
    chosen = np.random.default_rng(seed).choice(len(split), needed, replace=False)
    return np.split(prepared(split, chosen, image_size), members)


def draw_labelled_pairs(
    split: Split, image_size: int | None, pairs: int, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Draws pairs of images whose labels are known and differ.

    Args:
        split: a labelled `Split`.
        image_size: width of the model's images.
        pairs: number of pairs.
        seed: seed of the draw.

    Returns:
        Float images (pairs, H, W, C) in [-1, 1], their partners, and the labels of both, as in the
        split.

    Raises:
        ValueError: there are no labels, or too few pairs with different labels.
    """
    if split.labels is None:
        raise ValueError("Mixes under labels need labelled images; these have no labels.")
    labels = split.labels.reshape(len(split), -1)
    known = np.flatnonzero((labels >= 0).all(axis=1))
    found = _different(labels, np.random.default_rng(seed).permutation(known), pairs)
    if len(found) < pairs:
        raise ValueError(
            f"pairs = {pairs} needs as many pairs of images with different labels; only "
            f"{len(found)} were found among {len(known)} labelled images."
        )
    first, second = np.array(found).T
    images = [prepared(split, indices, image_size) for indices in (first, second)]
    return *images, split.labels[first], split.labels[second]


def _different(labels: np.ndarray, order: np.ndarray, count: int) -> list[tuple[int, int]]:
    """Returns up to `count` pairs of indices with different labels, in the given order."""
    found: list[tuple[int, int]] = []
    waiting: list[int] = []
    for index in order:
        if len(found) == count:
            break
        # All waiting indices have the same label; any other would have been paired.
        if waiting and (labels[index] != labels[waiting[-1]]).any():
            found.append((waiting.pop(), index))
        else:
            waiting.append(index)
    return found


def draw_sample(
    split: Split, image_size: int | None, most: int, seed: int = 0
) -> tuple[np.ndarray, np.ndarray | None]:
    """Draws up to `most` images in random order, with their labels.

    Args:
        split: a `Split`.
        image_size: width of the model's images, or None for points.
        most: largest number of images.
        seed: seed of the draw.

    Returns:
        Float images (N, H, W, C) in [-1, 1] or points (N, D), and their labels or None.
    """
    chosen = np.random.default_rng(seed).permutation(len(split))[:most]
    labels = None if split.labels is None else split.labels[chosen]
    return prepared(split, chosen, image_size), labels
