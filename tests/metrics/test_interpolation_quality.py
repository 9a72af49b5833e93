"""Mean Distance and Smoothness, on interpolations whose angles are known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from amr_tf.data.lines import draw_lines
from amr_tf.metrics.interpolation_quality import (
    draw_angles,
    ends_of_the_scale,
    interpolation_quality,
    model_interpolation_quality,
    perfect_interpolation,
    pixel_interpolation,
)

CANDIDATES = 720  # Every half degree: what is drawn at whole degrees is matched exactly.
JUMP = 14 / 15  # One step of 15 does it all.


def lines(degrees, size=32):
    """Interpolations (N, steps, size, size, 1) through given degrees (N, steps)."""
    degrees = np.atleast_2d(degrees)
    drawn = draw_lines(np.radians(degrees).ravel(), size).astype("float32") / 127.5 - 1
    return drawn.reshape(*degrees.shape, size, size, 1)


def score(images):
    return interpolation_quality(images, CANDIDATES)


class Stub:
    """A model of lines that interpolates as it is told, and notes what it was given."""

    def __init__(self, interpolate, image_shape=(32, 32, 1)):
        self.image_shape = image_shape
        self._interpolate = interpolate

    def interpolate(self, images_a, images_b, steps, batch_size):
        self.given = images_a, images_b
        return self._interpolate(images_a, images_b, steps)


@pytest.mark.parametrize("start", [0, 30, 350])
@pytest.mark.parametrize("step", [1, -5, 11])
def test_even_steps_are_perfect(start, step):
    """Also across 0 degrees, where angles jump by a full circle."""
    result = score(lines(start + step * np.arange(16)))
    assert result["mean_distance"] == pytest.approx(0, abs=1e-12)
    assert result["smoothness"] == pytest.approx(0, abs=1e-9)
    assert result["excess_travel"] == pytest.approx(0, abs=1e-9)
    assert result["undefined"] == 0


def test_perfect_interpolations_are_as_good_as_the_grid_allows():
    first, second = draw_angles(30, seed=3)
    result = interpolation_quality(perfect_interpolation(first, second))
    grid = 2 * np.pi / 5_000
    turns = abs(np.angle(np.exp(1j * (second - first))))
    # Both ends of a step may be matched half a grid step off.
    assert 0 < result["smoothness"] <= np.mean(2 * grid / turns)
    neighbours = lines(np.degrees([0.3, 0.3 + grid]))[0].reshape(2, -1)
    assert 0 < result["mean_distance"] <= cdist(*neighbours[:, None], "cosine").item()


def test_blended_pixels_of_orthogonal_lines_jump():
    ends = lines([[20, 110]])
    blend = pixel_interpolation(ends[:, 0], ends[:, 1], 16)
    result = score(blend)
    assert result["smoothness"] == pytest.approx(JUMP)
    every = lines(np.arange(0, 360, 0.5)).reshape(CANDIDATES, -1)
    nearest = cdist(blend.reshape(16, -1), every, "cosine").min(axis=1)
    assert nearest[7] > 0.005
    assert result["mean_distance"] == pytest.approx(nearest.mean(), rel=1e-5)


@pytest.mark.parametrize(
    ("degrees", "smoothness", "excess_travel"),
    [
        ([40] * 8 + [130] * 8, JUMP, 0),
        ([0, 10, 20, 50, 60], 30 / 60 - 1 / 4, 0),
        ([350, 0, 10, 40, 50], 30 / 60 - 1 / 4, 0),
        ([0, 20, 10, 30, 40], 20 / 40 - 1 / 4, 60 / 40 - 1),
        ([0, 40, -20, 40], 60 / 40 - 1 / 3, 160 / 40 - 1),
        # The long way round is even, and only as a whole three times as long.
        ([0, 45, 90, 135, 180, 225, 270], 0, 270 / 90 - 1),
        # Once all the way round and on to a neighbour.
        ([10, 130, 250, 10, 20], 120 / 370 - 1 / 4, 370 / 10 - 1),
    ],
)
def test_hand_computed(degrees, smoothness, excess_travel):
    result = score(lines(degrees))
    assert result["smoothness"] == pytest.approx(smoothness, abs=1e-9)
    assert result["excess_travel"] == pytest.approx(excess_travel, abs=1e-9)
    assert result["mean_distance"] == pytest.approx(0, abs=1e-12)


def test_several_interpolations():
    """Smoothness is a mean of ratios, excess travel a ratio of sums."""
    result = score(lines([[0, 10, 30, 40], [0, 60, 30, 90]]))
    assert result["smoothness"] == pytest.approx((20 / 40 + 60 / 90) / 2 - 1 / 3)
    assert result["excess_travel"] == pytest.approx((40 + 150) / (40 + 90) - 1)


def test_collapsed_interpolations_are_counted_and_left_out():
    good = score(lines([[0, 10, 30, 40]]))
    both = score(lines([[0, 10, 30, 40], [70, 70, 70, 70]]))
    assert both == pytest.approx({**good, "undefined": 1}, abs=1e-12)
    collapsed = score(lines([[70, 80, 75, 70]]))
    assert np.isnan(collapsed["smoothness"]) and np.isnan(collapsed["excess_travel"])
    assert collapsed["undefined"] == 1


def test_scaling_changes_nothing_and_shifting_does():
    images = lines([[0, 10, 30, 40]])
    blurred = (images + np.roll(images, 1, axis=2)) / 2
    scored = score(blurred)
    assert scored["mean_distance"] > 1e-4
    assert score(0.3 * blurred) == pytest.approx(scored, rel=1e-4)
    assert score(blurred + 0.5)["mean_distance"] > 2 * scored["mean_distance"]


def test_noise_takes_images_away_from_lines():
    images = lines([[0, 10, 20, 30]])
    noise = np.random.default_rng(0).normal(size=images.shape)
    distances = [score(images + scale * noise)["mean_distance"] for scale in (0, 0.05, 0.2)]
    assert distances == sorted(distances) and distances[1] > 1e-4


def test_equals_scipys_distances_and_the_formula():
    """On images that are not lines, from ACAI's formula as written out one interpolation a time."""
    images = np.random.default_rng(5).normal(size=(4, 6, 32, 32, 1)) + lines([[0, 50, 100] * 2] * 4)
    result = score(images)
    every = lines(np.arange(0, 360, 0.5)).reshape(CANDIDATES, -1)
    distances = cdist(images.reshape(24, -1), every, "cosine")
    angles = np.radians(0.5 * distances.argmin(axis=1)).reshape(4, 6)
    smoothness = []
    for path in np.unwrap(angles):
        steps = [abs(after - before) for before, after in zip(path, path[1:])]
        smoothness.append(max(steps) / abs(path[-1] - path[0]) - 1 / 5)
    assert result["mean_distance"] == pytest.approx(distances.min(axis=1).mean(), rel=1e-6)
    assert result["smoothness"] == pytest.approx(np.mean(smoothness), rel=1e-6)


def test_an_image_of_zeros_is_far_from_every_line():
    images = lines([[0, 10, 20]])
    images[0, 1] = 0
    assert score(images)["mean_distance"] == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((2, 3, 8, 8), "float32"), r"shape \(N, steps, size, size, 1\)"),
        (np.zeros((0, 3, 8, 8, 1), "float32"), "N at least 1"),
        (np.zeros((2, 1, 8, 8, 1), "float32"), "steps at least 2"),
        (np.zeros((2, 3, 8, 6, 1), "float32"), r"\(8, 6, 1\)"),
        (np.zeros((2, 3, 8, 8, 3), "float32"), r"\(8, 8, 3\)"),
        (np.zeros((2, 3, 8, 8, 1), "uint8"), "uint8"),
        (np.full((2, 3, 8, 8, 1), np.nan, "float32"), "NaN or infinite"),
        (np.full((2, 3, 8, 8, 1), np.inf, "float32"), "NaN or infinite"),
    ],
)
def test_refuses_what_is_no_interpolation(images, message):
    with pytest.raises(ValueError, match=message):
        interpolation_quality(images)


def test_perfect_interpolation_takes_the_shorter_arc():
    drawn = perfect_interpolation(np.radians([350, 20]), np.radians([20, 350]), 4)
    np.testing.assert_array_equal(drawn, lines([[350, 0, 10, 20], [20, 10, 0, 350]]))
    assert drawn.dtype == "float32"


def test_pixel_interpolation_blends():
    ends = lines([[0, 90]])
    blend = pixel_interpolation(ends[:, 0], ends[:, 1], 5)
    assert blend.shape == (1, 5, 32, 32, 1) and blend.dtype == "float32"
    np.testing.assert_allclose(blend[0, 1], 0.75 * ends[0, 0] + 0.25 * ends[0, 1], atol=1e-6)


@pytest.mark.parametrize("steps", [1, 0, 2.0, True, None])
def test_refuses_too_few_steps(steps):
    with pytest.raises(ValueError, match="steps must be an integer of at least 2"):
        perfect_interpolation([0.0], [1.0], steps)


def test_refuses_ends_that_do_not_fit():
    with pytest.raises(ValueError, match=r"\(2,\) and \(1,\)"):
        perfect_interpolation([0, 1], [1], 4)
    with pytest.raises(ValueError, match="NaN"):
        perfect_interpolation([0, np.nan], [1, 2], 4)
    with pytest.raises(ValueError, match="same shape"):
        pixel_interpolation(np.zeros((2, 8, 8, 1)), np.zeros((1, 8, 8, 1)), 4)


@settings(deadline=None, max_examples=30)
@given(pairs=st.integers(1, 200), seed=st.integers(0, 2**32 - 1), smallest=st.floats(0, 3.1))
def test_drawn_angles_are_apart(pairs, seed, smallest):
    first, second = draw_angles(pairs, seed, smallest)
    turns = abs(np.angle(np.exp(1j * (second - first))))
    assert first.shape == second.shape == (pairs,)
    assert turns.min() >= smallest - 1e-9
    assert min(first.min(), second.min()) >= 0 and max(first.max(), second.max()) <= 2 * np.pi
    np.testing.assert_array_equal(draw_angles(pairs, seed, smallest), (first, second))


def test_drawn_angles_go_everywhere():
    first, second = draw_angles(4000, seed=1)
    turns = np.angle(np.exp(1j * (second - first)))
    for angles in (first, second):
        assert np.histogram(angles, 8, (0, 2 * np.pi))[0].min() > 400
    assert np.histogram(turns, 8, (-np.pi, np.pi))[0].min() > 400


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"pairs": 0}, "pairs"),
        ({"pairs": 2, "smallest_turn": 3.2}, "below pi; got 3.2"),
        ({"pairs": 2, "smallest_turn": -0.1}, "smallest_turn"),
    ],
)
def test_refuses_angles_that_cannot_be_drawn(kwargs, message):
    with pytest.raises(ValueError, match=message):
        draw_angles(**kwargs)


def test_a_model_is_scored_on_the_pairs_that_the_scale_is_made_of():
    scale = ends_of_the_scale(pairs=12, steps=5, seed=7)
    model = Stub(pixel_interpolation)
    assert model_interpolation_quality(model, pairs=12, steps=5, seed=7) == scale["pixel"]
    first, second = draw_angles(12, seed=7)
    np.testing.assert_array_equal(model.given[0], lines(np.degrees(first))[0])
    np.testing.assert_array_equal(model.given[1], lines(np.degrees(second))[0])
    pixel, perfect = scale["pixel"], scale["perfect"]
    assert pixel["mean_distance"] > 100 * perfect["mean_distance"]
    assert pixel["smoothness"] > 20 * perfect["smoothness"]


def test_a_real_model(model):
    """An untrained one, of 8x8 images."""
    result = model_interpolation_quality(model, pairs=6, steps=4, seed=0)
    assert result.keys() == {"mean_distance", "smoothness", "excess_travel", "undefined"}
    assert 0 < result["mean_distance"] < 2
    assert result == model_interpolation_quality(model, pairs=6, steps=4, seed=0)


def test_refuses_a_model_of_other_images():
    with pytest.raises(ValueError, match=r"\(32, 32, 3\)"):
        model_interpolation_quality(Stub(pixel_interpolation, (32, 32, 3)), pairs=2)
