"""amr_tf: auto-encoders whose latent codes can be mixed (adversarial mixup resynthesis)."""

import importlib
import os
import pathlib
import platform
import sys
from typing import Any

# TensorFlow's C++ code logs messages about its graph optimizer to standard error. Errors reach
# Python as exceptions anyway. Set the variable yourself to see the log.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from amr_tf._startup import check_backend, keep_programs, use_onednn, without_startup_lines

check_backend(os.environ.get("KERAS_BACKEND") or "tensorflow")
use_onednn(os.environ, platform.machine(), late="tensorflow" in sys.modules)
keep_programs(os.environ, pathlib.Path("/dev"))
with without_startup_lines():
    import keras
check_backend(keras.backend.backend())

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
    SphericalMixup,
    StyleMixup,
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
from amr_tf.perceptual import PerceptualLoss
from amr_tf.version import __version__

# Imported on first use: `amr_tf.hub.push_to_hub` works after `import amr_tf`.
_LAZY = ("experiments", "figures", "hub", "metrics", "rest", "runs", "savedmodel", "search")


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


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
    "PerceptualLoss",
    "PixelMixup",
    "ResynthesisModel",
    "SpatialMixup",
    "SphericalMixup",
    "StyleMixup",
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
