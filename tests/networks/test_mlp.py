import keras
import numpy as np
import pytest

from amr_tf.networks import build_mlp_decoder, build_mlp_discriminator, build_mlp_encoder
from tests.networks.common import (
    check_files,
    inputs_of,
    policy,
    spectral_layers,
    without_gradient,
)

BUILDERS = [build_mlp_encoder, build_mlp_decoder, build_mlp_discriminator]
every = pytest.mark.parametrize("build", BUILDERS)


def test_shapes():
    encoder = build_mlp_encoder(input_dim=3, latent_dim=5, hidden=(8, 4))
    decoder = build_mlp_decoder(input_dim=3, latent_dim=5, hidden=(8, 4))
    points = inputs_of(encoder)
    codes = encoder(points)
    assert codes.shape == (3, 5)
    assert decoder(codes).shape == (3, 3)
    assert build_mlp_discriminator(input_dim=3, hidden=(8, 4))(points).shape == (3,)
    widths = [layer.units for layer in encoder.layers if isinstance(layer, keras.layers.Dense)]
    assert widths == [8, 4, 5]


def test_defaults_are_for_the_spiral():
    networks = [build() for build in BUILDERS]
    assert [network.input_shape for network in networks] == [(None, 2)] * 3
    assert [network.name for network in networks] == ["encoder", "decoder", "discriminator"]
    slopes = [x.negative_slope for x in networks[0].layers if "relu" in x.name]
    assert slopes == pytest.approx([0.01] * 3)


def test_discriminator_normalises_every_layer_but_the_first():
    discriminator = build_mlp_discriminator(hidden=(8, 4))
    assert spectral_layers(discriminator) == ["dense1", "logits"]
    plain = [layer.name for layer in discriminator.layers if isinstance(layer, keras.layers.Dense)]
    assert plain == ["dense0"]


def test_output_activation():
    decoder = build_mlp_decoder(hidden=(8,), output_activation="tanh")
    assert np.abs(decoder(1000 * inputs_of(decoder))).max() <= 1
    assert build_mlp_decoder(hidden=(8,)).layers[-1].name == "dense_out"


@every
def test_files(build, tmp_path):
    check_files(build(hidden=(8, 4)), tmp_path)


@every
def test_all_weights_learn(build):
    assert without_gradient(build(hidden=(8, 4))) == []


@every
def test_mixed_precision_outputs_are_float32(build):
    with policy("mixed_bfloat16"):
        network = build(hidden=(8, 4))
    assert network(inputs_of(network)).dtype == "float32"
    layer = network.get_layer("dense0")
    assert getattr(layer, "layer", layer).compute_dtype == "bfloat16"


@every
def test_errors(build):
    with pytest.raises(ValueError, match="input_dim must be a positive integer; got 0"):
        build(input_dim=0)
    with pytest.raises(ValueError, match="hidden must list the width of at least one .*; got "):
        build(hidden=())
    with pytest.raises(ValueError, match="hidden must list the width of at least one .*; got 64"):
        build(hidden=64)
    with pytest.raises(ValueError, match="Each width in hidden must be a positive .*; got -1"):
        build(hidden=(64, -1))


def test_bad_latent_dim():
    for build in (build_mlp_encoder, build_mlp_decoder):
        with pytest.raises(ValueError, match="latent_dim must be a positive integer; got 1.5"):
            build(latent_dim=1.5)
