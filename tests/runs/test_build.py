"""The model that a config describes: every method and architecture, and where each flag goes."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import amr_tf
from amr_tf import mixers
from amr_tf.models import METHODS
from amr_tf.networks.architectures import ARCHITECTURES
from amr_tf.registry import parse_call
from amr_tf.runs.build import build_model
from amr_tf.runs.config import TrainingConfig
from tests.runs.conftest import tiny_config

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
SMALL = {
    "convolutional": "convolutional(depth=2)",
    "acai": "acai(depth=2)",
    "dsprites": "dsprites(depth=2)",
    "mlp": "mlp(hidden=(8,))",
    "residual": "residual(latent_width=4, latent_channels=3, width=4, critic_width=2)",
}
SHAPES = {name: (2,) if name == "mlp" else (8, 8, 1) for name in SMALL}
CODES = {
    "convolutional": (4, 4, 2),
    "acai": (4, 4, 2),
    "dsprites": (10,),
    "mlp": (2,),
    "residual": (4, 4, 3),
}
# Methods whose discriminator an architecture does not have.
UNABLE = {"dsprites": ("gaia",), "residual": ("gaia",), "mlp": ("gaia", "supervised_amr")}
# Every method with the paper's networks, and one of each kind of critic with the others.
KINDS = ("amr", "supervised_amr", "gaia", "vae")
PAIRS = [(method, name) for method in CLASSES for name in SHAPES]
PAIRS = [pair for pair in PAIRS if pair[0] in KINDS or pair[1] == "convolutional"]


def unable(method, architecture):
    return method in UNABLE.get(architecture, ())


def build(num_classes=3, image_shape=None, multi_label=False, **changes):
    config = tiny_config("nowhere", **changes)
    shape = image_shape or SHAPES[parse_call(config.architecture).name]
    return build_model(config, shape, num_classes, multi_label)


def weights_of(*networks):
    return [w.numpy() for network in networks if network for w in network.trainable_variables]


def all_moved(before, after):
    assert before
    return all((one != other).any() for one, other in zip(before, after, strict=True))


def assert_refused(message, *arguments, **changes):
    with pytest.raises(ValueError, match=message) as caught:
        build(*arguments, **changes)
    assert "\n" not in str(caught.value)


def test_everything_registered_is_here():
    assert sorted(CLASSES) == METHODS.names()
    assert sorted(SHAPES) == ARCHITECTURES.names()


@pytest.mark.parametrize(("method", "architecture"), [pair for pair in PAIRS if not unable(*pair)])
def test_methods_with_architectures(method, architecture):
    keras.utils.set_random_seed(0)
    model = build(method=method, architecture=SMALL[architecture])
    assert type(model) is CLASSES[method]
    assert model.name == method
    assert model.image_shape == SHAPES[architecture]
    assert model.latent_shape == CODES[architecture]
    assert model.decoder.input_shape[1:] == CODES[architecture]
    wanted = MIXERS.get(method, amr_tf.Mixup)
    assert type(model.mixer) is (type(None) if wanted is None else wanted)
    assert model.probe.output_shape == (None, 3)
    assert (model.discriminator is None) == (method in ("vae", "beta_vae"))
    # Two steps change every weight (a residual block starts closed) and report finite losses.
    parts = [model.encoder, model.decoder, model.discriminator, model.probe]
    parts.append(getattr(model, "label_mixer", None))
    before = weights_of(*parts)
    images = np.random.default_rng(0).uniform(-1, 1, (6, *model.image_shape)).astype("float32")
    for _ in range(2):
        results = model.train_on(tf.constant(images), tf.constant([0, 1, 2, 0, 1, 2]))
    assert {"loss", "reconstruction_loss", "probe_loss"} <= set(results)
    assert all(np.isfinite(value) for value in results.values())
    assert all_moved(before, weights_of(*parts))


@pytest.mark.parametrize(("method", "architecture"), [pair for pair in PAIRS if unable(*pair)])
def test_discriminators_that_an_architecture_does_not_have(method, architecture):
    message = rf"^Architecture '{architecture}' has no critic of the kind '.*', which the method ne"
    assert_refused(message, method=method, architecture=SMALL[architecture])


@pytest.mark.parametrize(
    ("architecture", "shape", "message"),
    [
        ("mlp", (8, 8, 1), r"^Architecture 'mlp' is for points .*; got \(8, 8, 1\)"),
        ("convolutional", (2,), r"^Architecture 'convolutional' is for images .* \(2,\)"),
        ("dsprites", (2,), r"^Architecture 'dsprites' is for images .* \(2,\)"),
        ("acai", (2,), r"^Architecture 'acai' is for images .* \(2,\)"),
        ("convolutional", (12, 12, 1), r"^Images must be square, .*; got 12 x 12"),
        ("dsprites", (16, 8, 1), r"^Images must be square, .*; got 16 x 8"),
    ],
)
def test_images_of_the_wrong_shape(architecture, shape, message):
    assert_refused(message, 3, shape, architecture=architecture)


@pytest.mark.parametrize(
    ("architecture", "message"),
    [
        ("convolutional(depth=0)", r"^depth must be a positive integer; got 0\.$"),
        ("convolutional(depth=1.5)", r"^depth must be a positive integer; got 1\.5\.$"),
        ("acai(depth=-2)", r"^depth must be a positive integer; got -2\.$"),
        ("convolutional(latent_channels=-1)", "^latent_channels must be a positive integer"),
        ("acai(latent_channels=0)", "^latent_channels must be a positive integer; got 0"),
        ("convolutional(latent_width=0)", "^latent_width must be a positive integer; got 0"),
        (
            "convolutional(latent_width=3)",
            "^Images must be square, with a width that is 3 .* 8 x 8",
        ),
        ("convolutional(latent_width=16)", "^Images must be square, .* got 8 x 8"),
        ("convolutional(latent_dim='x')", "^latent_dim must be a positive integer; got 'x'"),
        ("convolutional(latent_dim=True)", "^latent_dim must be a positive integer; got True"),
        ("convolutional(output_activation='tahn')", "(?i)unknown .*'tahn'"),
        ("convolutional(output_activation=3)", "^Unknown output_activation '3'"),
        ("dsprites(latent_dim=0)", "^latent_dim must be a positive integer; got 0"),
        ("dsprites(depth=0)", "^depth must be a positive integer; got 0"),
        ("mlp(hidden=())", "^hidden must"),
        ("mlp(hidden=(0,))", "^Each width in hidden must be a positive integer; got 0"),
        ("mlp(hidden=8)", "^hidden must"),
        ("mlp(latent_dim=0)", "^latent_dim must be a positive integer; got 0"),
        ("mlp(latent_dim=10000000000000000000000000000000)", "latent_dim|out-of-range integer"),
        ("convolutional(depth=10000000000000000000000000000000)", "depth|out-of-range integer"),
    ],
)
def test_sizes_that_are_out_of_range(architecture, message):
    assert_refused(message, architecture=architecture)


@pytest.mark.parametrize("hidden", ("()", "(0,)", "8", "('x',)", "(1.5,)"))
def test_widths_of_a_probe_that_are_out_of_range(hidden):
    assert_refused("^(Each width in )?hidden must", probe=f"mlp(hidden={hidden})")


def test_networks_that_do_not_fit_into_memory(monkeypatch):
    """TensorFlow raises an error of its own, of several lines, of one kind or another."""

    def create(*args, **kwargs):
        raise tf.errors.AbortedError(None, None, "could not create a memory object\nin file x")

    monkeypatch.setattr(amr_tf.AMR, "create", create)
    message = r"^convolutional\(.*depth=1000000\) for images of \(8, 8, 1\)\.$"
    with pytest.raises(MemoryError, match=message):
        build(architecture="convolutional(depth=1000000)")


@pytest.mark.parametrize("method", sorted({*CLASSES} - {"supervised_amr"}))
def test_unlabelled_data(method):
    model = build(None, method=method, probe_optimizer=None)
    assert model.probe is None
    assert model.num_classes is None


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"method": "supervised_amr"}, r"method supervised_amr\(.*\)"),
        ({"supervision": 0.5}, r"supervision = 0\.5"),
        ({"supervision": 2.0, "method": "vae"}, "supervision = 2"),
        ({"labelled": 5}, "labelled = 5"),
        ({"probe": "mlp"}, r"probe mlp\(hidden=\(256,\)\)"),
        ({"probe_optimizer": "sgd"}, r"probe_optimizer sgd\(.*\)"),
        (
            {"probe_optimizer": "adam_l2(learning_rate=0.5)"},
            r"probe_optimizer adam_l2\(.*=0\.5.*\)",
        ),
    ],
)
def test_what_needs_labels(changes, name):
    message = rf"^{name} learns from labels, but data set 'digits' has none\.$"
    assert_refused(message, None, **{"probe_optimizer": None, **changes})


def test_what_is_written_out_needs_no_labels():
    """The probe's defaults in a run's own flagfile are not the user's wish for a probe."""
    config = tiny_config("nowhere", probe_optimizer=None).resolve()
    assert config.probe == "linear" and config.probe_optimizer
    assert build_model(config, (8, 8, 1)).probe is None


def test_attributes():
    model = build(1, multi_label=True, method="supervised_amr")
    assert model.multi_label
    assert model.probe.output_shape == (None, 1)
    assert model.discriminator.output_shape == [(None,), (None, 1)]
    assert model.label_mixer.num_labels == 1
    assert not build().multi_label


def small(**sizes):
    """The tiny networks' call with further sizes."""
    given = "".join(f", {name}={value!r}" for name, value in sizes.items())
    return {"architecture": f"convolutional(depth=2{given})"}


VECTORS = small(latent_dim=7)
LABEL_MIXER = (
    "supervised_bernoulli(estimator='concrete', temperature=0.2, condition='parents', "
    "alphas='attribute', hidden_units=(5,))"
)
# Flags that are not the defaults, and what of the model must then be which value.
REACHES = [
    ({}, {"step": "one_pass", "mixer.k": 2, "probe_optimizer.l2_weight_decay": 1e-5}),
    (
        {
            "lambda_": 7.0,
            "beta": 0.5,
            "supervision": 0.25,
            "generator_update_every": 5,
            "step": "two_pass",
            "mixer": "composite",
            "k": 3,
            "seed": 5,
            **small(latent_channels=5, latent_width=2),
        },
        {
            "lambda_": 7.0,
            "beta": 0.5,
            "supervision": 0.25,
            "generator_update_every": 5,
            "step": "two_pass",
            "mixer.k": 3,
            "mixer.mixers.0.k": 3,
            "mixer.seed": 5,
            "latent_shape": (2, 2, 5),
        },
    ),
    ({"mixer": "bernoulli(probability='example')"}, {"mixer.probability": "example"}),
    ({"mixer": "gaussian(sigma=0.1)"}, {"mixer.sigma": 0.1}),
    ({"method": "acai_original"}, {"lambda_": 1.0, "adversarial_weight": 0.5, "critic_blend": 0.2}),
    (
        {"method": "acai_original(adversarial_weight=0.1, critic_blend=0.3)"},
        {"adversarial_weight": 0.1, "critic_blend": 0.3},
    ),
    ({"method": "vae"}, {"lambda_": 1.0, "kl_weight": 1.0}),
    (
        {"method": "vae(kl_weight=100.0)", **VECTORS},
        {"kl_weight": 100.0, "latent_shape": (7,), "encoder.output_shape": (None, 14)},
    ),
    ({"method": "vae", **small(latent_channels=5)}, {"encoder.output_shape": (None, 4, 4, 10)}),
    ({"method": "beta_vae"}, {"kl_weight": 4.0}),
    (
        {"method": "gaia(balance_target=0.7, balance_rate=0.02)", "mixer": "gaussian(sigma=0.1)"},
        {"balance_target": 0.7, "balance_rate": 0.02, "mixer.sigma": 0.1},
    ),
    (
        {"method": "supervised_amr", "seed": 5},
        {
            "label_mixer.num_labels": 3,
            "label_mixer.seed": 5,
            "label_mixer.estimator": "straight_through",
        },
    ),
    (
        {
            "method": f"supervised_amr(class_weight=3.0, label_mixer={LABEL_MIXER})",
            "mixer": "mixup",
            "k": 3,
        },
        {
            "class_weight": 3.0,
            "label_mixer.estimator": "concrete",
            "label_mixer.temperature": 0.2,
            "label_mixer.condition": "parents",
            "label_mixer.alphas": "attribute",
            "label_mixer.hidden_units": (5,),
            "mixer.k": 3,
        },
    ),
    ({"architecture": "dsprites(depth=2, latent_dim=7)"}, {"latent_shape": (7,)}),
    (
        {"architecture": "mlp(latent_dim=7, hidden=(5, 6))"},
        {"latent_shape": (7,), "encoder.layers.1.units": 5},
    ),
]
LOSSES = [
    ({}, "mean_absolute_error", "binary_crossentropy"),
    ({"reconstruction_loss": "mean_squared_error"}, "mean_squared_error", "binary_crossentropy"),
    ({"gan_loss": "least_squares"}, "mean_absolute_error", "least_squares"),
    ({"method": "acai_original"}, "mean_squared_error", "least_squares"),
    ({"method": "vae"}, "binary_crossentropy", None),
]


@pytest.mark.parametrize(("changes", "values"), REACHES, ids=str)
def test_where_a_flag_goes(changes, values):
    model = build(**changes)
    for path, value in values.items():
        found = model
        for name in path.split("."):
            found = found[int(name)] if name.isdigit() else getattr(found, name)
        assert found == value, path


@pytest.mark.parametrize(("changes", "reconstruction", "gan"), LOSSES)
def test_the_losses(changes, reconstruction, gan):
    model = build(**changes)
    saved = model.get_compile_config()
    assert (saved["reconstruction_loss"], saved["gan_loss"]) == (reconstruction, gan)


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({}, "mean_absolute_error"),
        ({"reconstruction_loss": "mean_squared_error"}, "mean_squared_error"),
        ({"consistency_loss": "mean_squared_error"}, "mean_squared_error"),
        ({"method": "acai", "reconstruction_loss": "mean_squared_error"}, "mean_absolute_error"),
        ({"method": "acai_original"}, "mean_absolute_error"),
        (
            {
                "reconstruction_loss": "binary_crossentropy",
                "architecture": "convolutional(depth=2, output_activation='tanh')",
            },
            "mean_absolute_error",
        ),
    ],
    ids=str,
)
def test_the_consistency_loss(changes, wanted):
    assert build(beta=0.5, **changes).consistency_loss is getattr(amr_tf.losses, wanted)


def test_crossentropy_of_pixels_needs_tanh():
    loss = {"reconstruction_loss": "binary_crossentropy"}
    message = r"^This reconstruction loss takes the logits .*\(output_activation='tanh'\)\.$"
    assert_refused(message, **loss)
    plain = {"architecture": "convolutional(depth=2, output_activation=None)"}
    assert_refused(message, method="vae", **plain)
    build(architecture="convolutional(depth=2, output_activation='tanh')", **loss)
    build(method="vae", reconstruction_loss="mean_squared_error", **plain)
    tanh = {"architecture": "convolutional(depth=2, output_activation='tanh')"}
    assert_refused("^GAIA's discriminator returns images", method="gaia", **loss, **tanh)


@pytest.mark.parametrize("architecture", SHAPES)
@pytest.mark.parametrize("activation", (None, "tanh"))
def test_the_output_activation(architecture, activation):
    call = parse_call(SMALL[architecture])
    call.arguments["output_activation"] = activation
    decoder = build(architecture=str(call)).decoder
    codes = 100 * np.random.default_rng(0).normal(size=(8, *decoder.input_shape[1:]))
    largest = abs(decoder(codes.astype("float32"))).numpy().max()
    assert (largest <= 1) == (activation == "tanh")


def test_the_depth():
    widths = [
        build(architecture=f"convolutional(depth={depth})").encoder.get_layer("conv_in").filters
        for depth in (2, 3)
    ]
    assert widths == [2, 3]


@pytest.mark.parametrize(
    ("probe", "widths"),
    [("linear", [3]), ("mlp", [256, 3]), ("mlp(hidden=(9, 7))", [9, 7, 3])],
)
def test_the_probe(probe, widths):
    layers = build(probe=probe).probe.layers
    assert [layer.units for layer in layers if isinstance(layer, keras.layers.Dense)] == widths


def test_the_optimizers():
    settings = {"beta_1": 0.25, "beta_2": 0.75, "epsilon": 1e-3, "l2_weight_decay": 0.5}
    given = ", ".join(f"{name}={value}" for name, value in settings.items())
    model = build(
        autoencoder_optimizer=f"adam_l2(learning_rate=0.5, {given})",
        discriminator_optimizer="sgd(learning_rate=0.25, momentum=0.75)",
        probe_optimizer=f"adam_l2(learning_rate=0.125, {given})",
    )
    optimizers = (model.autoencoder_optimizer, model.discriminator_optimizer, model.probe_optimizer)
    assert [float(optimizer.learning_rate) for optimizer in optimizers] == [0.5, 0.25, 0.125]
    assert len(set(map(id, optimizers))) == 3
    for optimizer in optimizers[::2]:
        assert {name: getattr(optimizer, name) for name in settings} == settings
    assert type(optimizers[1]) is keras.optimizers.SGD
    assert optimizers[1].momentum == 0.75


def test_a_schedule():
    decay = "cosine_decay(initial_learning_rate=0.5, decay_steps=10)"
    model = build(autoencoder_optimizer=f"adam_l2(learning_rate={decay}, beta_1=0.25)")
    optimizer = model.autoencoder_optimizer
    assert float(optimizer.learning_rate) == 0.5
    optimizer.iterations.assign(5)
    assert float(optimizer.learning_rate) == pytest.approx(0.25)
    assert optimizer.beta_1 == 0.25


def test_every_optimizer_of_keras_is_a_flags_value():
    model = build(method="ae_gan", autoencoder_optimizer="adamw", discriminator_optimizer="lion")
    assert type(model.autoencoder_optimizer) is keras.optimizers.AdamW
    assert type(model.discriminator_optimizer) is keras.optimizers.Lion


def test_without_normalisation():
    """Original ACAI has neither instance nor spectral normalisation; the others have both."""

    def normalised(model):
        networks = (model.encoder, model.decoder, model.discriminator)
        return [
            any("normalization" in type(layer).__name__.lower() for layer in network.layers)
            for network in networks
        ]

    assert normalised(build(method="acai_original", architecture="acai(depth=2)")) == [False] * 3
    assert normalised(build(method="acai")) == [True] * 3
    assert "acai(" in TrainingConfig(method="acai_original").resolve().architecture


def test_no_mixer():
    assert build(mixer="none").mixer is None
    assert build(method="vae", mixer="none").mixer is None
    assert build(method="ae_gan", mixer="none").mixer is None


@pytest.mark.parametrize("mixer", sorted({*mixers.MIXERS.names()} - {"supervised_bernoulli"}))
def test_every_mixer_is_a_flags_value(mixer):
    # Four feature maps: "style" takes no fewer than three.
    model = build(mixer=mixer, architecture="convolutional(depth=2, latent_channels=4)")
    assert type(model.mixer) is mixers.MIXERS.get(mixer)


def test_composite_mixers():
    parts = "('spatial', 'mixup', 'bernoulli(probability=\"example\")')"
    model = build(mixer=f"composite(mixers={parts}, weights=(1, 2, 3))")
    kinds = [type(mixer) for mixer in model.mixer.mixers]
    assert kinds == [amr_tf.SpatialMixup, amr_tf.Mixup, amr_tf.BernoulliMixup]
    assert model.mixer.mixers[2].probability == "example"
    assert model.mixer.mixer_weights == [1, 2, 3]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "acai", "mixer": "channelwise"}, "^ACAI needs one mixing coefficient"),
        ({"method": "acai_original", "mixer": "spatial"}, "^OriginalACAI needs one mixing"),
        ({"method": "vae", "mixer": "spatial", **VECTORS}, "^SpatialMixup needs codes"),
        ({"method": "beta_vae", "mixer": "spatial", **VECTORS}, "^SpatialMixup needs codes"),
        ({"architecture": "dsprites", "mixer": "spatial"}, "^SpatialMixup needs codes"),
        ({"method": "gaia", "mixer": "none"}, "^GAIA needs a mixer"),
        ({"method": "gaia", "k": 3}, r"^GaussianMixup mixes pairs: k must be 2; got 3\.$"),
        ({"method": "ae_gan", "mixer": "mixup"}, "^AEGAN does not mix: it takes no mixer"),
        ({"mixer": "composite(mixers=('mixup', 'bernouli'))"}, "^Unknown mixer 'bernouli'"),
        ({"mixer": "composite(mixers=('folded',))"}, "^FoldedMixup .* cannot join"),
        ({"mixer": "composite(mixers=('',))"}, "^Unknown mixer ''"),
    ],
    ids=str,
)
def test_mixers_that_do_not_fit(changes, message):
    assert_refused(message, **changes)


def test_spatial_mixing_of_pixels_needs_no_spatial_codes():
    model = build(method="pixel_mixup", mixer="spatial", **VECTORS)
    images = np.random.default_rng(0).uniform(-1, 1, (4, 8, 8, 1)).astype("float32")
    assert model.mix(images, seed=0).shape == images.shape


def test_a_config_is_resolved_on_the_way():
    """`build_model` is public: it takes a config as it is written."""
    config = TrainingConfig(method="vae", architecture="convolutional(depth=2)")
    assert "tanh" not in config.architecture
    resolved = build_model(config.resolve(), (8, 8, 1), 3)
    assert build_model(config, (8, 8, 1), 3).get_compile_config() == resolved.get_compile_config()
    assert resolved.decoder.layers[-1].activation is keras.activations.tanh
