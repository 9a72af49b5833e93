"""amr_tf: auto-encoders whose latent codes can be mixed (adversarial mixup resynthesis)."""

import os

# TensorFlow's C++ log talks about its own graph optimiser on standard error; errors reach Python
# as exceptions all the same. Set the variable yourself to see it.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras

if keras.backend.backend() != "tensorflow":
    raise ImportError(
        f"amr_tf runs on Keras' TensorFlow backend, but KERAS_BACKEND is "
        f"'{keras.backend.backend()}'. Set KERAS_BACKEND=tensorflow."
    )

from amr_tf import checks, data, losses, mixers, networks, optimizers
from amr_tf.augmentation import DiffAugment, ImageAugmentation
from amr_tf.layers import GaussianSampling, SpectralNormalization
from amr_tf.mixers import (
    BernoulliMixup,
    ChannelwiseMixup,
    CompositeMixer,
    FoldedMixup,
    GaussianMixup,
    LearnedMixup,
    Mixer,
    Mixup,
    SpatialMixup,
    SupervisedBernoulliMixup,
)
from amr_tf.models import (
    ACAI,
    AEGAN,
    AMR,
    GAIA,
    VAE,
    BetaVAE,
    OriginalACAI,
    PixelMixup,
    ResynthesisModel,
    SupervisedAMR,
)
from amr_tf.optimizers import AdamL2
from amr_tf.version import __version__

__all__ = [
    "ACAI",
    "AEGAN",
    "AMR",
    "GAIA",
    "VAE",
    "AdamL2",
    "BernoulliMixup",
    "BetaVAE",
    "ChannelwiseMixup",
    "CompositeMixer",
    "DiffAugment",
    "FoldedMixup",
    "GaussianMixup",
    "GaussianSampling",
    "ImageAugmentation",
    "LearnedMixup",
    "Mixer",
    "Mixup",
    "OriginalACAI",
    "PixelMixup",
    "ResynthesisModel",
    "SpatialMixup",
    "SpectralNormalization",
    "SupervisedAMR",
    "SupervisedBernoulliMixup",
    "__version__",
    "checks",
    "data",
    "losses",
    "mixers",
    "networks",
    "optimizers",
]
