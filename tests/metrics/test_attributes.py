"""Attribute vectors: differences of mean codes."""

import numpy as np
import pytest

from amr_tf.metrics.attributes import attribute_vectors

ATTRIBUTES = np.array([[1, 0], [0, 1], [1, -1], [0, 0], [-1, 1]])


@pytest.mark.parametrize("shape", [(3,), (2, 2, 3)])
def test_differences_of_means(shape):
    codes = np.random.default_rng(0).normal(size=(5, *shape))
    vectors = attribute_vectors(codes, ATTRIBUTES)
    assert vectors.shape == (2, *shape)
    first = (codes[0] + codes[2]) / 2 - (codes[1] + codes[3]) / 2
    second = (codes[1] + codes[4]) / 2 - (codes[0] + codes[3]) / 2
    np.testing.assert_allclose(vectors, [first, second])


def test_the_direction_that_made_the_codes():
    random = np.random.default_rng(0)
    attributes, directions = random.integers(0, 2, (2000, 2)), random.normal(size=(2, 4))
    codes = attributes @ directions + 0.1 * random.normal(size=(2000, 4))
    np.testing.assert_allclose(attribute_vectors(codes, attributes), directions, atol=0.15)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        (ATTRIBUTES[:4], r"attributes must have the shape \(5, A\).*; got \(4, 2\)"),
        (ATTRIBUTES[:, 0], r"attributes must have the shape \(5, A\).*; got \(5,\)"),
        (np.ones((5, 2)), "Attribute 0 needs images that have it and some that do not"),
        (np.stack([ATTRIBUTES[:, 0], np.zeros(5)], axis=1), "Attribute 1 needs images"),
        (np.full((5, 1), -1), "Attribute 0 needs images"),
    ],
)
def test_errors(attributes, message):
    with pytest.raises(ValueError, match=message):
        attribute_vectors(np.zeros((5, 3)), attributes)
