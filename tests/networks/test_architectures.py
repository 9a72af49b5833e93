import inspect
import warnings

import keras
import numpy as np
import pytest
from sklearn.datasets import load_digits

from amr_tf.networks import build_decoder, build_encoder
from amr_tf.networks.architectures import ARCHITECTURES, acai, convolutional, dsprites, mlp
from tests.networks.common import (
    check_files,
    dtypes_of_outputs,
    inputs_of,
    policy,
    spectral_layers,
    without_gradient,
)

SHAPES = dict.fromkeys(("acai", "convolutional", "dsprites", "residual"), (16, 16, 1))
SHAPES["mlp"] = (2,)
every = pytest.mark.parametrize("name", SHAPES)
images_only = pytest.mark.parametrize("name", ["acai", "convolutional", "dsprites", "residual"])
both = pytest.mark.parametrize("name", ["acai", "convolutional"])
CRITICS = {
    "acai": ["logits", "classifier", "autoencoder"],
    "convolutional": ["logits", "classifier", "autoencoder"],
    "dsprites": ["logits", "classifier"],
    "mlp": ["logits"],
    "residual": ["logits", "classifier"],
}
ASKED = ("encoder_outputs", "critic", "num_classes")


def build(name, shape=None, **options):
    """Networks that are small where an architecture has sizes to choose."""
    small = {
        "mlp": {"hidden": (8, 4)},
        "dsprites": {"depth": 4},
        "residual": {"width": 4, "critic_width": 2, "blocks": 1, "latent_channels": 2},
    }.get(name, {"depth": 2})
    return ARCHITECTURES.get(name)(shape or SHAPES[name], **{**small, **options})


def digits(width, count=64):
    """Handwritten digits in [-1, 1], enlarged from 8 x 8."""
    images = load_digits().images[:count, :, :, None] / 8 - 1
    return np.asarray(keras.ops.image.resize(images.astype("float32"), (width, width)))


def spread(encoder, decoder, images):
    """The standard deviation of reconstructions over images, a mean over pixels."""
    return np.std(decoder(encoder(images)), axis=0).mean()


def test_names():
    assert ARCHITECTURES.names() == sorted(SHAPES)


@every
def test_signatures(name):
    parameters = inspect.signature(ARCHITECTURES.get(name)).parameters
    assert next(iter(parameters)) == "image_shape"
    by_keyword = [key for key, value in parameters.items() if value.kind == value.KEYWORD_ONLY]
    assert by_keyword == list(ASKED)
    defaults = {key: parameters[key].default for key in ASKED}
    assert defaults == {"encoder_outputs": 1, "critic": "logits", "num_classes": None}
    own = [value for key, value in parameters.items() if key not in ("image_shape", *ASKED)]
    assert all(parameter.default is not parameter.empty for parameter in own)


def test_acai_has_the_parameters_of_convolutional():
    assert inspect.signature(acai) == inspect.signature(convolutional)


@every
def test_networks_fit_each_other(name):
    for critic in [*CRITICS[name], None]:
        encoder, decoder, discriminator = build(name, critic=critic, num_classes=3)
        images = inputs_of(encoder)
        codes = encoder(images)
        assert codes.shape[1:] == decoder.input_shape[1:]
        assert decoder(codes).shape == images.shape
        if critic is None:
            assert discriminator is None
        elif critic == "logits":
            assert discriminator(images).shape == (3,)
        elif critic == "classifier":
            assert [out.shape for out in discriminator(images)] == [(3,), (3, 3)]
        else:
            assert discriminator(images).shape == images.shape


@every
def test_encoders_with_two_outputs(name):
    encoder, decoder, _ = build(name, encoder_outputs=2, critic=None)
    assert encoder.output_shape[-1] == 2 * decoder.input_shape[-1]
    assert encoder.output_shape[:-1] == decoder.input_shape[:-1]


@both
def test_vector_codes(name):
    encoder, decoder, _ = build(name, latent_dim=5, encoder_outputs=2)
    assert (encoder.output_shape, decoder.input_shape) == ((None, 10), (None, 5))
    assert decoder(inputs_of(decoder)).shape == (3, 16, 16, 1)


def test_hidden_layers_of_mlp():
    networks = mlp((3,), hidden=(8, 4))
    for network in networks:
        kernels = [layer.kernel for layer in network.layers if hasattr(layer, "kernel")]
        assert [kernel.shape[1] for kernel in kernels[:-1]] == [8, 4]
    plain = mlp((2,))
    assert plain.encoder.count_params() == 3 * 128 + 2 * 129 * 128 + 129 * 2


def test_defaults_of_vector_codes():
    assert dsprites((64, 64, 1)).decoder.input_shape == (None, 10)
    assert mlp((2,)).decoder.input_shape == (None, 2)


# The networks of ACAI's authors.


@pytest.mark.parametrize("width", [16, 32, 64])
def test_acai_is_not_normalised(width):
    plain = acai((width, width, 3), depth=2, num_classes=4, critic="classifier")
    other = convolutional((width, width, 3), depth=2, num_classes=4, critic="classifier")
    for network, normalised in zip(plain, other):
        assert spectral_layers(network) == []
        assert not any("norm" in layer.name for layer in network.layers)
        relus = [layer for layer in network.layers if isinstance(layer, keras.layers.LeakyReLU)]
        assert [layer.negative_slope for layer in relus] == pytest.approx([0.2] * len(relus))
        # Otherwise the layers are those of `convolutional`, by name and kernel.
        names = [layer.name for layer in normalised.layers if not layer.name.endswith("_norm")]
        assert [layer.name for layer in network.layers] == names
        shapes = [w.shape for w in normalised.weights if w.name in ("kernel", "bias")]
        assert [w.shape for w in network.weights] == shapes
    # Neither is an auto-encoding critic.
    critic = acai((width, width, 3), depth=2, critic="autoencoder").discriminator
    for network in critic.get_layer("encoder"), critic.get_layer("decoder"):
        assert not any("norm" in layer.name for layer in network.layers)
        assert network.get_layer("top_relu").negative_slope == pytest.approx(0.2)
        assert _is_variance_scaling(network.get_layer("conv_out"))


def _is_variance_scaling(layer):
    config = keras.initializers.serialize(layer.kernel_initializer)
    expected = {"mode": "fan_in", "distribution": "untruncated_normal", "seed": None}
    assert {key: config["config"][key] for key in expected} == expected
    return config["class_name"] == "VarianceScaling"


@pytest.mark.parametrize("width", [16, 32, 64])
def test_only_convolutional_has_a_border(width):
    for name, border in (("acai", 0), ("convolutional", 1)):
        for critic in ("logits", "autoencoder"):
            encoder, _, critic = build(name, (width, width, 1), critic=critic)
            encoders = [encoder, critic]
            if "encoder" in [layer.name for layer in critic.layers]:
                encoders[1] = critic.get_layer("encoder")
            for network in encoders:
                pixels, _ = network.get_layer("conv_in").output
                assert pixels.shape == (None, width + 2 * border, width + 2 * border, 2)
                assert network.get_layer("scale0_pool").output.shape[1] == width // 2 + border


def test_acai_computes_what_plain_convolutions_do():
    """The encoder layer by layer: "same" padding and pooling, with Keras' own layers."""
    encoder, _, critic = acai((16, 16, 2), depth=4)
    images = inputs_of(encoder)
    rng = np.random.default_rng(0)
    for network, read in ((encoder, lambda y: y), (critic, lambda y: y.mean(axis=(1, 2, 3)))):
        network.set_weights([rng.normal(0, 0.2, w.shape) for w in network.weights])
        x = images
        for layer in network.layers:
            if hasattr(layer, "kernel"):
                x = keras.ops.conv(x, layer.kernel, padding="same") + layer.bias
            elif "pool" in layer.name:
                x = keras.ops.average_pool(x, 2)
            elif "relu" in layer.name:
                x = keras.ops.leaky_relu(x, 0.2)
        np.testing.assert_allclose(network(images), read(np.asarray(x)), rtol=1e-3, atol=1e-4)


def test_kernels_of_acai():
    keras.utils.set_random_seed(0)
    for network in acai((32, 32, 3)):
        for layer in network.layers:
            if hasattr(layer, "kernel"):
                kernel, bias = np.asarray(layer.kernel), np.asarray(layer.bias)
                expected = 1 / np.sqrt(1.04 * np.prod(kernel.shape[:3]))
                # Five standard errors of a standard deviation.
                assert abs(kernel.std() / expected - 1) < 5 / np.sqrt(2 * kernel.size)
                assert abs(kernel.mean()) < 5 * expected / np.sqrt(kernel.size)
                assert not bias.any()
        # A normal distribution that was cut off at two deviations would have none beyond.
        kernel = np.asarray(network.get_layer("top_conv").kernel)
        assert np.abs(kernel).max() > 3 * kernel.std()


def test_kernels_of_convolutional():
    for network in convolutional((32, 32, 3)):
        for name in ("scale2_b_conv", "top_conv"):
            layer = network.get_layer(name)
            kernel = np.asarray(getattr(layer, "layer", layer).kernel)
            expected = 1 / np.sqrt(1.04 * 3 * kernel.shape[2] * kernel.shape[3])
            assert kernel.std() == pytest.approx(expected, rel=0.1)


@both
def test_no_two_kernels_are_equal(name):
    """Keras' initializers draw the same at each call, so layers must not share one."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        networks = build(name, (32, 32, 1), critic="autoencoder")
    weights = [weight for network in networks for weight in network.weights]
    kernels = [np.asarray(weight).tobytes() for weight in weights if weight.name == "kernel"]
    assert len(set(kernels)) == len(kernels)


def test_equal_seeds_make_equal_networks():
    weights = []
    for seed in (3, 3, 4):
        keras.utils.set_random_seed(seed)
        weights.append(np.concatenate([w.ravel() for w in build("acai").encoder.get_weights()]))
    np.testing.assert_array_equal(weights[0], weights[1])
    assert not np.array_equal(weights[0], weights[2])


@pytest.mark.parametrize(("width", "least"), [(16, 3e-4), (32, 1e-4), (64, 1e-5)])
def test_acai_starts_with_reconstructions_that_tell_images_apart(width, least):
    """Each layer halves the signal's power, and no more: the initialiser aims at a gain of 1/2."""
    keras.utils.set_random_seed(0)
    images = digits(width)
    encoder, decoder, critic = acai((width, width, 1))
    assert spread(encoder, decoder, images) > least
    assert np.std(critic(images)) > 1e-4
    # With the port's initialiser nothing is left without normalisation.
    plain = {"normalization": None, "leaky_relu_slope": 0.2}
    lost = [build((width, width, 1), **plain) for build in (build_encoder, build_decoder)]
    assert spread(*lost, images) < 1e-3 * least


def test_acai_learns_from_its_start():
    keras.utils.set_random_seed(0)
    images = digits(16, 256)
    encoder, decoder, _ = acai(images.shape[1:], depth=8)
    model = keras.Sequential([encoder, decoder])
    model.compile(keras.optimizers.Adam(1e-3), "mse")
    losses = model.fit(images, images, batch_size=32, epochs=15, verbose=0).history["loss"]
    # Below the variance over images, which the mean image alone would reach.
    assert losses[-1] < 0.75 * images.var(axis=0).mean()


@pytest.mark.parametrize("critic", CRITICS["acai"])
@pytest.mark.parametrize("latent_dim", [None, 5])
def test_files_and_gradients_of_acai(critic, latent_dim, tmp_path):
    for network in build("acai", critic=critic, num_classes=3, latent_dim=latent_dim):
        check_files(network, tmp_path)
        assert without_gradient(network) == []


def test_mixed_precision_outputs_are_float32():
    with policy("mixed_bfloat16"):
        networks = build("acai", critic="classifier", num_classes=3)
    for network in networks:
        assert dtypes_of_outputs(network) == {"float32"}
        assert network.get_layer("top_conv").compute_dtype == "bfloat16"


# What is refused, and the last activation.


@every
@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "linear"])
def test_output_activation(name, activation):
    decoder = build(name, output_activation=activation, critic=None).decoder
    last = decoder.layers[-1]
    assert (type(last), last.name) == (keras.layers.Activation, "out")
    assert keras.activations.serialize(last.activation) == activation
    logits = keras.Model(decoder.input, last.input)
    codes = inputs_of(decoder)
    expected = keras.activations.get(activation)(logits(codes))
    np.testing.assert_allclose(decoder(codes), expected, atol=1e-6)


@every
def test_without_output_activation(name):
    decoder = build(name, output_activation=None, critic=None).decoder
    assert "out" not in [layer.name for layer in decoder.layers]
    default = build(name, critic=None).decoder
    assert ("out" in [layer.name for layer in default.layers]) == (name == "dsprites")


@every
@pytest.mark.parametrize(
    ("activation", "start"),
    [
        ("tahn", r"'tahn'\. Did you mean 'tanh'\? Allowed: celu, "),
        ("Sigmoid", r"'Sigmoid'\. Did you mean 'sigmoid'\?"),
        ("serialize", "'serialize'"),
        ("", "''"),
        (3, "'3'"),
    ],
)
def test_unknown_output_activations(name, activation, start):
    with pytest.raises(ValueError, match=f"^Unknown output_activation {start}") as caught:
        build(name, output_activation=activation)
    assert "\n" not in str(caught.value)
    for no_activation in ("deserialize,", "get,", "serialize,", "__"):
        assert f" {no_activation}" not in str(caught.value)


@every
@pytest.mark.parametrize("critic", ["classifier", "autoencoder"])
def test_critics_that_an_architecture_does_not_have(name, critic):
    if critic in CRITICS[name]:
        return
    others = {
        "classifier": "'acai', 'convolutional', 'dsprites' or 'residual'",
        "autoencoder": "'acai' or 'convolutional'",
    }
    message = (
        f"^Architecture '{name}' has no critic of the kind '{critic}', which the method needs; "
        rf"use {others[critic]}\.$"
    )
    with pytest.raises(ValueError, match=message):
        build(name, critic=critic, num_classes=3)


@every
def test_an_unknown_critic(name):
    message = "^critic must be 'logits' or 'classifier' or 'autoencoder' or None; got 'judge'"
    with pytest.raises(ValueError, match=message):
        build(name, critic="judge")


@images_only
def test_points_need_mlp(name):
    with pytest.raises(ValueError, match=rf"^Architecture '{name}' is for images .* \(2,\)"):
        build(name, (2,))


def test_images_need_other_architectures():
    with pytest.raises(ValueError, match=r"^Architecture 'mlp' is for points .*; got \(8, 8, 1\)"):
        build("mlp", (8, 8, 1))


@every
@pytest.mark.parametrize("encoder_outputs", [1, 2])
def test_bad_sizes(name, encoder_outputs):
    sizes = {
        "dsprites": {"latent_dim": (None, 0, 1.5, True, "3"), "depth": (None, 0)},
        "mlp": {"latent_dim": (None, 0, 1.5, True, "3")},
        "residual": {
            **dict.fromkeys(("latent_channels", "latent_width", "width"), (None, 0, 1.5, "3")),
            **dict.fromkeys(("blocks", "critic_width"), (None, 0)),
        },
    }.get(
        name,
        {
            "latent_dim": (0, 1.5, True, "3"),
            "latent_channels": (None, -1, 2.5, "3"),
            "latent_width": (None, 0),
            "depth": (None, -1),
        },
    )
    for size, values in sizes.items():
        for value in values:
            message = f"^{size} must be a positive integer; got {value!r}"
            with pytest.raises(ValueError, match=message):
                build(name, encoder_outputs=encoder_outputs, **{size: value})
    with pytest.raises(ValueError, match="^encoder_outputs must be a positive integer; got 0"):
        build(name, encoder_outputs=0)


@pytest.mark.parametrize("hidden", [(), 64, None])
def test_bad_hidden_layers(hidden):
    with pytest.raises(ValueError, match="^hidden must list the width of at least one layer"):
        build("mlp", hidden=hidden)


@every
def test_normalized_is_not_a_parameter(name):
    with pytest.raises(TypeError, match="normalized"):
        build(name, normalized=False)


@pytest.mark.parametrize("name", ["acai", "convolutional", "dsprites"])
def test_a_classifier_branch_needs_classes(name):
    with pytest.raises(ValueError, match="^A critic of the kind 'classifier' needs num_classes"):
        ARCHITECTURES.build(name, image_shape=(64, 64, 1), critic="classifier")
