"""Composite mixers: choices among mixers, shapes, saving, and what cannot join."""

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from amr_tf.mixers import (
    BernoulliMixup,
    CompositeMixer,
    FoldedMixup,
    GaussianMixup,
    Mixer,
    Mixup,
    SpatialMixup,
)
from tests.mixers.common import codes_of, drawn, generators


class Constant(Mixer):
    """Gives the first parent a fixed coefficient, which tells who drew."""

    def __init__(self, first, **kwargs):
        super().__init__(**kwargs)
        self.first = first

    def draw_coefficients(self, code_shape, batch_size, seed=None):
        rest = (1.0 - self.first) / (self.k - 1)
        values = keras.ops.convert_to_tensor([self.first] + [rest] * (self.k - 1), "float32")
        shape = (batch_size, self.k) + (1,) * len(code_shape)
        return keras.ops.broadcast_to(
            keras.ops.reshape(values, (1, self.k) + (1,) * len(code_shape)), shape
        )


class OneNumber(Mixer):
    """Takes alpha straight from one random number an example, as the composite's choice does."""

    def draw_coefficients(self, code_shape, batch_size, seed=None):
        shape = (batch_size, 1) + (1,) * len(code_shape)
        alpha = keras.random.uniform(shape, seed=self.source(seed))
        return keras.ops.concatenate([alpha, 1.0 - alpha], axis=1)


class NeedsLabels(Mixer):
    needs_labels = True


def constants(k=2):
    return [Constant(first, k=k) for first in (0.1, 0.4, 0.7)]


@pytest.mark.parametrize(
    ("weights", "shares"),
    [
        (None, (1 / 3, 1 / 3, 1 / 3)),
        ((2, 1, 1), (0.5, 0.25, 0.25)),
        ((0.1, 0.0, 0.3), (0.25, 0.0, 0.75)),
        ((0, 5, 0), (0.0, 1.0, 0.0)),
    ],
)
def test_each_example_comes_from_one_mixer_as_often_as_weighted(weights, shares):
    mixer = CompositeMixer(constants(), weights=weights, seed=1)
    first = drawn(mixer, (4, 4, 2), 3000)[:, 0, 0, 0, 0]
    counts = [np.isclose(first, value).sum() for value in (0.1, 0.4, 0.7)]
    assert sum(counts) == 3000
    possible = np.array(shares) > 0
    assert not np.any(np.array(counts)[~possible])
    if possible.sum() > 1:
        expected = 3000 * np.array(shares)[possible]
        assert scipy.stats.chisquare(np.array(counts)[possible], expected).pvalue > 1e-3


@pytest.mark.parametrize("seed", [None, 3])
def test_examples_choose_independently_and_anew(seed):
    mixer = CompositeMixer(constants(), seed=1)
    first = drawn(mixer, (4,), 400, seed)[:, 0, 0]
    assert len(np.unique(first)) == 3
    assert np.array_equal(first, drawn(mixer, (4,), 400, seed)[:, 0, 0]) == (seed is not None)


def test_shapes_broadcast():
    def shape(*names, code=(4, 3, 2)):
        mixer = CompositeMixer(names, seed=1)
        coefficients = drawn(mixer, code, 5)
        assert coefficients.shape[2:] == mixer.coefficient_shape(code)
        return coefficients.shape[2:]

    assert shape("mixup") == (1, 1, 1)
    assert shape("mixup", "bernoulli") == (1, 1, 2)
    assert shape("mixup", "spatial") == (4, 3, 1)
    assert shape("channelwise", "spatial", "gaussian") == (4, 3, 2)
    assert shape("mixup", "bernoulli", code=(7,)) == (7,)


def test_choice_does_not_sway_the_draws():
    """With fixed seeds too: the number that chooses must not come back as a coefficient."""
    for seed in (None, 7):
        mixer = CompositeMixer([OneNumber(seed=2), Constant(2.0)], seed=1)
        first = drawn(mixer, (4,), 8000, seed)[:, 0, 0]
        blends = first[first <= 1]
        assert len(blends) == pytest.approx(4000, abs=300)
        assert scipy.stats.kstest(blends, "uniform").pvalue > 1e-3


def test_mixers_by_name_have_generators_of_their_own():
    mixer = CompositeMixer(("bernoulli", "bernoulli"), seed=1)
    assert [one.seed for one in (mixer, *mixer.mixers)] == [1, 101, 201]
    unseeded = CompositeMixer(("mixup", "mixup"))
    assert len(np.unique(generators(unseeded), axis=0)) == 3


def test_composites_nest():
    inner = CompositeMixer(constants(k=3)[:2], k=3, seed=1)
    outer = CompositeMixer([inner, Constant(0.7, k=3)], k=3, seed=2)
    first = drawn(outer, (4,), 400)[:, 0, 0]
    np.testing.assert_allclose(np.unique(first), [0.1, 0.4, 0.7], atol=1e-6)


def test_config_keeps_mixers_and_weights():
    mixer = CompositeMixer(
        [BernoulliMixup(probability="element", seed=4), GaussianMixup(sigma=0.4)], weights=(3, 1)
    )
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(mixer))
    assert again.get_config() == mixer.get_config()
    assert again.mixers[0].probability == "element"
    assert again.mixers[1].sigma == 0.4
    assert again.mixer_weights == [3, 1]


@pytest.mark.parametrize("mixers", [("mixup", "spatial", "mixup"), ("bernoulli", "composite")])
def test_saved_weights_hold_all_generators(mixers, tmp_path):
    """Also read into a model built separately, whose layers have other automatic names."""

    def make(seed):
        codes = keras.Input((4, 4, 2))
        return keras.Model(codes, CompositeMixer(mixers, k=3, seed=seed)(codes))

    model, other = make(1), make(2)
    batch = tf.constant(codes_of((4, 4, 2), 12))
    model(batch)
    assert not np.array_equal(model(batch)[1], other(batch)[1])
    model.save_weights(tmp_path / "mixer.weights.h5")
    other.load_weights(tmp_path / "mixer.weights.h5")
    np.testing.assert_array_equal(generators(model.layers[-1]), generators(other.layers[-1]))
    for _ in range(4):
        np.testing.assert_array_equal(model(batch)[1], other(batch)[1])


def test_build_builds_all_and_asks_all():
    mixer = CompositeMixer(("mixup", "spatial"))
    with pytest.raises(ValueError, match="SpatialMixup needs codes"):
        mixer.build((None, 7))
    mixer = CompositeMixer(("mixup", "spatial"))
    mixer.build((None, 4, 4, 2))
    assert all(one.built for one in mixer.mixers)


@pytest.mark.parametrize("mixers", [(), [], "mixup"])
def test_no_list_of_mixers(mixers):
    with pytest.raises(ValueError, match="mixers must be a list of at least one mixer; got"):
        CompositeMixer(mixers)


def test_mixers_that_cannot_join():
    with pytest.raises(ValueError, match="All mixers must have k = 2; Mixup has k = 3"):
        CompositeMixer([Mixup(3)])
    with pytest.raises(ValueError, match="GaussianMixup mixes pairs"):
        CompositeMixer(("gaussian",), k=3)
    with pytest.raises(ValueError, match="NeedsLabels mixes by labels and cannot join"):
        CompositeMixer([NeedsLabels()])
    with pytest.raises(ValueError, match="FoldedMixup has a draw_permutations of its own"):
        CompositeMixer([FoldedMixup()])
    with pytest.raises(ValueError, match="must hold names or mixers; got 3"):
        CompositeMixer([3])
    with pytest.raises(ValueError, match="Unknown mixer 'spatail'. Did you mean 'spatial'"):
        CompositeMixer(["spatail"])
    same = SpatialMixup()
    with pytest.raises(ValueError, match="holds one mixer twice"):
        CompositeMixer([same, same])


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ((1,), "one number for each of 2 mixers; got 1"),
        ((1, 2, 3), "one number for each of 2 mixers; got 3"),
        ((1, -1), r"at least 0, and not all 0; got \[1.0, -1.0\]"),
        ((0, 0), "not all 0"),
        ((1, float("nan")), "weights must be finite"),
        ((1, float("inf")), "weights must be finite"),
    ],
)
def test_bad_weights(weights, message):
    with pytest.raises(ValueError, match=message):
        CompositeMixer(weights=weights)
