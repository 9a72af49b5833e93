"""Mixes beside a known manifold."""

import keras
import numpy as np
import pytest

from amr_tf import AEGAN, AMR
from amr_tf.data.spiral import distance_to_spiral, sample_spiral, spiral_points
from amr_tf.evaluation.figures import sample_figure
from amr_tf.evaluation.manifold import manifold_figure, near_manifold

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


def offsets(figure):
    """The points of each panel, by colour."""
    return [[np.asarray(dots.get_offsets()) for dots in axes.collections] for axes in figure.axes]


def test_figure():
    with_mixer, without = Stub(POINTS[::-1]), Stub(POINTS)
    without.mixer = None
    figure = manifold_figure({"AMR": with_mixer, "AE+GAN": without}, POINTS, seed=4)
    assert [axes.get_title() for axes in figure.axes] == ["AMR", "AE+GAN"]
    (data, mixes), (again, reconstructions) = offsets(figure)
    np.testing.assert_allclose(data, POINTS)
    np.testing.assert_allclose(again, POINTS)
    np.testing.assert_allclose(mixes, POINTS[::-1])
    np.testing.assert_allclose(reconstructions, POINTS + 10)
    assert with_mixer.seeds == [4]
    assert without.seeds == []


def test_a_single_panel():
    assert len(manifold_figure({"AMR": Stub(POINTS)}, POINTS).axes) == 1


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


@pytest.mark.parametrize("method", [AMR, AEGAN])
def test_samples_of_points_are_drawn_as_points(method):
    model = points_model(method, mixer="mixup" if method is AMR else None)
    figure = sample_figure(model, POINTS, "epoch 3")
    assert [axes.get_title() for axes in figure.axes] == ["epoch 3"]
    ((data, decoded),) = offsets(figure)
    np.testing.assert_allclose(data, POINTS)
    expected = model.mix(POINTS, seed=0) if method is AMR else model.reconstruct(POINTS)
    np.testing.assert_allclose(decoded, expected, atol=1e-5)
