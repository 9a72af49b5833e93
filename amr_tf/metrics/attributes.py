"""Attribute vectors in latent space (Sainburg et al. 2018, GAIA)."""

import numpy as np


def attribute_vectors(codes: np.ndarray, attributes: np.ndarray) -> np.ndarray:
    """Computes the mean code of images with each attribute, minus that of images without it.

    `model.decode(codes + vector)` adds an attribute. The vectors also contain whatever is
    correlated with the attribute in the data. Section 3 of the paper points this out, and mixes by
    label instead.

    Args:
        codes: (N, H, W, C) or (N, D).
        attributes: (N, A) in {0, 1}, or -1 where unknown.

    Returns:
        NumPy array (A, H, W, C) or (A, D).

    Raises:
        ValueError: the shapes do not match, or all or no images have an attribute.
    """
    codes, attributes = np.asarray(codes), np.asarray(attributes)
    if attributes.ndim != 2 or len(attributes) != len(codes):
        raise ValueError(
            f"attributes must have the shape ({len(codes)}, A), a row for each code; got "
            f"{attributes.shape}."
        )
    vectors = []
    for number, column in enumerate(attributes.T):
        groups = [codes[column == value] for value in (1, 0)]
        if not all(len(group) for group in groups):
            raise ValueError(f"Attribute {number} needs images that have it and some that do not.")
        vectors.append(groups[0].mean(axis=0) - groups[1].mean(axis=0))
    return np.stack(vectors)
