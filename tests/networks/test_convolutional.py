import keras
import numpy as np
import pytest

from amr_tf import SpectralNormalization
from amr_tf.networks import (
    ACAINormal,
    build_decoder,
    build_discriminator,
    build_encoder,
    build_linear_probe,
)

X = np.random.default_rng(0).uniform(-1, 1, (3, 32, 32, 1)).astype("float32")


@pytest.mark.parametrize(
    ("width", "latent_width", "channels"),
    [(8, 4, 1), (16, 4, 3), (32, 4, 1), (64, 4, 2), (32, 2, 1)],
)
def test_shapes_for_any_width(width, latent_width, channels):
    sizes = {"latent_channels": 3, "latent_width": latent_width, "depth": 2}
    shape = (width, width, channels)
    encoder, decoder = build_encoder(shape, **sizes), build_decoder(shape, **sizes)
    images = np.random.default_rng(0).uniform(-1, 1, (2, *shape)).astype("float32")
    codes = encoder(images)
    assert codes.shape == (2, latent_width, latent_width, 3)
    assert decoder(codes).shape == (2, *shape)
    assert build_discriminator(shape, **sizes)(images).shape == (2,)


@pytest.mark.parametrize(("latent_channels", "d_h"), [(2, 32), (16, 256), (64, 1024)])
def test_the_papers_bottlenecks(latent_channels, d_h):
    encoder = build_encoder((32, 32, 3), latent_channels)
    assert np.prod(encoder.output_shape[1:]) == d_h


def test_layers_follow_the_specification():
    encoder = build_encoder((32, 32, 3))
    kernels = [layer.kernel.shape for layer in encoder.layers if hasattr(layer, "kernel")]
    assert kernels == [
        (1, 1, 3, 16),
        (3, 3, 16, 16),
        (3, 3, 16, 16),
        (3, 3, 16, 32),
        (3, 3, 32, 32),
        (3, 3, 32, 64),
        (3, 3, 64, 64),
        (3, 3, 64, 128),
        (3, 3, 128, 2),
    ]
    norms = [layer for layer in encoder.layers if "norm" in layer.name]
    assert len(norms) == 7
    assert all(norm.epsilon == 1e-5 for norm in norms)
    decoder = build_decoder((32, 32, 3))
    kernels = [layer.kernel.shape[2:] for layer in decoder.layers if hasattr(layer, "kernel")]
    assert kernels == [
        (2, 64),
        (64, 64),
        (64, 32),
        (32, 32),
        (32, 16),
        (16, 16),
        (16, 16),
        (16, 3),
    ]
    relus = [layer for layer in decoder.layers if isinstance(layer, keras.layers.LeakyReLU)]
    assert len(relus) == 7
    assert all(relu.negative_slope == pytest.approx(0.01) for relu in relus)


def test_discriminator_normalises_all_but_the_first_convolution():
    discriminator = build_discriminator((32, 32, 1))
    assert isinstance(discriminator.get_layer("conv_in"), keras.layers.Conv2D)
    wrapped = [x for x in discriminator.layers if isinstance(x, SpectralNormalization)]
    assert len(wrapped) == 8
    assert not any("norm" in layer.name for layer in discriminator.layers)


def test_images_are_treated_one_by_one():
    """The training step sends images and mixes through a network as one batch."""
    for network in (build_encoder((32, 32, 1)), build_discriminator((32, 32, 1))):
        together = network(X)
        alone = np.concatenate([network(X[i : i + 1]) for i in range(3)])
        np.testing.assert_allclose(together, alone, atol=1e-5)


def test_initialiser():
    values = np.asarray(ACAINormal(seed=0)((3, 3, 64, 128)))
    assert values.std() == pytest.approx(1 / np.sqrt(1.04 * 128 * 64 * 3), rel=0.02)
    assert values.mean() == pytest.approx(0, abs=1e-4)
    again = keras.initializers.deserialize(keras.initializers.serialize(ACAINormal(seed=4)))
    assert again.get_config() == {"seed": 4}
    unseeded = ACAINormal()
    assert not np.array_equal(unseeded((3, 3, 2, 2)), unseeded((3, 3, 2, 2)))


def test_seed_makes_equal_networks():
    weights = []
    for _ in range(2):
        keras.utils.set_random_seed(3)
        weights.append(build_encoder((32, 32, 1), depth=2).get_weights())
    for one, two in zip(*weights):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("build", [build_encoder, build_decoder, build_discriminator])
def test_saved_file(build, tmp_path):
    network = build((32, 32, 1), depth=2)
    network.save(tmp_path / "network.keras")
    again = keras.saving.load_model(tmp_path / "network.keras")
    x = np.random.default_rng(0).normal(size=(2, *network.input_shape[1:])).astype("float32")
    np.testing.assert_array_equal(network(x), again(x))


def test_mixed_precision_outputs_are_float32():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        networks = [
            build((32, 32, 1), depth=2)
            for build in (build_encoder, build_decoder, build_discriminator)
        ]
    finally:
        keras.config.set_dtype_policy("float32")
    codes = networks[0](X)
    assert [codes.dtype, networks[1](codes).dtype, networks[2](X).dtype] == ["float32"] * 3
    assert networks[0].get_layer("top_conv").compute_dtype == "bfloat16"


def test_output_activation():
    decoder = build_decoder((32, 32, 1), depth=2, output_activation="tanh")
    images = decoder(100 * np.ones((1, 4, 4, 2)))
    assert np.abs(images).max() <= 1


def test_linear_probe():
    probe = build_linear_probe((4, 4, 2), 10)
    assert probe.output_shape == (None, 10)
    assert probe.count_params() == 330
    with pytest.raises(ValueError, match="num_classes must be at least 2; got 1"):
        build_linear_probe((4, 4, 2), 1)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((28, 28, 1), "got 28 x 28"),
        ((32, 16, 1), "got 32 x 16"),
        ((4, 4, 1), "got 4 x 4"),
        ((2, 2, 1), "got 2 x 2"),
        ((32, 32), r"\(height, width, channels\)"),
        ((32, 32, 0), "channels must be a positive integer; got 0"),
    ],
)
def test_bad_image_shapes(shape, message):
    for build in (build_encoder, build_decoder, build_discriminator):
        with pytest.raises(ValueError, match=message):
            build(shape)


def test_bad_sizes():
    with pytest.raises(ValueError, match="depth must be a positive integer; got -1"):
        build_encoder((32, 32, 1), depth=-1)
    with pytest.raises(ValueError, match="latent_channels must be a positive integer; got 2.5"):
        build_decoder((32, 32, 1), latent_channels=2.5)
