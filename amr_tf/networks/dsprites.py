"""Networks for dSprites (paper, table 4): vector codes, and a residual discriminator.

Encoder and decoder are those of Burgess et al. (2018, "Understanding disentangling in beta-VAE",
appendix A.1). The discriminator consists of the residual blocks of Miyato et al. (2018, appendix).
All reduce images to 4 x 4, with one convolution or block for each halving.
"""

import keras
from keras import ops

from amr_tf import checks
from amr_tf.networks.blocks import (
    activate,
    check_image_shape,
    critic,
    dense_logits,
    spectral_convolution,
)
from amr_tf.types import Activation, Tensor

CHANNELS = 32
HIDDEN = 256
SMALLEST_WIDTH = 4


def build_dsprites_encoder(
    image_shape: tuple[int, ...] = (64, 64, 1), latent_dim: int = 10, name: str = "encoder"
) -> keras.Model:
    """Builds the encoder f, from images (N, H, W, C) in [-1, 1] to float32 codes (N, latent_dim).

    It consists of 4x4 convolutions with 32 channels and stride 2 (four for a width of 64), two
    dense layers of 256 units, all with ReLU, and a dense layer to the code.

    Args:
        image_shape: (64, 64, C) in the paper; (H, W, C) with H = W = 8, 16, 32, 64, ...
        latent_dim: the length of a code.
        name: the model's name.

    Raises:
        ValueError: a size is not positive, or `image_shape` is not allowed.
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
    """Builds the decoder g, from codes (N, latent_dim) to float32 images (N, H, W, C).

    It is the encoder's transpose. Burgess et al. apply a sigmoid to the logits of Bernoulli pixels.
    Images here lie in [-1, 1], and `tanh(l) = 2 sigmoid(2 l) - 1` is the sigmoid rescaled to this
    range. `losses.binary_crossentropy` takes the logits l.

    Args:
        image_shape: see `build_dsprites_encoder`.
        latent_dim: the length of a code.
        output_activation: a Keras activation, in a final `keras.layers.Activation` named "out"; or
            None.
        name: the model's name.

    Raises:
        ValueError: the activation is unknown to Keras; or see `build_dsprites_encoder`.
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
    """Builds a residual discriminator, from images (N, H, W, C) to float32 logits (N,).

    Each of Miyato et al.'s blocks has two 3x3 convolutions and a 1x1 shortcut, with ReLU before
    the convolutions, except on the image. Blocks with average pooling reduce the image to 4 x 4.
    A block without pooling, ReLU, the sum over positions, and a dense layer follow. The first block
    has `depth` channels, the second twice as many, and all others four times as many. Every
    convolution and the dense layer are spectrally normalised.

    Args:
        image_shape: see `build_dsprites_encoder`.
        depth: channels of the first block.
        num_classes: number of classes or attributes of a classifier branch on the last block, as in
            an AC-GAN, or None. With a branch, the model returns [logits, class logits
            (N, num_classes)].
        name: the model's name.

    Raises:
        ValueError: a size is not positive, or `image_shape` is not allowed.
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


def _first_block(images: Tensor, channels: int) -> Tensor:
    """Applies the first block, which has no ReLU on the image and pools before the shortcut."""
    x = spectral_convolution(channels, 3, "block0_a")(images)
    x = keras.layers.ReLU(name="block0_relu")(x)
    x = spectral_convolution(channels, 3, "block0_b")(x)
    x = keras.layers.AveragePooling2D(2, name="block0_pool")(x)
    shortcut = keras.layers.AveragePooling2D(2, name="block0_shortcut_pool")(images)
    shortcut = spectral_convolution(channels, 1, "block0_shortcut")(shortcut)
    return keras.layers.Add(name="block0_add")([x, shortcut])


def _block(inputs: Tensor, channels: int, name: str) -> Tensor:
    """Applies a residual block without pooling. Pooling its sum pools both branches."""
    x = keras.layers.ReLU(name=f"{name}_relu_a")(inputs)
    x = spectral_convolution(channels, 3, f"{name}_a")(x)
    x = keras.layers.ReLU(name=f"{name}_relu_b")(x)
    x = spectral_convolution(channels, 3, f"{name}_b")(x)
    shortcut = spectral_convolution(channels, 1, f"{name}_shortcut")(inputs)
    return keras.layers.Add(name=f"{name}_add")([x, shortcut])
