"""New codes: a mixture on principal components, a VAE's prior, and what is saved of them."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from amr_tf import AMR, VAE
from amr_tf.models.density import CodeDensity

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.uniform(-1, 1, (48, 8, 8, 1)).astype("float32")
# Two clouds on a plane in ten dimensions, one with three times as many points.
PLANE = np.linalg.qr(RANDOM.normal(size=(10, 2)))[0]
POINTS = (
    RANDOM.normal(size=(4000, 2)) * [0.3, 0.1] + np.where(np.arange(4000) % 4, 2.0, -2.0)[:, None]
)
CODES = POINTS @ PLANE.T + 5.0


@pytest.fixture(scope="module")
def density():
    return CodeDensity.fit(CODES, components=2)


def test_samples_have_the_codes_mean_and_covariance(density):
    drawn = density.draw(20_000, seed=0).numpy()
    np.testing.assert_allclose(drawn.mean(0), CODES.mean(0), atol=0.05)
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(CODES.T), atol=0.08)


def test_samples_lie_in_the_two_clouds(density):
    drawn = (density.draw(20_000, seed=1).numpy() - 5.0) @ PLANE
    share = (drawn.sum(axis=1) > 0).mean()
    assert abs(share - 0.75) < 0.02
    for sign in (1, -1):
        cloud = drawn[np.sign(drawn.sum(axis=1)) == sign]
        np.testing.assert_allclose(cloud.mean(0), [2.0 * sign] * 2, atol=0.05)
        np.testing.assert_allclose(cloud.std(0), [0.3, 0.1], atol=0.03)


def test_a_seed_gives_the_same_codes_in_a_graph_too(density):
    draw = tf.function(density.draw)
    once = density.draw(5, 3).numpy()
    np.testing.assert_allclose(draw(tf.constant(5), tf.constant(3)).numpy(), once, atol=1e-5)
    assert not np.allclose(density.draw(5, 4).numpy(), once)
    np.testing.assert_array_equal(density.draw(5, 3).numpy(), once)


def test_more_codes_than_examples_or_constant_codes():
    few = CodeDensity.fit(RANDOM.normal(size=(5, 64)))
    assert few.weights.shape == (1,) and few.axes.shape == (4, 64)
    same = CodeDensity.fit(np.ones((40, 3, 3, 2)))
    np.testing.assert_allclose(same.draw(4, 0).numpy(), 1.0, atol=0.02)


def test_files_round_trip(tmp_path, density):
    density.save(tmp_path / "density.npz")
    loaded = CodeDensity.load(tmp_path / "density.npz")
    np.testing.assert_array_equal(loaded.draw(4, 0), density.draw(4, 0))
    (tmp_path / "density.npz").write_bytes(b"PK no density")
    with pytest.raises(ValueError, match="is not a density of codes"):
        CodeDensity.load(tmp_path / "density.npz")


def test_arrays_must_fit_each_other(density):
    arrays = density.arrays()
    arrays["means"] = arrays["means"][:1]
    with pytest.raises(ValueError, match="means must be finite numbers of the shape"):
        CodeDensity(**arrays)


def test_a_vae_samples_its_prior():
    model = VAE.convolutional((8, 8, 1), depth=2)
    codes = model.inference.draw(20_000, 0).numpy()
    assert codes.shape == (20_000, *model.latent_shape)
    assert abs(codes.mean()) < 0.01 and abs(codes.std() - 1) < 0.01
    images = model.sample(3, seed=0)
    np.testing.assert_allclose(images, model.decode(model.inference.draw(3, 0)), atol=1e-6)
    np.testing.assert_array_equal(images, model.sample(3, seed=0))
    assert not np.array_equal(images, model.sample(3))


def test_another_method_needs_a_density_which_is_saved(tmp_path):
    model = AMR.convolutional((8, 8, 1), depth=2)
    model.compile()
    with pytest.raises(ValueError, match="fit_density"):
        model.sample(2)
    model.fit_density(IMAGES)
    drawn = model.inference.draw(4000, 0).numpy()
    np.testing.assert_allclose(drawn.mean(0), model.encode(IMAGES).mean(0), atol=0.2)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded.sample(3, seed=1), model.sample(3, seed=1), atol=1e-6)
    with pytest.raises(ValueError, match="count must be a positive integer; got 0"):
        model.sample(0)
