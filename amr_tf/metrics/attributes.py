"""Directions of attributes in latent space, by averages (Sainburg et al. 2018, GAIA)."""

import numpy as np


def attribute_vectors(codes: np.ndarray, attributes: np.ndarray) -> np.ndarray:
    """For each attribute the mean code of the images that have it, minus that of those without.

    `model.decode(codes + vector)` adds an attribute. The vectors carry along what is correlated
    with an attribute in the data (the paper's section 3 says so, and mixes by label instead).

    Args:
        codes: (N, H, W, C) or (N, D).
        attributes: (N, A) of 0 and 1, -1 where unknown.

    Returns:
        NumPy array (A, H, W, C) or (A, D).

    Raises:
        ValueError: shapes that do not fit, or an attribute that all images have, or none.
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
