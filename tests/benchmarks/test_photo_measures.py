"""benchmarks/photo_measures.py: each figure has the value, or moves the way, that it promises."""

import numpy as np
import pytest

from benchmarks import photo_measures as measures


def smooth_images(count, width, seed=0):
    """Images of few low frequencies, (count, width, width, 3) in [-1, 1]; each has its colours."""
    rng = np.random.default_rng(seed)
    places = np.linspace(0, 1, width)
    waves = np.stack([np.sin((1 + i) * np.pi * places + i) for i in range(3)])
    layouts = np.einsum("nij,ih,jw->nhw", rng.normal(size=(count, 3, 3)), waves, waves)
    spread, mean = rng.uniform(0.1, 0.2, (count, 1, 1, 3)), rng.uniform(-0.3, 0.3, (count, 1, 1, 3))
    return np.float32(np.clip(layouts[..., None] / 3 * spread + mean, -1, 1))


def grain(images, size=0.05, seed=1):
    return images + np.float32(size * np.random.default_rng(seed).normal(size=images.shape))


@pytest.mark.parametrize("width", [16, 32, 64, 128])
def test_ms_ssim_of_any_size(width):
    images = smooth_images(2, width)
    assert measures.ms_ssim(images, images) == pytest.approx(1)
    near, far = (measures.ms_ssim(images, grain(images, size)) for size in (0.02, 0.2))
    assert 1 > near > far


def test_recoloured_images_have_the_moments_of_the_others():
    images, others = smooth_images(3, 32), smooth_images(3, 32, seed=1)
    made = measures.recoloured(images, others)
    np.testing.assert_allclose(made.mean(axis=(1, 2)), others.mean(axis=(1, 2)), atol=1e-5)
    np.testing.assert_allclose(made.std(axis=(1, 2)), others.std(axis=(1, 2)), atol=1e-5)
    # The layout stays: a channel of both is the same up to its mean and deviation.
    for one, other in zip(images, made):
        assert np.corrcoef(one[..., 0].ravel(), other[..., 0].ravel())[0, 1] > 0.999


def test_smooth_energy_is_one_for_recoloured_layouts_and_sees_grain_where_they_are_smooth():
    layouts, others = smooth_images(4, 64), smooth_images(4, 64, seed=1)
    layouts[:, :32] = grain(layouts)[:, :32]  # Half of each is rough, and does not count.
    expected = np.clip(measures.recoloured(layouts, others), -1, 1)
    assert measures.smooth_energy(layouts, expected, others) == pytest.approx(1)
    rougher, grainy = expected.copy(), expected.copy()
    rougher[:, :24] = grain(expected, 0.2)[:, :24]
    grainy[:, 32:] = grain(expected)[:, 32:]
    assert measures.smooth_energy(layouts, rougher, others) == pytest.approx(1, rel=0.05)
    assert measures.smooth_energy(layouts, grainy, others) > 3
    grainy[:2] = expected[:2]
    assert measures.smooth_energy(layouts, grainy, others, [0, 1]) == pytest.approx(1)
    assert measures.smooth_energy(layouts, grainy, others, [2, 3]) > 3


def test_fine_energy_grows_with_the_square_of_fine_details():
    images = np.zeros((2, 64, 64, 3), "float32")
    energies = [measures.fine_energy(grain(images, size)) for size in (0.05, 0.1)]
    assert energies[1] / energies[0] == pytest.approx(4, rel=1e-3)
    assert measures.fine_energy(smooth_images(2, 64)) < 0.01 * energies[0]


def test_sliced_distances_find_the_level_of_a_difference():
    images = smooth_images(8, 64)
    assert measures.sliced_distances(images, images) == [0, 0, 0, 0]  # 64, 32, 16 and their mean.
    rough = grain(images)
    same = measures.sliced_distances(rough, grain(images, seed=2))  # Other grain of this size.
    other = measures.sliced_distances(rough, images)
    assert other[0] > 4 * same[0]
    assert other[0] > 2 * other[2]  # Grain is a difference of the finest level.


def test_the_nearer_parent():
    one, other = np.zeros((2, 4), "float32"), np.ones((2, 4), "float32")
    for share, expected in ((0.5, 0.5), (0.25, 0.25), (1.0, 0.0)):
        mixed = share * one + (1 - share) * other
        assert measures.nearer_parent(mixed, one, other) == pytest.approx(expected)
    other[0] = one[0]  # Parents that agree say nothing.
    assert measures.nearer_parent(other / 2, one, other) == pytest.approx(0.5)
