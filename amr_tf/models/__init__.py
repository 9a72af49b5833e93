"""Models: `keras.Model` subclasses that train auto-encoders on mixed codes, one per method."""

from amr_tf.models.acai import ACAI, OriginalACAI
from amr_tf.models.amr import AEGAN, AMR, PixelMixup
from amr_tf.models.base import ResynthesisModel
from amr_tf.models.gaia import GAIA
from amr_tf.models.methods import METHODS
from amr_tf.models.step import StepTensors
from amr_tf.models.supervised import SupervisedAMR
from amr_tf.models.vae import VAE, BetaVAE

__all__ = [
    "ACAI",
    "AEGAN",
    "AMR",
    "GAIA",
    "METHODS",
    "VAE",
    "BetaVAE",
    "OriginalACAI",
    "PixelMixup",
    "ResynthesisModel",
    "StepTensors",
    "SupervisedAMR",
]
