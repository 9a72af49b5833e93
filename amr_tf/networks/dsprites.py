"""Networks for dSprites (paper, table 4): vector codes, and a residual discriminator.

Encoder and decoder are those of Burgess et al. (2018, "Understanding disentangling in beta-VAE",
appendix A.1), the discriminator is made of the residual blocks of Miyato et al. (2018, appendix).
All halve 64 x 64 images to 4 x 4; narrower images (32, 16, 8) take a convolution or block fewer
each.
"""

import keras
from keras import ops

from amr_tf import checks
from amr_tf.layers import SpectralNormalization
from amr_tf.networks.blocks import activate, check_image_shape, critic, dense_logits
from amr_tf.types import Activation, Tensor

CHANNELS = 32
HIDDEN = 256
SMALLEST_WIDTH = 4


def build_dsprites_encoder(
    image_shape: tuple[int, ...] = (64, 64, 1), latent_dim: int = 10, name: str = "encoder"
) -> keras.Model:
    """The encoder f: images (N, H, W, C) in [-1, 1] to float32 codes (N, latent_dim).

    Convolutions of 32 channels, 4x4 with stride 2 (four for a width of 64), two dense layers of
    256, ReLU after each, and a dense layer to the code.

    Args:
        image_shape: (64, 64, C) in the paper; (H, W, C) with H = W = 8, 16, 32, 64, ...
        latent_dim: the length of a code.
        name: the model's name.

    Raises:
        ValueError: a size is not positive, or images of another shape.
    """
    scales = check_image_shape(image_shape, SMALLEST_WIDTH)
    checks.check_positive_integer("latent_dim", latent_dim)
    x = images = keras.Input(image_shape, name="images")
    for scale in range(scales):
        x = keras.layers.Conv2D(
            CHANNELS, 4, 2, padding="same", activation="relu", name=f"conv{scale}"
        )(x)
    x = keras.layers.Flatten(name="flatten")(x)
    x = keras.layers.Dense(HIDDEN, activation="relu", name="dense0")(x)
    x = keras.layers.Dense(HIDDEN, activation="relu", name="dense1")(x)
    codes = keras.layers.Dense(latent_dim, name="dense_out", dtype="float32")(x)
    return keras.Model(images, codes, name=name)


def build_dsprites_decoder(
    image_shape: tuple[int, ...] = (64, 64, 1),
    latent_dim: int = 10,
    output_activation: Activation = "tanh",
    name: str = "decoder",
) -> keras.Model:
    """The decoder g: codes (N, latent_dim) to float32 images (N, H, W, C).

    The encoder's transpose. Burgess et al. have Bernoulli pixels, whose logits go through a
    sigmoid; our images lie in [-1, 1], and `tanh(l) = 2 sigmoid(2 l) - 1` is that sigmoid
    stretched to this range. `losses.binary_crossentropy` takes the logits l.

    Args:
        image_shape: the same as for `build_dsprites_encoder`.
        latent_dim: the length of a code.
        output_activation: None, or any Keras activation; the model then ends in a
            `keras.layers.Activation` named "out".
        name: the model's name.

    Raises:
        ValueError: for the reasons of `build_dsprites_encoder`, or an activation that Keras does
            not have.
    """
    scales = check_image_shape(image_shape, SMALLEST_WIDTH)
    checks.check_positive_integer("latent_dim", latent_dim)
    codes = keras.Input((latent_dim,), name="codes")
    x = keras.layers.Dense(HIDDEN, activation="relu", name="dense0")(codes)
    x = keras.layers.Dense(HIDDEN, activation="relu", name="dense1")(x)
    shape = (SMALLEST_WIDTH, SMALLEST_WIDTH, CHANNELS)
    x = keras.layers.Dense(SMALLEST_WIDTH**2 * CHANNELS, activation="relu", name="dense2")(x)
    x = keras.layers.Reshape(shape, name="reshape")(x)
    for scale in reversed(range(1, scales)):
        x = keras.layers.Conv2DTranspose(
            CHANNELS, 4, 2, padding="same", activation="relu", name=f"conv{scale}"
        )(x)
    images = keras.layers.Conv2DTranspose(
        image_shape[2], 4, 2, padding="same", name="conv_out", dtype="float32"
    )(x)
    return keras.Model(codes, activate(images, output_activation), name=name)


def build_residual_discriminator(
    image_shape: tuple[int, ...],
    depth: int = 32,
    num_classes: int | None = None,
    name: str = "discriminator",
) -> keras.Model:
    """A spectrally normalised residual discriminator: images (N, H, W, C) to float32 logits (N,).

    Miyato et al.'s blocks: each of two 3x3 convolutions and a 1x1 shortcut, with ReLU before the
    convolutions but not on the image. Blocks that halve by average pooling lead to 4 x 4, then
    comes one that keeps the size, ReLU, the sum over positions, and a dense layer. The channels
    are `depth` in the first block, twice that in the second, and four times from there on.
    Every convolution and the last dense layer are spectrally normalised.

    Args:
        image_shape: the same as for `build_dsprites_encoder`.
        depth: channels of the first block.
        num_classes: None, or the number of classes (or attributes) of a classifier branch off the
            last block, as in an AC-GAN. The model then returns [logits, class logits
            (N, num_classes)].
        name: the model's name.

    Raises:
        ValueError: a size is not positive, or images of another shape.
    """
    scales = check_image_shape(image_shape, SMALLEST_WIDTH)
    checks.check_positive_integer("depth", depth)
    images = keras.Input(image_shape, name="images")
    x = _first_block(images, depth)
    for scale in range(1, scales):
        x = _block(x, depth << min(scale, 2), f"block{scale}")
        x = keras.layers.AveragePooling2D(2, name=f"block{scale}_pool")(x)
    x = _block(x, depth << min(scales, 2), "top")
    features = keras.layers.ReLU(name="features", dtype="float32")(x)
    logits = dense_logits(ops.sum(features, axis=(1, 2)))
    return critic(images, logits, features, num_classes, name)


def _convolution(x: Tensor, channels: int, kernel_size: int, name: str) -> Tensor:
    kernel = keras.layers.Conv2D(channels, kernel_size, padding="same", name=f"{name}_kernel")
    return SpectralNormalization(kernel, name=name)(x)


def _first_block(images: Tensor, channels: int) -> Tensor:
    """The halving block for images: no ReLU in front, and pooling before the shortcut."""
    x = _convolution(images, channels, 3, "block0_a")
    x = keras.layers.ReLU(name="block0_relu")(x)
    x = _convolution(x, channels, 3, "block0_b")
    x = keras.layers.AveragePooling2D(2, name="block0_pool")(x)
    shortcut = keras.layers.AveragePooling2D(2, name="block0_shortcut_pool")(images)
    shortcut = _convolution(shortcut, channels, 1, "block0_shortcut")
    return keras.layers.Add(name="block0_add")([x, shortcut])


def _block(inputs: Tensor, channels: int, name: str) -> Tensor:
    """A residual block that keeps the size; pooling its sum is pooling both branches."""
    x = keras.layers.ReLU(name=f"{name}_relu_a")(inputs)
    x = _convolution(x, channels, 3, f"{name}_a")
    x = keras.layers.ReLU(name=f"{name}_relu_b")(x)
    x = _convolution(x, channels, 3, f"{name}_b")
    shortcut = _convolution(inputs, channels, 1, f"{name}_shortcut")
    return keras.layers.Add(name=f"{name}_add")([x, shortcut])
