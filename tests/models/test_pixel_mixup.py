"""Pixel mixup: images are blended, then encoded and decoded."""

import numpy as np
import pytest

from amr_tf import AMR, Mixup, PixelMixup, SpatialMixup
from tests.models.helpers import (
    SHAPE,
    X,
    Y,
    blend,
    crossentropy,
    drawn,
    make,
    mean_error,
    same,
    save_and_continue,
    values,
)


def passed_through(model, images):
    return np.asarray(model.decoder(model.encoder(images)))


def test_blends_are_made_in_pixel_space():
    model = make(PixelMixup, Mixup(3, seed=0))
    permutations, coefficients = drawn(model)
    assert coefficients.shape == (12, 3, 1, 1, 1)
    blended = blend(X, permutations, coefficients)
    step = model.forward(X, None, True, permutations, coefficients)
    np.testing.assert_allclose(step.codes, model.encoder(X), atol=1e-5)
    np.testing.assert_allclose(step.mixed_codes, model.encoder(blended), atol=1e-5)
    np.testing.assert_allclose(step.mixes, passed_through(model, blended), atol=1e-4)
    # Not the codes' blend, which the networks do not make equal.
    codes = blend(np.asarray(step.codes), permutations, coefficients)
    assert np.abs(codes - np.asarray(step.mixed_codes)).max() > 1e-2


def test_losses_are_those_of_amr():
    model = make(PixelMixup, compile_kwargs={"lambda_": 7.0, "beta": 2.0})
    permutations, coefficients = drawn(model)
    reconstruction = passed_through(model, X)
    mixed = np.asarray(model.encoder(blend(X, permutations, coefficients)))
    mixes = np.asarray(model.decoder(mixed))
    logits = [model.discriminator(images) for images in (X, reconstruction, mixes)]
    adversarial = crossentropy(logits[1], 1) + crossentropy(logits[2], 1)
    discriminator = sum(crossentropy(*pair) for pair in zip(logits, (1, 0, 0)))
    error, consistency = mean_error(X, reconstruction), mean_error(mixed, model.encoder(mixes))
    results = model.train_on(X, Y, permutations, coefficients)
    expected = {
        "reconstruction_loss": error,
        "adversarial_loss": adversarial,
        "consistency_loss": consistency,
        "discriminator_loss": discriminator,
        "loss": 7 * error + adversarial + 2 * consistency,
    }
    for name, value in expected.items():
        assert float(results[name]) == pytest.approx(value, rel=1e-4), name


def test_mix_is_the_reconstruction_of_the_blend():
    model = make(PixelMixup)
    permutations, coefficients = drawn(model)
    blended = blend(X, permutations, coefficients)
    mixes = model.mix(X, permutations, coefficients)
    np.testing.assert_allclose(mixes, model.reconstruct(blended), atol=1e-4)
    np.testing.assert_array_equal(model.mix(X, seed=1), model.mix(X, seed=1))
    assert not np.array_equal(model.mix(X, seed=1), model.mix(X, seed=2))


def test_interpolation_runs_through_blended_images():
    model, other = make(PixelMixup), make(AMR)
    lines = model.interpolate(X, X[::-1], steps=3)
    assert lines.shape == (12, 3, *SHAPE)
    for step, weight in enumerate((0, 0.5, 1)):
        images = (1 - weight) * X + weight * X[::-1]
        np.testing.assert_allclose(lines[:, step], model.reconstruct(images), atol=1e-4)
    # AMR's with the same weights has the same ends and another middle.
    assert same(values(model.encoder.weights), values(other.encoder.weights))
    through_codes = other.interpolate(X, X[::-1], steps=3)
    np.testing.assert_allclose(lines[:, 0], through_codes[:, 0], atol=1e-4)
    assert np.abs(lines[:, 1] - through_codes[:, 1]).max() > 0.01


@pytest.mark.parametrize("latent_dim", [None, 5])
def test_spatial_blocks_of_images(latent_dim):
    """CutMix: blocks of pixels, also where the codes are vectors and could not be cut."""
    model = make(PixelMixup, SpatialMixup(seed=0), latent_dim=latent_dim)
    assert model.mixed_shape == SHAPE
    permutations, coefficients = drawn(model)
    assert coefficients.shape == (12, 2, 8, 8, 1)
    blended = blend(X, permutations, coefficients)
    pasted = blended == X[permutations[1]]
    assert np.all(pasted | (blended == X))
    met_another = permutations[1] != np.arange(12)
    assert met_another.sum() > 5
    assert (blended != X).any(axis=(1, 2, 3))[met_another].all()
    step = model.forward(X, None, True, permutations, coefficients)
    np.testing.assert_allclose(step.mixed_codes, model.encoder(blended), atol=1e-5)
    before = values(model.encoder.trainable_variables)
    results = model.train_on(X, Y)
    assert all(np.isfinite(float(value)) for value in results.values())
    assert not same(before, values(model.encoder.trainable_variables))


def test_without_a_mixer_it_is_ae_gan():
    model = make(PixelMixup, None)
    step = model.forward(X)
    assert set(step.decoded) == {"reconstruction"}
    with pytest.raises(ValueError, match="has no mixer"):
        model.mix(X)


def test_saved_file_continues_exactly(tmp_path):
    model = make(PixelMixup, Mixup(3, seed=2), compile_kwargs={"lambda_": 3.0, "beta": 0.5})
    again = save_and_continue(model, tmp_path / "model.keras")
    assert type(again) is PixelMixup
    assert again.mixed_shape == SHAPE


def test_bad_images():
    model = make(PixelMixup)
    with pytest.raises(ValueError, match=r"images must lie in \[-1, 1\]"):
        model.mix(20 * X)
    with pytest.raises(ValueError, match=r"images must have the shape \(N, 8, 8, 1\)"):
        model.interpolate(X[:, :4], X[:, :4])
    with pytest.raises(ValueError, match="A batch of 1 is too small"):
        model.mix(X[:1])
