"""Mixers: Keras layers that recombine the codes of k images into new codes.

The base class is in `base`, which also shows how to add a mixer. `MIXERS` lists them by name.
"""

from amr_tf.mixers.base import MIXERS, Mixer, get
from amr_tf.mixers.bernoulli import BernoulliMixup
from amr_tf.mixers.composite import CompositeMixer
from amr_tf.mixers.learned import LearnedMixup
from amr_tf.mixers.mixup import ChannelwiseMixup, FoldedMixup, GaussianMixup, Mixup, SphericalMixup
from amr_tf.mixers.spatial import SpatialMixup
from amr_tf.mixers.style import StyleMixup
from amr_tf.mixers.supervised import SupervisedBernoulliMixup

__all__ = [
    "MIXERS",
    "BernoulliMixup",
    "ChannelwiseMixup",
    "CompositeMixer",
    "FoldedMixup",
    "GaussianMixup",
    "LearnedMixup",
    "Mixer",
    "Mixup",
    "SpatialMixup",
    "SphericalMixup",
    "StyleMixup",
    "SupervisedBernoulliMixup",
    "get",
]
