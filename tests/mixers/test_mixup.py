"""Blends: their shapes, their hulls and their distributions."""

import keras
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from amr_tf.mixers import ChannelwiseMixup, FoldedMixup, GaussianMixup, Mixup
from tests.mixers.common import SHAPES, codes_of, drawn, mixed_parents

shapes = st.sampled_from(SHAPES)
seeds = st.integers(0, 2**31 - 1)
few = settings(max_examples=20, deadline=None)


@few
@given(shapes, st.integers(2, 5), seeds, st.sampled_from([Mixup, ChannelwiseMixup]))
def test_stays_between_the_parents(shape, k, seed, kind):
    mixed, coefficients, stack = mixed_parents(kind(k, seed=seed), codes_of(shape, 8, seed))
    sets = 1 if kind is Mixup else shape[-1]
    assert coefficients.shape == (8, k, *(1,) * (len(shape) - 1), sets)
    assert (mixed <= stack.max(axis=1) + 1e-5).all()
    assert (mixed >= stack.min(axis=1) - 1e-5).all()


def test_mixup_of_two_is_uniform():
    alpha = drawn(Mixup(2, seed=3), (4,), 5000)[:, 0, 0]
    assert scipy.stats.kstest(alpha, "uniform").pvalue > 1e-3


@pytest.mark.parametrize("kind", [Mixup, ChannelwiseMixup])
@pytest.mark.parametrize("k", [3, 5])
def test_dirichlet(kind, k):
    """Each coefficient of Dirichlet(1, ..., 1) is Beta(1, k - 1), and any two covary negatively."""
    alpha = drawn(kind(k, seed=4), (4,), 5000)[..., 0]
    for column in alpha.T:
        assert scipy.stats.kstest(column, scipy.stats.beta(1, k - 1).cdf).pvalue > 1e-3
    covariance = np.cov(alpha[:, 0], alpha[:, 1])[0, 1]
    assert covariance == pytest.approx(-1 / (k**2 * (k + 1)), abs=0.005)


def test_channelwise_draws_for_each_map():
    alpha = drawn(ChannelwiseMixup(2, seed=3), (3, 3, 4), 4000)[:, 0, 0, 0]
    assert alpha.shape == (4000, 4)
    for column in alpha.T:
        assert scipy.stats.kstest(column, "uniform").pvalue > 1e-3
    correlations = np.corrcoef(alpha.T)[np.triu_indices(4, 1)]
    assert np.abs(correlations).max() < 0.06


@pytest.mark.parametrize("sigma", [0.1, 0.25, 1])
def test_gaussian_around_the_midpoint(sigma):
    alpha = drawn(GaussianMixup(sigma=sigma, seed=5), (4, 4, 2), 5000)
    assert alpha.shape == (5000, 2, 1, 1, 1)
    first, second = alpha[:, 0].ravel(), alpha[:, 1].ravel()
    np.testing.assert_allclose(first + second, 1, atol=1e-6)
    assert scipy.stats.kstest(first, scipy.stats.norm(0.5, sigma).cdf).pvalue > 1e-3


def test_gaussian_goes_beyond_the_parents():
    alpha = drawn(GaussianMixup(sigma=0.25, seed=5), (4,), 5000)[:, 0]
    assert np.mean((alpha < 0) | (alpha > 1)) == pytest.approx(0.0455, abs=0.01)  # Two sigma.


@few
@given(shapes, st.integers(2, 9), seeds)
def test_folded_is_the_original_codes_mix(shape, count, seed):
    """`alpha * h + (1 - alpha) * reversed h`, alpha at most a half (acai.py, line for line)."""
    codes = codes_of(shape, count, seed)
    mixed, coefficients = map(np.asarray, FoldedMixup(seed=seed)(codes))
    alpha = coefficients[:, 0]
    assert alpha.shape == (count,) + (1,) * len(shape)
    assert (alpha >= 0).all()
    assert (alpha <= 0.5).all()
    np.testing.assert_allclose(mixed, alpha * codes + (1 - alpha) * codes[::-1], atol=1e-5)


def test_folded_alpha_is_uniform_below_a_half():
    alpha = drawn(FoldedMixup(seed=6), (4,), 5000)[:, 0, 0]
    assert scipy.stats.kstest(alpha, scipy.stats.uniform(0, 0.5).cdf).pvalue > 1e-3


def test_folded_folds_as_the_original_code():
    alpha = drawn(FoldedMixup(), (4,), 50, seed=3)[:, 0]
    unfolded = np.asarray(keras.random.uniform((50, 1), seed=3))
    np.testing.assert_array_equal(alpha, 0.5 - np.abs(unfolded - 0.5))


def test_folded_draws_no_order():
    mixer = FoldedMixup(seed=1)
    before = np.asarray(mixer.seed_generator.state)
    permutations = mixer.draw_permutations(5)
    assert permutations.dtype == "int32"
    np.testing.assert_array_equal(permutations, [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0]])
    np.testing.assert_array_equal(before, mixer.seed_generator.state)


def test_sigma_is_kept():
    config = keras.saving.serialize_keras_object(GaussianMixup(sigma=0.4))
    assert keras.saving.deserialize_keras_object(config).sigma == 0.4


@pytest.mark.parametrize("kind", [GaussianMixup, FoldedMixup])
@pytest.mark.parametrize("k", [3, 1, "2"])
def test_pairs_only(kind, k):
    with pytest.raises(ValueError, match=f"{kind.__name__} mixes pairs: k must be 2; got {k!r}"):
        kind(k)


@pytest.mark.parametrize("sigma", [0, -0.1, float("nan"), float("inf"), "wide"])
def test_bad_sigma(sigma):
    with pytest.raises(ValueError, match=f"sigma must be .*; got {sigma!r}"):
        GaussianMixup(sigma=sigma)
