"""Variational auto-encoders: VAE (Kingma & Welling 2013) and beta-VAE (Higgins et al. 2017)."""

import keras

from amr_tf import checks, losses
from amr_tf.layers import GaussianSampling
from amr_tf.models.base import ResynthesisModel


@keras.saving.register_keras_serializable(package="amr_tf")
class VAE(ResynthesisModel):
    """A variational auto-encoder: `lambda * reconstruction + KL(q(z|x) || N(0, 1))`.

    The encoder returns twice the code's channels: mean and log variance of q(z|x). A code is the
    mean: probes, mixes and interpolations use it. There is no discriminator, and training makes
    no mixes; a mixer serves `mix` on the trained model.

    With `reconstruction_loss="binary_crossentropy"` (summed over pixels) and lambda 1 the loss is
    the negative evidence lower bound; with "mean_squared_error" lambda = H W C / 2 makes it that
    of a Gaussian of unit variance.

    Args:
        encoder: `keras.Model` from images to (N, ..., 2 C) for codes of shape (..., C).
        decoder: `keras.Model` from codes to images.
        discriminator: None.
        mixer: a mixer without weights of its own, or None.
        **kwargs: as of `ResynthesisModel`.

    Raises:
        ValueError: a discriminator, a mixer that learns in training, or networks that do not fit.
    """

    METRICS = (*ResynthesisModel.METRICS, "kl_loss")
    ENCODER_OUTPUTS = 2
    CRITIC = None
    trains_on_mixes = False

    def __init__(self, encoder, decoder, discriminator=None, mixer=None, **kwargs):
        if discriminator is not None:
            raise ValueError("A VAE has no discriminator; pass None.")
        super().__init__(encoder, decoder, None, mixer, **kwargs)
        if mixer is not None and mixer.trainable_variables:
            raise ValueError(
                f"{type(self).__name__} makes no mixes in training, so that mixer "
                f"{type(mixer).__name__}, which has weights to learn, cannot be used."
            )

    def create_state(self):
        self.sampling = GaussianSampling(name="sampling")

    def compile(self, *optimizers, lambda_=1.0, kl_weight=1.0, **kwargs):
        """As `ResynthesisModel.compile`.

        Args:
            *optimizers: as of `ResynthesisModel.compile`.
            lambda_: weight of the reconstruction.
            kl_weight: weight of the divergence from the prior, beta in Higgins et al. (2017).
            **kwargs: as of `ResynthesisModel.compile`.
        """
        checks.check_not_negative("kl_weight", kl_weight)
        super().compile(*optimizers, lambda_=lambda_, **kwargs)
        self._remember(kl_weight=kl_weight)

    @property
    def latent_shape(self):
        shape = self.encoder.output_shape
        return (*shape[1:-1], shape[-1] // 2)

    def codes_of(self, encoded):
        return encoded[..., : self.latent_shape[-1]]

    def make_latents(self, step, training):
        encoded = self.encoder(step.images, training=training)
        step.codes = self.codes_of(encoded)
        step.posterior = (step.codes, encoded[..., self.latent_shape[-1] :])
        return {"reconstruction": self.sampling(*step.posterior, seed=step.seed)}

    def autoencoder_losses(self, step):
        reconstruction = self._reconstruction_loss(step.images, step.reconstructions)
        divergence = losses.gaussian_kl(*step.posterior)
        terms = {"reconstruction_loss": reconstruction, "kl_loss": divergence}
        return self.lambda_ * reconstruction + self.kl_weight * divergence, terms


@keras.saving.register_keras_serializable(package="amr_tf")
class BetaVAE(VAE):
    """A VAE whose divergence weighs more (Higgins et al. 2017; the paper's table 4: beta 100)."""

    def compile(self, *optimizers, kl_weight=4.0, **kwargs):
        """As `VAE.compile`, with a `kl_weight` (beta) of 4 by default."""
        super().compile(*optimizers, kl_weight=kl_weight, **kwargs)
