"""Adversarially constrained auto-encoder interpolation (Berthelot et al. 2019), two variants."""

import keras
import numpy as np
import tensorflow as tf

from amr_tf import checks
from amr_tf.models.base import ResynthesisModel


@keras.saving.register_keras_serializable(package="amr_tf")
class ACAI(ResynthesisModel):
    """ACAI as the paper compares with it: the critic tells how much an image was mixed.

    The critic's target for a mix is `2 min(alpha, 1 - alpha)`, 0 for real images and
    reconstructions, with the loss of AMR's GAN (binary cross-entropy). The auto-encoder minimises
    `lambda * reconstruction + gan(D(g(mix)), 0)`: no mix shall be told from an unmixed image.

    Arguments as of `ResynthesisModel`; the mixer must have k = 2 and one coefficient an example
    ("mixup", "folded").

    Raises:
        ValueError: another mixer, or none.
    """

    # Weight of the auto-encoder's adversarial term.
    adversarial_weight = 1.0

    def _check_mixer(self):
        super()._check_mixer()
        if self.mixer is None or self.mixer.k != 2:
            got = "none" if self.mixer is None else f"k = {self.mixer.k}"
            raise ValueError(
                f"{type(self).__name__} needs a mixer of k = 2, since its critic predicts the one "
                f"coefficient alpha; got {got}."
            )
        # A fixed seed, which leaves the mixer's own generator alone.
        drawn = np.asarray(self.mixer.draw_coefficients(self.mixed_shape, 256, seed=0))
        if np.prod(drawn.shape[2:]) != 1 or drawn.min() < 0 or drawn.max() > 1:
            raise ValueError(
                f"{type(self).__name__} needs one mixing coefficient in [0, 1] for each example "
                f"(mixup, folded); {type(self.mixer).__name__} draws coefficients of shape "
                f"{drawn.shape[2:]} for each parent, from {drawn.min():.3g} to {drawn.max():.3g}."
            )

    def autoencoder_losses(self, step):
        reconstruction = self._reconstruction_loss(step.images, step.reconstructions)
        adversarial = self._gan_loss(step.verdicts["mix"], 0.0)
        terms = {"reconstruction_loss": reconstruction, "adversarial_loss": adversarial}
        return self.lambda_ * reconstruction + self.adversarial_weight * adversarial, terms

    def discriminator_losses(self, step):
        alpha = _alpha(step)
        loss = self._gan_loss(step.verdicts["mix"], 2.0 * tf.minimum(alpha, 1.0 - alpha))
        loss = loss + self._gan_loss(step.verdicts["real"], 0.0)
        return loss + self._gan_loss(step.verdicts["reconstruction"], 0.0), {}


@keras.saving.register_keras_serializable(package="amr_tf")
class OriginalACAI(ACAI):
    """ACAI as in its authors' code, for comparison under our training.

    Least squares throughout: the critic's target for a mix is alpha, folded to [0, 0.5]; its
    regulariser is `D(gamma x + (1 - gamma) g(h)) -> 0`. The auto-encoder minimises
    `lambda * |x - g(h)|^2 + adversarial_weight * D(g(mix))^2`. The authors mix with the reversed
    batch ("folded") and use neither instance nor spectral normalisation.

    Arguments and errors as of `ACAI`.
    """

    NORMALIZED = False

    def compile(
        self,
        *optimizers,
        lambda_=1.0,
        reconstruction_loss="mean_squared_error",
        gan_loss="least_squares",
        adversarial_weight=0.5,
        critic_blend=0.2,
        **kwargs,
    ):
        """As `ResynthesisModel.compile`, with the authors' defaults.

        Args:
            *optimizers: as of `ResynthesisModel.compile`.
            lambda_: weight of the reconstruction.
            reconstruction_loss: likewise.
            gan_loss: "least_squares", or another for experiments.
            adversarial_weight: weight of the auto-encoder's adversarial term.
            critic_blend: gamma, the share of the real image in the regulariser's blend, 0 to 1.
            **kwargs: as of `ResynthesisModel.compile`.
        """
        checks.check_not_negative("adversarial_weight", adversarial_weight)
        checks.check_share("critic_blend", critic_blend)
        super().compile(
            *optimizers,
            lambda_=lambda_,
            reconstruction_loss=reconstruction_loss,
            gan_loss=gan_loss,
            **kwargs,
        )
        self._remember(adversarial_weight=adversarial_weight, critic_blend=critic_blend)

    def criticised(self, step):
        images = tf.cast(step.images, step.reconstructions.dtype)
        blend = self.critic_blend * images + (1.0 - self.critic_blend) * step.reconstructions
        return {"blend": blend, "mix": step.mixes}

    def discriminator_losses(self, step):
        alpha = _alpha(step)
        loss = self._gan_loss(step.verdicts["mix"], tf.minimum(alpha, 1.0 - alpha))
        return loss + self._gan_loss(step.verdicts["blend"], 0.0), {}


def _alpha(step):
    """The first parent's coefficient, (N,)."""
    return tf.reshape(step.coefficients[:, 0], (-1,))
