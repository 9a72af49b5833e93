"""Adversarial mixup resynthesis (Beckham et al. 2019), its case without mixes, and in pixels."""

import keras
import numpy as np
import tensorflow as tf

from amr_tf import checks
from amr_tf.models.base import ResynthesisModel


@keras.saving.register_keras_serializable(package="amr_tf")
class AMR(ResynthesisModel):
    """An auto-encoder whose decoded mixes of codes must look real (paper, equation 3).

    The auto-encoder minimises `lambda * reconstruction + gan(D(g(h)), 1) + gan(D(g(mix)), 1) +
    beta * |mix - f(g(mix))|`, the discriminator `gan(D(x), 1) + gan(D(g(h)), 0) +
    gan(D(g(mix)), 0)`. Without a mixer the terms of mixes are left out: AE+GAN (equation 2).

    Arguments as of `ResynthesisModel`; `AMR.convolutional` builds the paper's networks.

    Example:

    >>> model = AMR.convolutional((32, 32, 1), mixer="mixup", k=3, num_classes=10)
    >>> model.compile(lambda_=10.0)
    """

    def autoencoder_losses(self, step):
        reconstruction = self._reconstruction_loss(step.images, step.reconstructions)
        adversarial = sum(self._gan_loss(step.verdicts[group], 1.0) for group in step.decoded)
        terms = {"reconstruction_loss": reconstruction, "adversarial_loss": adversarial}
        return self.lambda_ * reconstruction + adversarial, terms

    def discriminator_losses(self, step):
        loss = self._gan_loss(step.verdicts["real"], 1.0)
        for group in step.decoded:
            loss = loss + self._gan_loss(step.verdicts[group], 0.0)
        return loss, {}


@keras.saving.register_keras_serializable(package="amr_tf")
class AEGAN(AMR):
    """The adversarial reconstruction auto-encoder (paper, equation 2): AMR without a mixer."""

    MIXES = False


@keras.saving.register_keras_serializable(package="amr_tf")
class PixelMixup(AMR):
    """The baseline that mixes images, not codes: AMR of blends, encoded and decoded again.

    The mixer recombines the images in pixel space, as mixup (Zhang et al. 2018) does; the
    blends pass through the auto-encoder, which learns to render them as something real. All
    losses are AMR's, so what differs is only where the mixing takes place.
    """

    @property
    def mixed_shape(self):
        """Shape of what the mixer mixes: an image's."""
        return self.image_shape

    def make_latents(self, step, training):
        if self.mixer is None:
            return super().make_latents(step, training)
        images = tf.cast(step.images, "float32")
        both = tf.concat([images, tf.cast(self._mix(step, images), "float32")], axis=0)
        step.codes, blends = tf.split(self.encoder(both, training=training), 2)
        return {"reconstruction": step.codes, "mix": blends}

    def _before_mixing(self, images, batch_size):
        images = np.asarray(images, dtype="float32")
        checks.check_images(images, self.image_shape)
        return images

    def _after_mixing(self, mixed, batch_size):
        return self.predict(mixed, batch_size=batch_size, verbose=0)
