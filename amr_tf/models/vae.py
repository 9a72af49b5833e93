"""Variational auto-encoders: VAE (Kingma & Welling 2013) and beta-VAE (Higgins et al. 2017)."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from amr_tf import checks, losses
from amr_tf.layers import GaussianSampling
from amr_tf.mixers import Mixer
from amr_tf.models.base import ResynthesisModel
from amr_tf.models.methods import METHODS
from amr_tf.models.step import StepTensors
from amr_tf.types import Shape


@METHODS.register("vae")
@keras.saving.register_keras_serializable(package="amr_tf")
class VAE(ResynthesisModel):
    """A variational auto-encoder: `lambda * reconstruction + kl_weight * KL(q(z|x) || N(0, 1))`.

    The encoder returns twice the code's channels, for the mean and log variance of q(z|x). The
    mean is the code that probes, mixes and interpolations use. There is no discriminator, and
    training makes no mixes; a mixer is used only to `mix` with the trained model.

    The default loss is the negative evidence lower bound for Bernoulli pixels: the cross-entropy
    summed over pixels, with lambda 1. For a Gaussian likelihood of unit variance, use
    `reconstruction_loss="mean_squared_error"` and lambda = H W C / 2.

    Args:
        encoder: `keras.Model` from images to (N, ..., 2 C) for codes of shape (..., C).
        decoder: `keras.Model` from codes to images.
        discriminator: must be None.
        mixer: a mixer without trainable weights, or None.
        **kwargs: passed on to `ResynthesisModel`.

    Raises:
        ValueError: there is a discriminator, the mixer has trainable weights, or the networks do
            not fit together.
    """

    METRICS = (*ResynthesisModel.METRICS, "kl_loss")
    title = "VAE"
    compared_by_mixer = False
    encoder_outputs = 2
    critic = None
    output_activation = "tanh"
    trains_on_mixes = False
    unit_prior = True
    unused_settings = (
        *("gan_loss", "discriminator_optimizer", "beta", "consistency_loss"),
        *("feature_matching", "look_matching", "adversarial_warmup", "discriminator_augmentation"),
    )
    setting_checks = {**ResynthesisModel.setting_checks, "kl_weight": checks.check_not_negative}

    def create_state(self) -> None:
        self.sampling = GaussianSampling(name="sampling")

    @classmethod
    def check_mixer(cls, mixer: Mixer | None, mixed_shape: Shape | None = None) -> None:
        super().check_mixer(mixer, mixed_shape)
        if mixer is not None and mixer.trainable_variables:
            raise ValueError(
                f"{cls.__name__} makes no mixes in training, so that mixer "
                f"{type(mixer).__name__}, which has weights to learn, cannot be used."
            )

    def compile(
        self,
        autoencoder_optimizer: str | keras.Optimizer = "adam_l2",
        discriminator_optimizer: Any = None,
        *probe_optimizer: str | keras.Optimizer,
        lambda_: float = 1.0,
        reconstruction_loss: str | Callable = "binary_crossentropy",
        gan_loss: None = None,
        kl_weight: float = 1.0,
        **kwargs: Any,
    ) -> None:
        """Configures training, by default with the evidence lower bound.

        Args:
            autoencoder_optimizer: optimizer of encoder and decoder.
            discriminator_optimizer: not used.
            *probe_optimizer: optimizer of the probe.
            lambda_: weight of the reconstruction loss.
            reconstruction_loss: see `ResynthesisModel.compile`. "binary_crossentropy" needs a
                decoder that ends in a tanh.
            gan_loss: not used.
            kl_weight: weight of the KL divergence from the prior, beta in Higgins et al. (2017).
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
        self.remember(kl_weight=kl_weight)

    @property
    def latent_shape(self) -> tuple[int, ...]:
        shape = self.encoder.output_shape
        return (*shape[1:-1], shape[-1] // 2)

    def codes_of(self, encoded: tf.Tensor) -> tf.Tensor:
        return encoded[..., : self.latent_shape[-1]]

    def make_latents(self, step: StepTensors, training: bool) -> dict:
        encoded = self.encoder(step.images, training=training)
        step.codes = self.codes_of(encoded)
        step.posterior = (step.codes, encoded[..., self.latent_shape[-1] :])
        return {"reconstruction": self.sampling(*step.posterior, seed=step.seed)}

    def autoencoder_losses(self, step: StepTensors) -> tuple[tf.Tensor, dict]:
        reconstruction = self.reconstruction_error(step)
        divergence = losses.gaussian_kl(*step.posterior)
        terms = {"reconstruction_loss": reconstruction, "kl_loss": divergence}
        return self.lambda_ * reconstruction + self.kl_weight * divergence, terms


@METHODS.register("beta_vae")
@keras.saving.register_keras_serializable(package="amr_tf")
class BetaVAE(VAE):
    """A VAE with a larger KL weight beta (Higgins et al. 2017; 100 in the paper's table 4)."""

    title = "beta-VAE"

    def compile(
        self, *optimizers: str | keras.Optimizer, kl_weight: float = 4.0, **kwargs: Any
    ) -> None:
        """Configures training; see `VAE.compile`. `kl_weight` is beta."""
        super().compile(*optimizers, kl_weight=kl_weight, **kwargs)
