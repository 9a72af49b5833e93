"""Generative adversarial interpolative auto-encoding (Sainburg et al. 2018)."""

from typing import Any, Self

import keras
import tensorflow as tf

from amr_tf import checks, losses, replicas
from amr_tf.mixers import Mixer
from amr_tf.models.base import ResynthesisModel
from amr_tf.models.methods import METHODS
from amr_tf.models.step import StepTensors, split_groups
from amr_tf.types import Shape


@METHODS.register("gaia")
@keras.saving.register_keras_serializable(package="amr_tf")
class GAIA(ResynthesisModel):
    """An auto-encoder whose discriminator is also an auto-encoder, balanced as in BEGAN.

    With `e(x, y)` as the reconstruction loss, the auto-encoder minimises
    `lambda * e(x, g(h)) + e(x, D(g(h))) + e(mix, D(mix))`. The discriminator minimises
    `e(x, D(x)) + e(x, D(g(h))) - c * e(mix, D(mix))`, so it learns to reproduce real images, to
    restore originals from reconstructions, and to fail on mixes. As in BEGAN (Berthelot et al.
    2017), the weight c in [0, 1] starts at 0 and is adjusted to hold the error on mixes at
    `balance_target` times the error on real images. By default, mixes are drawn around the
    midpoint (mixer "gaussian").

    The authors' later, simplified code differs: it bounds the last term by `e(x, D(x))` instead of
    weighting it by c, and has no pixel loss (lambda 0).

    Args:
        discriminator: `keras.Model` from images to images.
        **kwargs: passed on to `ResynthesisModel`.

    Raises:
        ValueError: the discriminator does not return images, or there is no mixer.
    """

    METRICS = (*ResynthesisModel.METRICS, "discriminator_balance")
    title = "GAIA"
    compared_by_mixer = False
    critic = "autoencoder"
    # The discriminator's outputs are compared with the original images, not with augmented ones.
    unused_settings = ("gan_loss", "discriminator_augmentation")
    setting_checks = {
        **ResynthesisModel.setting_checks,
        "balance_target": checks.check_share,
        "balance_rate": checks.check_not_negative,
    }

    @classmethod
    def create(
        cls,
        image_shape: tuple[int, ...],
        architecture: str = "convolutional",
        mixer: Mixer | str | None = "gaussian",
        **kwargs: Any,
    ) -> Self:
        """Creates a model; see `ResynthesisModel.create`."""
        return super().create(image_shape, architecture, mixer, **kwargs)

    def create_state(self) -> None:
        self.balance = self.add_weight(
            name="balance", shape=(), initializer="zeros", trainable=False
        )

    def compile(
        self,
        *optimizers: str | keras.Optimizer,
        gan_loss: None = None,
        balance_target: float = 0.5,
        balance_rate: float = 0.01,
        **kwargs: Any,
    ) -> None:
        """Configures training; adds two settings to `ResynthesisModel.compile`.

        Args:
            *optimizers: optimizers of the players, as in `ResynthesisModel.compile`.
            gan_loss: not used; the discriminator's reconstruction errors take its place.
            balance_target: target for the error on mixes, as a fraction of the error on real images
                (gamma in BEGAN), 0 to 1.
            balance_rate: rate at which the weight of mixes is adjusted (lambda_k in BEGAN), at
                least 0.
            **kwargs: passed on to `ResynthesisModel.compile`.

        Raises:
            ValueError: the reconstruction loss takes logits; or see `ResynthesisModel.compile`.
        """
        super().compile(*optimizers, gan_loss=gan_loss, **kwargs)
        if losses.takes_logits(self.reconstruction_loss):
            raise ValueError(
                "GAIA's discriminator returns images and no logits: its reconstruction_loss must "
                "be a distance, such as mean_absolute_error."
            )
        self.remember(balance_target=balance_target, balance_rate=balance_rate)

    def _check_networks(self) -> None:
        super()._check_networks()
        checks.check_shape(
            "The output of GAIA's discriminator, an auto-encoder,",
            self.discriminator.output_shape,
            self.image_shape,
        )

    @classmethod
    def check_mixer(cls, mixer: Mixer | None, mixed_shape: Shape | None = None) -> None:
        super().check_mixer(mixer, mixed_shape)
        if mixer is None:
            raise ValueError("GAIA needs a mixer, such as GaussianMixup().")

    def read_discriminator(self, step: StepTensors) -> None:
        step.discriminator_reconstructions = split_groups(
            step.discriminator_outputs, step.discriminator_groups
        )

    def autoencoder_losses(self, step: StepTensors) -> tuple[tf.Tensor, dict]:
        reconstruction = self.reconstruction_error(step)
        completed, mixed = self._error(step, "reconstruction"), self._error(step, "mix")
        adversarial = completed + mixed
        terms = {"reconstruction_loss": reconstruction, "adversarial_loss": adversarial}
        return self.lambda_ * reconstruction + self.adversarial_ramp() * adversarial, terms

    def discriminator_losses(self, step: StepTensors) -> tuple[tf.Tensor, dict]:
        real, completed = self._error(step, "real"), self._error(step, "reconstruction")
        balance = tf.convert_to_tensor(self.balance)
        loss = real + completed - balance * self._error(step, "mix")
        return loss, {"discriminator_balance": balance}

    def update_state(self, step: StepTensors) -> None:
        real, mixed = (replicas.mean(self._error(step, group)) for group in ("real", "mix"))
        moved = self.balance + self.balance_rate * (self.balance_target * real - mixed)
        self.balance.assign(tf.clip_by_value(moved, 0.0, 1.0))

    def _error(self, step: StepTensors, group: str) -> tf.Tensor:
        """Returns the distance of the discriminator's outputs from the real images or the mixes."""
        target = step.mixes if group == "mix" else step.images
        made = step.discriminator_reconstructions[group]
        return tf.reduce_mean(self.reconstruction_loss(target, made))
