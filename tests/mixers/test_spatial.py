"""Spatial mixup: contiguous blocks of whole positions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amr_tf.mixers import SpatialMixup
from tests.mixers.common import codes_of, drawn, mixed_parents

sides = st.integers(1, 7)
seeds = st.integers(0, 2**31 - 1)


def box(mask):
    """The slices of the smallest rectangle around what is true in `mask`, (H, W)."""
    return tuple(slice(found.min(), found.max() + 1) for found in np.nonzero(mask))


@settings(max_examples=40, deadline=None)
@given(sides, sides, st.integers(2, 5), seeds)
def test_blocks_are_rectangles_the_later_over_the_earlier(height, width, k, seed):
    coefficients = drawn(SpatialMixup(k, seed=seed), (height, width, 3), 20)
    assert coefficients.shape == (20, k, height, width, 1)
    assert set(np.unique(coefficients)) <= {0.0, 1.0}
    np.testing.assert_array_equal(coefficients.sum(axis=1), 1)
    for owner in coefficients[..., 0].argmax(axis=1):
        assert (owner == k - 1).any()  # The last block is never empty.
        for j in range(1, k):
            if (owner == j).any():
                # What hides a part of a block is a later block.
                assert (owner[box(owner == j)] >= j).all()


@settings(max_examples=20, deadline=None)
@given(sides, sides, seeds)
def test_positions_come_whole_from_one_parent(height, width, seed):
    codes = codes_of((height, width, 3), 8, seed)
    mixed, coefficients, stack = mixed_parents(SpatialMixup(3, seed=seed), codes)
    owner = coefficients[..., 0].argmax(axis=1)
    expected = np.take_along_axis(stack, owner[:, None, ..., None], axis=1)[:, 0]
    np.testing.assert_array_equal(mixed, expected)


def simulated_share(size, draws):
    """How often each position is pasted, by CutMix' rule with rounded sides."""
    random = np.random.default_rng(0)
    pasted = np.zeros((size, size))
    for _ in range(draws):
        side = max(1, round(size * np.sqrt(random.uniform())))
        low = random.integers(size, size=2) - side // 2
        row, column = (slice(max(0, start), start + side) for start in low)
        pasted[row, column] += 1
    return pasted / draws


@pytest.mark.parametrize("size", [4, 7])
def test_distribution(size):
    share = drawn(SpatialMixup(seed=3), (size, size, 1), 20000)[:, 1, ..., 0].mean(axis=0)
    np.testing.assert_allclose(share, simulated_share(size, 20000), atol=0.02)
    # Between a single position, even in the rarest draws, and the whole map.
    areas = drawn(SpatialMixup(seed=4), (size, size, 1), 20000)[:, 1].sum(axis=(1, 2, 3))
    assert (areas.min(), areas.max()) == (1, size**2)


def test_further_parents_blocks_are_independent():
    coefficients = drawn(SpatialMixup(3, seed=3), (4, 4, 1), 4000)[..., 0]
    assert not np.array_equal(coefficients[:, 1], coefficients[:, 2])
    last = coefficients[:, 2].mean(axis=0)
    np.testing.assert_allclose(last, simulated_share(4, 20000), atol=0.03)
    # A position is the second's where its block covers it and the third's does not.
    second = coefficients[:, 1].mean(axis=0)
    np.testing.assert_allclose(second, last * (1 - last), atol=0.03)


def test_vectors_have_no_positions():
    message = r"SpatialMixup needs codes \(N, H, W, C\).*got vectors \(N, 7\)"
    mixer = SpatialMixup()
    for use in (
        lambda: mixer.build((None, 7)),
        lambda: mixer(codes_of((7,), 4)),
        lambda: mixer.draw_coefficients((7,), 4),
    ):
        with pytest.raises(ValueError, match=message):
            use()


def test_unknown_height():
    with pytest.raises(ValueError, match=r"known height and width; got \(N, None, 4, 2\)"):
        SpatialMixup().build((None, None, 4, 2))
