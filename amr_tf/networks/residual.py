"""Residual networks for photographs: few steps and little time lead to sharp reconstructions.

Pixels are rearranged into channels first (space to depth), so that the convolutions are wide and
the maps small. The blocks have no normalisation; the last convolution of each starts at zero, so
that a block starts as the identity and the auto-encoder as a linear one (Zhang et al. 2019, "Fixup
initialization"). Upsampling is by nearest neighbour in front of a 3x3 convolution, which leaves no
checkerboard.
"""

import math
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from amr_tf import checks
from amr_tf.fused import LeakyReLU, UpsampledConv2D
from amr_tf.layers import SpaceToDepth, SpectralNormalization
from amr_tf.networks.blocks import activate, check_image_shape, convolution, critic
from amr_tf.types import Activation, Tensor

SLOPE = 0.2  # Of LeakyReLU below zero.
_LARGEST_STEM = 4
_MOST_DOUBLINGS = 2  # From the narrowest block to the widest.
_CRITIC_WIDTH = 4  # Of the discriminator's last maps, whose logits are averaged.


def build_photo_encoder(
    image_shape: tuple[int, ...],
    latent_channels: int = 16,
    latent_width: int = 8,
    width: int = 64,
    blocks: int = 2,
    stem: int | None = None,
    name: str = "encoder",
) -> keras.Model:
    """The encoder f: images (N, H, W, C) in [-1, 1] to float32 codes.

    Codes have the shape (N, latent_width, latent_width, latent_channels). The stem makes
    `stem x stem` pixels the channels of one position; then come `blocks` residual blocks at each
    width of the maps, which is halved until it is `latent_width`. The channels are `width` at
    first and double with each halving, up to four times `width`.

    Args:
        image_shape: (H, W, C) with H = W = `latent_width` times a power of two, at least 2.
        latent_channels: feature maps of a code.
        latent_width: height and width of a code.
        width: channels of the first blocks.
        blocks: residual blocks at each width of the maps.
        stem: pixels along an axis that become one position, a power of two up to the image's
            width over `latent_width`; None for half of that, at most 4.
        name: the model's name.

    Raises:
        ValueError: a size is not positive or does not fit the images.
    """
    sizes = {"latent_channels": latent_channels, "width": width, "blocks": blocks}
    stem, channels = _stages(image_shape, latent_width, stem, **sizes)
    images = keras.Input(image_shape, name="images")
    x = SpaceToDepth(stem, name="stem_pixels")(images)
    x = _convolution(channels[0], "stem")(x)
    for stage, filters in enumerate(channels):
        if stage:
            x = SpaceToDepth(2, name=f"stage{stage}_pixels")(x)
            x = _convolution(filters, f"stage{stage}")(x)
        for block in range(blocks):
            x = _block(x, filters, f"stage{stage}_block{block}")
    codes = _convolution(latent_channels, "conv_out", dtype="float32")(x)
    return keras.Model(images, codes, name=name)


def build_photo_decoder(
    image_shape: tuple[int, ...],
    latent_channels: int = 16,
    latent_width: int = 8,
    width: int = 64,
    blocks: int = 2,
    stem: int | None = None,
    output_activation: Activation = None,
    name: str = "decoder",
) -> keras.Model:
    """The decoder g: codes to float32 images (N, H, W, C), the encoder's mirror image.

    In place of the stem come convolutions of maps that are enlarged twofold, each with half of the
    channels.

    Args:
        image_shape: the same as for `build_photo_encoder`, and so are the arguments not listed
            here.
        output_activation: None, or any Keras activation, such as "tanh". The model then ends in a
            `keras.layers.Activation` named "out".
        name: the model's name.

    Raises:
        ValueError: for the reasons of `build_photo_encoder`, or an activation that Keras does not
            have.
    """
    sizes = {"latent_channels": latent_channels, "width": width, "blocks": blocks}
    stem, channels = _stages(image_shape, latent_width, stem, **sizes)
    codes = keras.Input((latent_width, latent_width, latent_channels), name="codes")
    x = _convolution(channels[-1], "conv_in")(codes)
    for stage in reversed(range(len(channels))):
        for block in range(blocks):
            x = _block(x, channels[stage], f"stage{stage}_block{block}")
        if stage:
            x = _convolution(channels[stage - 1], f"stage{stage}_up", kind=UpsampledConv2D)(x)
    for scale in reversed(range(round(math.log2(stem)))):
        filters = max(channels[0] * 2**scale // stem, 4)
        x = _activation(f"scale{scale}_relu")(x)
        x = _convolution(filters, f"scale{scale}_up", kind=UpsampledConv2D)(x)
    x = _activation("relu_out")(x)
    images = _convolution(image_shape[2], "conv_out", dtype="float32")(x)
    return keras.Model(codes, activate(images, output_activation), name=name)


def build_photo_discriminator(
    image_shape: tuple[int, ...],
    width: int = 32,
    stem: int = 2,
    num_classes: int | None = None,
    name: str = "discriminator",
) -> keras.Model:
    """The discriminator D: images (N, H, W, C) to float32 logits (N,), high for real.

    Space to depth, then residual blocks, each followed by average pooling, down to 4 x 4, and a
    convolution to one logit for each of these patches; the logit is their mean. The blocks are
    spectrally normalised. The last convolution is not: with a norm of 1 its logits would take
    hundreds of steps to reach the hinge loss' margin, and the auto-encoder would keep ahead.

    Args:
        image_shape: (H, W, C) with H = W = 8 `stem` times a power of two, at least 1.
        width: channels of the first block; they double with each, up to four times `width`.
        stem: pixels along an axis that become one position.
        num_classes: None, or the number of classes (or attributes) of a classifier branch off the
            last block, as in an AC-GAN. The model then returns [logits, class logits
            (N, num_classes)].
        name: the model's name.

    Raises:
        ValueError: a size is not positive or does not fit the images.
    """
    checks.check_positive_integer("width", width)
    checks.check_positive_integer("stem", stem)
    scales = check_image_shape(image_shape, _CRITIC_WIDTH * stem)
    images = keras.Input(image_shape, name="images")
    x = SpaceToDepth(stem, name="stem")(images)
    for scale in range(scales):
        x = _spectral_block(x, width << min(scale, _MOST_DOUBLINGS), f"block{scale}", scale == 0)
        x = keras.layers.AveragePooling2D(2, name=f"block{scale}_pool")(x)
    features = _activation("features")(x)
    patches = _convolution(1, "patches", dtype="float32")(features)
    return critic(images, ops.mean(patches, axis=(1, 2, 3)), features, num_classes, name)


def default_stem(image_shape: tuple[int, ...], latent_width: int) -> int:
    """The stem of images of a shape: half of what leads to a code in one step, at most 4."""
    return min(1 << max(check_image_shape(image_shape, latent_width) - 1, 0), _LARGEST_STEM)


def _stages(
    image_shape: tuple[int, ...], latent_width: int, stem: int | None, **sizes: Any
) -> tuple[int, list[int]]:
    """The stem, and the channels of the blocks at each width of the maps, after all checks."""
    for name, size in {"latent_width": latent_width, **sizes}.items():
        checks.check_positive_integer(name, size)
    scales = check_image_shape(image_shape, latent_width)
    stem = default_stem(image_shape, latent_width) if stem is None else stem
    allowed = [1 << scale for scale in range(scales + 1)]
    if stem not in allowed:
        raise ValueError(f"stem must be one of {', '.join(map(str, allowed))}; got {stem!r}.")
    halvings = scales - round(math.log2(stem))
    return stem, [sizes["width"] << min(s, _MOST_DOUBLINGS) for s in range(halvings + 1)]


def _activation(name: str) -> keras.Layer:
    return LeakyReLU(SLOPE, name=name)


def _convolution(
    channels: int,
    name: str,
    dtype: Any = None,
    kind: Callable[..., keras.Layer] = keras.layers.Conv2D,
    start: str = "glorot_uniform",
) -> keras.Layer:
    return convolution(channels, name, dtype, kind, kernel_initializer=start)


def _block(inputs: Tensor, channels: int, name: str) -> Tensor:
    """A residual block that starts as the identity."""
    x = _activation(f"{name}_relu_a")(inputs)
    x = _convolution(channels, f"{name}_a")(x)
    x = _activation(f"{name}_relu_b")(x)
    x = _convolution(channels, f"{name}_b", start="zeros")(x)
    return keras.layers.Add(name=f"{name}_add")([inputs, x])


def _spectral(channels: int, kernel_size: int, name: str, dtype: Any = None) -> keras.Layer:
    kernel = keras.layers.Conv2D(
        channels, kernel_size, padding="same", name=f"{name}_kernel", dtype=dtype
    )
    return SpectralNormalization(kernel, name=name)


def _spectral_block(inputs: Tensor, channels: int, name: str, first: bool) -> Tensor:
    """A residual block of the discriminator; before the first, pixels, there is no activation."""
    x = inputs if first else _activation(f"{name}_relu_a")(inputs)
    x = _spectral(channels, 3, f"{name}_a")(x)
    x = _activation(f"{name}_relu_b")(x)
    x = _spectral(channels, 3, f"{name}_b")(x)
    if inputs.shape[-1] != channels:
        inputs = _spectral(channels, 1, f"{name}_shortcut")(inputs)
    return keras.layers.Add(name=f"{name}_add")([inputs, x])
