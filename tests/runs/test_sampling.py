"""Mixes of training images."""

import numpy as np
import pytest

from amr_tf.data import prepared
from amr_tf.runs.sampling import mixes_of
from tests.metrics.conftest import make_data


class Stub:
    """A model whose mixes are their first parents, noting what it was asked to mix."""

    class mixer:  # noqa: N801
        k = 3

    def __init__(self):
        self.calls = []

    def mix(self, images, seed):
        self.calls.append((images, seed))
        return images


@pytest.mark.parametrize(
    ("count", "asked"), [(2, [(3, 7)]), (60, [(60, 7)]), (130, [(60, 7), (60, 8), (10, 9)])]
)
def test_as_many_as_wanted_of_different_images(count, asked):
    model, data = Stub(), make_data()
    made = mixes_of(model, data, count, seed=7)
    assert made.shape == (count, 8, 8, 1)
    assert [(len(images), seed) for images, seed in model.calls] == asked
    known = prepared(data.train, slice(None), data.image_size)
    for images, _ in model.calls:
        # Training images, none of them twice.
        assert len(np.unique(images, axis=0)) == len(images)
        assert all((known == image).all(axis=(1, 2, 3)).any() for image in images)
