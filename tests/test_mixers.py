import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from amr_tf import mixers
from amr_tf.mixers import BernoulliMixup, Mixup

NAMES = ("mixup", "bernoulli")
SHAPES = ((3, 2, 5), (7,))

shapes = st.sampled_from(SHAPES)
parents = st.integers(2, 5)
seeds = st.integers(0, 2**31 - 1)
few = settings(max_examples=25, deadline=None)


def codes_of(shape, count, seed=0):
    return np.random.default_rng(seed).normal(size=(count, *shape)).astype("float32")


def mixed_parents(mixer, codes):
    """A mixer's output with the codes that went into each mix, (N, k, ...)."""
    permutations = np.asarray(mixer.draw_permutations(len(codes)))
    mixed, coefficients = mixer(tf.constant(codes), permutations)
    stack = np.moveaxis(codes[permutations], 0, 1)
    return np.asarray(mixed), np.asarray(coefficients), stack


@few
@given(shapes, parents, seeds, st.sampled_from(NAMES))
def test_coefficients_are_shares_of_one(shape, k, seed, name):
    _, coefficients, _ = mixed_parents(mixers.get(name, k=k, seed=seed), codes_of(shape, 8))
    maps = 1 if name == "mixup" else shape[-1]
    assert coefficients.shape == (8, k, *(1,) * (len(shape) - 1), maps)
    assert coefficients.dtype == "float32"
    assert (coefficients >= 0).all()
    np.testing.assert_allclose(coefficients.sum(axis=1), 1, atol=1e-6)


@few
@given(shapes, parents, seeds)
def test_mixup_stays_in_the_convex_hull(shape, k, seed):
    mixed, coefficients, stack = mixed_parents(Mixup(k, seed=seed), codes_of(shape, 8, seed))
    # The point of the hull that the returned weights name, one weight per parent and example.
    expected = np.einsum("nk,nk...->n...", coefficients.reshape(8, k), stack)
    np.testing.assert_allclose(mixed, expected, atol=1e-5)
    assert (mixed <= stack.max(axis=1) + 1e-5).all()
    assert (mixed >= stack.min(axis=1) - 1e-5).all()


@few
@given(shapes, parents, seeds, st.sampled_from(BernoulliMixup.PROBABILITIES))
def test_bernoulli_takes_each_feature_map_from_one_parent(shape, k, seed, probability):
    mixer = BernoulliMixup(k, probability, seed=seed)
    mixed, coefficients, stack = mixed_parents(mixer, codes_of(shape, 8, seed))
    assert set(np.unique(coefficients)) <= {0.0, 1.0}
    chosen = coefficients.reshape(8, k, shape[-1]).argmax(axis=1)
    for example in range(8):
        for feature in range(shape[-1]):
            parent = stack[example, chosen[example, feature], ..., feature]
            np.testing.assert_array_equal(mixed[example, ..., feature], parent)


@few
@given(parents, st.integers(2, 40), seeds)
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


def test_mixup_of_two_is_uniform():
    alpha = np.asarray(Mixup(2, seed=3).draw_coefficients((4,), 5000))[:, 0, 0]
    assert scipy.stats.kstest(alpha, "uniform").pvalue > 1e-3


@pytest.mark.parametrize("k", [3, 5])
def test_mixup_is_dirichlet(k):
    """Each coefficient of Dirichlet(1, ..., 1) is Beta(1, k - 1), and any two covary negatively."""
    alpha = np.asarray(Mixup(k, seed=4).draw_coefficients((4,), 5000))[..., 0]
    for column in alpha.T:
        assert scipy.stats.kstest(column, scipy.stats.beta(1, k - 1).cdf).pvalue > 1e-3
    covariance = np.cov(alpha[:, 0], alpha[:, 1])[0, 1]
    assert covariance == pytest.approx(-1 / (k**2 * (k + 1)), abs=0.005)


@pytest.mark.parametrize("k", [3, 4])
def test_bernoulli_parents_are_equally_likely(k):
    coefficients = np.asarray(BernoulliMixup(k, seed=5).draw_coefficients((6,), 2000))
    counts = coefficients.sum(axis=(0, 2))
    assert scipy.stats.chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize(
    ("probability", "uniform_over"), [("batch", (1, 2)), ("example", (2,)), ("element", ())]
)
def test_bernoulli_probability_is_shared_as_documented(probability, uniform_over):
    """A p ~ U(0, 1) shared over an axis makes the share of ones over it spread uniformly."""
    mixer = BernoulliMixup(2, probability, seed=6)
    draws = np.stack([np.asarray(mixer.draw_coefficients((60,), 60))[:, 0] for _ in range(200)])
    spreads = {axes: draws.mean(axis=axes).std() for axes in ((1, 2), (2,))}
    for axes, spread in spreads.items():
        if axes in (uniform_over, (2,)) and uniform_over:
            assert spread > 0.25  # A uniform number's deviation is 0.29.
        else:
            assert spread < 0.1
    assert draws.mean() == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("k", [2, 3, 4])
def test_gradients_reach_every_parent(name, shape, k):
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
    first = mixers.get(name, k=3, seed=1)
    permutations = first.draw_permutations(6)
    mixed, coefficients = first(codes, permutations)
    again, returned = mixers.get(name, k=3, seed=2)(codes, permutations, coefficients)
    np.testing.assert_array_equal(mixed, again)
    np.testing.assert_array_equal(coefficients, returned)


@pytest.mark.parametrize("name", NAMES)
def test_seed_determines_draws_and_state_moves_on(name):
    codes = codes_of((4, 4, 2), 6)
    one, two = mixers.get(name, k=2, seed=1), mixers.get(name, k=2, seed=1)
    first = np.asarray(one(codes)[0])
    np.testing.assert_array_equal(first, two(codes)[0])
    assert not np.array_equal(first, one(codes)[0])


@pytest.mark.parametrize("name", NAMES)
def test_fixed_seed_leaves_the_generator_alone(name):
    mixer = mixers.get(name, k=2, seed=1)
    before = np.asarray(mixer.seed_generator.state)
    codes = tf.constant(codes_of((4, 4, 2), 6))
    mixed, again = (np.asarray(mixer.mix_batch(codes, seed=0)[0]) for _ in range(2))
    np.testing.assert_array_equal(mixed, again)
    np.testing.assert_array_equal(before, mixer.seed_generator.state)


@pytest.mark.parametrize("name", NAMES)
def test_graph_with_unknown_batch_size(name):
    mixer = mixers.get(name, k=3, seed=1)
    mix = tf.function(lambda codes: mixer(codes)[0], reduce_retracing=True)
    signature = tf.TensorSpec((None, 4, 4, 2), "float32")
    concrete = mix.get_concrete_function(signature)
    for count in (1, 5, 8):  # Fewer than k: the last batch of a data set.
        assert concrete(tf.zeros((count, 4, 4, 2))).shape == (count, 4, 4, 2)


@pytest.mark.parametrize(
    "mixer", [Mixup(3, seed=5), BernoulliMixup(2, probability="element", name="b")]
)
def test_config_round_trip(mixer):
    config = keras.saving.serialize_keras_object(mixer)
    again = keras.saving.deserialize_keras_object(config)
    assert type(again) is type(mixer)
    assert again.get_config() == mixer.get_config()


def test_saved_file_continues_the_draws(tmp_path):
    codes = keras.Input((4, 4, 2))
    model = keras.Model(codes, Mixup(2, seed=1)(codes))
    batch = codes_of((4, 4, 2), 6)
    model(batch)
    model.save(tmp_path / "mixer.keras")
    again = keras.saving.load_model(tmp_path / "mixer.keras")
    for ours, theirs in zip(model(batch), again(batch)):
        np.testing.assert_array_equal(ours, theirs)


def test_own_mixer_by_name():
    @mixers.MIXERS.register("halves")
    class Halves(mixers.Mixer):
        def draw_coefficients(self, code_shape, batch_size, seed=None):
            return keras.ops.full((batch_size, self.k) + (1,) * len(code_shape), 1 / self.k)

    try:
        codes = codes_of((5,), 4)
        mixed, _ = mixers.get("halves", k=2)(codes, np.array([[0, 1, 2, 3], [3, 2, 1, 0]]))
        np.testing.assert_allclose(mixed, (codes + codes[::-1]) / 2, atol=1e-6)
    finally:
        del mixers.MIXERS._entries["halves"]


@pytest.mark.parametrize("k", [1, 0, -2, 2.0, True, "2"])
def test_bad_k(k):
    with pytest.raises(ValueError, match="k must be an integer of at least 2"):
        Mixup(k)


def test_bad_arguments():
    with pytest.raises(ValueError, match="Did you mean 'bernoulli'.*bernoulli, mixup"):
        mixers.get("bernouli")
    with pytest.raises(ValueError, match="batch, example, element; got 'map'"):
        BernoulliMixup(2, probability="map")
    with pytest.raises(ValueError, match="A batch of 2 is too small to mix k = 3"):
        Mixup(3)(codes_of((5,), 2))
    with pytest.raises(ValueError, match=r"\(N, H, W, C\) or \(N, D\); got \(4, 3, 5\)"):
        Mixup(2)(codes_of((3, 5), 4))
    with pytest.raises(ValueError, match=r"k = 3; got \(4, 2, 5\)"):
        Mixup(3).mix(np.zeros((4, 2, 5)), np.zeros((4, 2, 1)))
