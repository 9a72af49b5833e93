"""Models: `keras.Model`s that train auto-encoders whose codes are mixed, one method a class."""

from amr_tf.models.acai import ACAI, OriginalACAI
from amr_tf.models.amr import AEGAN, AMR, PixelMixup
from amr_tf.models.base import ResynthesisModel
from amr_tf.models.gaia import GAIA
from amr_tf.models.supervised import SupervisedAMR
from amr_tf.models.vae import VAE, BetaVAE
from amr_tf.registry import Registry

METHODS = Registry("method")
"""Classes by the names that `--method` takes."""
for _name, _class in (
    ("amr", AMR),
    ("ae_gan", AEGAN),
    ("pixel_mixup", PixelMixup),
    ("supervised_amr", SupervisedAMR),
    ("acai", ACAI),
    ("acai_original", OriginalACAI),
    ("gaia", GAIA),
    ("vae", VAE),
    ("beta_vae", BetaVAE),
):
    METHODS.register(_name)(_class)

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
    "SupervisedAMR",
]
