"""The convolutional networks of the paper's tables, after Berthelot et al. (2019, ACAI).

`scales = log2(width / latent_width)` halvings lead from an image of width x width to a code of
latent_width x latent_width; the number of channels doubles with each from `depth`.
"""

from typing import Any

import keras
from keras import ops

from amr_tf import checks
from amr_tf.fused import ComposedConv2D, DeferredConv2D, UpsampledConv2D
from amr_tf.layers import SpectralNormalization
from amr_tf.networks.blocks import (
    INSTANCE_NORM_EPSILON,
    LEAKY_RELU_SLOPE,
    ConvolutionBlock,
    PortNormal,
    activate,
    check_choice,
    check_image_shape,
    convolution,
    critic,
    make_initializer,
)
from amr_tf.types import Activation, Initializer, Shape, Tensor


def _check_sizes(
    image_shape: tuple[int, ...],
    latent_width: int,
    latent_channels: int,
    depth: int,
    latent_dim: int | None = None,
) -> int:
    """The number of scales, after checking that the networks can be built."""
    checks.check_positive_integer("latent_width", latent_width)
    checks.check_positive_integer("latent_channels", latent_channels)
    checks.check_positive_integer("depth", depth)
    if latent_dim is not None:
        checks.check_positive_integer("latent_dim", latent_dim)
    return check_image_shape(image_shape, latent_width)


def _first_convolution(
    images: Tensor, scales: int, depth: int, border: int, kernel_initializer: Initializer
) -> Tensor:
    """The 1x1 convolution, whose border turns 32 into 34, then 17, 8 and 4 by pooling.

    With a single pooling the border would survive into the code (8 -> 10 -> 5), so it is left
    out there. No activation follows, so the next convolution computes both.
    """
    return DeferredConv2D(
        depth,
        padding=border if scales > 1 else 0,
        kernel_initializer=make_initializer(kernel_initializer),
        name="conv_in",
    )(images)


def _downscale(
    images: Tensor, scales: int, depth: int, border: int, block: ConvolutionBlock
) -> Tensor:
    """The body that encoder and discriminator share, up to their last convolution."""
    check_choice("border", border, (0, 1))
    x = _first_convolution(images, scales, depth, border, block.kernel_initializer)
    for scale in range(scales):
        first = ComposedConv2D if scale == 0 else keras.layers.Conv2D
        x = block(x, depth << scale, f"scale{scale}_a", first)
        x = block(x, depth << scale, f"scale{scale}_b")
        x = keras.layers.AveragePooling2D(2, name=f"scale{scale}_pool")(x)
    return block(x, depth << scales, "top")


def build_encoder(
    image_shape: tuple[int, ...],
    latent_channels: int = 2,
    latent_width: int = 4,
    depth: int = 16,
    leaky_relu_slope: float = LEAKY_RELU_SLOPE,
    instance_norm_epsilon: float = INSTANCE_NORM_EPSILON,
    latent_dim: int | None = None,
    normalization: str = "instance",
    kernel_initializer: Initializer = PortNormal,
    border: int = 1,
    name: str = "encoder",
) -> keras.Model:
    """The encoder f: images (N, H, W, C) in [-1, 1] to float32 codes.

    Codes have the shape (N, h, h, latent_channels), or (N, latent_dim) with a `latent_dim`.

    Args:
        image_shape: (H, W, C) with H = W = `latent_width` times a power of two, at least 2.
        latent_channels: feature maps of a spatial code; 2, 16 and 64 for the paper's d_h of 32,
            256 and 1024. Plays no part with a `latent_dim`.
        latent_width: h.
        depth: channels at full resolution.
        leaky_relu_slope: slope of LeakyReLU below zero.
        instance_norm_epsilon: added to the variance by instance normalisation.
        latent_dim: None for spatial codes, or the length of vector codes: a dense layer takes the
            place of the convolution to the latent channels.
        normalization: "instance" before every LeakyReLU, or None for none (the original ACAI).
        kernel_initializer: of the convolutions: the name, the class or an instance without a seed
            of a Keras initializer. Each layer gets a new one.
        border: pixels of zeros around the images before the first convolution, 1 (the AMR
            authors' code) or 0 (the original ACAI). There are none with a single halving.
        name: the model's name.

    Raises:
        ValueError: a size is not positive or does not fit `latent_width`, another normalisation
            or border, or an initializer with a seed.
    """
    scales = _check_sizes(image_shape, latent_width, latent_channels, depth, latent_dim)
    check_choice("normalization", normalization, ("instance", None))
    images = keras.Input(image_shape, name="images")
    block = ConvolutionBlock(
        normalization, leaky_relu_slope, instance_norm_epsilon, kernel_initializer
    )
    x = _downscale(images, scales, depth, border, block)
    if latent_dim is None:
        codes = convolution(
            latent_channels, "conv_out", dtype="float32", kernel_initializer=kernel_initializer
        )(x)
    else:
        flat = keras.layers.Flatten(name="flatten")(x)
        codes = keras.layers.Dense(latent_dim, name="dense_out", dtype="float32")(flat)
    return keras.Model(images, codes, name=name)


def build_decoder(
    image_shape: tuple[int, ...],
    latent_channels: int = 2,
    latent_width: int = 4,
    depth: int = 16,
    leaky_relu_slope: float = LEAKY_RELU_SLOPE,
    instance_norm_epsilon: float = INSTANCE_NORM_EPSILON,
    output_activation: Activation = None,
    latent_dim: int | None = None,
    normalization: str = "instance",
    kernel_initializer: Initializer = PortNormal,
    name: str = "decoder",
) -> keras.Model:
    """The decoder g: codes to float32 images (N, H, W, C).

    Args:
        image_shape: the same as for `build_encoder`, and so are the arguments not listed here.
        output_activation: None (the paper's), or any Keras activation, such as "tanh" for images
            that cannot leave [-1, 1]. The model then ends in a `keras.layers.Activation` named
            "out".
        latent_dim: None for spatial codes, or the length of vector codes, of which a dense layer
            makes feature maps.
        name: the model's name.

    Raises:
        ValueError: for the reasons of `build_encoder`, or an activation that Keras does not have.
    """
    scales = _check_sizes(image_shape, latent_width, latent_channels, depth, latent_dim)
    check_choice("normalization", normalization, ("instance", None))
    block = ConvolutionBlock(
        normalization, leaky_relu_slope, instance_norm_epsilon, kernel_initializer
    )
    if latent_dim is None:
        x = codes = keras.Input((latent_width, latent_width, latent_channels), name="codes")
    else:
        codes = keras.Input((latent_dim,), name="codes")
        x = _feature_maps(codes, (latent_width, latent_width, depth << scales))
    kind = keras.layers.Conv2D
    for scale in reversed(range(scales)):
        x = block(x, depth << scale, f"scale{scale}_a", kind)
        x = block(x, depth << scale, f"scale{scale}_b")
        kind = UpsampledConv2D
    x = block(x, depth, "top", kind)
    images = convolution(
        image_shape[2], "conv_out", dtype="float32", kernel_initializer=kernel_initializer
    )(x)
    return keras.Model(codes, activate(images, output_activation), name=name)


def _feature_maps(codes: Tensor, shape: Shape) -> Tensor:
    """What a dense layer makes of vector codes, in the given shape."""
    height, width, channels = shape
    x = keras.layers.Dense(height * width * channels, name="dense_in")(codes)
    return keras.layers.Reshape(shape, name="reshape")(x)


def build_discriminator(
    image_shape: tuple[int, ...],
    latent_channels: int = 2,
    latent_width: int = 4,
    depth: int = 16,
    leaky_relu_slope: float = LEAKY_RELU_SLOPE,
    normalization: str = "spectral",
    num_classes: int | None = None,
    kernel_initializer: Initializer = PortNormal,
    border: int = 1,
    name: str = "discriminator",
) -> keras.Model:
    """The discriminator D: images (N, H, W, C) to float32 logits (N,), high for real.

    The encoder's shape with spectral normalisation of every convolution but the first in place
    of instance normalisation; the logit is the mean over the last map.

    Args:
        image_shape: the same as for `build_encoder`, and so are the arguments not listed here.
        latent_channels: feature maps whose mean is the logit.
        normalization: "spectral", or None for none (the original ACAI).
        num_classes: None, or the number of classes (or attributes) of a classifier branch off the
            top block, as in an AC-GAN (paper, section 2.2). The model then returns [logits, class
            logits (N, num_classes)].
        name: the model's name.

    Raises:
        ValueError: for the reasons of `build_encoder`, or `num_classes` is not positive.
    """
    scales = _check_sizes(image_shape, latent_width, latent_channels, depth)
    check_choice("normalization", normalization, ("spectral", None))
    images = keras.Input(image_shape, name="images")
    block = ConvolutionBlock(normalization, leaky_relu_slope, kernel_initializer=kernel_initializer)
    features = _downscale(images, scales, depth, border, block)
    last = convolution(
        latent_channels,
        "conv_out" if normalization is None else "kernel_out",
        dtype="float32",
        kernel_initializer=kernel_initializer,
    )
    if normalization is not None:
        last = SpectralNormalization(last, name="conv_out")
    logits = ops.mean(last(features), axis=(1, 2, 3))
    return critic(images, logits, features, num_classes, name)


def build_autoencoding_discriminator(
    image_shape: tuple[int, ...],
    latent_channels: int = 2,
    latent_width: int = 4,
    depth: int = 16,
    normalization: str = "instance",
    leaky_relu_slope: float = LEAKY_RELU_SLOPE,
    kernel_initializer: Initializer = PortNormal,
    border: int = 1,
    name: str = "discriminator",
) -> keras.Model:
    """A discriminator that is an auto-encoder, as in BEGAN (Berthelot et al. 2017) and GAIA.

    From images (N, H, W, C) to float32 images of the same shape: it tells real from fake by how
    well it reproduces them. It has an encoder and a decoder of its own, with the arguments and
    errors of `build_encoder`.
    """
    options: dict[str, Any] = {
        "latent_channels": latent_channels,
        "latent_width": latent_width,
        "depth": depth,
        "normalization": normalization,
        "leaky_relu_slope": leaky_relu_slope,
        "kernel_initializer": kernel_initializer,
    }
    images = keras.Input(image_shape, name="images")
    codes = build_encoder(image_shape, border=border, **options)(images)
    return keras.Model(images, build_decoder(image_shape, **options)(codes), name=name)
