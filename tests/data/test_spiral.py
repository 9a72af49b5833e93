"""The spiral: its curve, its sampled points, distances to it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amr_tf.data import load
from amr_tf.data.spiral import NOISE, distance_to_spiral, sample_spiral, spiral_points


def test_the_curve():
    points = spiral_points([0, 1 / 8, 1 / 4, 1 / 2, 3 / 4, 1])
    assert points.dtype == np.float32
    expected = [[0, 0], [0, 0.1125], [-0.225, 0], [0.45, 0], [-0.675, 0], [0.9, 0]]
    np.testing.assert_allclose(points, expected, atol=1e-6)


def test_radius_and_angle_grow_in_proportion_over_two_turns():
    t = np.linspace(0, 1, 1001)
    points = spiral_points(t).astype("float64")
    np.testing.assert_allclose(np.hypot(*points.T), 0.9 * t, atol=1e-6)
    angles = np.unwrap(np.arctan2(points[1:, 1], points[1:, 0]))
    assert angles[-1] - angles[0] == pytest.approx(4 * np.pi * (t[-1] - t[1]), abs=1e-4)
    assert abs(points).max() <= 0.9 + 1e-6


@pytest.mark.parametrize("t", (-0.1, 1.1))
def test_a_parameter_out_of_range(t):
    with pytest.raises(ValueError, match=r"^t must lie in \[0, 1\]; got"):
        spiral_points([0.5, t])


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=50))
def test_points_of_the_curve_have_no_distance_to_it(t):
    distances = distance_to_spiral(spiral_points(t))
    assert distances.shape == (len(t),)
    assert distances.max() < 3e-5


def test_distances_are_those_of_a_finer_search():
    points = np.random.default_rng(0).uniform(-1, 1, (40, 2))
    curve = spiral_points(np.linspace(0, 1, 400_001))
    expected = [np.hypot(*(curve - point).T).min() for point in points]
    np.testing.assert_allclose(distance_to_spiral(points), expected, atol=3e-5)


def test_the_middle_between_two_arms():
    # At the angle 0 the arms pass through 0.45 and 0.9 but for their slope.
    assert distance_to_spiral([[0.675, 0.0]])[0] == pytest.approx(0.225, abs=0.01)


def test_samples_without_noise_lie_on_the_curve():
    points = sample_spiral(500, seed=1, noise=0.0)
    assert points.dtype == np.float32
    assert points.shape == (500, 2)
    assert distance_to_spiral(points).max() < 3e-5


def test_samples_with_noise_are_as_far_as_the_noise_says():
    distances = distance_to_spiral(sample_spiral(20_000, seed=1))
    # Only the noise across the curve counts: the root mean square is the standard deviation.
    assert np.sqrt((distances**2).mean()) == pytest.approx(NOISE, rel=0.03)


def test_samples_lie_evenly_along_the_curve():
    radius = np.hypot(*sample_spiral(50_000, seed=1, noise=0.0).T)
    counts = np.histogram(radius, bins=(0.15, 0.3, 0.45, 0.6, 0.75, 0.9))[0]
    edges = np.linspace(1 / 6, 1, 10_001)
    steps = np.hypot(*np.diff(spiral_points(edges).astype("float64"), axis=0).T)
    lengths = steps.reshape(5, -1).sum(axis=1)
    density = counts / lengths
    assert (abs(density / density.mean() - 1) < 0.05).all()


def test_the_seed_decides():
    assert (sample_spiral(10, seed=1) == sample_spiral(10, seed=1)).all()
    assert (sample_spiral(10, seed=1) != sample_spiral(10, seed=2)).all()


def test_large_noise_stays_in_range():
    assert abs(sample_spiral(1000, seed=1, noise=0.5)).max() == 1.0


def test_the_data_set():
    data = load("spiral")
    assert (len(data.train), len(data.validation), len(data.test)) == (9_000, 1_000, 2_000)
    assert data.image_shape == (2,)
    assert data.image_size is None
    assert data.class_names is None
    for split in (data.train, data.validation, data.test):
        assert split.labels is None
        assert split.images.dtype == np.float32
        assert abs(split.images).max() <= 1
        assert distance_to_spiral(split.images).max() < 6 * NOISE
