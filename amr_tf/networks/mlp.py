"""Fully connected networks for points (N, D), such as the 2-D spiral (paper, section 7.3)."""

from collections.abc import Callable, Sequence

import keras

from amr_tf import checks
from amr_tf.fused import LeakyReLU
from amr_tf.networks.blocks import (
    LEAKY_RELU_SLOPE,
    activate,
    check_widths,
    dense_logits,
    spectral_dense,
)
from amr_tf.types import Activation, Tensor

HIDDEN = (128, 128, 128)


def build_mlp_encoder(
    input_dim: int = 2,
    latent_dim: int = 2,
    hidden: Sequence[int] = HIDDEN,
    leaky_relu_slope: float = LEAKY_RELU_SLOPE,
    name: str = "encoder",
) -> keras.Model:
    """Builds the encoder f, from points (N, input_dim) to float32 codes (N, latent_dim).

    Args:
        input_dim: number of coordinates of a point.
        latent_dim: the length of a code.
        hidden: widths of the hidden layers, each followed by LeakyReLU; at least one.
        leaky_relu_slope: slope of LeakyReLU below zero.
        name: the model's name.

    Raises:
        ValueError: a size is not positive, or there is no hidden layer.
    """
    _check_sizes(input_dim, hidden, latent_dim)
    points = keras.Input((input_dim,), name="points")
    x = _hidden(points, hidden, leaky_relu_slope, keras.layers.Dense)
    codes = keras.layers.Dense(latent_dim, name="dense_out", dtype="float32")(x)
    return keras.Model(points, codes, name=name)


def build_mlp_decoder(
    input_dim: int = 2,
    latent_dim: int = 2,
    hidden: Sequence[int] = HIDDEN,
    leaky_relu_slope: float = LEAKY_RELU_SLOPE,
    output_activation: Activation = None,
    name: str = "decoder",
) -> keras.Model:
    """Builds the decoder g, from codes (N, latent_dim) to float32 points (N, input_dim).

    See `build_mlp_encoder` for the arguments not listed here.

    Args:
        input_dim: see `build_mlp_encoder`.
        output_activation: a Keras activation, in a final `keras.layers.Activation` named "out"; or
            None.
        name: the model's name.

    Raises:
        ValueError: the activation is unknown to Keras; or see `build_mlp_encoder`.
    """
    _check_sizes(input_dim, hidden, latent_dim)
    codes = keras.Input((latent_dim,), name="codes")
    x = _hidden(codes, hidden, leaky_relu_slope, keras.layers.Dense)
    points = keras.layers.Dense(input_dim, name="dense_out", dtype="float32")(x)
    return keras.Model(codes, activate(points, output_activation), name=name)


def build_mlp_discriminator(
    input_dim: int = 2,
    hidden: Sequence[int] = HIDDEN,
    leaky_relu_slope: float = LEAKY_RELU_SLOPE,
    name: str = "discriminator",
) -> keras.Model:
    """Builds the discriminator D, from points (N, input_dim) to float32 logits (N,), high for real.

    All layers except the first are spectrally normalised, as in the convolutional discriminator. A
    critic with a slope of at most 1 everywhere could not separate points as close as the turns of
    the spiral. See `build_mlp_encoder` for the arguments and errors.
    """
    _check_sizes(input_dim, hidden)
    points = keras.Input((input_dim,), name="points")
    x = _hidden(points, hidden[:1], leaky_relu_slope, keras.layers.Dense)
    x = _hidden(x, hidden[1:], leaky_relu_slope, spectral_dense, first=1)
    return keras.Model(points, dense_logits(x), name=name)


def _check_sizes(input_dim: int, hidden: Sequence[int], latent_dim: int = 1) -> None:
    checks.check_positive_integer("input_dim", input_dim)
    checks.check_positive_integer("latent_dim", latent_dim)
    check_widths("hidden", hidden)


def _hidden(
    x: Tensor,
    widths: Sequence[int],
    slope: float,
    make_layer: Callable[..., keras.Layer],
    first: int = 0,
) -> Tensor:
    """Applies hidden layers, created by `make_layer(width, name=...)` and numbered from `first`."""
    for index, width in enumerate(widths, start=first):
        x = make_layer(width, name=f"dense{index}")(x)
        x = LeakyReLU(slope, name=f"dense{index}_relu")(x)
    return x
