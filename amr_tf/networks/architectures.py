"""Architectures: functions from an image's shape to matching encoder, decoder and critic."""

from typing import NamedTuple

import keras

from amr_tf.networks.blocks import check_choice
from amr_tf.networks.convolutional import (
    build_autoencoding_discriminator,
    build_decoder,
    build_discriminator,
    build_encoder,
)
from amr_tf.networks.dsprites import (
    build_dsprites_decoder,
    build_dsprites_encoder,
    build_residual_discriminator,
)
from amr_tf.networks.mlp import build_mlp_decoder, build_mlp_discriminator, build_mlp_encoder
from amr_tf.registry import Registry

ARCHITECTURES = Registry("architecture")
"""Functions to `Networks`, by the names that `--architecture` takes."""


class Networks(NamedTuple):
    """Networks that fit each other; the discriminator is None where a method has none."""

    encoder: keras.Model
    decoder: keras.Model
    discriminator: keras.Model | None


def _check_critic(architecture, critic, normalized, critics):
    """Raises a ValueError for what a method needs and an architecture does not have."""
    if critic not in (*critics, None):
        raise ValueError(
            f"Architecture '{architecture}' has no discriminator of the kind '{critic}', which the "
            "method needs; use 'convolutional'."
        )
    if not normalized:
        raise ValueError(
            f"Architecture '{architecture}' has no discriminator without spectral normalisation, "
            "which the method needs; use 'convolutional'."
        )


def _check_images(architecture, image_shape):
    if len(image_shape) != 3:
        raise ValueError(
            f"Architecture '{architecture}' is for images (H, W, C); got the shape {image_shape}. "
            "For points use 'mlp'."
        )


@ARCHITECTURES.register("convolutional")
def convolutional(
    image_shape,
    latent_channels=2,
    latent_width=4,
    latent_dim=None,
    depth=16,
    output_activation=None,
    encoder_outputs=1,
    critic="logits",
    normalized=True,
    num_classes=None,
):
    """The networks of the paper's tables; see `amr_tf.networks.build_encoder`.

    Args:
        image_shape: (H, W, C) with H = W = `latent_width` times a power of two, at least 2.
        latent_channels: feature maps of a code.
        latent_width: height and width of a code.
        latent_dim: the length of vector codes, or None for spatial ones.
        depth: channels of the networks at full resolution.
        output_activation: of the decoder, None or "tanh".
        encoder_outputs: the encoder's outputs for each element of a code; 2 for a VAE.
        critic: "logits", "classifier", "autoencoder", or None.
        normalized: whether the networks are normalised (instance and spectral).
        num_classes: of the classifier branch.

    Raises:
        ValueError: a size or name that is not allowed.
    """
    _check_images("convolutional", image_shape)
    check_choice("critic", critic, ("logits", "classifier", "autoencoder", None))
    sizes = {"latent_channels": latent_channels, "latent_width": latent_width, "depth": depth}
    vector = {"latent_dim": latent_dim}
    norm = {"normalization": "instance" if normalized else None}
    widened = {**sizes, "latent_channels": encoder_outputs * latent_channels}
    if latent_dim is not None:
        widened = {**sizes, "latent_dim": encoder_outputs * latent_dim}
    encoder = build_encoder(image_shape, **widened, **norm)
    decoder = build_decoder(
        image_shape, **sizes, **vector, **norm, output_activation=output_activation
    )
    discriminator = None
    if critic == "autoencoder":
        discriminator = build_autoencoding_discriminator(image_shape, **sizes, **norm)
    elif critic is not None:
        discriminator = build_discriminator(
            image_shape,
            **sizes,
            normalization="spectral" if normalized else None,
            num_classes=num_classes if critic == "classifier" else None,
        )
    return Networks(encoder, decoder, discriminator)


@ARCHITECTURES.register("dsprites")
def dsprites(
    image_shape,
    latent_dim=10,
    depth=32,
    output_activation="tanh",
    encoder_outputs=1,
    critic="logits",
    normalized=True,
    num_classes=None,
):
    """Encoder and decoder of Burgess et al. (2018), a residual discriminator; vector codes.

    Args:
        image_shape: (64, 64, C), or with another power of two, at least 8.
        latent_dim: the length of a code; None for 10.
        depth: channels of the discriminator's first block.
        output_activation: of the decoder, None or "tanh".
        encoder_outputs: the encoder's outputs for each element of a code; 2 for a VAE.
        critic: "logits", "classifier", or None.
        normalized: must be true: the discriminator is spectrally normalised.
        num_classes: of the classifier branch.

    Raises:
        ValueError: a size or name that is not allowed.
    """
    _check_images("dsprites", image_shape)
    latent_dim = 10 if latent_dim is None else latent_dim
    _check_critic("dsprites", critic, normalized, ("logits", "classifier"))
    encoder = build_dsprites_encoder(image_shape, latent_dim=encoder_outputs * latent_dim)
    decoder = build_dsprites_decoder(
        image_shape, latent_dim=latent_dim, output_activation=output_activation
    )
    discriminator = None
    if critic is not None:
        discriminator = build_residual_discriminator(
            image_shape,
            depth=depth,
            num_classes=num_classes if critic == "classifier" else None,
        )
    return Networks(encoder, decoder, discriminator)


@ARCHITECTURES.register("mlp")
def mlp(
    image_shape,
    latent_dim=2,
    output_activation=None,
    encoder_outputs=1,
    critic="logits",
    normalized=True,
    num_classes=None,
):
    """Fully connected networks for points (N, D) (paper's supplement, section 7.3).

    Args:
        image_shape: (D,).
        latent_dim: the length of a code; None for 2.
        output_activation: of the decoder, None or "tanh".
        encoder_outputs: the encoder's outputs for each element of a code; 2 for a VAE.
        critic: "logits" or None.
        normalized: must be true: the discriminator is spectrally normalised.
        num_classes: not used: there is no classifier branch.

    Raises:
        ValueError: a size or name that is not allowed.
    """
    if len(image_shape) != 1:
        raise ValueError(f"Architecture 'mlp' is for points of shape (D,); got {image_shape}.")
    latent_dim = 2 if latent_dim is None else latent_dim
    _check_critic("mlp", critic, normalized, ("logits",))
    (points,) = image_shape
    return Networks(
        build_mlp_encoder(points, latent_dim=encoder_outputs * latent_dim),
        build_mlp_decoder(points, latent_dim=latent_dim, output_activation=output_activation),
        None if critic is None else build_mlp_discriminator(points),
    )
