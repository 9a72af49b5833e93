"""Networks: functions that build Keras functional models."""

from amr_tf.networks.blocks import PortNormal
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
from amr_tf.networks.heads import PROBES, build_linear_probe, build_mlp_probe
from amr_tf.networks.mlp import build_mlp_decoder, build_mlp_discriminator, build_mlp_encoder
from amr_tf.networks.residual import (
    build_photo_decoder,
    build_photo_discriminator,
    build_photo_encoder,
)

__all__ = [
    "PROBES",
    "PortNormal",
    "build_autoencoding_discriminator",
    "build_decoder",
    "build_discriminator",
    "build_dsprites_decoder",
    "build_dsprites_encoder",
    "build_encoder",
    "build_linear_probe",
    "build_mlp_decoder",
    "build_mlp_discriminator",
    "build_mlp_encoder",
    "build_mlp_probe",
    "build_photo_decoder",
    "build_photo_discriminator",
    "build_photo_encoder",
    "build_residual_discriminator",
]
