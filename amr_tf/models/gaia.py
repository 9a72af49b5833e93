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
        **kwargs: passed on to `ResynthesisModel`.

    Raises:
        ValueError: the discriminator does not return images, or there is no mixer.
    """

    METRICS = (*ResynthesisModel.METRICS, "discriminator_balance")
    title = "GAIA"
    compared_by_mixer = False
    critic = "autoencoder"
    # Its discriminator's images are compared with those of the batch, not with changed ones.
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
        """The same as `ResynthesisModel.create`, with mixes around the midpoint."""
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
        """The same as `ResynthesisModel.compile`, with two settings more.

        Args:
            *optimizers: of the players, as in `ResynthesisModel.compile`.
            gan_loss: not used: the discriminator's errors take its place.
            balance_target: how much of the error on real images the error on mixes is held at
                (gamma in BEGAN), 0 to 1.
            balance_rate: how fast the weight of mixes moves (lambda_k in BEGAN), at least 0.
            **kwargs: passed on to `ResynthesisModel.compile`.

        Raises:
            ValueError: as `ResynthesisModel.compile`, or a reconstruction loss that takes logits.
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
        """How far the discriminator's image is from the real one, or for a mix from the mix."""
        target = step.mixes if group == "mix" else step.images
        made = step.discriminator_reconstructions[group]
        return tf.reduce_mean(self.reconstruction_loss(target, made))
