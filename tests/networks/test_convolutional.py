import keras
import numpy as np
import pytest

from amr_tf.networks import (
    build_autoencoding_discriminator,
    build_decoder,
    build_discriminator,
    build_encoder,
)
from tests.networks.common import (
    check_files,
    dtypes_of_outputs,
    policy,
    spectral_layers,
    without_gradient,
)

BUILDERS = (build_encoder, build_decoder, build_discriminator)
SHAPE = (16, 16, 1)
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
    assert len(spectral_layers(discriminator)) == 8
    assert not any("norm" in layer.name for layer in discriminator.layers)


def expected_paths(kind):
    """The weights of a network for 16 x 16 as the golden files and older runs have them."""
    blocks = ["scale0_a", "scale0_b", "scale1_a", "scale1_b", "top"]
    if kind == "decoder":
        blocks = ["scale1_a", "scale1_b", "scale0_a", "scale0_b", "top"]
    ends = [f"{end}/{weight}" for end in ("conv_in", "conv_out") for weight in ("kernel", "bias")]
    if kind == "discriminator":
        pairs = [(f"{block}_conv", f"{block}_kernel") for block in blocks]
        pairs.append(("conv_out", "kernel_out"))
        form = "{0}/{1}/kernel {0}/vector_u {0}/{1}/bias"
        return ends[:2] + [path for pair in pairs for path in form.format(*pair).split()]
    form = "{0}_conv/kernel {0}_conv/bias {0}_norm/gamma {0}_norm/beta"
    middle = [path for block in blocks for path in form.format(block).split()]
    return (ends[:2] if kind == "encoder" else []) + middle + ends[2:]


@pytest.mark.parametrize("build", BUILDERS)
def test_weights_keep_their_names_and_order(build):
    network = build(SHAPE, depth=2)
    assert [weight.path for weight in network.weights] == expected_paths(network.name)


def test_vector_bottleneck():
    encoder = build_encoder(SHAPE, depth=2, latent_dim=5)
    decoder = build_decoder(SHAPE, depth=2, latent_dim=5)
    assert encoder.output_shape == decoder.input_shape == (None, 5)
    # From and to the feature maps at the code's width: 4 x 4 of depth << 2.
    assert encoder.get_layer("dense_out").kernel.shape == (128, 5)
    assert decoder.get_layer("dense_in").kernel.shape == (5, 128)
    assert decoder(encoder(X[:, :16, :16])).shape == (3, 16, 16, 1)


def test_without_normalisation():
    for build in BUILDERS:
        plain, normal = build(SHAPE, depth=2, normalization=None), build(SHAPE, depth=2)
        kinds = {type(layer).__name__ for layer in plain.layers}
        assert not kinds & {"GroupNormalization", "SpectralNormalization"}
        assert "InstanceNormalization" not in kinds
        assert spectral_layers(normal) or any("norm" in layer.name for layer in normal.layers)
        assert plain.get_layer("top_conv").kernel.shape[:2] == (3, 3)


@pytest.mark.parametrize("border", [0, 1])
def test_border(border):
    for build in (build_encoder, build_discriminator):
        network = build(SHAPE, depth=2, border=border)
        pixels, _ = network.get_layer("conv_in").output
        assert pixels.shape[1:3] == (16 + 2 * border, 16 + 2 * border)
        # With a single halving it would survive into the code.
        pixels, _ = build((8, 8, 1), depth=2, border=border).get_layer("conv_in").output
        assert pixels.shape[1:3] == (8, 8)


def test_options_reach_every_layer():
    options = {"leaky_relu_slope": 0.3, "kernel_initializer": "he_normal"}
    critic = build_autoencoding_discriminator(SHAPE, depth=2, **options)
    networks = [build(SHAPE, depth=2, **options) for build in BUILDERS]
    for network in (*networks, critic.get_layer("encoder"), critic.get_layer("decoder")):
        layers = [getattr(layer, "layer", layer) for layer in network.layers]
        kernels = [x.kernel_initializer for x in layers if hasattr(x, "kernel_initializer")]
        assert {type(kernel) for kernel in kernels} == {keras.initializers.HeNormal}
        assert len(set(map(id, kernels))) == len(kernels) == (6 if network.name == "decoder" else 7)
        slopes = [x.negative_slope for x in layers if isinstance(x, keras.layers.LeakyReLU)]
        assert slopes == pytest.approx([0.3] * 5)


def test_class_branch():
    discriminator = build_discriminator(SHAPE, depth=2, num_classes=3)
    logits, classes = discriminator(X[:, :16, :16])
    assert (logits.shape, classes.shape) == ((3,), (3, 3))
    assert (logits.dtype, classes.dtype) == ("float32", "float32")
    # From the top block's 4 x 4 x 8 features; the critic is the same as without the branch.
    assert discriminator.get_layer("class_logits").kernel.shape == (128, 3)
    plain = build_discriminator(SHAPE, depth=2)
    assert spectral_layers(discriminator) == spectral_layers(plain)
    weights = [w for w in discriminator.weights if not w.path.startswith("class_logits")]
    plain.set_weights([np.asarray(w) for w in weights])
    np.testing.assert_array_equal(plain(X[:, :16, :16]), logits)
    assert build_discriminator(SHAPE, depth=2, num_classes=1).output_shape[1] == (None, 1)


def test_autoencoding_discriminator():
    sizes = {"latent_channels": 3, "latent_width": 2, "depth": 2}
    discriminator = build_autoencoding_discriminator((16, 16, 2), **sizes)
    assert discriminator.name == "discriminator"
    assert discriminator.output_shape == discriminator.input_shape == (None, 16, 16, 2)
    assert discriminator.get_layer("encoder").output_shape == (None, 2, 2, 3)
    networks = build_encoder((16, 16, 2), **sizes), build_decoder((16, 16, 2), **sizes)
    assert discriminator.count_params() == sum(network.count_params() for network in networks)


def test_images_are_treated_one_by_one():
    """The training step sends images and mixes through a network as one batch."""
    for network in (build_encoder((32, 32, 1)), build_discriminator((32, 32, 1))):
        together = network(X)
        alone = np.concatenate([network(X[i : i + 1]) for i in range(3)])
        np.testing.assert_allclose(together, alone, atol=1e-5)


def test_seed_makes_equal_networks():
    weights = []
    for _ in range(2):
        keras.utils.set_random_seed(3)
        weights.append(build_encoder((32, 32, 1), depth=2).get_weights())
    for one, two in zip(*weights):
        np.testing.assert_array_equal(one, two)


NETWORKS = {
    "encoder": lambda: build_encoder(SHAPE, depth=2),
    "encoder to vectors": lambda: build_encoder(SHAPE, depth=2, latent_dim=5),
    "encoder without norm": lambda: build_encoder(SHAPE, depth=2, normalization=None),
    "decoder": lambda: build_decoder(SHAPE, depth=2),
    "decoder of vectors": lambda: build_decoder(SHAPE, depth=2, latent_dim=5),
    "decoder without norm": lambda: build_decoder(SHAPE, depth=2, normalization=None),
    "discriminator": lambda: build_discriminator(SHAPE, depth=2),
    "classifier": lambda: build_discriminator(SHAPE, depth=2, num_classes=3),
    "critic without norm": lambda: build_discriminator(SHAPE, depth=2, normalization=None),
    "auto-encoder": lambda: build_autoencoding_discriminator(SHAPE, depth=2),
}
every = pytest.mark.parametrize("build", NETWORKS.values(), ids=NETWORKS)


@every
def test_files(build, tmp_path):
    check_files(build(), tmp_path)


@every
def test_all_weights_learn(build):
    assert without_gradient(build()) == []


@every
@pytest.mark.parametrize("name", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_outputs_are_float32(build, name):
    with policy(name):
        network = build()
    assert dtypes_of_outputs(network) == {"float32"}
    blocks = [layer for layer in _flat_layers(network) if layer.name == "top_conv"]
    inner = [getattr(layer, "layer", layer) for layer in blocks]
    assert {layer.compute_dtype for layer in inner} == {name.removeprefix("mixed_")}


def _flat_layers(network):
    for layer in network.layers:
        yield from _flat_layers(layer) if isinstance(layer, keras.Model) else [layer]


def test_output_activation():
    decoder = build_decoder((32, 32, 1), depth=2, output_activation="tanh")
    images = decoder(100 * np.ones((1, 4, 4, 2)))
    assert np.abs(images).max() <= 1


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
    for build in BUILDERS:
        with pytest.raises(ValueError, match=message):
            build(shape)


def test_bad_sizes():
    with pytest.raises(ValueError, match="depth must be a positive integer; got -1"):
        build_encoder((32, 32, 1), depth=-1)
    with pytest.raises(ValueError, match="latent_channels must be a positive integer; got 2.5"):
        build_decoder((32, 32, 1), latent_channels=2.5)
    for build in (build_encoder, build_decoder):
        with pytest.raises(ValueError, match="latent_dim must be a positive integer; got 0"):
            build(SHAPE, latent_dim=0)
        with pytest.raises(ValueError, match="must be 'instance' or None; got 'spectral'"):
            build(SHAPE, normalization="spectral")
    with pytest.raises(ValueError, match="must be 'spectral' or None; got 'instance'"):
        build_discriminator(SHAPE, normalization="instance")
    with pytest.raises(ValueError, match="num_classes must be a positive integer; got 0"):
        build_discriminator(SHAPE, num_classes=0)
    for build in (build_encoder, build_discriminator, build_autoencoding_discriminator):
        with pytest.raises(ValueError, match="border must be 0 or 1; got 2"):
            build(SHAPE, border=2)
    for build in BUILDERS:
        with pytest.raises(ValueError, match="kernel_initializer must not have a seed"):
            build(SHAPE, kernel_initializer=keras.initializers.HeNormal(seed=0))
