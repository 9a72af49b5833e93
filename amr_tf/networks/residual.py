"""Residual networks for photographs, which quickly learn sharp reconstructions.

Pixels are first rearranged into channels (space to depth), so that convolutions are wide and maps
small. The blocks have no normalisation. The last convolution of each is initialised with zeros, so
that a block starts as the identity and the encoder as a linear map (Zhang et al. 2019, "Fixup
initialization"). Nearest-neighbour upsampling before a 3x3 convolution avoids checkerboard
artifacts, and a blur after the convolution avoids those of mixes. Maps are padded with copies of
their border. With zeros, uniform codes would decode to images with a frame and a lattice.
"""

import math
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from amr_tf import checks
from amr_tf.fused import LeakyReLU, UpsampledConv2D
from amr_tf.layers import Blur2D, DetailGain, ReplicationPadding2D, SpaceToDepth
from amr_tf.networks.blocks import (
    activate,
    check_image_shape,
    convolution,
    critic,
    spectral_convolution,
)
from amr_tf.types import Activation, Tensor

SLOPE = 0.2  # Of LeakyReLU below zero.
_LARGEST_STEM = 4
_MOST_DOUBLINGS = 2  # Largest number of doublings of the channels.
_HEAD_CHANNELS = 64  # Channels of each attention head.
_CRITIC_WIDTH = 4  # Width of the discriminator's last maps, whose logits are averaged.


def build_photo_encoder(
    image_shape: tuple[int, ...],
    latent_channels: int = 16,
    latent_width: int = 8,
    width: int = 64,
    blocks: int = 2,
    stem: int | None = None,
    attention: int | None = None,
    name: str = "encoder",
) -> keras.Model:
    """Builds the encoder f, from images (N, H, W, C) in [-1, 1] to float32 codes.

    Codes have the shape (N, latent_width, latent_width, latent_channels). The stem turns squares of
    `stem x stem` pixels into channels. There are `blocks` residual blocks at each resolution, which
    is halved down to `latent_width`. The number of channels starts at `width` and doubles with each
    halving, up to four times `width`.

    Args:
        image_shape: (H, W, C) with H = W = `latent_width` times a power of two, at least 2.
        latent_channels: feature maps of a code.
        latent_width: height and width of a code.
        width: channels of the first blocks.
        blocks: number of residual blocks at each resolution.
        stem: side in pixels of the square that becomes one position, a power of two up to the
            image's width over `latent_width`; None for half of that, at most 4.
        attention: width of the maps whose blocks are each followed by self-attention over all
            positions (Zhang et al. 2019, "Self-attention generative adversarial networks"), one of
            those that the blocks have, such as 8; None for no attention.
        name: the model's name.

    Raises:
        ValueError: a size is not positive or does not fit the images.
    """
    sizes = {"latent_channels": latent_channels, "width": width, "blocks": blocks}
    stem, channels = _stages(image_shape, latent_width, stem, attention, **sizes)
    images = keras.Input(image_shape, name="images")
    x = SpaceToDepth(stem, name="stem_pixels")(images)
    x = _convolve(x, channels[0], "stem")
    for stage, filters in enumerate(channels):
        if stage:
            x = SpaceToDepth(2, name=f"stage{stage}_pixels")(x)
            x = _convolve(x, filters, f"stage{stage}")
        for block in range(blocks):
            x = _block(x, filters, f"stage{stage}_block{block}", attention)
    codes = _convolve(x, latent_channels, "conv_out", dtype="float32")
    return keras.Model(images, codes, name=name)


def build_photo_decoder(
    image_shape: tuple[int, ...],
    latent_channels: int = 16,
    latent_width: int = 8,
    width: int = 64,
    blocks: int = 2,
    stem: int | None = None,
    attention: int | None = None,
    blur: bool = True,
    output_activation: Activation = None,
    name: str = "decoder",
) -> keras.Model:
    """Builds the decoder g, from codes to float32 images (N, H, W, C).

    It mirrors the encoder. Instead of the stem, it has upsampling convolutions with LeakyReLU, each
    with half as many channels as the one before, at least 4. See `build_photo_encoder` for the
    arguments not listed here.

    Args:
        image_shape: see `build_photo_encoder`.
        blur: whether a `Blur2D` follows each of these convolutions except the last, whose maps hold
            the finest details.
        output_activation: a Keras activation, such as "tanh", in a final `keras.layers.Activation`
            named "out"; or None.
        name: the model's name.

    Raises:
        ValueError: the activation is unknown to Keras; or see `build_photo_encoder`.
    """
    sizes = {"latent_channels": latent_channels, "width": width, "blocks": blocks}
    stem, channels = _stages(image_shape, latent_width, stem, attention, **sizes)
    codes = keras.Input((latent_width, latent_width, latent_channels), name="codes")
    x = _convolve(codes, channels[-1], "conv_in")
    for stage in reversed(range(len(channels))):
        for block in range(blocks):
            x = _block(x, channels[stage], f"stage{stage}_block{block}", attention)
        if stage:
            x = _upsample(x, channels[stage - 1], f"stage{stage}_up")
    # The remaining convolutions pad with zeros, which affect only this margin. It is cut off at the
    # end, which is faster than padding the inputs of each convolution with copies.
    scales = round(math.log2(stem))
    margin = 2 if blur and scales > 1 else 1
    for position in range(margin):
        x = ReplicationPadding2D(name=f"margin{position}")(x)
    for scale in reversed(range(scales)):
        filters = max(channels[0] * 2**scale // stem, 4)
        x = _activation(f"scale{scale}_relu")(x)
        x = _convolution(filters, f"scale{scale}_up", kind=UpsampledConv2D)(x)
        margin *= 2
        if blur and scale:  # The last maps hold the finest details.
            x = Blur2D(name=f"scale{scale}_blur")(x)
            margin -= 1
    x = _activation("relu_out")(x)
    images = _convolution(image_shape[2], "conv_out", dtype="float32")(x)
    images = keras.layers.Cropping2D(margin, name="images", dtype="float32")(images)
    return keras.Model(codes, activate(images, output_activation), name=name)


def build_photo_discriminator(
    image_shape: tuple[int, ...],
    width: int = 32,
    stem: int = 2,
    detail_gain: float = 4.0,
    num_classes: int | None = None,
    name: str = "discriminator",
) -> keras.Model:
    """Builds the discriminator D, from images (N, H, W, C) to float32 logits (N,), high for real.

    Space to depth and residual blocks with average pooling reduce the image to 4 x 4 patches. A
    convolution computes one logit per patch, and their mean is the logit. The blocks are spectrally
    normalised. The last convolution is not: with a spectral norm of 1, its logits would take
    hundreds of steps to reach the hinge loss's margin, and the auto-encoder would stay ahead.

    Args:
        image_shape: (H, W, C) with H = W = 8 * `stem` times a power of two, at least 1.
        width: channels of the first block. They double with each block, up to four times `width`.
        stem: side in pixels of the square that becomes one position.
        detail_gain: factor by which the finest details of the images are amplified (`DetailGain`),
            which the discriminator would overlook otherwise.
        num_classes: number of classes or attributes of a classifier branch on the last block, as in
            an AC-GAN, or None. With a branch, the model returns [logits, class logits
            (N, num_classes)].
        name: the model's name.

    Raises:
        ValueError: a size is not positive or does not fit the images.
    """
    checks.check_positive_integer("width", width)
    checks.check_positive_integer("stem", stem)
    scales = check_image_shape(image_shape, _CRITIC_WIDTH * stem)
    images = keras.Input(image_shape, name="images")
    x = DetailGain(detail_gain, name="detail")(images)
    x = SpaceToDepth(stem, name="stem")(x)
    for scale in range(scales):
        x = _spectral_block(x, width << min(scale, _MOST_DOUBLINGS), f"block{scale}", scale == 0)
        x = keras.layers.AveragePooling2D(2, name=f"block{scale}_pool")(x)
    features = _activation("features")(x)
    patches = _convolution(1, "patches", dtype="float32")(features)
    return critic(images, ops.mean(patches, axis=(1, 2, 3)), features, num_classes, name)


def default_stem(image_shape: tuple[int, ...], latent_width: int) -> int:
    """Returns the default stem: half of the image's width over `latent_width`, at most 4."""
    return min(1 << max(check_image_shape(image_shape, latent_width) - 1, 0), _LARGEST_STEM)


def _stages(
    image_shape: tuple[int, ...],
    latent_width: int,
    stem: int | None,
    attention: int | None,
    **sizes: Any,
) -> tuple[int, list[int]]:
    """Checks the sizes and returns the stem and the channels of the blocks at each resolution."""
    for name, size in {"latent_width": latent_width, **sizes}.items():
        checks.check_positive_integer(name, size)
    scales = check_image_shape(image_shape, latent_width)
    stem = default_stem(image_shape, latent_width) if stem is None else stem
    allowed = [1 << scale for scale in range(scales + 1)]
    if stem not in allowed:
        raise ValueError(f"stem must be one of {', '.join(map(str, allowed))}; got {stem!r}.")
    halvings = scales - round(math.log2(stem))
    widths = [latent_width << stage for stage in range(halvings + 1)]
    if attention is not None and attention not in widths:
        raise ValueError(
            f"attention must be the width of the maps of some blocks, one of "
            f"{', '.join(map(str, widths))}; got {attention!r}."
        )
    return stem, [sizes["width"] << min(s, _MOST_DOUBLINGS) for s in range(halvings + 1)]


def _activation(name: str) -> keras.Layer:
    return LeakyReLU(SLOPE, name=name)


def _convolution(
    channels: int,
    name: str,
    dtype: Any = None,
    kind: Callable[..., keras.Layer] = keras.layers.Conv2D,
    start: str = "glorot_uniform",
    padding: str = "same",
) -> keras.Layer:
    return convolution(channels, name, dtype, kind, kernel_initializer=start, padding=padding)


def _convolve(inputs: Tensor, channels: int, name: str, **kwargs: Any) -> Tensor:
    """Applies a convolution to maps padded with copies of their border."""
    x = ReplicationPadding2D(name=f"{name}_pad")(inputs)
    return _convolution(channels, name, padding="valid", **kwargs)(x)


def _upsample(inputs: Tensor, channels: int, name: str) -> Tensor:
    """Applies an upsampling convolution to maps padded with copies of their border."""
    x = ReplicationPadding2D(name=f"{name}_pad")(inputs)
    x = _convolution(channels, name, kind=UpsampledConv2D)(x)
    return keras.layers.Cropping2D(2, name=f"{name}_crop")(x)


def _block(inputs: Tensor, channels: int, name: str, attention: int | None) -> Tensor:
    """Applies a residual block that starts as the identity.

    Self-attention follows if the maps have the width `attention`.
    """
    x = _activation(f"{name}_relu_a")(inputs)
    x = _convolve(x, channels, f"{name}_a")
    x = _activation(f"{name}_relu_b")(x)
    x = _convolve(x, channels, f"{name}_b", start="zeros")
    x = keras.layers.Add(name=f"{name}_add")([inputs, x])
    return _attend(x, f"{name}_attention") if x.shape[1] == attention else x


def _attend(inputs: Tensor, name: str) -> Tensor:
    """Adds self-attention between positions. It starts as the identity, too."""
    channels = inputs.shape[-1]
    heads = math.gcd(channels, max(channels // _HEAD_CHANNELS, 1))
    x = keras.layers.LayerNormalization(name=f"{name}_norm")(inputs)
    attention = keras.layers.MultiHeadAttention(
        heads, channels // heads, attention_axes=(1, 2), name=name
    )
    x = attention(x, x)
    x = keras.layers.Dense(channels, kernel_initializer="zeros", name=f"{name}_out")(x)
    return keras.layers.Add(name=f"{name}_sum")([inputs, x])


def _spectral_block(inputs: Tensor, channels: int, name: str, first: bool) -> Tensor:
    """Applies a residual block of the discriminator. The first does not activate the pixels."""
    x = inputs if first else _activation(f"{name}_relu_a")(inputs)
    x = spectral_convolution(channels, 3, f"{name}_a")(x)
    x = _activation(f"{name}_relu_b")(x)
    x = spectral_convolution(channels, 3, f"{name}_b")(x)
    if inputs.shape[-1] != channels:
        inputs = spectral_convolution(channels, 1, f"{name}_shortcut")(inputs)
    return keras.layers.Add(name=f"{name}_add")([inputs, x])
