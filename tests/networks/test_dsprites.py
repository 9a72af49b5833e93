import keras
import numpy as np
import pytest

from amr_tf import losses
from amr_tf.networks import (
    build_dsprites_decoder,
    build_dsprites_encoder,
    build_residual_discriminator,
)
from tests.networks.common import (
    check_files,
    dtypes_of_outputs,
    inputs_of,
    policy,
    spectral_layers,
    without_gradient,
)

SMALL = (16, 16, 1)
NETWORKS = {
    "encoder": lambda: build_dsprites_encoder(SMALL, latent_dim=3),
    "decoder": lambda: build_dsprites_decoder(SMALL, latent_dim=3),
    "decoder without tanh": lambda: build_dsprites_decoder(SMALL, 3, output_activation=None),
    "discriminator": lambda: build_residual_discriminator(SMALL, depth=4),
    "classifier": lambda: build_residual_discriminator(SMALL, depth=4, num_classes=3),
}
every = pytest.mark.parametrize("build", NETWORKS.values(), ids=NETWORKS)


def kernels(network):
    return [layer.kernel.shape for layer in network.layers if hasattr(layer, "kernel")]


def test_encoder_is_burgess():
    encoder = build_dsprites_encoder()
    assert (encoder.input_shape, encoder.output_shape) == ((None, 64, 64, 1), (None, 10))
    assert kernels(encoder) == [
        (4, 4, 1, 32),
        (4, 4, 32, 32),
        (4, 4, 32, 32),
        (4, 4, 32, 32),
        (512, 256),
        (256, 256),
        (256, 10),
    ]
    hidden = [layer for layer in encoder.layers if hasattr(layer, "kernel")][:-1]
    assert {layer.activation.__name__ for layer in hidden} == {"relu"}
    strides = {layer.strides for layer in hidden if isinstance(layer, keras.layers.Conv2D)}
    assert strides == {(2, 2)}
    assert encoder.layers[-1].activation.__name__ == "linear"


def test_decoder_is_its_transpose():
    decoder = build_dsprites_decoder()
    assert (decoder.input_shape, decoder.output_shape) == ((None, 10), (None, 64, 64, 1))
    assert kernels(decoder) == [
        (10, 256),
        (256, 256),
        (256, 512),
        (4, 4, 32, 32),
        (4, 4, 32, 32),
        (4, 4, 32, 32),
        (4, 4, 1, 32),
    ]


@pytest.mark.parametrize(
    ("shape", "convolutions"), [((8, 8, 1), 1), ((32, 32, 3), 3), ((64, 64, 3), 4)]
)
def test_other_images(shape, convolutions):
    encoder, decoder = build_dsprites_encoder(shape), build_dsprites_decoder(shape)
    assert len([k for k in kernels(encoder) if len(k) == 4]) == convolutions
    assert len([k for k in kernels(decoder) if len(k) == 4]) == convolutions
    images = decoder(encoder(inputs_of(encoder)))
    assert images.shape == (3, *shape)
    assert np.abs(images).max() <= 1


def test_tanh_makes_bernoulli_pixels():
    """A decoded pixel is twice the probability of a sigmoid, less one; the loss takes its logit."""
    decoder = build_dsprites_decoder(SMALL, latent_dim=3)
    last = decoder.get_layer("out")
    logits = 3 * inputs_of(build_dsprites_encoder(SMALL))
    probabilities = keras.ops.sigmoid(2 * logits)
    np.testing.assert_allclose((last(logits) + 1) / 2, probabilities, atol=1e-6)
    pixels = np.sign(inputs_of(build_dsprites_encoder(SMALL), seed=1))
    ours = losses.binary_crossentropy(pixels, logits)
    expected = keras.losses.BinaryCrossentropy(reduction=None)(
        (pixels.reshape(3, -1) + 1) / 2, probabilities.numpy().reshape(3, -1)
    )
    assert float(ours) == pytest.approx(float(np.mean(expected)) * 256, rel=1e-4)


def test_residual_discriminator_normalises_everything():
    discriminator = build_residual_discriminator((64, 64, 1))
    # Four halving blocks and one more, each of two convolutions and a shortcut; a dense layer.
    assert len(spectral_layers(discriminator)) == 3 * 5 + 1
    assert kernels(discriminator)[0] == (3, 3, 1, 32)
    assert discriminator.get_layer("top_a").kernel.shape == (3, 3, 128, 128)
    assert discriminator.get_layer("features").output.shape == (None, 4, 4, 128)
    plain = (keras.layers.Conv2D, keras.layers.Dense)
    assert not [layer for layer in discriminator.layers if isinstance(layer, plain)]
    assert len(spectral_layers(build_residual_discriminator((32, 32, 3), depth=4))) == 13


def test_residual_blocks_add_to_their_shortcut():
    """Without its convolutions' weights a block passes its shortcut on, halved by pooling."""
    discriminator = build_residual_discriminator((8, 8, 1), depth=2)
    images = inputs_of(discriminator)
    features = keras.Model(discriminator.input, discriminator.get_layer("top_add").output)
    for name in ("block0_b", "top_b"):
        kernel = discriminator.get_layer(name).layer.kernel
        kernel.assign(np.zeros(kernel.shape))
    shortcut = discriminator.get_layer("block0_shortcut")
    top = discriminator.get_layer("top_shortcut")
    pooled = images.reshape(3, 4, 2, 4, 2, 1).mean(axis=(2, 4))
    np.testing.assert_allclose(features(images), top(shortcut(pooled)), atol=1e-6)


def test_class_branch():
    discriminator = build_residual_discriminator(SMALL, depth=4, num_classes=3)
    logits, classes = discriminator(inputs_of(discriminator))
    assert (logits.shape, classes.shape) == ((3,), (3, 3))
    assert "class_logits" not in spectral_layers(discriminator)
    assert discriminator.get_layer("class_logits").kernel.shape == (4 * 4 * 16, 3)


@every
def test_files(build, tmp_path):
    check_files(build(), tmp_path)


@every
def test_all_weights_learn(build):
    assert without_gradient(build()) == []


@every
def test_mixed_precision_outputs_are_float32(build):
    with policy("mixed_bfloat16"):
        network = build()
    assert dtypes_of_outputs(network) == {"float32"}
    kernels_of = [getattr(x, "layer", x) for x in network.layers if hasattr(x, "kernel")]
    assert {layer.compute_dtype for layer in kernels_of} == {"float32", "bfloat16"}


def test_examples_are_treated_one_by_one():
    discriminator = build_residual_discriminator(SMALL, depth=4)
    images = inputs_of(discriminator)
    alone = np.concatenate([discriminator(images[i : i + 1]) for i in range(3)])
    np.testing.assert_allclose(discriminator(images), alone, atol=1e-5)
    assert len(np.unique(alone)) == 3


@pytest.mark.parametrize(
    "build", [build_dsprites_encoder, build_dsprites_decoder, build_residual_discriminator]
)
@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((28, 28, 1), "that is 4 .* times 2, 4, 8, ...; got 28 x 28"),
        ((64, 32, 1), "got 64 x 32"),
        ((4, 4, 1), "got 4 x 4"),
        ((64, 64), r"\(height, width, channels\)"),
        ((64, 64, 0), "channels must be a positive integer; got 0"),
    ],
)
def test_bad_image_shapes(build, shape, message):
    with pytest.raises(ValueError, match=message):
        build(shape)


def test_bad_sizes():
    for build in (build_dsprites_encoder, build_dsprites_decoder):
        with pytest.raises(ValueError, match="latent_dim must be a positive integer; got -1"):
            build(SMALL, latent_dim=-1)
    with pytest.raises(ValueError, match="depth must be a positive integer; got 0"):
        build_residual_discriminator(SMALL, depth=0)
    with pytest.raises(ValueError, match="num_classes must be a positive integer; got 1.5"):
        build_residual_discriminator(SMALL, num_classes=1.5)
