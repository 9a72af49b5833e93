"""Models: `keras.Model` subclasses with the method's training step."""

from amr_tf.models.amr import AMR
from amr_tf.models.base import ResynthesisModel

__all__ = ["AMR", "ResynthesisModel"]
