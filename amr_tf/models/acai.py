"""Two variants of adversarially constrained auto-encoder interpolation (Berthelot et al. 2019)."""

from collections.abc import Callable
from typing import Any, Self

import keras
import numpy as np
import tensorflow as tf

from amr_tf import checks
from amr_tf.mixers import Mixer
from amr_tf.models.base import ResynthesisModel
from amr_tf.models.methods import METHODS
from amr_tf.models.step import StepTensors
from amr_tf.types import Shape

# The optimizer of the ACAI authors' TensorFlow code.
_ADAM = "adam(learning_rate=1e-4, epsilon=1e-8)"


@METHODS.register("acai")
@keras.saving.register_keras_serializable(package="amr_tf")
class ACAI(ResynthesisModel):
    """ACAI as in the paper's comparisons: the critic predicts how much an image was mixed.

    The critic's target is `2 min(alpha, 1 - alpha)` for mixes, and 0 for real images and
    reconstructions. Its loss is AMR's GAN loss (binary cross-entropy). The auto-encoder minimises
    `lambda * reconstruction + gan(D(g(mix)), 0)`, so that mixes look unmixed. The default
    consistency loss is the mean absolute error, as in the released code.

    See `ResynthesisModel` for the arguments. The mixer must have k = 2 and one coefficient in
    [0, 1] per example ("mixup", "folded").

    Raises:
        ValueError: there is no mixer, or it does not fit.
    """

    title = "ACAI"
    compared_by_mixer = False
    critic_scores_mixes = True
    # Weight of the auto-encoder's adversarial term.
    adversarial_weight = 1.0

    def compile(
        self,
        *optimizers: str | keras.Optimizer,
        consistency_loss: str | Callable | None = "mean_absolute_error",
        **kwargs: Any,
    ) -> None:
        """Configures training; see `ResynthesisModel.compile`."""
        super().compile(*optimizers, consistency_loss=consistency_loss, **kwargs)

    @classmethod
    def check_mixer(cls, mixer: Mixer | None, mixed_shape: Shape | None = None) -> None:
        super().check_mixer(mixer, mixed_shape)
        if mixer is None or mixer.k != 2:
            got = "none" if mixer is None else f"k = {mixer.k}"
            raise ValueError(
                f"{cls.__name__} needs a mixer of k = 2, since its critic predicts the one "
                f"coefficient alpha; got {got}."
            )
        if type(mixer).weigh is not Mixer.weigh:
            raise ValueError(
                f"{cls.__name__} needs a mixer that sums codes with the coefficients that it draws "
                f"(mixup, folded); {type(mixer).__name__} has a weigh of its own."
            )
        if mixed_shape is None:
            return
        # The fixed seed leaves the mixer's own generator unchanged.
        drawn = np.asarray(mixer.draw_coefficients(mixed_shape, 256, seed=0))
        if np.prod(drawn.shape[2:]) != 1 or drawn.min() < 0 or drawn.max() > 1:
            raise ValueError(
                f"{cls.__name__} needs one mixing coefficient in [0, 1] for each example "
                f"(mixup, folded); {type(mixer).__name__} draws coefficients of shape "
                f"{drawn.shape[2:]} for each parent, from {drawn.min():.3g} to {drawn.max():.3g}."
            )

    def autoencoder_losses(self, step: StepTensors) -> tuple[tf.Tensor, dict]:
        reconstruction = self.reconstruction_error(step)
        adversarial = self.generator_loss(step.logits["mix"], 0.0)
        terms = {"reconstruction_loss": reconstruction, "adversarial_loss": adversarial}
        weight = self.adversarial_weight * self.adversarial_ramp()
        return self.lambda_ * reconstruction + weight * adversarial, terms

    def discriminator_losses(self, step: StepTensors) -> tuple[tf.Tensor, dict]:
        alpha = _alpha(step)
        loss = self.gan_loss(step.logits["mix"], 2.0 * tf.minimum(alpha, 1.0 - alpha))
        loss = loss + self.gan_loss(step.logits["real"], 0.0)
        return loss + self.gan_loss(step.logits["reconstruction"], 0.0), {}


@METHODS.register("acai_original")
@keras.saving.register_keras_serializable(package="amr_tf")
class OriginalACAI(ACAI):
    """ACAI as in its authors' code (Berthelot et al. 2019), with this library's training loop.

    All losses are least squares. The critic's target for a mix is alpha, folded to [0, 0.5]; its
    regulariser is `D(gamma x + (1 - gamma) g(h)) -> 0`. The auto-encoder minimises
    `lambda * |x - g(h)|^2 + adversarial_weight * D(g(mix))^2`. By default, `create` builds the
    authors' networks ("acai", with neither instance nor spectral normalisation) and mixes with
    the reversed batch ("folded"), and `compile` uses their Adam settings, without weight decay.

    See `ACAI` for the arguments and errors.
    """

    title = "ACAI (original)"
    unused_settings = ("feature_matching",)  # Its critic does not see reconstructions.
    setting_checks = {
        **ACAI.setting_checks,
        "adversarial_weight": checks.check_not_negative,
        "critic_blend": checks.check_share,
    }

    @classmethod
    def create(
        cls,
        image_shape: tuple[int, ...],
        architecture: str = "acai",
        mixer: Mixer | str | None = "folded",
        **kwargs: Any,
    ) -> Self:
        """Creates a model; see `ResynthesisModel.create`."""
        return super().create(image_shape, architecture, mixer, **kwargs)

    def compile(
        self,
        autoencoder_optimizer: str | keras.Optimizer = _ADAM,
        discriminator_optimizer: str | keras.Optimizer = _ADAM,
        *probe_optimizer: str | keras.Optimizer,
        lambda_: float = 1.0,
        reconstruction_loss: str | Callable = "mean_squared_error",
        gan_loss: str | Callable = "least_squares",
        adversarial_weight: float = 0.5,
        critic_blend: float = 0.2,
        **kwargs: Any,
    ) -> None:
        """Configures training, by default with the ACAI authors' settings.

        Args:
            autoencoder_optimizer: optimizer of encoder, decoder and mixer.
            discriminator_optimizer: optimizer of the critic.
            *probe_optimizer: optimizer of the probe.
            lambda_: weight of the reconstruction loss.
            reconstruction_loss: see `ResynthesisModel.compile`.
            gan_loss: see `ResynthesisModel.compile`.
            adversarial_weight: weight of the auto-encoder's adversarial term.
            critic_blend: gamma, the weight of the real image in the regulariser's blend, 0 to 1.
            **kwargs: passed on to `ResynthesisModel.compile`.
        """
        super().compile(
            autoencoder_optimizer,
            discriminator_optimizer,
            *probe_optimizer,
            lambda_=lambda_,
            reconstruction_loss=reconstruction_loss,
            gan_loss=gan_loss,
            **kwargs,
        )
        self.remember(adversarial_weight=adversarial_weight, critic_blend=critic_blend)

    def discriminator_images(self, step: StepTensors) -> dict:
        images = tf.cast(step.images, step.reconstructions.dtype)
        blend = self.critic_blend * images + (1.0 - self.critic_blend) * step.reconstructions
        return {"blend": blend, "mix": step.mixes}

    def discriminator_losses(self, step: StepTensors) -> tuple[tf.Tensor, dict]:
        alpha = _alpha(step)
        loss = self.gan_loss(step.logits["mix"], tf.minimum(alpha, 1.0 - alpha))
        return loss + self.gan_loss(step.logits["blend"], 0.0), {}


def _alpha(step: StepTensors) -> tf.Tensor:
    """Returns the first parent's coefficients, (N,)."""
    return tf.reshape(step.coefficients[:, 0], (-1,))
