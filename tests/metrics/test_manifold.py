"""Mixes beside a known manifold."""

import keras
import numpy as np
import pytest

from amr_tf import AMR
from amr_tf.data.spiral import distance_to_spiral, sample_spiral, spiral_points
from amr_tf.metrics.manifold import near_manifold

POINTS = sample_spiral(64, seed=0).astype("float32")


class Stub:
    """A model with given mixes, noting the seeds that it is asked for."""

    mixer = "there is one"

    def __init__(self, mixes):
        self.mixes, self.seeds = np.asarray(mixes), []

    def mix(self, points, seed=None):
        self.seeds.append(seed)
        return self.mixes

    def reconstruct(self, points):
        return points + 10


def height(points):
    """The distance from the horizontal axis."""
    return np.abs(points[:, 1])


def test_shares_and_distances():
    model = Stub([[0, 0.0], [5, 0.125], [1, -0.25], [2, 1.0]])
    results = near_manifold(model, POINTS, height, radius=0.25, seed=3)
    assert results == {"near": 0.75, "mean_distance": 0.34375}
    assert all(type(value) is float for value in results.values())
    assert model.seeds == [3]
    assert near_manifold(model, POINTS, height, radius=0.1)["near"] == 0.25


@pytest.mark.parametrize(("shift", "expected"), [(0.0, 1.0), (3.0, 0.0)])
def test_on_the_spiral_and_far_from_it(shift, expected):
    model = Stub(spiral_points(np.linspace(0, 1, 50)) + shift)
    results = near_manifold(model, POINTS, distance_to_spiral)
    assert results["near"] == expected
    assert (results["mean_distance"] < 0.05) == (expected == 1)


def points_model(method, **kwargs):
    keras.utils.set_random_seed(0)
    model = method.create((2,), "mlp", seed=0, **kwargs)
    model.compile()
    return model


def test_a_model_of_points():
    model = points_model(AMR)
    results = near_manifold(model, POINTS, distance_to_spiral, seed=1)
    assert results == near_manifold(model, POINTS, distance_to_spiral, seed=1)
    assert results != near_manifold(model, POINTS, distance_to_spiral, seed=2)
    distances = distance_to_spiral(model.mix(POINTS, seed=1))
    assert results["mean_distance"] == pytest.approx(distances.mean(), rel=1e-5)
    assert results["near"] == pytest.approx((distances <= 0.05).mean())
