"""ACAI: both variants against their formulas, written out in NumPy."""

import keras
import numpy as np
import pytest
import scipy.stats
from keras.layers import LeakyReLU

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
    SphericalMixup,
)
from tests.models.helpers import (
    SHAPE,
    X,
    Y,
    blend,
    crossentropy,
    drawn,
    make_own,
    mean_error,
    same,
    save_and_continue,
    values,
)

WIDE = (32, 32, 1)


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
    model = make_own(ACAI, mixer, compile_kwargs={"lambda_": 7.0})
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
    model = make_own(OriginalACAI, mixer, compile_kwargs=settings)
    permutations, coefficients = drawn(model)
    reconstruction, mixes = images_of(model, permutations, coefficients)
    alpha = coefficients[:, 0].ravel()
    folded = 0.5 - np.abs(alpha - 0.5)
    logits = np.asarray(model.discriminator(mixes))
    regulariser = np.asarray(model.discriminator(gamma * X + (1 - gamma) * reconstruction))
    squared = np.mean((X - reconstruction) ** 2)
    adversarial = np.mean(logits**2)
    results = model.train_on(X, Y, permutations, coefficients)
    check(
        results,
        {
            "reconstruction_loss": squared,
            "adversarial_loss": adversarial,
            "discriminator_loss": np.mean((logits - folded) ** 2) + np.mean(regulariser**2),
            "loss": squared + weight * adversarial,
        },
    )


def test_the_originals_partner_is_the_reversed_batch():
    model = make_own(OriginalACAI, "folded")
    step = model.forward(X)
    alpha = np.asarray(step.coefficients)[:, 0]
    assert 0 <= alpha.min() < alpha.max() <= 0.5
    codes = np.asarray(step.codes)
    np.testing.assert_allclose(
        step.mixed_codes, alpha * codes + (1 - alpha) * codes[::-1], atol=1e-6
    )


def test_what_the_critic_sees():
    model = make_own(ACAI)
    step = model.forward(X)
    seen = {"real": X, "reconstruction": step.reconstructions, "mix": step.mixes}
    assert set(step.logits) == set(seen)
    for group, images in seen.items():
        np.testing.assert_allclose(
            step.logits[group], model.discriminator(images), rtol=1e-4, atol=1e-6
        )
    np.testing.assert_allclose(step.reconstructions, model.reconstruct(X), atol=1e-5)


def test_what_the_originals_critic_sees():
    """No real image and no reconstruction as such: only their blend."""
    model = make_own(OriginalACAI)
    step = model.forward(X)
    seen = {"blend": 0.2 * X + 0.8 * np.asarray(step.reconstructions), "mix": step.mixes}
    assert set(step.logits) == set(seen)
    for group, images in seen.items():
        np.testing.assert_allclose(
            step.logits[group], model.discriminator(images), rtol=1e-4, atol=1e-6
        )


@pytest.mark.parametrize("method", [ACAI, OriginalACAI])
def test_a_step_moves_every_network(method):
    model = make_own(method, compile_kwargs={"autoencoder_optimizer": "sgd"})
    networks = (model.encoder, model.decoder, model.discriminator, model.probe)
    before = [values(network.trainable_variables) for network in networks]
    model.train_on(X, Y)
    for network, old in zip(networks, before):
        assert not same(old, values(network.trainable_variables)), network.name


def test_normalisation():
    def kinds(model):
        networks = (model.encoder, model.decoder, model.discriminator)
        return [type(layer) for network in networks for layer in network.layers]

    assert SpectralNormalization in kinds(make_own(ACAI))
    names = {kind.__name__ for kind in kinds(make_own(OriginalACAI))}
    assert "Conv2D" in names
    assert not any("Norm" in name for name in names)


# The authors' own networks and optimizer, by default.


@pytest.fixture(scope="module")
def original():
    keras.utils.set_random_seed(0)
    model = OriginalACAI.convolutional(WIDE)
    model.compile()
    return model


def kernels(model):
    """Convolutions of all three networks: name and kernel."""
    return [
        (f"{network.name}/{layer.name}", np.array(layer.kernel))
        for network in (model.encoder, model.decoder, model.discriminator)
        for layer in network.layers
        if hasattr(layer, "kernel")
    ]


def test_the_originals_initial_kernels(original):
    """`1 / sqrt((1 + 0.2^2) * height * width * in)`, not cut off at two deviations."""
    scaled = []
    for name, kernel in kernels(original):
        height, width, inputs, _ = kernel.shape
        expected = 1 / np.sqrt((1 + 0.2**2) * height * width * inputs)
        scaled.append(kernel.ravel() / expected)
        if kernel.size > 2000:
            assert kernel.std() == pytest.approx(expected, rel=0.08), name
    scaled = np.concatenate(scaled)
    assert len(scaled) > 50_000
    assert scipy.stats.kstest(scaled[::20], "norm").pvalue > 1e-3


def test_the_originals_layers(original):
    """A slope of 0.2, "same" padding without a border, nothing normalised."""
    networks = original.encoder, original.decoder, original.discriminator
    layers = [layer for network in networks for layer in network.layers]
    slopes = [layer.negative_slope for layer in layers if isinstance(layer, LeakyReLU)]
    assert len(slopes) > 15
    assert slopes == pytest.approx([0.2] * len(slopes))
    # With a border the first two would be 17 and 8 wide, of 34.
    for network in (original.encoder, original.discriminator):
        shapes = [layer.output.shape[1:3] for layer in network.layers if "pool" in layer.name]
        assert shapes == [(16, 16), (8, 8), (4, 4)]
        assert network.get_layer("scale0_b_conv").output.shape[1:3] == (32, 32)


def test_the_originals_decoded_images_vary_with_the_input(original):
    """Each of 17 layers halves the variance; with the port's initialiser 1e-8 would be left."""
    coarse = np.random.default_rng(0).uniform(-1, 1, (8, 4, 4, 1)).astype("float32")
    images = coarse.repeat(8, axis=1).repeat(8, axis=2)
    assert original.encode(images).std(axis=0).mean() > 5e-3
    assert original.reconstruct(images).std(axis=0).mean() > 1e-4


def test_the_originals_optimizer_is_plain_adam(original):
    for optimizer in (original.autoencoder_optimizer, original.discriminator_optimizer):
        assert type(optimizer) is keras.optimizers.Adam
        config = optimizer.get_config()
        assert config["weight_decay"] is None
        names = ("learning_rate", "beta_1", "beta_2", "epsilon")
        assert [config[name] for name in names] == pytest.approx([1e-4, 0.9, 0.999, 1e-8])


def test_the_originals_kernels_move_by_gradients_not_by_decay():
    """What the fault looked like: every kernel shrank by the decay, and by nothing else."""
    model = make_own(OriginalACAI)
    before = dict(kernels(model))
    for _ in range(3):
        model.train_on(X, Y)
    for name, kernel in kernels(model):
        if kernel.size < 30:
            continue
        # Adam's steps of 1e-4 in the first updates, up or down.
        assert np.abs(kernel - before[name]).max() > 1.5e-4, name
        grown = np.abs(kernel) > np.abs(before[name])
        assert 0.1 < grown.mean() < 0.9, name


def test_the_originals_mixer(original):
    assert isinstance(original.mixer, FoldedMixup)
    assert isinstance(ACAI.convolutional(SHAPE, depth=2).mixer, Mixup)


@pytest.mark.parametrize("method", [ACAI, OriginalACAI])
def test_consistency_is_absolute(method):
    """As in the released code, also where reconstructions are squared; unless set otherwise."""
    squared = {"reconstruction_loss": "mean_squared_error", "beta": 1.0}
    for settings, distance in (
        (squared, np.abs),
        ({**squared, "consistency_loss": "mean_squared_error"}, np.square),
    ):
        model = make_own(method, compile_kwargs=settings)
        given = drawn(model)
        mixed = blend(np.asarray(model.encoder(X)), *given)
        again = np.asarray(model.encoder(model.decoder(mixed)))
        expected = distance(mixed - again).mean()
        assert expected > 1e-4
        check(model.train_on(X, Y, *given), {"consistency_loss": expected})


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
    model = make_own(method, Mixup(2, seed=4), compile_kwargs=settings)
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
        (SphericalMixup(), "that it draws .*; SphericalMixup has a weigh of its own"),
    ],
    ids=["none", "k3", "channelwise", "bernoulli", "spatial", "gaussian", "spherical"],
)
def test_mixers_that_do_not_fit(method, mixer, message):
    with pytest.raises(ValueError, match=f"^{method.__name__} needs.*") as error:
        make_own(method, mixer)
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
        ({"critic_mix": 0.2}, "unexpected keyword argument 'critic_mix'"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make_own(OriginalACAI, compile_kwargs=settings)
