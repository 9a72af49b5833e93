"""Networks: functions that build Keras functional models."""

from amr_tf.networks.convolutional import (
    ACAINormal,
    build_decoder,
    build_discriminator,
    build_encoder,
)
from amr_tf.networks.heads import build_linear_probe

__all__ = [
    "ACAINormal",
    "build_decoder",
    "build_discriminator",
    "build_encoder",
    "build_linear_probe",
]
