"""Models: `keras.Model`s that train auto-encoders whose codes are mixed, one method a class."""

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
