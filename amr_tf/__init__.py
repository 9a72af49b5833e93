"""amr_tf: auto-encoders whose latent codes can be mixed (adversarial mixup resynthesis)."""

from amr_tf import losses, mixers, networks
from amr_tf.layers import SpectralNormalization
from amr_tf.mixers import BernoulliMixup, Mixer, Mixup
from amr_tf.models import AMR, ResynthesisModel
from amr_tf.optimizers import AdamL2

__version__ = "0.1.0"

__all__ = [
    "AMR",
    "AdamL2",
    "BernoulliMixup",
    "Mixer",
    "Mixup",
    "ResynthesisModel",
    "SpectralNormalization",
    "losses",
    "mixers",
    "networks",
]
