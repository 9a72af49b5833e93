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

from amr_tf import data, losses, mixers, networks
from amr_tf.layers import SpectralNormalization
from amr_tf.mixers import BernoulliMixup, Mixer, Mixup
from amr_tf.models import AMR, ResynthesisModel
from amr_tf.optimizers import AdamL2
from amr_tf.version import __version__

__all__ = [
    "AMR",
    "AdamL2",
    "BernoulliMixup",
    "Mixer",
    "Mixup",
    "ResynthesisModel",
    "SpectralNormalization",
    "__version__",
    "data",
    "losses",
    "mixers",
    "networks",
]
