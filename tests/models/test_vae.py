"""VAE and beta-VAE: the evidence lower bound in NumPy, means as codes, no discriminator."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from amr_tf import (
    VAE,
    BetaVAE,
    Mixer,
    Mixup,
    SpatialMixup,
    SupervisedBernoulliMixup,
)
from amr_tf.networks import build_decoder, build_discriminator, build_encoder
from tests.models.helpers import (
    SHAPE,
    X,
    Y,
    blend,
    drawn,
    make,
    same,
    save_and_continue,
    values,
)


def posterior(model, images=X):
    """Mean and log variance, float64, from the encoder's output."""
    return np.split(np.asarray(model.encoder(images), "float64"), 2, axis=-1)


def divergence(mean, log_variance):
    """Kingma & Welling (2013), appendix B, with its signs."""
    terms = 1 + log_variance - mean**2 - np.exp(log_variance)
    return -0.5 * terms.sum(axis=(1, 2, 3)).mean()


def spread(model, factor=4.0):
    """Moves the log variances away from where the initial weights leave them, near 0."""
    kernel, bias = model.encoder.layers[-1].weights
    kernel.assign(factor * kernel)
    bias.assign(np.array([0.5, -0.3, -1.0, 0.7]))
    return model


@pytest.mark.parametrize(
    ("method", "settings", "weight"),
    [
        (VAE, {"lambda_": 2.0, "kl_weight": 3.0}, 3.0),
        (VAE, {"lambda_": 2.0}, 1.0),
        (BetaVAE, {"lambda_": 2.0}, 4.0),
        (BetaVAE, {"lambda_": 2.0, "kl_weight": 100.0}, 100.0),
    ],
)
def test_evidence_lower_bound(method, settings, weight):
    model = make(method, None, compile_kwargs=settings)
    mean, log_variance = posterior(spread(model))
    noise = np.asarray(keras.random.normal(mean.shape, seed=5), "float64")
    latents = mean + np.sqrt(np.exp(log_variance)) * noise
    probability = (np.asarray(model.decoder(latents.astype("float32")), "float64") + 1) / 2
    target = (X.astype("float64") + 1) / 2
    entropy = target * np.log(probability) + (1 - target) * np.log(1 - probability)
    likelihood = entropy.sum(axis=(1, 2, 3)).mean()
    loss, terms = model.autoencoder_losses(model.forward(X, Y, seed=5))
    assert set(terms) == {"reconstruction_loss", "kl_loss"}
    assert float(terms["reconstruction_loss"]) == pytest.approx(-likelihood, rel=1e-4)
    expected = divergence(mean, log_variance)
    assert expected > 1
    assert float(terms["kl_loss"]) == pytest.approx(expected, rel=1e-4)
    assert float(loss) == pytest.approx(-2 * likelihood + weight * expected, rel=1e-4)


def test_evaluation_repeats_and_training_draws_anew():
    model = make(VAE, None, compile_kwargs={"autoencoder_optimizer": keras.optimizers.SGD(0.0)})
    first = model.evaluate(X, Y, verbose=0, return_dict=True)
    state = np.asarray(model.sampling.seed_generator.state)
    assert first == model.evaluate(X, Y, verbose=0, return_dict=True)
    np.testing.assert_array_equal(model.sampling.seed_generator.state, state)
    one, two = (float(model.train_on(X, Y)["reconstruction_loss"]) for _ in range(2))
    assert one != two  # The weights stood still, the noise did not.
    assert not np.array_equal(model.sampling.seed_generator.state, state)


def test_codes_are_means():
    model = spread(make(VAE))
    mean, _ = posterior(model)
    assert model.latent_shape == (4, 4, 2)
    np.testing.assert_allclose(model.encode(X), mean, atol=1e-5)
    decoded = np.asarray(model.decoder(mean.astype("float32")))
    np.testing.assert_allclose(model.reconstruct(X), decoded, atol=1e-4)
    np.testing.assert_allclose(model(X), decoded, atol=1e-4)
    # Those of a step, which the probe sees, as well.
    step = model.forward(X, training=True)
    np.testing.assert_allclose(step.codes, mean, atol=1e-5)
    assert np.abs(np.asarray(step.latents["reconstruction"]) - mean).max() > 0.1
    logits = np.asarray(model.probe(mean.astype("float32")))
    accuracy = float(model.train_on(X, Y)["probe_accuracy"])
    assert accuracy == pytest.approx(np.mean(logits.argmax(axis=-1) == Y), abs=1e-6)


def test_mixes_and_lines_of_means():
    model = spread(make(VAE, Mixup(3, seed=0)))
    mean, _ = posterior(model)
    permutations, coefficients = drawn(model)
    mixed = blend(mean, permutations, coefficients).astype("float32")
    np.testing.assert_allclose(
        model.mix(X, permutations, coefficients), model.decoder(mixed), atol=1e-4
    )
    lines = model.interpolate(X, X[::-1], steps=3)
    halfway = (0.5 * (mean + mean[::-1])).astype("float32")
    np.testing.assert_allclose(lines[:, 1], model.decoder(halfway), atol=1e-4)
    np.testing.assert_allclose(lines[:, 0], model.reconstruct(X), atol=1e-4)


def test_gradient_passes_through_the_samples():
    """Without the divergence, log variances learn from the reconstruction alone."""
    settings = {"kl_weight": 0.0, "autoencoder_optimizer": keras.optimizers.SGD(1.0)}
    model = make(VAE, None, compile_kwargs=settings)
    before = values(model.encoder.layers[-1].weights)
    model.train_on(X)
    for old, new in zip(before, values(model.encoder.layers[-1].weights)):
        assert np.all((old != new).reshape(-1, 4).any(axis=0))


def test_no_discriminator_anywhere():
    model = make(VAE)
    assert model.discriminator is None
    assert model.discriminator_optimizer is None
    step = model.forward(X, Y)
    assert not step.logits
    assert set(step.decoded) == {"reconstruction"}  # Nor mixes, though there is a mixer.
    results = model.train_on(X, Y)
    assert set(results) == {
        "loss",
        "reconstruction_loss",
        "kl_loss",
        "probe_loss",
        "probe_accuracy",
    }
    paths = [weight.path for weight in model.weights]
    assert paths
    assert not any("discriminator" in path for path in paths)
    history = model.fit(X, Y, batch_size=6, validation_data=(X, Y), verbose=0).history
    assert "val_kl_loss" in history
    assert not any("discriminator" in name or "adversarial" in name for name in history)


def test_mixer_takes_no_part_in_training():
    with_mixer, without = make(VAE), make(VAE, None)
    state = np.asarray(with_mixer.mixer.seed_generator.state)
    for model in (with_mixer, without):
        model.sampling.seed_generator.state.assign(np.array([7, 7], "uint32"))
        model.train_on(X, Y)
    np.testing.assert_array_equal(with_mixer.mixer.seed_generator.state, state)
    assert same(values(with_mixer.encoder.weights), values(without.encoder.weights))


@pytest.mark.parametrize(
    ("method", "settings", "weight"),
    [
        (VAE, {"kl_weight": 0.25, "reconstruction_loss": "mean_squared_error"}, 0.25),
        (BetaVAE, {"generator_update_every": 3}, 4.0),
    ],
)
def test_saved_file_continues_exactly(method, settings, weight, tmp_path):
    """Also the noise: save_and_continue compares losses, and the states of all generators."""
    model = make(method, compile_kwargs=settings)
    again = save_and_continue(model, tmp_path / "model.keras")
    assert type(again) is method
    assert again.kl_weight == weight
    assert again.lambda_ == 1.0


def test_vector_codes():
    model = make(VAE, latent_dim=5)
    assert model.encoder.output_shape == (None, 10)
    assert model.latent_shape == (5,)
    assert model.encode(X).shape == (12, 5)
    assert model.mix(X, seed=0).shape == X.shape
    mean, log_variance = posterior(model)
    expected = 0.5 * (mean**2 + np.exp(log_variance) - 1 - log_variance).sum(axis=1).mean()
    assert float(model.train_on(X)["kl_loss"]) == pytest.approx(expected, rel=1e-4)


@keras.saving.register_keras_serializable(package="tests")
class Learned(Mixer):
    """A mixer with a weight of its own."""

    def build(self, input_shape):
        super().build(input_shape)
        self.slope = self.add_weight(name="slope", shape=())

    def draw_coefficients(self, code_shape, batch_size, seed=None):
        half = tf.fill((batch_size, 1, 1, 1, 1), tf.sigmoid(self.slope))
        return tf.concat([half, 1 - half], axis=1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mixer": Learned()}, "VAE makes no mixes in training, so that mixer Learned, which has"),
        ({"mixer": SupervisedBernoulliMixup(3)}, "SupervisedBernoulliMixup mixes by labels"),
        ({"mixer": SpatialMixup(), "latent_dim": 5}, r"SpatialMixup needs codes \(N, H, W, C\)"),
        ({"compile_kwargs": {"beta": 1.0}}, "VAE has no use for beta: leave it out."),
        ({"compile_kwargs": {"gan_loss": "least_squares"}}, "VAE has no use for gan_loss"),
        ({"compile_kwargs": {"consistency_loss": "mean_squared_error"}}, "use for consistency_lo"),
        ({"compile_kwargs": {"discriminator_optimizer": "sgd"}}, "use for discriminator_optimizer"),
        ({"compile_kwargs": {"kl_weight": -1.0}}, "kl_weight must be a finite number of at least"),
        ({"num_classes": None, "compile_kwargs": {"supervision": 1.0}}, "add a probe"),
    ],
)
@pytest.mark.parametrize("method", [VAE, BetaVAE])
def test_errors(method, arguments, message):
    with pytest.raises(ValueError, match=message.replace("VAE makes", f"{method.__name__} makes")):
        make(method, **arguments)


def test_networks_that_do_not_fit():
    encoder, decoder = build_encoder(SHAPE, 4, depth=2), build_decoder(SHAPE, 2, depth=2)
    with pytest.raises(ValueError, match="^VAE has no discriminator: pass None.$"):
        VAE(encoder, decoder, build_discriminator(SHAPE, depth=2))
    with pytest.raises(ValueError, match="The decoder's input must have the shape"):
        VAE(encoder, build_decoder(SHAPE, 4, depth=2))
    assert VAE(encoder, decoder).latent_shape == (4, 4, 2)
