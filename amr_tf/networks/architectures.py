"""Architectures: functions from an image's shape to matching encoder, decoder and critic.

Each takes the image's shape, its own parameters, which have defaults, and three keyword arguments
that come from the method: `encoder_outputs`, `critic` and `num_classes`.
"""

from typing import Any, NamedTuple

import keras

from amr_tf import checks
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
from amr_tf.networks.mlp import (
    HIDDEN,
    build_mlp_decoder,
    build_mlp_discriminator,
    build_mlp_encoder,
)
from amr_tf.networks.residual import (
    build_photo_decoder,
    build_photo_discriminator,
    build_photo_encoder,
    default_stem,
)
from amr_tf.registry import Registry

ARCHITECTURES = Registry(
    "architecture",
    context={
        "image_shape": "the data",
        "encoder_outputs": "the method",
        "critic": "the method",
        "num_classes": "the data",
    },
)
"""Functions that return `Networks`, by the names that `--architecture` takes."""

# The kinds of critics that each architecture offers, besides None.
_CRITICS = {
    "acai": ("logits", "classifier", "autoencoder"),
    "convolutional": ("logits", "classifier", "autoencoder"),
    "dsprites": ("logits", "classifier"),
    "mlp": ("logits",),
    "residual": ("logits", "classifier"),
}


class Networks(NamedTuple):
    """Matching networks; the discriminator is None for methods without one."""

    encoder: keras.Model
    decoder: keras.Model
    discriminator: keras.Model | None


@ARCHITECTURES.register("convolutional")
def convolutional(
    image_shape: tuple[int, ...],
    latent_channels: int = 2,
    latent_width: int = 4,
    latent_dim: int | None = None,
    depth: int = 16,
    output_activation: str | None = None,
    *,
    encoder_outputs: int = 1,
    critic: str | None = "logits",
    num_classes: int | None = None,
) -> Networks:
    """The networks used for the paper's tables; see `amr_tf.networks.build_encoder`.

    Args:
        image_shape: (H, W, C) with H = W = `latent_width` times a power of two, at least 2.
        latent_channels: feature maps of a code.
        latent_width: height and width of a code.
        latent_dim: the length of vector codes, or None for spatial ones.
        depth: channels of the networks at full resolution.
        output_activation: the name of a Keras activation for the decoder, or None.
        encoder_outputs: number of encoder outputs per element of a code; 2 for a VAE.
        critic: "logits", "classifier", "autoencoder", or None.
        num_classes: number of classes of the classifier branch.

    Returns:
        `Networks`. The encoder, the decoder and an auto-encoding critic have instance
        normalisation, the other critics spectral normalisation.

    Raises:
        ValueError: a size or name is not allowed.
    """
    _check_images("convolutional", image_shape)
    _check_request("convolutional", critic, num_classes, encoder_outputs=encoder_outputs)
    sizes: dict[str, Any] = {
        "latent_channels": latent_channels,
        "latent_width": latent_width,
        "depth": depth,
    }
    return Networks(
        _encoder(image_shape, sizes, latent_dim, encoder_outputs),
        build_decoder(
            image_shape, **sizes, latent_dim=latent_dim, output_activation=output_activation
        ),
        _discriminator(image_shape, sizes, critic, num_classes),
    )


@ARCHITECTURES.register("acai")
def acai(
    image_shape: tuple[int, ...],
    latent_channels: int = 2,
    latent_width: int = 4,
    latent_dim: int | None = None,
    depth: int = 16,
    output_activation: str | None = None,
    *,
    encoder_outputs: int = 1,
    critic: str | None = "logits",
    num_classes: int | None = None,
) -> Networks:
    """The networks of ACAI's authors (Berthelot et al. 2019).

    They differ from `convolutional` in having no normalisation, no border around the images, a
    LeakyReLU slope of 0.2, and He's initialiser for this slope: normal with standard deviation
    `1 / sqrt((1 + 0.2^2) * height * width * in)`.

    Args:
        image_shape: (H, W, C) with H = W = `latent_width` times a power of two, at least 2.
        latent_channels: feature maps of a code.
        latent_width: height and width of a code.
        latent_dim: the length of vector codes, or None for spatial ones.
        depth: channels of the networks at full resolution.
        output_activation: the name of a Keras activation for the decoder, or None.
        encoder_outputs: number of encoder outputs per element of a code; 2 for a VAE.
        critic: "logits", "classifier", "autoencoder", or None.
        num_classes: number of classes of the classifier branch.

    Raises:
        ValueError: a size or name is not allowed.
    """
    _check_images("acai", image_shape)
    _check_request("acai", critic, num_classes, encoder_outputs=encoder_outputs)
    sizes: dict[str, Any] = {
        "latent_channels": latent_channels,
        "latent_width": latent_width,
        "depth": depth,
    }
    slope = 0.2
    style = {
        "normalization": None,
        "leaky_relu_slope": slope,
        "kernel_initializer": keras.initializers.VarianceScaling(
            1 / (1 + slope**2), mode="fan_in", distribution="untruncated_normal"
        ),
    }
    return Networks(
        _encoder(image_shape, sizes, latent_dim, encoder_outputs, border=0, **style),
        build_decoder(
            image_shape,
            **sizes,
            latent_dim=latent_dim,
            output_activation=output_activation,
            **style,
        ),
        _discriminator(image_shape, sizes, critic, num_classes, border=0, **style),
    )


def _encoder(
    image_shape: tuple[int, ...],
    sizes: dict[str, Any],
    latent_dim: int | None,
    outputs: int,
    **style: Any,
) -> keras.Model:
    """Builds an encoder with `outputs` values per code element; passes `style` to the builder."""
    # Checked before the multiplication, so that messages name the user's value.
    checks.check_positive_integer("latent_channels", sizes["latent_channels"])
    if latent_dim is not None:
        checks.check_positive_integer("latent_dim", latent_dim)
        latent_dim *= outputs
    channels = outputs * sizes["latent_channels"]
    sizes = {**sizes, "latent_channels": channels, "latent_dim": latent_dim}
    return build_encoder(image_shape, **sizes, **style)


def _discriminator(
    image_shape: tuple[int, ...],
    sizes: dict[str, Any],
    critic: str | None,
    num_classes: int | None,
    **style: Any,
) -> keras.Model | None:
    """Builds a convolutional critic of the given kind, or None; passes `style` to the builder."""
    if critic is None:
        return None
    if critic == "autoencoder":
        return build_autoencoding_discriminator(image_shape, **sizes, **style)
    num_classes = num_classes if critic == "classifier" else None
    return build_discriminator(image_shape, **sizes, num_classes=num_classes, **style)


@ARCHITECTURES.register("dsprites")
def dsprites(
    image_shape: tuple[int, ...],
    latent_dim: int = 10,
    depth: int = 32,
    output_activation: str | None = "tanh",
    *,
    encoder_outputs: int = 1,
    critic: str | None = "logits",
    num_classes: int | None = None,
) -> Networks:
    """Encoder and decoder of Burgess et al. (2018) with vector codes, and a residual discriminator.

    Args:
        image_shape: (H, W, C) with H = W a power of two, at least 8; 64 in the paper.
        latent_dim: the length of a code.
        depth: channels of the discriminator's first block.
        output_activation: the name of a Keras activation for the decoder, or None.
        encoder_outputs: number of encoder outputs per element of a code; 2 for a VAE.
        critic: "logits", "classifier", or None.
        num_classes: number of classes of the classifier branch.

    Raises:
        ValueError: a size or name is not allowed.
    """
    _check_images("dsprites", image_shape)
    _check_request(
        "dsprites",
        critic,
        num_classes,
        encoder_outputs=encoder_outputs,
        latent_dim=latent_dim,
        depth=depth,
    )
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


@ARCHITECTURES.register("residual")
def residual(
    image_shape: tuple[int, ...],
    latent_channels: int = 16,
    latent_width: int = 8,
    width: int = 64,
    blocks: int = 2,
    stem: int | None = None,
    attention: int | None = None,
    blur: bool = True,
    critic_width: int = 32,
    critic_gain: float = 4.0,
    output_activation: str | None = None,
    *,
    encoder_outputs: int = 1,
    critic: str | None = "logits",
    num_classes: int | None = None,
) -> Networks:
    """Residual networks for photographs of 16 to 256 pixels; see `amr_tf.networks.residual`.

    Args:
        image_shape: (H, W, C) with H = W = `latent_width` times a power of two, at least 2.
        latent_channels: feature maps of a code.
        latent_width: height and width of a code.
        width: channels of the auto-encoder's first blocks.
        blocks: number of residual blocks at each resolution.
        stem: side in pixels of the square that becomes one position of the first maps; None for
            half of the image's width over `latent_width`, at most 4.
        attention: width of the maps whose blocks are each followed by self-attention, such as 8; or
            None.
        blur: whether the decoder applies `Blur2D` after each upsampling convolution of its stem
            except the last. This has an effect only if `stem` is at least 4. Without it, mixes can
            show a lattice after long training.
        critic_width: channels of the discriminator's first block.
        critic_gain: factor by which the discriminator amplifies the finest details of images.
        output_activation: the name of a Keras activation for the decoder, or None.
        encoder_outputs: number of encoder outputs per element of a code; 2 for a VAE.
        critic: "logits", "classifier", or None.
        num_classes: number of classes of the classifier branch.

    Raises:
        ValueError: a size or name is not allowed.
    """
    _check_images("residual", image_shape)
    checked = {"latent_channels": latent_channels, "critic_width": critic_width}
    _check_request("residual", critic, num_classes, encoder_outputs=encoder_outputs, **checked)
    sizes: dict[str, Any] = {
        "latent_width": latent_width,
        "width": width,
        "blocks": blocks,
        "stem": stem,
        "attention": attention,
    }
    encoder = build_photo_encoder(image_shape, encoder_outputs * latent_channels, **sizes)
    decoder = build_photo_decoder(
        image_shape, latent_channels, **sizes, blur=blur, output_activation=output_activation
    )
    discriminator = None
    if critic is not None:
        discriminator = build_photo_discriminator(
            image_shape,
            critic_width,
            stem=max((default_stem(image_shape, latent_width) if stem is None else stem) // 2, 1),
            detail_gain=critic_gain,
            num_classes=num_classes if critic == "classifier" else None,
        )
    return Networks(encoder, decoder, discriminator)


residual.older_defaults = {"blur": False}  # type: ignore[attr-defined]


@ARCHITECTURES.register("mlp")
def mlp(
    image_shape: tuple[int, ...],
    latent_dim: int = 2,
    hidden: tuple[int, ...] = HIDDEN,
    output_activation: str | None = None,
    *,
    encoder_outputs: int = 1,
    critic: str | None = "logits",
    num_classes: int | None = None,
) -> Networks:
    """Fully connected networks for points (N, D) (paper's supplement, section 7.3).

    Args:
        image_shape: (D,).
        latent_dim: the length of a code.
        hidden: widths of the hidden layers of each network, at least one.
        output_activation: the name of a Keras activation for the decoder, or None.
        encoder_outputs: number of encoder outputs per element of a code; 2 for a VAE.
        critic: "logits" or None.
        num_classes: not used, since there is no classifier branch.

    Raises:
        ValueError: a size or name is not allowed.
    """
    if len(image_shape) != 1:
        raise ValueError(f"Architecture 'mlp' is for points of shape (D,); got {image_shape}.")
    _check_request(
        "mlp", critic, num_classes, encoder_outputs=encoder_outputs, latent_dim=latent_dim
    )
    (points,) = image_shape
    return Networks(
        build_mlp_encoder(points, encoder_outputs * latent_dim, hidden),
        build_mlp_decoder(points, latent_dim, hidden, output_activation=output_activation),
        None if critic is None else build_mlp_discriminator(points, hidden),
    )


def _check_images(architecture: str, image_shape: tuple[int, ...]) -> None:
    if len(image_shape) != 3:
        raise ValueError(
            f"Architecture '{architecture}' is for images (H, W, C); got the shape {image_shape}. "
            "For points use 'mlp'."
        )


def _check_request(
    architecture: str, critic: str | None, num_classes: int | None, **sizes: Any
) -> None:
    """Raises a ValueError for a critic that an architecture does not offer, or a bad size."""
    check_choice("critic", critic, ("logits", "classifier", "autoencoder", None))
    if critic is not None and critic not in _CRITICS[architecture]:
        others = [f"'{name}'" for name, critics in _CRITICS.items() if critic in critics]
        raise ValueError(
            f"Architecture '{architecture}' has no critic of the kind '{critic}', which the "
            f"method needs; use {', '.join(others[:-1])} or {others[-1]}."
        )
    if critic == "classifier" and num_classes is None:
        raise ValueError("A critic of the kind 'classifier' needs num_classes, of labelled data.")
    for name, size in sizes.items():
        checks.check_positive_integer(name, size)
