"""ACAI: both variants against their formulas, written out in NumPy."""

import keras
import numpy as np
import pytest

from amr_tf import (
    ACAI,
    BernoulliMixup,
    ChannelwiseMixup,
    FoldedMixup,
    GaussianMixup,
    Mixup,
    OriginalACAI,
    SpatialMixup,
    SpectralNormalization,
)
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


def images_of(model, permutations, coefficients):
    """Reconstructions and decoded mixes."""
    codes = np.asarray(model.encoder(X))
    mixed = blend(codes, permutations, coefficients)
    return np.asarray(model.decoder(codes)), np.asarray(model.decoder(mixed))


def check(results, expected):
    for name, value in expected.items():
        assert float(results[name]) == pytest.approx(value, rel=1e-4), name


@pytest.mark.parametrize("mixer", ["mixup", "folded"])
def test_losses_of_the_papers_variant(mixer):
    model = make(ACAI, mixer, compile_kwargs={"lambda_": 7.0})
    permutations, coefficients = drawn(model)
    reconstruction, mixes = images_of(model, permutations, coefficients)
    alpha = coefficients[:, 0].ravel().astype("float64")
    if mixer == "mixup":
        assert alpha.min() < 0.5 < alpha.max()  # So that folding shows.
    target = np.where(alpha < 0.5, 2 * alpha, 2 - 2 * alpha)
    critic = crossentropy(model.discriminator(mixes), target)
    critic += crossentropy(model.discriminator(X), 0)
    critic += crossentropy(model.discriminator(reconstruction), 0)
    adversarial = crossentropy(model.discriminator(mixes), 0)
    error = mean_error(X, reconstruction)
    results = model.train_on(X, Y, permutations, coefficients)
    check(
        results,
        {
            "reconstruction_loss": error,
            "adversarial_loss": adversarial,
            "discriminator_loss": critic,
            "loss": 7 * error + adversarial,
        },
    )


@pytest.mark.parametrize(
    ("settings", "gamma", "weight"),
    [({}, 0.2, 0.5), ({"critic_blend": 0.6, "adversarial_weight": 3.0}, 0.6, 3.0)],
    ids=["default", "other"],
)
@pytest.mark.parametrize("mixer", ["mixup", "folded"])
def test_losses_of_the_original(settings, gamma, weight, mixer):
    model = make(OriginalACAI, mixer, compile_kwargs=settings)
    permutations, coefficients = drawn(model)
    reconstruction, mixes = images_of(model, permutations, coefficients)
    alpha = coefficients[:, 0].ravel()
    folded = 0.5 - np.abs(alpha - 0.5)
    verdict = np.asarray(model.discriminator(mixes))
    regulariser = np.asarray(model.discriminator(gamma * X + (1 - gamma) * reconstruction))
    squared = np.mean((X - reconstruction) ** 2)
    adversarial = np.mean(verdict**2)
    results = model.train_on(X, Y, permutations, coefficients)
    check(
        results,
        {
            "reconstruction_loss": squared,
            "adversarial_loss": adversarial,
            "discriminator_loss": np.mean((verdict - folded) ** 2) + np.mean(regulariser**2),
            "loss": squared + weight * adversarial,
        },
    )


def test_the_originals_partner_is_the_reversed_batch():
    model = make(OriginalACAI, "folded")
    step = model.forward(X)
    alpha = np.asarray(step.coefficients)[:, 0]
    assert 0 <= alpha.min() < alpha.max() <= 0.5
    codes = np.asarray(step.codes)
    np.testing.assert_allclose(
        step.mixed_codes, alpha * codes + (1 - alpha) * codes[::-1], atol=1e-6
    )


def test_what_the_critic_sees():
    model = make(ACAI)
    step = model.forward(X)
    shown = {"real": X, "reconstruction": step.reconstructions, "mix": step.mixes}
    assert set(step.verdicts) == set(shown)
    for group, images in shown.items():
        np.testing.assert_allclose(
            step.verdicts[group], model.discriminator(images), rtol=1e-4, atol=1e-6
        )
    np.testing.assert_allclose(step.reconstructions, model.reconstruct(X), atol=1e-5)


def test_what_the_originals_critic_sees():
    """No real image and no reconstruction as such: only their blend."""
    model = make(OriginalACAI)
    step = model.forward(X)
    shown = {"blend": 0.2 * X + 0.8 * np.asarray(step.reconstructions), "mix": step.mixes}
    assert set(step.verdicts) == set(shown)
    for group, images in shown.items():
        np.testing.assert_allclose(
            step.verdicts[group], model.discriminator(images), rtol=1e-4, atol=1e-6
        )


@pytest.mark.parametrize("method", [ACAI, OriginalACAI])
def test_a_step_moves_every_network(method):
    model = make(method, compile_kwargs={"autoencoder_optimizer": "sgd"})
    networks = (model.encoder, model.decoder, model.discriminator, model.probe)
    before = [values(network.trainable_variables) for network in networks]
    model.train_on(X, Y)
    for network, old in zip(networks, before):
        assert not same(old, values(network.trainable_variables)), network.name


def test_normalisation():
    def kinds(model):
        networks = (model.encoder, model.decoder, model.discriminator)
        return [type(layer) for network in networks for layer in network.layers]

    assert SpectralNormalization in kinds(make(ACAI))
    names = {kind.__name__ for kind in kinds(make(OriginalACAI))}
    assert "Conv2D" in names
    assert not any("Norm" in name for name in names)


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        (ACAI, {"lambda_": 3.0, "gan_loss": "least_squares", "generator_update_every": 2}),
        (ACAI, {"beta": 0.5, "discriminator_optimizer": keras.optimizers.Adam(1e-3)}),
        (OriginalACAI, {"critic_blend": 0.3, "adversarial_weight": 0.25, "lambda_": 2.0}),
        (OriginalACAI, {}),
    ],
)
def test_saved_file_continues_exactly(method, settings, tmp_path):
    model = make(method, Mixup(2, seed=4), compile_kwargs=settings)
    again = save_and_continue(model, tmp_path / "model.keras")
    assert type(again) is method
    assert again.mixer.get_config() == model.mixer.get_config()
    for name, value in settings.items():
        if not name.endswith("optimizer") and name != "gan_loss":
            assert getattr(again, name) == value
    if not settings:
        assert (again.critic_blend, again.adversarial_weight, again.lambda_) == (0.2, 0.5, 1.0)


@pytest.mark.parametrize("method", [ACAI, OriginalACAI])
@pytest.mark.parametrize(
    ("mixer", "message"),
    [
        (None, "needs a mixer of k = 2, .*; got none"),
        (Mixup(3), "needs a mixer of k = 2, .*; got k = 3"),
        (ChannelwiseMixup(), r"one mixing coefficient .* of shape \(1, 1, 2\)"),
        (BernoulliMixup(), "BernoulliMixup draws coefficients of shape"),
        (SpatialMixup(), r"SpatialMixup draws coefficients of shape \(4, 4, 1\)"),
        (GaussianMixup(), r"in \[0, 1\] .*GaussianMixup draws"),
    ],
    ids=["none", "k3", "channelwise", "bernoulli", "spatial", "gaussian"],
)
def test_mixers_that_do_not_fit(method, mixer, message):
    with pytest.raises(ValueError, match=f"^{method.__name__} needs.*") as error:
        make(method, mixer)
    assert error.match(message)


def test_the_check_draws_nothing_from_the_mixer():
    mixer = FoldedMixup(seed=3)
    before = np.asarray(mixer.seed_generator.state)
    ACAI.convolutional(SHAPE, depth=2, mixer=mixer)
    np.testing.assert_array_equal(mixer.seed_generator.state, before)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"adversarial_weight": -0.5}, "adversarial_weight must be a finite number of at least 0"),
        ({"critic_blend": 1.5}, "critic_blend must lie in 0 to 1; got 1.5"),
        ({"lambda_": -1}, "lambda_ must be"),
        ({"critic_mix": 0.2}, "does not take 'critic_mix'"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make(OriginalACAI, compile_kwargs=settings)
