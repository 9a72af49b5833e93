"""The model that a config describes: every method and architecture, and where each flag goes."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import amr_tf
from amr_tf import mixers
from amr_tf.models import METHODS
from amr_tf.networks.architectures import ARCHITECTURES
from amr_tf.training.build import build_model
from amr_tf.training.config import TrainingConfig
from tests.training.conftest import tiny_config

CLASSES = {
    "amr": amr_tf.AMR,
    "ae_gan": amr_tf.AEGAN,
    "pixel_mixup": amr_tf.PixelMixup,
    "supervised_amr": amr_tf.SupervisedAMR,
    "acai": amr_tf.ACAI,
    "acai_original": amr_tf.OriginalACAI,
    "gaia": amr_tf.GAIA,
    "vae": amr_tf.VAE,
    "beta_vae": amr_tf.BetaVAE,
}
MIXERS = {
    "acai_original": amr_tf.FoldedMixup,
    "gaia": amr_tf.GaussianMixup,
    "supervised_amr": None,
    "ae_gan": None,
}
SHAPES = {"convolutional": (8, 8, 1), "dsprites": (8, 8, 1), "mlp": (2,)}
CODES = {"convolutional": (4, 4, 2), "dsprites": (10,), "mlp": (2,)}
# Methods whose discriminator an architecture does not have.
UNABLE = {
    "dsprites": ("acai_original", "gaia"),
    "mlp": ("acai_original", "gaia", "supervised_amr"),
}
PAIRS = [(method, architecture) for method in CLASSES for architecture in SHAPES]


def unable(method, architecture):
    return method in UNABLE.get(architecture, ())


def build(num_classes=3, image_shape=None, multi_label=False, **changes):
    config = tiny_config("nowhere", **changes)
    shape = image_shape or SHAPES[config.architecture]
    return build_model(config, shape, num_classes, multi_label)


def weights_of(*networks):
    return [w.numpy() for network in networks if network for w in network.trainable_variables]


def all_moved(before, after):
    assert before
    return all((one != other).any() for one, other in zip(before, after, strict=True))


def test_everything_registered_is_here():
    assert sorted(CLASSES) == METHODS.names()
    assert sorted(SHAPES) == ARCHITECTURES.names()


@pytest.mark.parametrize(("method", "architecture"), [pair for pair in PAIRS if not unable(*pair)])
def test_every_method_with_every_architecture(method, architecture):
    keras.utils.set_random_seed(0)
    model = build(method=method, architecture=architecture)
    assert type(model) is CLASSES[method]
    assert model.name == method
    assert model.image_shape == SHAPES[architecture]
    assert model.latent_shape == CODES[architecture]
    assert model.decoder.input_shape[1:] == CODES[architecture]
    wanted = MIXERS.get(method, amr_tf.Mixup)
    assert type(model.mixer) is (type(None) if wanted is None else wanted)
    assert model.probe.output_shape == (None, 3)
    assert (model.discriminator is None) == (method in ("vae", "beta_vae"))
    # One step changes every network and reports finite losses.
    parts = [model.encoder, model.decoder, model.discriminator, model.probe]
    parts.append(getattr(model, "label_mixer", None))
    before = weights_of(*parts)
    images = np.random.default_rng(0).uniform(-1, 1, (6, *model.image_shape)).astype("float32")
    results = model.train_on(tf.constant(images), tf.constant([0, 1, 2, 0, 1, 2]))
    assert {"loss", "reconstruction_loss", "probe_loss"} <= set(results)
    assert all(np.isfinite(value) for value in results.values())
    assert all_moved(before, weights_of(*parts))


@pytest.mark.parametrize(("method", "architecture"), [pair for pair in PAIRS if unable(*pair)])
def test_discriminators_that_an_architecture_does_not_have(method, architecture):
    with pytest.raises(ValueError, match=rf"^Architecture '{architecture}' has no ") as caught:
        build(method=method, architecture=architecture)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("architecture", "shape", "message"),
    [
        ("mlp", (8, 8, 1), r"^Architecture 'mlp' is for points .*; got \(8, 8, 1\)"),
        ("convolutional", (2,), r"^Architecture 'convolutional' is for images .* \(2,\)"),
        ("dsprites", (2,), r"^Architecture 'dsprites' is for images .* \(2,\)"),
        ("convolutional", (12, 12, 1), r"^Images must be square, .*; got 12 x 12"),
        ("dsprites", (16, 8, 1), r"^Images must be square, .*; got 16 x 8"),
    ],
)
def test_images_of_the_wrong_shape(architecture, shape, message):
    with pytest.raises(ValueError, match=message):
        build(architecture=architecture, image_shape=shape)


@pytest.mark.parametrize("method", sorted({*CLASSES} - {"supervised_amr"}))
def test_unlabelled_data(method):
    model = build(None, method=method)
    assert model.probe is None
    assert model.num_classes is None


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"method": "supervised_amr"}, "method supervised_amr"),
        ({"supervision": 0.5}, r"supervision = 0\.5"),
        ({"supervision": 2.0, "method": "vae"}, "supervision = 2"),
    ],
)
def test_what_needs_labels(changes, name):
    message = rf"^{name} learns from labels, but data set 'digits' has none\.$"
    with pytest.raises(ValueError, match=message):
        build(None, **changes)


def test_attributes():
    model = build(1, multi_label=True, method="supervised_amr")
    assert model.multi_label
    assert model.probe.output_shape == (None, 1)
    assert model.discriminator.output_shape == [(None,), (None, 1)]
    assert model.label_mixer.num_labels == 1
    assert not build().multi_label


# A flag that is not the default, and what of the model must then be which value.
REACHES = [
    ({"lambda_": 7.0}, "lambda_", 7.0),
    ({"method": "vae"}, "lambda_", 1.0),
    ({"beta": 0.5}, "beta", 0.5),
    ({"supervision": 0.25}, "supervision", 0.25),
    ({"generator_update_every": 5}, "generator_update_every", 5),
    ({"method": "supervised_amr", "class_weight": 3.0}, "class_weight", 3.0),
    ({"method": "acai_original", "adversarial_weight": 0.1}, "adversarial_weight", 0.1),
    ({"method": "acai_original", "critic_blend": 0.3}, "critic_blend", 0.3),
    ({"method": "acai_original"}, "lambda_", 1.0),
    ({"method": "beta_vae", "kl_weight": 100.0}, "kl_weight", 100.0),
    ({"method": "beta_vae"}, "kl_weight", 4.0),
    ({"method": "vae", "kl_weight": 100.0}, "kl_weight", 1.0),  # A VAE's is fixed.
    ({"method": "gaia", "balance_target": 0.7}, "balance_target", 0.7),
    ({"method": "gaia", "balance_rate": 0.02}, "balance_rate", 0.02),
    ({"k": 3}, "mixer.k", 3),
    ({"seed": 5}, "mixer.seed", 5),
    ({"mixer": "bernoulli", "bernoulli_probability": "example"}, "mixer.probability", "example"),
    ({"mixer": "gaussian", "gaussian_sigma": 0.1}, "mixer.sigma", 0.1),
    ({"method": "gaia", "gaussian_sigma": 0.1}, "mixer.sigma", 0.1),
    ({"mixer": "composite", "k": 3}, "mixer.mixers.0.k", 3),
    ({"method": "supervised_amr", "mixer": "mixup", "k": 3}, "mixer.k", 3),
    ({"method": "supervised_amr"}, "label_mixer.num_labels", 3),
    ({"method": "supervised_amr", "seed": 5}, "label_mixer.seed", 5),
    (
        {"method": "supervised_amr", "mask_estimator": "concrete"},
        "label_mixer.estimator",
        "concrete",
    ),
    ({"method": "supervised_amr", "mask_temperature": 0.2}, "label_mixer.temperature", 0.2),
    ({"method": "supervised_amr", "mask_condition": "parents"}, "label_mixer.condition", "parents"),
    ({"method": "supervised_amr", "label_alphas": "attribute"}, "label_mixer.alphas", "attribute"),
    ({"latent_channels": 5}, "latent_shape", (4, 4, 5)),
    ({"latent_width": 2}, "latent_shape", (2, 2, 2)),
    ({"latent_dim": 7}, "latent_shape", (7,)),
    ({"method": "vae", "latent_dim": 7}, "latent_shape", (7,)),
    ({"method": "vae", "latent_dim": 7}, "encoder.output_shape", (None, 14)),
    ({"method": "vae", "latent_channels": 5}, "encoder.output_shape", (None, 4, 4, 10)),
    ({"architecture": "dsprites", "latent_dim": 7}, "latent_shape", (7,)),
    ({"architecture": "mlp", "latent_dim": 7}, "latent_shape", (7,)),
]
LOSSES = [
    ({}, "mean_absolute_error", "binary_crossentropy"),
    ({"reconstruction_loss": "mean_squared_error"}, "mean_squared_error", "binary_crossentropy"),
    ({"gan_loss": "least_squares"}, "mean_absolute_error", "least_squares"),
    ({"method": "acai_original"}, "mean_squared_error", "least_squares"),
    ({"method": "vae"}, "binary_crossentropy", "binary_crossentropy"),
]


@pytest.mark.parametrize(("changes", "where", "value"), REACHES)
def test_where_a_flag_goes(changes, where, value):
    found = build(**changes)
    for name in where.split("."):
        found = found[int(name)] if name.isdigit() else getattr(found, name)
    assert found == value


@pytest.mark.parametrize(("changes", "reconstruction", "gan"), LOSSES)
def test_the_losses(changes, reconstruction, gan):
    model = build(**changes)
    saved = model.get_compile_config()
    assert (saved["reconstruction_loss"], saved["gan_loss"]) == (reconstruction, gan)


@pytest.mark.parametrize("architecture", ("convolutional", "dsprites", "mlp"))
@pytest.mark.parametrize("activation", ("none", "tanh"))
def test_the_output_activation(architecture, activation):
    decoder = build(architecture=architecture, output_activation=activation).decoder
    codes = 100 * np.random.default_rng(0).normal(size=(8, *decoder.input_shape[1:]))
    largest = abs(decoder(codes.astype("float32"))).numpy().max()
    assert (largest <= 1) == (activation == "tanh")


def test_the_depth():
    widths = [build(depth=depth).encoder.get_layer("conv_in").filters for depth in (2, 3)]
    assert widths == [2, 3]


@pytest.mark.parametrize(("probe", "layers"), [("linear", 1), ("mlp", 2)])
def test_the_probe(probe, layers):
    kinds = [type(layer) for layer in build(probe=probe).probe.layers]
    assert kinds.count(keras.layers.Dense) == layers


def test_the_optimizers():
    settings = {"beta_1": 0.25, "beta_2": 0.75, "epsilon": 1e-3, "l2_weight_decay": 0.5}
    model = build(learning_rate=0.5, probe_learning_rate=0.125, **settings)
    optimizers = (model.autoencoder_optimizer, model.discriminator_optimizer, model.probe_optimizer)
    assert [float(optimizer.learning_rate) for optimizer in optimizers] == [0.5, 0.5, 0.125]
    assert len(set(map(id, optimizers))) == 3
    for optimizer in optimizers:
        assert {name: getattr(optimizer, name) for name in settings} == settings


def test_without_normalisation():
    """Original ACAI has neither instance nor spectral normalisation; the others have both."""

    def normalised(model):
        networks = (model.encoder, model.decoder, model.discriminator)
        return [
            any("normalization" in type(layer).__name__.lower() for layer in network.layers)
            for network in networks
        ]

    assert normalised(build(method="acai_original")) == [False] * 3
    assert normalised(build(method="acai")) == [True] * 3


def test_no_mixer():
    assert build(mixer="none").mixer is None
    assert build(method="vae", mixer="none").mixer is None
    # The flag plays no part for AE+GAN.
    assert build(method="ae_gan", mixer="bernoulli").mixer is None


@pytest.mark.parametrize("mixer", sorted({*mixers.MIXERS.names()} - {"supervised_bernoulli"}))
def test_every_mixer_is_a_flags_value(mixer):
    model = build(mixer=mixer)
    assert type(model.mixer) is mixers.MIXERS.get(mixer)


def test_composite_mixers():
    model = build(mixer="composite", composite_mixers="spatial,mixup,channelwise")
    kinds = [type(mixer) for mixer in model.mixer.mixers]
    assert kinds == [amr_tf.SpatialMixup, amr_tf.Mixup, amr_tf.ChannelwiseMixup]


def test_spaces_between_composite_mixers():
    model = build(mixer="composite", composite_mixers="mixup, bernoulli")
    assert len(model.mixer.mixers) == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "acai", "mixer": "channelwise"}, "^ACAI needs one mixing coefficient"),
        ({"method": "acai_original", "mixer": "spatial"}, "^OriginalACAI needs one mixing"),
        ({"method": "vae", "mixer": "spatial", "latent_dim": 4}, "^SpatialMixup needs codes"),
        ({"method": "beta_vae", "mixer": "spatial", "latent_dim": 4}, "^SpatialMixup needs codes"),
        ({"architecture": "dsprites", "mixer": "spatial"}, "^SpatialMixup needs codes"),
        ({"method": "gaia", "mixer": "none"}, "^GAIA needs a mixer"),
        ({"method": "gaia", "k": 3}, r"^GaussianMixup mixes pairs: k must be 2; got 3\.$"),
        ({"mixer": "composite", "composite_mixers": "mixup,bernouli"}, "^Unknown mixer 'bernouli'"),
        ({"mixer": "composite", "composite_mixers": "folded"}, "^FoldedMixup .* cannot join"),
        ({"mixer": "composite", "composite_mixers": ""}, "^Unknown mixer ''"),
    ],
)
def test_mixers_that_do_not_fit(changes, message):
    with pytest.raises(ValueError, match=message) as caught:
        build(**changes)
    assert "\n" not in str(caught.value)


def test_spatial_mixing_of_pixels_needs_no_spatial_codes():
    model = build(method="pixel_mixup", mixer="spatial", latent_dim=4)
    images = np.random.default_rng(0).uniform(-1, 1, (4, 8, 8, 1)).astype("float32")
    assert model.mix(images, seed=0).shape == images.shape


def test_a_config_is_resolved_on_the_way():
    """`build_model` is public: it takes a config as it is written."""
    config = TrainingConfig(method="vae", depth=2)
    assert config.output_activation is None
    resolved = build_model(config.resolve(), (8, 8, 1), 3)
    assert build_model(config, (8, 8, 1), 3).get_compile_config() == resolved.get_compile_config()
