"""Generative adversarial interpolative auto-encoding (Sainburg et al. 2018)."""

import keras
import tensorflow as tf

from amr_tf import checks, replicas
from amr_tf.models.base import ResynthesisModel


@keras.saving.register_keras_serializable(package="amr_tf")
class GAIA(ResynthesisModel):
    """An auto-encoder whose discriminator is an auto-encoder too, balanced as in BEGAN.

    With `e(x, y)` the reconstruction loss, the auto-encoder minimises
    `lambda * e(x, g(h)) + e(x, D(g(h))) + e(mix, D(mix))`, the discriminator
    `e(x, D(x)) + e(x, D(g(h))) - c * e(mix, D(mix))`: it learns to reproduce real images and to
    complete reconstructions, and to fail on mixes. As in BEGAN (Berthelot et al. 2017) the
    weight c in [0, 1] starts at 0 and moves so that mixes are reproduced `balance_target` times
    as badly as real images. Mixes are drawn around the midpoint (mixer "gaussian").

    Where it differs from its authors' later simplified code: they bound the last term by
    `e(x, D(x))` in place of the weight c, and have no pixel loss (lambda 0).

    Args:
        discriminator: `keras.Model` from images to images.
        **kwargs: as of `ResynthesisModel`.

    Raises:
        ValueError: the discriminator does not return images, or there is no mixer.
    """

    METRICS = (*ResynthesisModel.METRICS, "discriminator_balance")
    CRITIC = "autoencoder"

    def create_state(self):
        self.balance = self.add_weight(
            name="balance", shape=(), initializer="zeros", trainable=False
        )

    def compile(self, *optimizers, balance_target=0.5, balance_rate=0.01, **kwargs):
        """As `ResynthesisModel.compile`; `gan_loss` plays no part.

        Args:
            *optimizers: as of `ResynthesisModel.compile`.
            balance_target: how much of the error on real images the error on mixes is held at
                (gamma in BEGAN), 0 to 1.
            balance_rate: how fast the weight of mixes moves (lambda_k in BEGAN).
            **kwargs: as of `ResynthesisModel.compile`.
        """
        checks.check_share("balance_target", balance_target)
        checks.check_not_negative("balance_rate", balance_rate)
        super().compile(*optimizers, **kwargs)
        self._remember(balance_target=balance_target, balance_rate=balance_rate)

    def _check_networks(self):
        super()._check_networks()
        if self.discriminator is None:
            raise ValueError("GAIA needs a discriminator from images to images.")
        checks.check_shape(
            "The output of GAIA's discriminator, an auto-encoder,",
            self.discriminator.output_shape,
            self.image_shape,
        )

    def _check_mixer(self):
        super()._check_mixer()
        if self.mixer is None:
            raise ValueError("GAIA needs a mixer, such as GaussianMixup().")

    def autoencoder_losses(self, step):
        error = self._reconstruction_loss
        reconstruction = error(step.images, step.reconstructions)
        adversarial = error(step.images, step.verdicts["reconstruction"])
        adversarial = adversarial + error(step.mixes, step.verdicts["mix"])
        terms = {"reconstruction_loss": reconstruction, "adversarial_loss": adversarial}
        return self.lambda_ * reconstruction + adversarial, terms

    def discriminator_losses(self, step):
        real, mixed = self._errors(step)
        completed = self._reconstruction_loss(step.images, step.verdicts["reconstruction"])
        balance = tf.convert_to_tensor(self.balance)
        return real + completed - balance * mixed, {"discriminator_balance": balance}

    def update_state(self, step):
        real, mixed = map(replicas.mean, self._errors(step))
        moved = self.balance + self.balance_rate * (self.balance_target * real - mixed)
        self.balance.assign(tf.clip_by_value(moved, 0.0, 1.0))

    def _errors(self, step):
        """How badly the discriminator reproduces real images and mixes."""
        real = self._reconstruction_loss(step.images, step.verdicts["real"])
        return real, self._reconstruction_loss(step.mixes, step.verdicts["mix"])
