"""Supervised Bernoulli mixup: masks, their gradients, and the labels between two labels."""

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from amr_tf.mixers import MIXERS, SupervisedBernoulliMixup
from tests.mixers.common import SHAPES, codes_of

LABELS = np.eye(3, dtype="float32")[[0, 1, 2, 1, 0, 2, 2, 1]]
ESTIMATORS = ("straight_through", "concrete")
SEEDS = st.integers(0, 2**31 - 10)


def build(shape=(3, 2, 5), **kwargs):
    """A built mixer for three labels, its weights the same at each call."""
    keras.utils.set_random_seed(0)
    mixer = SupervisedBernoulliMixup(3, **{"seed": 0, "hidden_units": (6,), **kwargs})
    mixer.build((None, *shape))
    return mixer


def constant(shape, logits, **kwargs):
    """A mixer whose embed answers with these logits whatever the label."""
    mixer = build(shape, hidden_units=(), **kwargs)
    kernel, bias = mixer.embedding.weights
    kernel.assign(0 * kernel)
    bias.assign(logits)
    return mixer


def sigmoid(values):
    return 1 / (1 + np.exp(-np.asarray(values, "float64")))


@settings(max_examples=20, deadline=None)
@given(
    st.sampled_from(SHAPES),
    SEEDS,
    st.sampled_from(ESTIMATORS),
    st.sampled_from(["label", "parents"]),
)
def test_outside_of_training_each_map_comes_from_one_parent(shape, seed, estimator, condition):
    mixer = build(shape, estimator=estimator, condition=condition)
    codes = codes_of(shape, 8, seed)
    permutations = np.asarray(mixer.draw_permutations(8, seed))
    mixed, coefficients, _ = mixer.mix_labelled(codes, LABELS, permutations, seed=seed)
    coefficients = np.asarray(coefficients)
    assert coefficients.shape == (8, 2, *(1,) * (len(shape) - 1), shape[-1])
    assert set(np.unique(coefficients)) == {0.0, 1.0}
    np.testing.assert_array_equal(coefficients.sum(axis=1), 1)
    expected = np.where(coefficients[:, 0] == 1, codes, codes[permutations[1]])
    np.testing.assert_array_equal(mixed, expected)


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(SHAPES), SEEDS, st.sampled_from(ESTIMATORS))
def test_in_training(shape, seed, estimator):
    """Coefficients sum to one; straight-through has the mask's values, concrete values between."""
    mixer = build(shape, estimator=estimator)
    codes = codes_of(shape, 8, seed)
    hard = np.asarray(mixer.mix_labelled(codes, LABELS, seed=seed)[1])
    soft = np.asarray(mixer.mix_labelled(codes, LABELS, seed=seed, training=True)[1])
    np.testing.assert_allclose(soft.sum(axis=1), 1, atol=1e-6)
    if estimator == "straight_through":
        np.testing.assert_allclose(soft, hard, atol=1e-6)
    else:
        assert np.all((soft >= 0) & (soft <= 1))
        assert np.any((soft > 0.01) & (soft < 0.99))
        np.testing.assert_array_equal(soft > 0.5, hard == 1)


LOGITS = np.array([[-4, -1, 0, 0.5, 3], [2, 1, -0.5, 0, -3]], "float32")


@pytest.mark.parametrize("seed", range(3))
def test_straight_through_has_the_gradient_of_p(seed):
    mixer = build(estimator="straight_through")
    logits, weights = tf.constant(LOGITS), codes_of((5,), 2, seed)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = tf.reduce_sum(weights * mixer.draw_mask(logits, seed, training=True))
    p = sigmoid(LOGITS)
    np.testing.assert_allclose(tape.gradient(loss, logits), weights * p * (1 - p), rtol=1e-4)


def test_straight_through_gradient_of_a_mix():
    """Through the weighted sum to embed's bias: p (1 - p) sum (h1 - h2) upstream."""
    shape, logits = (3, 2, 5), LOGITS[0]
    mixer = constant(shape, logits, estimator="straight_through")
    codes, upstream = codes_of(shape, 8), codes_of(shape, 8, 1)
    permutations = np.stack([np.arange(8), np.roll(np.arange(8), 3)])
    bias = mixer.embedding.trainable_variables[1]
    with tf.GradientTape() as tape:
        mixed, _, _ = mixer.mix_labelled(codes, LABELS, permutations, seed=0, training=True)
        loss = tf.reduce_sum(mixed * upstream)
    difference = ((codes - codes[permutations[1]]) * upstream).sum(axis=(0, 1, 2))
    p = sigmoid(logits)
    np.testing.assert_allclose(tape.gradient(loss, bias), p * (1 - p) * difference, rtol=1e-3)


@pytest.mark.parametrize("temperature", [0.1, 0.5, 2.0])
def test_concrete_relaxation(temperature):
    """Maddison et al. (2017), equation for the binary case, and its gradient m (1 - m) / T."""
    mixer = build(estimator="concrete", temperature=temperature)
    uniform = np.asarray(keras.random.uniform(LOGITS.shape, seed=4), "float64")
    expected = sigmoid((LOGITS + np.log(uniform / (1 - uniform))) / temperature)
    logits = tf.constant(LOGITS)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        mask = mixer.draw_mask(logits, 4, training=True)
        loss = tf.reduce_sum(mask)
    np.testing.assert_allclose(mask, expected, atol=1e-5)
    gradient = expected * (1 - expected) / temperature
    np.testing.assert_allclose(tape.gradient(loss, logits), gradient, rtol=1e-3, atol=1e-4)


def test_concrete_approaches_the_mask_as_the_temperature_falls():
    distances = []
    for temperature in (2.0, 0.5, 0.1, 0.01):
        mixer = build(estimator="concrete", temperature=temperature)
        logits = np.tile(LOGITS, (100, 1))
        hard, soft = (mixer.draw_mask(logits, 1, training).numpy() for training in (False, True))
        distances.append(np.abs(hard - soft).mean())
    assert distances == sorted(distances, reverse=True)
    assert distances[0] > 0.1
    assert distances[-1] < 0.01


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_masks_are_one_as_often_as_p_says(estimator):
    mixer = build(estimator=estimator)
    logits = np.tile(LOGITS[:1], (4000, 1))
    for training in (False, True):
        masks = np.asarray(mixer.draw_mask(logits, training=training)) > 0.5
        for ones, p in zip(masks.sum(axis=0), sigmoid(LOGITS[0])):
            assert scipy.stats.binomtest(int(ones), 4000, p).pvalue > 1e-4


def test_extreme_logits_stay_finite():
    for estimator, own in (("straight_through", {}), ("concrete", {"temperature": 0.01})):
        mixer = build(estimator=estimator, **own)
        logits = tf.constant([[-1e4, -100.0, 0.0, 100.0, 1e4]])
        with tf.GradientTape() as tape:
            tape.watch(logits)
            mask = mixer.draw_mask(logits, 0, training=True)
        gradient = tape.gradient(mask, logits)
        assert np.isfinite(mask).all()
        assert np.isfinite(gradient).all()
        np.testing.assert_allclose(np.asarray(mask)[0, [0, 1, 3, 4]], [0, 0, 1, 1], atol=1e-6)


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.sampled_from(["example", "attribute"]))
def test_mixed_labels_lie_between_the_parents(seed, alphas):
    mixer = build(alphas=alphas)
    labels = np.random.default_rng(seed).uniform(size=(8, 3)).astype("float32")
    permutations = np.asarray(mixer.draw_permutations(8, seed))
    mixed = np.asarray(mixer.draw_mixed_labels(labels, permutations, seed))
    one, two = labels, labels[permutations[1]]
    assert np.all(mixed >= np.minimum(one, two) - 1e-6)
    assert np.all(mixed <= np.maximum(one, two) + 1e-6)
    # alpha = (y~ - y2) / (y1 - y2): one an example, or one an attribute.
    met = permutations[1] != np.arange(8)
    apart = np.abs(one - two) > 0.05
    alpha = np.where(apart, (mixed - two) / np.where(apart, one - two, 1), np.nan)[met]
    rows = [row[~np.isnan(row)] for row in alpha]
    spreads = [np.ptp(row) for row in rows if len(row) > 1]
    if alphas == "example":
        assert all(spread < 1e-3 for spread in spreads)
    elif len(spreads) > 2:
        assert max(spreads) > 0.01


def test_alphas_are_uniform():
    mixer = build()
    labels = np.tile(np.eye(2, 3, dtype="float32"), (500, 1))
    permutations = np.stack([np.arange(1000), np.roll(np.arange(1000), 1)])
    mixed = np.asarray(mixer.draw_mixed_labels(labels, permutations))
    np.testing.assert_allclose(mixed.sum(axis=1), 1, atol=1e-6)
    alpha = np.where(np.arange(1000) % 2 == 0, mixed[:, 0], mixed[:, 1])
    assert scipy.stats.kstest(alpha, "uniform").pvalue > 1e-4


@pytest.mark.parametrize("shape", SHAPES)
def test_fixed_seeds(shape):
    mixer = build(shape)
    codes = codes_of(shape, 8)
    state = np.asarray(mixer.seed_generator.state)

    def mix(seed):
        return [np.asarray(part) for part in mixer.mix_labelled(codes, LABELS, seed=seed)]

    for one, two in zip(mix(3), mix(3)):
        np.testing.assert_array_equal(one, two)
    assert all(not np.array_equal(one, two) for one, two in zip(mix(3), mix(4)))
    np.testing.assert_array_equal(mixer.seed_generator.state, state)
    assert all(not np.array_equal(one, two) for one, two in zip(mix(None), mix(None)))
    assert not np.array_equal(mixer.seed_generator.state, state)
    # Two mixers of one seed draw alike.
    one, two = (build(shape).mix_labelled(codes, LABELS)[0] for _ in range(2))
    np.testing.assert_array_equal(one, two)


def test_draws_of_one_seed_are_not_tied_to_each_other():
    """Were the mask drawn with the alphas' seed, masks of p = 1/2 would follow alpha > 1/2."""
    mixer = constant((3,), np.zeros(3), alphas="attribute")
    labels = np.tile(np.array([[1, 1, 1], [0, 0, 0]], "float32"), (200, 1))
    permutations = np.stack([np.arange(400), np.roll(np.arange(400), 1)])
    _, coefficients, mixed = mixer.mix_labelled(codes_of((3,), 400), labels, permutations, seed=0)
    # In even rows, of ones mixed with zeros, y~ is alpha.
    follows = ((np.asarray(mixed) > 0.5) == (np.asarray(coefficients)[:, 0] == 1))[::2]
    assert scipy.stats.binomtest(int(follows.sum()), follows.size).pvalue > 1e-4


def test_given_mixed_labels_are_what_embed_sees():
    """Label k takes map k from the first parent and the others from the second."""
    mixer = build((2, 2, 3), hidden_units=())
    kernel, bias = mixer.embedding.weights
    kernel.assign(200 * np.eye(3))
    bias.assign(np.full(3, -100))
    codes = codes_of((2, 2, 3), 8)
    permutations = np.stack([np.arange(8), np.roll(np.arange(8), 1)])
    mixed, coefficients, given = mixer.mix_labelled(
        codes, np.zeros((8, 3), "float32"), permutations, mixed_labels=LABELS
    )
    np.testing.assert_array_equal(given, LABELS)
    np.testing.assert_array_equal(np.asarray(coefficients)[:, 0, 0, 0], LABELS)
    expected = np.where(LABELS[:, None, None] == 1, codes, codes[permutations[1]])
    np.testing.assert_array_equal(mixed, expected)
    pairs = mixer.mix_pairs(codes, codes[permutations[1]], LABELS)
    np.testing.assert_array_equal(pairs, expected)


def test_embed_sees_the_parents_only_on_request():
    label, parents = build(), build(condition="parents")
    assert label.embedding.input_shape == (None, 3)
    assert parents.embedding.input_shape == (None, 9)
    pair = LABELS, LABELS[::-1].copy()
    mixed = 0.8 * pair[0] + 0.2 * pair[1]
    np.testing.assert_array_equal(label.mask_logits(mixed, pair), label.mask_logits(mixed))
    swapped = np.asarray(parents.mask_logits(mixed, pair[::-1]))
    assert np.abs(swapped - np.asarray(parents.mask_logits(mixed, pair))).max() > 1e-3
    with pytest.raises(ValueError, match='^condition="parents" needs the labels of both parents.$'):
        parents.mask_logits(mixed)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_embed_learns_masks_from_labels(estimator):
    """Maps of ones and zeros, which shall be what y~ says: p must follow y~."""
    mixer = build((3,), estimator=estimator, hidden_units=(16,))
    optimizer = keras.optimizers.Adam(0.03)
    variables = mixer.embedding.trainable_variables
    ones = np.tile(np.array([[1.0], [0.0]], "float32"), (32, 3))
    permutations = np.stack([np.arange(64), np.roll(np.arange(64), 1)])
    wanted = np.random.default_rng(0).integers(0, 2, (64, 3)).astype("float32")

    @tf.function
    def learn():
        with tf.GradientTape() as tape:
            mixed, _, _ = mixer.mix_labelled(
                ones, np.zeros((64, 3), "float32"), permutations, wanted, training=True
            )
            # Even rows are ones mixed with zeros: what is mixed is the mask itself.
            loss = tf.reduce_mean((mixed - wanted)[::2] ** 2)
        optimizer.apply(tape.gradient(loss, variables), variables)

    def hits():
        p = sigmoid(mixer.mask_logits(wanted[::2]))
        return np.where(wanted[::2] == 1, p, 1 - p)

    assert hits().mean() < 0.7
    for _ in range(150):
        learn()
    assert hits().min() > 0.8


def test_config_round_trip():
    arguments = {
        "num_labels": 4,
        "hidden_units": (8, 3),
        "estimator": "concrete",
        "temperature": 0.25,
        "condition": "parents",
        "alphas": "attribute",
        "seed": 7,
    }
    mixer = SupervisedBernoulliMixup(**arguments)
    again = SupervisedBernoulliMixup.from_config(mixer.get_config())
    assert again.get_config() == mixer.get_config()
    for name, value in arguments.items():
        assert getattr(again, name) == value
    assert MIXERS.get("supervised_bernoulli") is SupervisedBernoulliMixup


@pytest.mark.parametrize("condition", ["label", "parents"])
def test_saved_file_continues_the_draws(condition, tmp_path):
    codes, labels = keras.Input((3, 2, 5)), keras.Input((3,))
    mixer = SupervisedBernoulliMixup(3, seed=0, condition=condition)
    mixed, coefficients = mixer(codes, labels)
    assert tuple(mixed.shape) == (None, 3, 2, 5)
    model = keras.Model([codes, labels], [mixed, coefficients])
    given = codes_of((3, 2, 5), 8), LABELS
    before = model(given)
    model.save(tmp_path / "mixer.keras")
    again = keras.saving.load_model(tmp_path / "mixer.keras")
    one, two = model(given), again(given)
    for first, second, old in zip(one, two, before, strict=True):
        np.testing.assert_array_equal(first, second)
        assert not np.array_equal(first, old)


def test_integer_labels():
    codes = codes_of((3, 2, 5), 8)
    one, two = build(), build()
    whole = two(codes, LABELS.astype("int64"))
    for first, second in zip(one(codes, LABELS), whole):
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "needs num_labels, the number of classes or attributes; got None"),
        ({"num_labels": 0}, "needs num_labels.*; got 0"),
        ({"num_labels": 2.0}, "needs num_labels.*; got 2.0"),
        ({"num_labels": 2, "k": 3}, "mixes k = 2 codes; got k = 3|pairs: k must be 2; got 3"),
        ({"num_labels": 2, "temperature": 0}, "must be a finite number above 0; got 0"),
        ({"num_labels": 2, "temperature": -1.0}, "must be a finite number above 0; got -1.0"),
        (
            {"num_labels": 2, "temperature": float("nan")},
            "must be a finite number above 0; got nan",
        ),
        ({"num_labels": 2, "temperature": 1.0}, "is the concrete estimator's; got 1.0 with straig"),
        ({"num_labels": 2, "estimator": "straight"}, "Did you mean 'straight_through'"),
        ({"num_labels": 2, "condition": "parent"}, "Did you mean 'parents'"),
        ({"num_labels": 2, "alphas": "batch"}, "Unknown alphas 'batch'"),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        SupervisedBernoulliMixup(**arguments)


def test_it_cannot_mix_without_labels():
    with pytest.raises(ValueError, match="draws its mask from labels: use mix_labelled"):
        build().draw_coefficients((3, 2, 5), 4)
    with pytest.raises(ValueError, match="draws its mask from labels: use mix_labelled"):
        build().mix_batch(codes_of((3, 2, 5), 4))
    assert SupervisedBernoulliMixup.needs_labels
