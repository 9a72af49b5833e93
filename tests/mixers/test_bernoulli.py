"""Bernoulli mixup: whole feature maps, and how often p is drawn."""

import keras
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from amr_tf.mixers import BernoulliMixup
from tests.mixers.common import SHAPES, codes_of, drawn, mixed_parents

# Values of k and of the probability that go together.
VARIANTS = [(2, probability) for probability in BernoulliMixup.PROBABILITIES]
VARIANTS += [(k, "batch") for k in (3, 4, 5)]


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(SHAPES), st.sampled_from(VARIANTS), st.integers(0, 2**31 - 1))
def test_each_feature_map_comes_from_one_parent(shape, variant, seed):
    k, probability = variant
    mixer = BernoulliMixup(k, probability, seed=seed)
    mixed, coefficients, stack = mixed_parents(mixer, codes_of(shape, 8, seed))
    assert coefficients.shape == (8, k, *(1,) * (len(shape) - 1), shape[-1])
    assert set(np.unique(coefficients)) <= {0.0, 1.0}
    chosen = coefficients.reshape(8, k, shape[-1]).argmax(axis=1)
    for example in range(8):
        for feature in range(shape[-1]):
            parent = stack[example, chosen[example, feature], ..., feature]
            np.testing.assert_array_equal(mixed[example, ..., feature], parent)


@pytest.mark.parametrize("k", [3, 4])
def test_parents_are_equally_likely(k):
    counts = drawn(BernoulliMixup(k, seed=5), (6,), 2000).sum(axis=(0, 2))
    assert scipy.stats.chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize(
    ("probability", "uniform_over"), [("batch", (1, 2)), ("example", (2,)), ("element", ())]
)
def test_probability_is_shared_as_documented(probability, uniform_over):
    """A p ~ U(0, 1) shared over an axis makes the share of ones over it spread uniformly."""
    mixer = BernoulliMixup(2, probability, seed=6)
    draws = np.stack([drawn(mixer, (60,), 60)[:, 0] for _ in range(200)])
    spreads = {axes: draws.mean(axis=axes).std() for axes in ((1, 2), (2,))}
    for axes, spread in spreads.items():
        if axes in (uniform_over, (2,)) and uniform_over:
            assert spread > 0.25  # A uniform number's deviation is 0.29.
        else:
            assert spread < 0.1
    assert draws.mean() == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize(("k", "group_size"), [(2, 2), (2, 4), (3, 2), (2, 9)])
def test_groups_of_maps_come_from_one_parent(k, group_size):
    mixer = BernoulliMixup(k, group_size=group_size, seed=0)
    chosen = drawn(mixer, (4, 4, 7), 200).reshape(200, k, 7).argmax(axis=1)
    groups = [chosen[:, start : start + group_size] for start in range(0, 7, group_size)]
    for group in groups:
        assert (group == group[:, :1]).all()
    if len(groups) > 1:
        assert (groups[0][:, 0] != groups[1][:, 0]).mean() > 0.2
    assert set(np.unique(chosen)) == set(range(k))


def test_probability_is_kept():
    mixer = BernoulliMixup(2, probability="element", group_size=4, name="b")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(mixer))
    assert again.get_config() == mixer.get_config()
    assert again.probability == "element"


def test_bad_probability():
    with pytest.raises(ValueError, match="batch, example, element; got 'map'"):
        BernoulliMixup(2, probability="map")
    for probability in ("example", "element"):
        with pytest.raises(ValueError, match=f"is for k = 2 only: with k = 3.*'{probability}'"):
            BernoulliMixup(3, probability)
