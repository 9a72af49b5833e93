"""Spherical mixup: mixes are as long as the codes that they are made of."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from amr_tf import AMR
from amr_tf.mixers import CompositeMixer, SphericalMixup
from amr_tf.models.inference import PATHS
from tests.mixers.common import codes_of, drawn
from tests.models.helpers import X, Y, make, save_and_continue

SHAPES = ((4, 4, 3), (7,))


def mixed(codes, coefficients, k=2):
    """Mixes of each code with the next ones, and the coefficients that made them."""
    permutations = np.stack([np.roll(np.arange(len(codes)), -shift) for shift in range(k)])
    made, weighed = SphericalMixup(k)(tf.constant(codes), permutations, coefficients)
    return np.asarray(made), np.asarray(weighed), np.moveaxis(codes[permutations], 0, 1)


def squares(codes, axes):
    return np.square(codes).sum(axis=axes)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(SHAPES), st.integers(2, 4), st.integers(0, 1000))
def test_the_squared_length_is_the_mean_of_the_parents(shape, k, seed):
    codes = codes_of(shape, 8, seed) * np.float32(1 + seed % 3)
    coefficients = drawn(SphericalMixup(k, seed=seed), shape, 8)
    made, weighed, stack = mixed(codes, coefficients, k)
    np.testing.assert_allclose(coefficients.sum(axis=1), 1, atol=1e-6)
    axes = tuple(range(1, 1 + len(shape)))
    wanted = (coefficients.reshape(8, k) * squares(stack, tuple(a + 1 for a in axes))).sum(axis=1)
    np.testing.assert_allclose(squares(made, axes), wanted, rtol=1e-4)
    np.testing.assert_allclose(made, (weighed * stack).sum(axis=1), atol=1e-5)
    # Its direction is that of mixup.
    plain = (coefficients * stack).sum(axis=1)
    cosine = (made * plain).sum(axis=axes) / np.sqrt(squares(made, axes) * squares(plain, axes))
    np.testing.assert_allclose(cosine, 1, atol=1e-5)


def test_codes_of_one_length_meet_on_their_arc():
    codes = codes_of((7,), 2)
    codes /= np.linalg.norm(codes, axis=1, keepdims=True)
    made, _, _ = mixed(codes, np.full((2, 2, 1), 0.5, "float32"))
    arc = PATHS["spherical"](tf.constant(codes[:1]), tf.constant(codes[1:]), tf.constant([0.5]))
    np.testing.assert_allclose(made[0], arc[0, 0], atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_code_mixed_with_itself_stays(shape):
    codes = codes_of(shape, 4)
    made, _ = SphericalMixup(3, seed=1)(codes, np.tile(np.arange(4), (3, 1)))
    np.testing.assert_allclose(made, codes, atol=1e-5)


def test_whole_maps_are_not_stretched():
    """Given coefficients of 0 and 1 for each map have the parents' spread already."""
    chosen = np.zeros((6, 2, 1, 1, 3), "float32")
    chosen[:, 0, ..., :2] = chosen[:, 1, ..., 2:] = 1
    codes = codes_of((4, 4, 3), 6)
    made, weighed, stack = mixed(codes, chosen)
    np.testing.assert_allclose(weighed, chosen, atol=1e-5)
    np.testing.assert_allclose(made, (chosen * stack).sum(axis=1), atol=1e-5)


def test_returned_coefficients_give_the_same_mix():
    codes = codes_of((4, 4, 3), 6)
    first, weighed, _ = mixed(codes, drawn(SphericalMixup(seed=1), (4, 4, 3), 6))
    assert (np.abs(weighed.sum(axis=1) - 1) > 0.05).any()
    np.testing.assert_allclose(mixed(codes, weighed)[0], first, atol=1e-5)


def test_codes_that_cancel_out_stay_finite():
    codes = np.stack([np.ones(5), -np.ones(5), np.zeros(5)]).astype("float32")
    with tf.GradientTape() as tape:
        given = tf.constant(codes)
        tape.watch(given)
        halves = np.full((3, 2, 1), 0.5, "float32")
        made, _ = SphericalMixup()(given, np.array([[0, 1, 2], [1, 0, 2]]), halves)
        loss = tf.reduce_sum(made**2)
    np.testing.assert_allclose(made, np.zeros((3, 5)), atol=1e-2)
    assert np.isfinite(tf.convert_to_tensor(tape.gradient(loss, given))).all()


def test_graph_and_precision():
    mixer = SphericalMixup(3, seed=1, dtype="mixed_bfloat16")
    signature = tf.TensorSpec((None, 4, 4, 2), "float32")
    concrete = tf.function(lambda codes: mixer(codes)).get_concrete_function(signature)
    for count in (1, 5):
        made, coefficients = concrete(tf.ones((count, 4, 4, 2)))
        np.testing.assert_allclose(tf.cast(made, "float32"), np.ones((count, 4, 4, 2)), atol=2e-2)
        assert (made.dtype, coefficients.dtype) == (tf.bfloat16, tf.float32)
        assert coefficients.shape == (count, 3, 1, 1, 1)
    made, coefficients = mixer(keras.Input((4, 4, 2)))
    assert (made.shape, coefficients.shape) == ((None, 4, 4, 2), (None, 3, 1, 1, 1))


def test_it_is_trained_and_saved_and_leads_the_interpolation(tmp_path):
    model = make(AMR, "spherical")
    model.train_on(X, Y)
    save_and_continue(model, tmp_path / "model.keras")
    made = model.interpolate(X[:2], X[2:4], 3)
    codes = [model.encode(images) for images in (X[:2], X[2:4])]
    between = model.mixer.between(*map(tf.constant, codes), tf.constant([0.0, 0.5, 1.0]))
    np.testing.assert_allclose(made[:, 1], model.decode(np.asarray(between)[:, 1]), atol=1e-5)
    lengths = np.square(between).sum(axis=(2, 3, 4))
    np.testing.assert_allclose(lengths[:, 1], lengths[:, ::2].mean(axis=1), rtol=1e-4)
    np.testing.assert_allclose(made[:, 2], model.reconstruct(X[2:4]), atol=1e-5)


def test_it_joins_no_composite():
    with pytest.raises(ValueError, match="^SphericalMixup has a weigh of its own and cannot join"):
        CompositeMixer(("spherical", "mixup"))


def test_shares_of_the_look_sum_to_one():
    """Though the coefficients are rescaled."""
    coefficients = np.tile(np.float32([0.3, 0.7])[:, None, None, None], (6, 1, 1, 1, 1))
    _, weighed, _ = mixed(codes_of((4, 4, 3), 6), coefficients)
    assert weighed.sum(axis=1).min() > 1.1
    np.testing.assert_allclose(SphericalMixup().look_shares(weighed), [[0.3, 0.7]] * 6, rtol=1e-5)
