"""Ways from one code to another: the straight line, and the arc around the origin."""

import numpy as np
import pytest
import tensorflow as tf

from amr_tf import AMR, PixelMixup
from amr_tf.models.inference import great_circle, straight_line

RANDOM = np.random.default_rng(0)
WEIGHTS = tf.linspace(0.0, 1.0, 5)
IMAGES = RANDOM.uniform(-1, 1, (4, 8, 8, 1)).astype("float32")


def test_arcs_stay_at_the_distance_from_the_origin():
    start, end = (RANDOM.normal(size=(6, 3, 3, 2)).astype("float32") for _ in range(2))
    start, end = (
        points / np.sqrt((points**2).sum((1, 2, 3), keepdims=True)) for points in (start, end)
    )
    arc = great_circle(start, end, WEIGHTS).numpy()
    np.testing.assert_allclose(arc[:, 0], start, atol=1e-6)
    np.testing.assert_allclose(arc[:, -1], end, atol=1e-6)
    np.testing.assert_allclose((arc**2).sum((2, 3, 4)), 1.0, atol=1e-5)
    # Equal steps turn by equal angles.
    cosines = (arc[:, 1:] * arc[:, :-1]).sum((2, 3, 4))
    np.testing.assert_allclose(cosines, np.repeat(cosines[:, :1], 4, axis=1), atol=1e-5)


@pytest.mark.parametrize("end", [[2.0, 0.0], [1.0, 1e-5], [0.0, 0.0], [-3.0, 0.0]])
def test_parallel_and_vanishing_points_are_joined_straight(end):
    start, end = np.array([[1.0, 0.0]], "float32"), np.array([end], "float32")
    arc = great_circle(start, end, WEIGHTS).numpy()
    assert np.isfinite(arc).all()
    np.testing.assert_allclose(arc, straight_line(start, end, WEIGHTS).numpy(), atol=1e-5)


@pytest.mark.parametrize("method", [AMR, PixelMixup])
def test_models_interpolate_along_both(method):
    model = method.convolutional((8, 8, 1), depth=2)
    straight = model.interpolate(IMAGES[:2], IMAGES[2:], steps=5)
    arc = model.interpolate(IMAGES[:2], IMAGES[2:], steps=5, path="spherical")
    for step in (0, -1):
        np.testing.assert_allclose(arc[:, step], straight[:, step], atol=1e-5)
    # Half-way they differ in length only, which instance normalisation takes away.
    assert np.abs(arc[:, 1] - straight[:, 1]).max() > 1e-3
    with pytest.raises(ValueError, match="Unknown path 'slerp'"):
        model.interpolate(IMAGES[:2], IMAGES[2:], path="slerp")
