"""The convolutional networks of the paper's tables, after Berthelot et al. (2019, ACAI).

`scales = log2(width / latent_width)` halvings lead from an image of width x width to a code of
latent_width x latent_width; the number of channels doubles with each from `depth`.
"""

import math

import keras
from keras import ops

from amr_tf.layers import SpectralNormalization

LEAKY_RELU_SLOPE = 0.01
INSTANCE_NORM_EPSILON = 1e-5


@keras.saving.register_keras_serializable(package="amr_tf")
class ACAINormal(keras.initializers.Initializer):
    """Normal with standard deviation `1 / sqrt((1 + 0.2^2) * out * in * kernel_height)`.

    The scale of the released code: He's with a slope of 0.2, but over all of a PyTorch kernel's
    axes but the last, (out, in, height).
    """

    def __init__(self, seed=None):
        self.seed = seed
        # A generator, so that an initialiser without a seed draws anew at each call.
        self._draws = keras.random.SeedGenerator() if seed is None else seed

    def __call__(self, shape, dtype=None):
        height, _, inputs, outputs = shape
        stddev = 1.0 / math.sqrt((1.0 + 0.2**2) * outputs * inputs * height)
        return keras.random.normal(shape, stddev=stddev, dtype=dtype, seed=self._draws)

    def get_config(self):
        return {"seed": self.seed}


def _check_sizes(image_shape, latent_width, latent_channels, depth):
    """The number of scales, after checking that the networks can be built."""
    if len(image_shape) != 3:
        raise ValueError(f"image_shape must be (height, width, channels); got {image_shape}.")
    for name, value in (
        ("latent_width", latent_width),
        ("latent_channels", latent_channels),
        ("depth", depth),
        ("channels", image_shape[2]),
    ):
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be a positive integer; got {value!r}.")
    height, width, _ = image_shape
    scales = round(math.log2(width / latent_width)) if width >= latent_width else 0
    if height != width or scales < 1 or latent_width << scales != width:
        raise ValueError(
            f"Images must be square, with a width that is latent_width = {latent_width} times 2, "
            f"4, 8, ...; got {height} x {width}."
        )
    return scales


def _convolution(channels, kernel_size, name, dtype=None):
    return keras.layers.Conv2D(
        channels,
        kernel_size,
        padding="same",
        kernel_initializer=ACAINormal(),
        name=name,
        dtype=dtype,
    )


def _first_convolution(x, scales, depth):
    """The 1x1 convolution, whose padding turns 32 into 34, then 17, 8 and 4 by pooling.

    With a single pooling the padding would survive into the code (8 -> 10 -> 5), so it is left
    out there.
    """
    if scales > 1:
        x = keras.layers.ZeroPadding2D(1, name="padding")(x)
    return _convolution(depth, 1, "conv_in")(x)


class _NormalizedBlock:
    """3x3 convolution, instance normalisation, LeakyReLU."""

    def __init__(self, slope, epsilon):
        self.slope = slope
        self.epsilon = epsilon

    def __call__(self, x, channels, name):
        x = _convolution(channels, 3, f"{name}_conv")(x)
        x = keras.layers.GroupNormalization(groups=-1, epsilon=self.epsilon, name=f"{name}_norm")(x)
        return keras.layers.LeakyReLU(self.slope, name=f"{name}_relu")(x)


class _SpectralBlock:
    """Spectrally normalised 3x3 convolution, LeakyReLU."""

    def __init__(self, slope):
        self.slope = slope

    def __call__(self, x, channels, name):
        convolution = _convolution(channels, 3, f"{name}_kernel")
        x = SpectralNormalization(convolution, name=f"{name}_conv")(x)
        return keras.layers.LeakyReLU(self.slope, name=f"{name}_relu")(x)


def _downscale(images, scales, depth, block):
    """The body that encoder and discriminator share, up to their last convolution."""
    x = _first_convolution(images, scales, depth)
    for scale in range(scales):
        x = block(x, depth << scale, f"scale{scale}_a")
        x = block(x, depth << scale, f"scale{scale}_b")
        x = keras.layers.AveragePooling2D(2, name=f"scale{scale}_pool")(x)
    return block(x, depth << scales, "top")


def build_encoder(
    image_shape,
    latent_channels=2,
    latent_width=4,
    depth=16,
    leaky_relu_slope=LEAKY_RELU_SLOPE,
    instance_norm_epsilon=INSTANCE_NORM_EPSILON,
    name="encoder",
):
    """The encoder f: images (N, H, W, C) in [-1, 1] to codes (N, h, h, latent_channels).

    Args:
        image_shape: (H, W, C) with H = W = `latent_width` times a power of two, at least 2.
        latent_channels: feature maps of the code; 2, 16 and 64 for the paper's d_h of 32, 256
            and 1024.
        latent_width: h.
        depth: channels at full resolution.
        leaky_relu_slope: slope of LeakyReLU below zero.
        instance_norm_epsilon: added to the variance by instance normalisation.

    Raises:
        ValueError: a size is not positive or does not fit `latent_width`.
    """
    scales = _check_sizes(image_shape, latent_width, latent_channels, depth)
    images = keras.Input(image_shape, name="images")
    block = _NormalizedBlock(leaky_relu_slope, instance_norm_epsilon)
    x = _downscale(images, scales, depth, block)
    codes = _convolution(latent_channels, 3, "conv_out", dtype="float32")(x)
    return keras.Model(images, codes, name=name)


def build_decoder(
    image_shape,
    latent_channels=2,
    latent_width=4,
    depth=16,
    leaky_relu_slope=LEAKY_RELU_SLOPE,
    instance_norm_epsilon=INSTANCE_NORM_EPSILON,
    output_activation=None,
    name="decoder",
):
    """The decoder g: codes (N, h, h, latent_channels) to images (N, H, W, C).

    Arguments and errors as of `build_encoder`; `output_activation` is None (the paper's) or any
    Keras activation, such as "tanh" for images that cannot leave [-1, 1].
    """
    scales = _check_sizes(image_shape, latent_width, latent_channels, depth)
    codes = keras.Input((latent_width, latent_width, latent_channels), name="codes")
    block = _NormalizedBlock(leaky_relu_slope, instance_norm_epsilon)
    x = codes
    for scale in reversed(range(scales)):
        x = block(x, depth << scale, f"scale{scale}_a")
        x = block(x, depth << scale, f"scale{scale}_b")
        x = keras.layers.UpSampling2D(2, name=f"scale{scale}_upsample")(x)
    x = block(x, depth, "top")
    images = _convolution(image_shape[2], 3, "conv_out", dtype="float32")(x)
    if output_activation is not None:
        images = keras.layers.Activation(output_activation, name="out", dtype="float32")(images)
    return keras.Model(codes, images, name=name)


def build_discriminator(
    image_shape,
    latent_channels=2,
    latent_width=4,
    depth=16,
    leaky_relu_slope=LEAKY_RELU_SLOPE,
    name="discriminator",
):
    """The discriminator D: images (N, H, W, C) to float32 logits (N,), high for real.

    The encoder's shape with spectral normalisation of every convolution but the first in place
    of instance normalisation; the logit is the mean over the last map. Arguments and errors as of
    `build_encoder`.
    """
    scales = _check_sizes(image_shape, latent_width, latent_channels, depth)
    images = keras.Input(image_shape, name="images")
    x = _downscale(images, scales, depth, _SpectralBlock(leaky_relu_slope))
    last = _convolution(latent_channels, 3, "kernel_out", dtype="float32")
    x = SpectralNormalization(last, name="conv_out")(x)
    logits = ops.mean(x, axis=(1, 2, 3))
    return keras.Model(images, logits, name=name)
