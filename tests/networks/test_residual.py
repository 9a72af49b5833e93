import functools

import keras
import numpy as np
import pytest
from keras import ops

from amr_tf.networks import (
    build_photo_decoder,
    build_photo_discriminator,
    build_photo_encoder,
)
from amr_tf.networks.architectures import residual
from tests.networks.common import (
    check_files,
    dtypes_of_outputs,
    inputs_of,
    policy,
    spectral_layers,
    without_gradient,
)

SHAPE = (16, 16, 3)
SMALL = {"latent_width": 4, "latent_channels": 3, "width": 4, "blocks": 1}
NETWORKS = {
    "encoder": lambda: build_photo_encoder(SHAPE, **SMALL),
    "decoder": lambda: build_photo_decoder(SHAPE, **SMALL),
    "blurring decoder": lambda: build_photo_decoder(SHAPE, **SMALL, stem=4),
    "attending encoder": lambda: build_photo_encoder(SHAPE, **SMALL, attention=8),
    "attending decoder": lambda: build_photo_decoder(SHAPE, **SMALL, attention=4),
    "discriminator": lambda: build_photo_discriminator(SHAPE, width=2),
    "classifier": lambda: build_photo_discriminator(SHAPE, width=2, num_classes=3),
}
every = pytest.mark.parametrize("build", NETWORKS.values(), ids=NETWORKS)


def channels_of(network, ending):
    return [x.output.shape[1:] for x in network.layers if x.name.endswith(ending)]


def test_sizes_at_64_pixels():
    encoder, decoder, discriminator = residual((64, 64, 3))
    assert encoder.output_shape == decoder.input_shape == (None, 8, 8, 16)
    blocks = [(16, 16, 64), (16, 16, 64), (8, 8, 128), (8, 8, 128)]
    assert channels_of(encoder, "_add") == blocks
    assert channels_of(decoder, "_add") == blocks[::-1]
    assert channels_of(decoder, "_crop") == [(16, 16, 64)]
    # With a margin that is cut off.
    assert channels_of(decoder, "_up")[1:] == [(40, 40, 32), (76, 76, 16)]
    assert channels_of(decoder, "_blur") == [(38, 38, 32)]
    assert channels_of(discriminator, "_add") == [(32, 32, 32), (16, 16, 64), (8, 8, 128)]
    assert discriminator.get_layer("patches").kernel.shape == (3, 3, 128, 1)
    assert decoder.output_shape == (None, 64, 64, 3)


@pytest.mark.parametrize("width", [16, 32, 64, 128, 256])
@pytest.mark.parametrize("latent_width", [4, 8])
def test_every_size_of_images(width, latent_width):
    small = {**SMALL, "latent_width": latent_width, "critic_width": 2}
    encoder, decoder, discriminator = residual((width, width, 1), **small)
    images = inputs_of(encoder, 2)
    codes = encoder(images)
    assert codes.shape == (2, latent_width, latent_width, 3)
    assert decoder(codes).shape == images.shape
    assert discriminator(images).shape == (2,)
    assert discriminator.get_layer("features").output.shape[1:3] == (4, 4)
    # At most four times as many channels as at first.
    assert encoder.layers[-1].kernel.shape[2] <= 16


@pytest.mark.parametrize("stem", [1, 2, 4])
def test_stem(stem):
    encoder = build_photo_encoder(SHAPE, **SMALL, stem=stem)
    assert encoder.get_layer("stem").kernel.shape == (3, 3, 3 * stem**2, 4)
    decoder = build_photo_decoder(SHAPE, **SMALL, stem=stem)
    assert len(channels_of(decoder, "_up")) == 2
    assert decoder(encoder(inputs_of(encoder))).shape == (3, *SHAPE)


def test_the_autoencoder_starts_linear():
    """Every block is the identity at the start; the decoder's own activations come behind them."""
    keras.utils.set_random_seed(0)
    encoder = NETWORKS["encoder"]()
    one, other = inputs_of(encoder), inputs_of(encoder, seed=1)
    together = encoder(0.3 * one - 2.0 * other)
    np.testing.assert_allclose(together, 0.3 * encoder(one) - 2.0 * encoder(other), atol=1e-5)
    assert np.std(together) > 0.1
    decoder = NETWORKS["decoder"]()
    blocks = [layer for layer in decoder.layers if layer.name.endswith("_add")]
    ends = keras.Model(
        decoder.input, [end for layer in blocks for end in (layer.input[0], layer.output)]
    )
    before, after, *_ = ends(inputs_of(decoder))
    np.testing.assert_array_equal(before, after)


def test_the_decoder_without_blur():
    encoder, decoder, _ = residual((64, 64, 3), blur=False)
    assert channels_of(decoder, "_up")[1:] == [(36, 36, 32), (72, 72, 16)]
    assert channels_of(decoder, "_blur") == []
    weights = residual((64, 64, 3)).decoder.weights
    assert [w.shape for w in decoder.weights] == [w.shape for w in weights]
    assert decoder.output_shape == encoder.input_shape


@pytest.mark.parametrize("blur", [False, True])
@pytest.mark.parametrize("stem", [1, 2, 4, 8, 16])
def test_mirrored_codes_give_mirrored_images(stem, blur):
    """With mirrored kernels; a margin that is cut off unevenly would shift the images."""
    decoder = build_photo_decoder((64, 64, 2), **SMALL, stem=stem, blur=blur)
    rng = np.random.default_rng(0)
    decoder.set_weights([rng.normal(0, 0.2, w.shape) for w in decoder.get_weights()])
    codes = rng.normal(size=(1, *decoder.input_shape[1:])).astype("float32")
    images = np.asarray(decoder(codes))
    kernels = decoder.get_weights()
    decoder.set_weights([w[::-1, ::-1] if w.ndim == 4 else w for w in kernels])
    mirrored = np.asarray(decoder(codes[:, ::-1, ::-1]))[:, ::-1, ::-1]
    np.testing.assert_allclose(mirrored, images, atol=1e-4 * np.abs(images).max())


@pytest.mark.parametrize("blur", [False, True])
@pytest.mark.parametrize("stem", [1, 2, 4, 8, 16])
def test_uniform_images_and_codes_get_neither_frame_nor_lattice(stem, blur):
    """Whatever the weights: convolutions see no border."""
    rng = np.random.default_rng(0)
    blurred = functools.partial(build_photo_decoder, blur=blur)
    for build in (build_photo_encoder, blurred):
        network = build((64, 64, 1), **SMALL, stem=stem)
        network.set_weights([rng.normal(0, 0.2, w.shape) for w in network.get_weights()])
        maps = np.asarray(network(np.ones((1, *network.input_shape[1:]), "float32")))[0]
        assert np.ptp(maps, axis=(0, 1)).max() < 1e-4 * np.abs(maps).max()
        assert np.abs(maps).max() > 1e-3


def test_residual_blocks_learn_from_their_start():
    keras.utils.set_random_seed(0)
    coarse = np.random.default_rng(0).normal(size=(64, 4, 4, 1)).astype("float32")
    images = np.tanh(ops.image.resize(coarse, (16, 16)))
    encoder = build_photo_encoder((16, 16, 1), **SMALL)
    model = keras.Sequential([encoder, build_photo_decoder((16, 16, 1), **SMALL)])
    model.compile(keras.optimizers.Adam(3e-3), "mse")
    history = model.fit(images, images, batch_size=16, epochs=60, verbose=0).history["loss"]
    assert history[-1] < 0.1 * images.var()


def test_the_discriminator_sees_details_amplified():
    discriminator = residual(SHAPE, **SMALL, critic_width=2, critic_gain=3.0)[2]
    assert discriminator.get_layer("detail").gain == 3.0
    assert residual(SHAPE, **SMALL)[2].get_layer("detail").gain == 4.0
    with pytest.raises(ValueError, match=r"gain must be a finite number above 0; got 0.0"):
        residual(SHAPE, **SMALL, critic_gain=0.0)


def test_the_discriminators_blocks_are_normalised():
    discriminator = build_photo_discriminator((64, 64, 3), width=4)
    # Three blocks of two convolutions and a shortcut; the patches' logits are free to grow.
    assert len(spectral_layers(discriminator)) == 3 * 3
    plain = (keras.layers.Conv2D, keras.layers.Dense)
    names = [layer.name for layer in discriminator.layers if isinstance(layer, plain)]
    assert names == ["patches"]


def test_the_logit_is_the_mean_over_patches():
    discriminator = NETWORKS["discriminator"]()
    images = inputs_of(discriminator)
    patches = keras.Model(discriminator.input, discriminator.get_layer("patches").output)(images)
    assert patches.shape == (3, 4, 4, 1)
    expected = np.mean(patches, axis=(1, 2, 3))
    np.testing.assert_allclose(discriminator(images), expected, rtol=1e-5)


@every
def test_files(build, tmp_path):
    check_files(build(), tmp_path)


def test_no_weight_is_without_gradient():
    """But for those in front of a block's or attention's last layer, which starts at zero."""
    for build in NETWORKS.values():
        network = build()
        lost = {path.split("/")[0] for path in without_gradient(network)}
        blocks = [x.name.removesuffix("_add") for x in network.layers if "_add" in x.name]
        zero = set() if spectral_layers(network) else {f"{name}_a" for name in blocks}
        attending = {x.name.removesuffix("_sum") for x in network.layers if "_sum" in x.name}
        zero |= {name + ending for name in attending for ending in ("", "_norm")}
        assert lost == zero


def test_mixed_precision_outputs_are_float32():
    options = {**SMALL, "stem": 4, "critic_width": 2}
    with policy("mixed_bfloat16"):
        networks = residual(SHAPE, **options, critic="classifier", num_classes=3)
    for network in networks:
        assert dtypes_of_outputs(network) == {"float32"}
    assert networks.encoder.get_layer("stem").compute_dtype == "bfloat16"
    assert networks.decoder.get_layer("scale1_blur").output.dtype == "bfloat16"


@pytest.mark.parametrize("stem", [0, 3, 8, 2.5, "4"])
def test_bad_stems(stem):
    with pytest.raises(ValueError, match="^stem must be one of 1, 2, 4; got"):
        build_photo_encoder(SHAPE, **SMALL, stem=stem)


@pytest.mark.parametrize("width", [0, 6, 16, "8"])
def test_bad_attention(width):
    allowed = f"width of the maps of some blocks, one of 4, 8; got {width!r}"
    for build in (build_photo_encoder, build_photo_decoder):
        with pytest.raises(ValueError, match=allowed):
            build(SHAPE, **SMALL, attention=width)


@pytest.mark.parametrize("network", ["encoder", "decoder"])
def test_attention_starts_as_the_identity_and_reaches_every_position(network):
    plain, attending = NETWORKS[network](), NETWORKS[f"attending {network}"]()
    weights = {w.path: w.numpy() for w in plain.weights}
    rng = np.random.default_rng(0)
    for weight in attending.weights:
        weight.assign(weights.get(weight.path, weight))
    one = inputs_of(attending)
    np.testing.assert_allclose(attending(one), plain(one), rtol=1e-5, atol=1e-6)

    for weight in attending.weights:
        weight.assign(rng.normal(0, 0.3, weight.shape))
    other = np.array(one)
    other[:, 0, 0] += 1.0
    changed = np.abs(attending(one) - attending(other)).max(axis=(0, -1))
    assert changed.min() > 0.0


@pytest.mark.parametrize("shape", [(12, 12, 3), (16, 8, 3), (4, 4, 3), (16, 16)])
def test_bad_images(shape):
    for build in (build_photo_encoder, build_photo_decoder):
        with pytest.raises(ValueError, match=r"^Images must be square|^image_shape must be"):
            build(shape, **SMALL)
