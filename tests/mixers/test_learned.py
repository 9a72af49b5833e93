"""The learned mixer: plain mixup at the start, parts whose mean is held, and that it learns."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from amr_tf import AMR, VAE, mixers
from amr_tf.mixers import CompositeMixer, LearnedMixup
from tests.mixers.common import codes_of, drawn, generators
from tests.models.helpers import SHAPE, X, Y, make, same, save_and_continue, values

CODE = (4, 4, 3)


def trained_mixer(k=2, scale=1.0, seed=0):
    """One whose scores are random and far from 0."""
    mixer = LearnedMixup(k, filters=8, seed=seed)
    mixer.build((None, *CODE))
    rng = np.random.default_rng(seed)
    mixer.set_weights([scale * rng.normal(0, 0.5, w.shape) for w in mixer.get_weights()])
    return mixer


def mixed(mixer, count=16, **given):
    codes = codes_of(CODE, count)
    permutations = np.stack([np.roll(np.arange(count), shift) for shift in range(mixer.k)])
    made, parts = mixer(codes, permutations, **given)
    return np.asarray(made), np.asarray(parts), np.moveaxis(codes[permutations], 0, 1)


@pytest.mark.parametrize("k", [2, 3])
def test_it_starts_as_mixup(k):
    learned, plain = LearnedMixup(k, seed=3), mixers.Mixup(k, seed=3)
    codes = codes_of(CODE, 8)
    (ours, parts), (theirs, coefficients) = learned(codes), plain(codes)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    np.testing.assert_allclose(parts, np.broadcast_to(coefficients, parts.shape), atol=1e-5)


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("scale", [0.5, 3.0])
def test_parts_sum_to_one_and_their_means_are_the_coefficients(k, scale):
    mixer = trained_mixer(k, scale)
    coefficients = drawn(mixer, CODE, 16)
    made, parts, stack = mixed(mixer, coefficients=coefficients)
    assert parts.shape == (16, k, *CODE)
    assert parts.min() >= 0
    np.testing.assert_allclose(parts.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(parts.mean(axis=(2, 3, 4)), coefficients[:, :, 0, 0, 0], atol=0.03)
    assert parts.std(axis=(2, 3, 4)).mean() > 0.1  # They differ between elements.
    np.testing.assert_allclose(made, (parts * stack).sum(axis=1), atol=1e-5)


def test_the_order_of_the_parents_does_not_matter():
    mixer = trained_mixer()
    codes = codes_of(CODE, 2)
    coefficients = np.array([0.3, 0.7], "float32").reshape(1, 2, 1, 1, 1)
    one, _ = mixer(codes, np.array([[0, 1], [1, 0]]), np.repeat(coefficients, 2, axis=0))
    other, _ = mixer(codes, np.array([[1, 0], [0, 1]]), np.repeat(coefficients[:, ::-1], 2, axis=0))
    np.testing.assert_allclose(one, other, atol=1e-5)


def test_parts_that_are_given_are_taken_as_they_are():
    mixer = trained_mixer()
    made, parts, _ = mixed(mixer)
    again, returned, _ = mixed(mixer, coefficients=parts)
    np.testing.assert_array_equal(parts, returned)
    np.testing.assert_allclose(made, again, atol=1e-6)


@pytest.mark.parametrize("whole", [False, True], ids=["coefficients", "parts"])
def test_a_graph_that_does_not_know_what_it_is_given(whole):
    """`model.mix` hands a few images to such a graph, and many to the mixer itself."""
    model = make(AMR, "learned(filters=4)", num_classes=None)
    rng = np.random.default_rng(0)
    for variable in model.mixer.trainable_variables:
        variable.assign(rng.normal(0, 0.5, variable.shape))
    permutations = np.stack([np.arange(len(X)), np.roll(np.arange(len(X)), 1)])
    given = drawn(model.mixer, model.latent_shape, len(X))
    parts = np.asarray(model.mixer(model.encode(X), permutations, given)[1])
    given = parts if whole else given
    few = model.mix(X, permutations, given)
    many = model.mix(X, permutations, given, batch_size=len(X) - 1)
    np.testing.assert_allclose(few, many, atol=1e-5)
    plain = (np.moveaxis(model.encode(X)[permutations], 0, 1) * parts).sum(axis=1)
    np.testing.assert_allclose(few, model.decode(plain), atol=1e-5)


def test_a_fixed_seed_leaves_the_generator_alone():
    mixer = trained_mixer()
    before = generators(mixer)
    codes = tf.constant(codes_of(CODE, 6))
    one, again, another = (np.asarray(mixer.mix_batch(codes, seed=s)[0]) for s in (5, 5, 6))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, another)
    np.testing.assert_array_equal(before, generators(mixer))


def test_graph_with_unknown_batch_size():
    mixer = trained_mixer(3)
    signature = tf.TensorSpec((None, *CODE), "float32")
    concrete = tf.function(lambda codes: mixer(codes)).get_concrete_function(signature)
    for count in (1, 5):
        made, parts = concrete(tf.ones((count, *CODE)))
        np.testing.assert_allclose(made, np.ones((count, *CODE)), atol=1e-5)
        assert parts.shape == (count, 3, *CODE)
    made, parts = mixer(keras.Input(CODE))
    assert (made.shape, parts.shape) == ((None, *CODE), (None, 3, *CODE))


def test_mixed_precision():
    mixer = LearnedMixup(seed=1, dtype="mixed_bfloat16")
    made, parts = mixer(tf.constant(codes_of(CODE, 6)))
    assert (made.dtype, parts.dtype) == (tf.bfloat16, tf.float32)


def test_it_is_trained_with_the_autoencoder_and_saved(tmp_path):
    model = make(AMR, "learned(filters=4)")
    assert model.mixer.filters == 4
    before = values(model.mixer.trainable_variables)
    assert len(before) == 4
    for _ in range(2):  # The last kernel starts at 0 and hides the first in the first step.
        model.train_on(X, Y)
    after = values(model.mixer.trainable_variables)
    assert not any(np.array_equal(one, other) for one, other in zip(before, after))
    save_and_continue(model, tmp_path / "model.keras")


def test_it_learns_to_prefer_one_parent_where_that_pays():
    """Bright elements are wanted: the learned parts are larger where the parent is brighter."""
    keras.utils.set_random_seed(0)
    mixer = LearnedMixup(filters=8, seed=0)
    mixer.build((None, *CODE))
    optimizer = keras.optimizers.Adam(0.02)
    codes = tf.constant(codes_of(CODE, 64))
    permutations = np.stack([np.arange(64), np.roll(np.arange(64), 1)])
    first = float(tf.reduce_mean(mixer.mix_batch(codes, permutations, seed=0)[0]))
    for step in range(60):
        with tf.GradientTape() as tape:
            loss = -tf.reduce_mean(mixer.mix_batch(codes, permutations, seed=step)[0])
        gradients = tape.gradient(loss, mixer.trainable_variables)
        optimizer.apply(gradients, mixer.trainable_variables)
    last = float(tf.reduce_mean(mixer.mix_batch(codes, permutations, seed=0)[0]))
    assert first < 0.1
    assert last > first + 0.2


def test_config_round_trip():
    mixer = LearnedMixup(3, filters=5, seed=7, name="mine")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(mixer))
    assert again.get_config() == mixer.get_config()
    assert (again.k, again.filters, again.seed) == (3, 5, 7)


def test_what_it_cannot_be_used_for():
    with pytest.raises(ValueError, match=r"^LearnedMixup needs codes \(N, H, W, C\), since"):
        LearnedMixup().build((None, 7))
    with pytest.raises(ValueError, match="^filters must be a positive integer; got 0"):
        LearnedMixup(filters=0)
    with pytest.raises(ValueError, match="^LearnedMixup has a weigh of its own and cannot join"):
        CompositeMixer(("learned", "mixup"))
    with pytest.raises(ValueError, match="LearnedMixup, which has weights to learn, cannot be"):
        VAE.convolutional(SHAPE, depth=2, mixer="learned")
    assert not same(*(values(trained_mixer(seed=seed).weights) for seed in (0, 1)))
