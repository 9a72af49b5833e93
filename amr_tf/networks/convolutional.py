"""The convolutional networks of the paper's tables, after Berthelot et al. (2019, ACAI).

An image of width x width is halved `scales = log2(width / latent_width)` times to a code of
latent_width x latent_width. The number of channels starts at `depth` and doubles with each halving.
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
    """Checks that the networks can be built and returns the number of scales."""
    checks.check_positive_integer("latent_width", latent_width)
    checks.check_positive_integer("latent_channels", latent_channels)
    checks.check_positive_integer("depth", depth)
    if latent_dim is not None:
        checks.check_positive_integer("latent_dim", latent_dim)
    return check_image_shape(image_shape, latent_width)


def _first_convolution(
    images: Tensor, scales: int, depth: int, border: int, kernel_initializer: Initializer
) -> Tensor:
    """Applies the first, 1x1 convolution to images with a border.

    The border enlarges a width of 32 to 34, which pooling reduces to 17, 8 and 4. With a single
    pooling, it would enlarge the code (8 -> 10 -> 5), so it is omitted. Since no activation
    follows, the next layer computes both convolutions.
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
    """Builds the layers that encoder and discriminator have in common, all but the last."""
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
    """Builds the encoder f, from images (N, H, W, C) in [-1, 1] to float32 codes.

    Codes have the shape (N, latent_width, latent_width, latent_channels), or (N, latent_dim) if
    `latent_dim` is given.

    Args:
        image_shape: (H, W, C) with H = W = `latent_width` times a power of two, at least 2.
        latent_channels: feature maps of a spatial code; 2, 16 and 64 for the paper's d_h of 32,
            256 and 1024. Ignored if `latent_dim` is given.
        latent_width: height and width of a spatial code.
        depth: channels at full resolution.
        leaky_relu_slope: slope of LeakyReLU below zero.
        instance_norm_epsilon: constant added to the variance by instance normalisation.
        latent_dim: length of vector codes, which a dense layer computes instead of the last
            convolution; or None for spatial codes.
        normalization: "instance" for instance normalisation before every LeakyReLU, or None (the
            original ACAI).
        kernel_initializer: initializer of the convolutions: the name, class or unseeded instance of
            a Keras initializer. Each layer gets its own copy.
        border: width in pixels of the zero padding before the first convolution, 1 (the AMR
            authors' code) or 0 (the original ACAI). With a single halving there is no padding.
        name: the model's name.

    Raises:
        ValueError: a size is not positive or does not fit `latent_width`, the normalisation or
            border is not allowed, or the initializer has a seed.
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
    """Builds the decoder g, from codes to float32 images (N, H, W, C).

    See `build_encoder` for the arguments not listed here.

    Args:
        image_shape: see `build_encoder`.
        output_activation: None (as in the paper), or a Keras activation, such as "tanh" to keep
            images within [-1, 1], in a final `keras.layers.Activation` named "out".
        latent_dim: length of vector codes, which a dense layer maps to feature maps; or None for
            spatial codes.
        name: the model's name.

    Raises:
        ValueError: the activation is unknown to Keras; or see `build_encoder`.
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
    """Maps vector codes to feature maps of the given shape with a dense layer."""
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
    """Builds the discriminator D, from images (N, H, W, C) to float32 logits (N,), high for real.

    It has the encoder's structure, but with spectral normalisation of all convolutions except the
    first instead of instance normalisation. The logit is the mean over the last maps. See
    `build_encoder` for the arguments not listed here.

    Args:
        image_shape: see `build_encoder`.
        latent_channels: number of feature maps whose mean is the logit.
        normalization: "spectral", or None (the original ACAI).
        num_classes: number of classes or attributes of a classifier branch on the top block, as in
            an AC-GAN (paper, section 2.2), or None. With a branch, the model returns [logits, class
            logits (N, num_classes)].
        name: the model's name.

    Raises:
        ValueError: `num_classes` is not positive; or see `build_encoder`.
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
    """Builds an auto-encoding discriminator, as in BEGAN (Berthelot et al. 2017) and GAIA.

    It maps images (N, H, W, C) to float32 images of the same shape, and tells real from fake by how
    well it reproduces them. See `build_encoder` for the arguments and errors of its encoder and
    decoder.
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
