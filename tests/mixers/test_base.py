"""What every mixer promises, and the parts that all share."""

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from amr_tf import mixers
from amr_tf.mixers import Mixup
from amr_tf.mixers.base import another_seed
from tests.mixers.common import CASES, NAMES, PAIRS, codes_of, drawn, generators, mixed_parents

seeds = st.integers(0, 2**31 - 1)


def test_all_are_tested():
    registered = {name: mixers.MIXERS.get(name) for name in mixers.MIXERS.names()}
    # The coefficients of these depend on the codes: they have tests of their own.
    names = {*NAMES, "learned", "spherical", "style"}
    assert {name for name, kind in registered.items() if not kind.needs_labels} == names
    for name in names:
        assert registered[name].__name__ in mixers.__all__


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(CASES), seeds)
def test_a_mix_is_the_sum_that_its_coefficients_name(case, seed):
    name, k, shape = case
    codes = codes_of(shape, 8, seed)
    mixer = mixers.get(name, k=k, seed=seed)
    mixed, coefficients, stack = mixed_parents(mixer, codes)
    assert coefficients.dtype == "float32"
    assert coefficients.shape == (8, k, *mixer.coefficient_shape(shape))
    np.testing.assert_allclose(coefficients.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(mixed, (coefficients * stack).sum(axis=1), atol=1e-5)
    if name != "gaussian":  # It may lie beyond its parents.
        assert (coefficients >= 0).all()


@pytest.mark.parametrize(("name", "k", "shape"), CASES)
def test_symbolic_call_tells_the_shapes(name, k, shape):
    mixer = mixers.get(name, k=k, seed=1)
    mixed, coefficients = mixer(keras.Input(shape))
    assert mixed.shape == (None, *shape)
    assert coefficients.shape == (None, k, *drawn(mixer, shape, 4).shape[2:])
    given_ones = keras.Input((k, *(1,) * len(shape)))
    assert mixer(keras.Input(shape), None, given_ones)[1].shape == given_ones.shape


@pytest.mark.parametrize(("name", "k", "shape"), CASES)
def test_gradients_reach_every_parent(name, k, shape):
    mixer = mixers.get(name, k=k, seed=7)
    codes = tf.constant(codes_of(shape, 16))
    # Shifts instead of draws, so that each parent of a mix is another example.
    permutations = np.stack([np.roll(np.arange(16), shift) for shift in range(k)])
    coefficients = mixer.draw_coefficients(shape, 16)
    stack = tf.Variable(tf.gather(codes, permutations.T))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(mixer.mix(stack, coefficients) ** 2)
    gradient = np.asarray(tape.gradient(loss, stack))
    assert (np.abs(gradient).reshape(16, k, -1).sum(axis=(0, 2)) > 0).all()
    with tf.GradientTape() as tape:
        tape.watch(codes)
        mixed, _ = mixer(codes, permutations, coefficients)
        loss = tf.reduce_sum(mixed)
    # With the coefficients constant, each code's gradient is the sum of its coefficients.
    expected = np.zeros((16, *shape), "float32")
    for j in range(k):
        expected[permutations[j]] += np.broadcast_to(coefficients[:, j], (16, *shape))
    gradient = tf.convert_to_tensor(tape.gradient(loss, codes))
    np.testing.assert_allclose(gradient, expected, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_same_arguments_same_mix(name):
    codes = codes_of((4, 4, 2), 6)
    first = mixers.get(name, k=2, seed=1)
    permutations = first.draw_permutations(6)
    mixed, coefficients = first(codes, permutations)
    again, returned = mixers.get(name, k=2, seed=2)(codes, permutations, coefficients)
    np.testing.assert_array_equal(mixed, again)
    np.testing.assert_array_equal(coefficients, returned)


@pytest.mark.parametrize("name", NAMES)
def test_seed_determines_draws_and_state_moves_on(name):
    codes = codes_of((4, 4, 2), 6)
    one, two = mixers.get(name, k=2, seed=1), mixers.get(name, k=2, seed=1)
    first = np.asarray(one(codes)[0])
    np.testing.assert_array_equal(first, two(codes)[0])
    assert not np.array_equal(first, one(codes)[0])
    assert not np.array_equal(first, mixers.get(name, k=2, seed=2)(codes)[0])


@pytest.mark.parametrize("name", NAMES)
def test_fixed_seed_leaves_the_generators_alone(name):
    mixer = mixers.get(name, k=2, seed=1)
    before = generators(mixer)
    codes = tf.constant(codes_of((4, 4, 2), 6))
    mixed, again, another = (np.asarray(mixer.mix_batch(codes, seed=s)[0]) for s in (5, 5, 6))
    np.testing.assert_array_equal(mixed, again)
    assert not np.array_equal(mixed, another)
    np.testing.assert_array_equal(before, generators(mixer))
    mixer(codes)
    assert not np.array_equal(before, generators(mixer))


@pytest.mark.parametrize("name", NAMES)
def test_fixed_seed_is_not_used_twice(name):
    """The numbers that order the examples must not be those that weigh them."""
    mixer = mixers.get(name, k=2, seed=1)
    codes = codes_of((4, 4, 2), 6)
    _, coefficients = mixer.mix_batch(tf.constant(codes), seed=5)
    assert not np.array_equal(coefficients, drawn(mixer, (4, 4, 2), 6, seed=5))
    np.testing.assert_array_equal(coefficients, drawn(mixer, (4, 4, 2), 6, seed=6))


def test_another_seed():
    generator = keras.random.SeedGenerator(1)
    assert (another_seed(4), another_seed(4, 3), another_seed(None)) == (5, 7, None)
    assert another_seed(generator) is generator


@pytest.mark.parametrize("name", NAMES)
def test_graph_with_unknown_batch_size(name):
    mixer = mixers.get(name, k=2 if name in PAIRS else 3, seed=1)
    signature = tf.TensorSpec((None, 4, 4, 2), "float32")
    concrete = tf.function(lambda codes: mixer(codes)).get_concrete_function(signature)
    for count in (1, 5, 8):  # Also fewer than k: the last batch of a data set.
        mixed, coefficients = concrete(tf.ones((count, 4, 4, 2)))
        np.testing.assert_allclose(mixed, np.ones((count, 4, 4, 2)), atol=1e-6)
        assert coefficients.shape[0] == count


@pytest.mark.parametrize("name", NAMES)
def test_mixed_precision(name):
    mixer = mixers.MIXERS.get(name)(k=2, seed=1, dtype="mixed_bfloat16")
    codes = codes_of((4, 4, 2), 6)
    mixed, coefficients = mixer(tf.constant(codes))
    assert (mixed.dtype, coefficients.dtype) == (tf.bfloat16, tf.float32)
    exact, _ = mixers.get(name, k=2, seed=1)(tf.constant(codes))
    np.testing.assert_allclose(tf.cast(mixed, tf.float32), exact, atol=0.1)
    assert [output.dtype for output in mixer(keras.Input((4, 4, 2)))] == ["bfloat16", "float32"]


@pytest.mark.parametrize("name", (*NAMES, "spherical", "style"))
def test_config_round_trip(name):
    mixer = mixers.MIXERS.get(name)(k=2, seed=5, name="mine")
    config = keras.saving.serialize_keras_object(mixer)
    assert config["registered_name"].startswith("amr_tf>")
    again = keras.saving.deserialize_keras_object(config)
    assert type(again) is type(mixer)
    assert again.get_config() == mixer.get_config()
    assert (again.k, again.seed, again.name) == (2, 5, "mine")


@pytest.mark.parametrize("name", NAMES)
def test_saved_file_continues_the_draws(name, tmp_path):
    codes = keras.Input((4, 4, 2))
    model = keras.Model(codes, mixers.get(name, k=2, seed=1)(codes))
    batch = codes_of((4, 4, 2), 6)
    first = np.asarray(model(batch)[1])
    model.save(tmp_path / "mixer.keras")
    again = keras.saving.load_model(tmp_path / "mixer.keras")
    for _ in range(3):
        mixed, coefficients = model(batch)
        for ours, theirs in zip((mixed, coefficients), again(batch)):
            np.testing.assert_array_equal(ours, theirs)
        assert not np.array_equal(first, coefficients)  # A generator that began anew would.


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 5), st.integers(2, 40), seeds)
def test_permutations(k, count, seed):
    permutations = np.asarray(Mixup(k, seed=seed).draw_permutations(count))
    assert permutations.shape == (k, count)
    np.testing.assert_array_equal(permutations[0], np.arange(count))
    np.testing.assert_array_equal(np.sort(permutations, axis=1), [np.arange(count)] * k)


def test_permutations_are_uniform():
    mixer = Mixup(2, seed=1)
    draws = [tuple(np.asarray(mixer.draw_permutations(3))[1]) for _ in range(1200)]
    counts = np.unique(draws, axis=0, return_counts=True)[1]
    assert len(counts) == 6
    assert scipy.stats.chisquare(counts).pvalue > 1e-3


def test_own_mixer_by_name():
    @mixers.MIXERS.register("halves")
    class Halves(mixers.Mixer):
        def draw_coefficients(self, code_shape, batch_size, seed=None):
            return keras.ops.full((batch_size, self.k) + (1,) * len(code_shape), 1 / self.k)

    try:
        codes = codes_of((5,), 4)
        mixer = mixers.get("halves", k=2)
        mixed, _ = mixer(codes, np.array([[0, 1, 2, 3], [3, 2, 1, 0]]))
        np.testing.assert_allclose(mixed, (codes + codes[::-1]) / 2, atol=1e-6)
        # It does not say the shape of its coefficients, so a symbolic call leaves it open.
        assert mixer(keras.Input((4, 4, 2)))[1].shape == (None, 2, 1, 1, None)
    finally:
        del mixers.MIXERS._entries["halves"]


@pytest.mark.parametrize("k", [1, 0, -2, 2.0, True, "2"])
def test_bad_k(k):
    with pytest.raises(ValueError, match="k must be an integer of at least 2"):
        Mixup(k)


@pytest.mark.parametrize("name", NAMES)
def test_codes_that_are_neither_maps_nor_vectors(name):
    mixer = mixers.get(name, k=2)
    with pytest.raises(ValueError, match=r"\(N, H, W, C\) or \(N, D\); got \(N, 3, 5\)"):
        mixer.build((None, 3, 5))
    with pytest.raises(ValueError, match=r"\(N, H, W, C\) or \(N, D\); got \(N, 3, 5\)"):
        mixer(codes_of((3, 5), 4))
    mixer.build((None, 4, 4, 2))
    with pytest.raises(ValueError, match=r"\(N, H, W, C\) or \(N, D\); got \(N, 3, 5\)"):
        mixer.mix_batch(tf.constant(codes_of((3, 5), 4)))


def test_bad_arguments():
    with pytest.raises(ValueError, match="Did you mean 'bernoulli'.*bernoulli, .*mixup"):
        mixers.get("bernouli")
    with pytest.raises(ValueError, match="A batch of 2 is too small to mix k = 3"):
        Mixup(3)(codes_of((5,), 2))
    with pytest.raises(ValueError, match=r"k = 3; got \(4, 2, 5\)"):
        Mixup(3).mix(np.zeros((4, 2, 5)), np.zeros((4, 2, 1)))
    with pytest.raises(NotImplementedError, match="Mixer must define draw_coefficients"):
        mixers.Mixer().draw_coefficients((5,), 2)


def test_call_strings_and_keywords():
    """Parameters may stand in the call string or beside it; `k` and `seed` beside it only."""
    mixer = mixers.get("gaussian(sigma=0.75)", seed=3)
    assert (type(mixer), mixer.sigma, mixer.seed, mixer.k) == (mixers.GaussianMixup, 0.75, 3, 2)
    assert mixers.get("gaussian(sigma=0.75)", sigma=0.5).sigma == 0.5
    inner = mixers.get("composite(mixers=('mixup', 'bernoulli(probability=\"element\")'))", seed=1)
    assert [type(one) for one in inner.mixers] == [Mixup, mixers.BernoulliMixup]
    assert inner.mixers[1].probability == "element"
    # Of the context, a mixer is given what it takes.
    assert mixers.get("mixup", k=3, num_labels=4).k == 3
    for text, message in (
        ("gaussian(sgima=1)", "parameter of mixer 'gaussian': 'sgima'. Did you mean 'sigma'"),
        ("mixup(k=3)", "k of mixer 'mixup' is set by --k, not in a call"),
        ("mixup(seed=3)", "seed of mixer 'mixup' is set by --seed"),
        ("supervised_bernoulli(num_labels=3)", "num_labels of .* is set by the data"),
        ("gaussian(sigma='wide')", "sigma of mixer 'gaussian' must be a number, such as 0.25"),
        ("gaussian(0.3)", "every value needs its parameter's name"),
    ):
        with pytest.raises(ValueError, match=message):
            mixers.get(text)
    with pytest.raises(ValueError, match="'sgima'. Did you mean 'sigma'"):
        mixers.get("gaussian", sgima=1)
