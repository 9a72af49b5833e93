"""Adversarial mixup resynthesis (Beckham et al. 2019), and AE+GAN, its case without a mixer."""

import keras

from amr_tf import losses, mixers
from amr_tf.models.base import ResynthesisModel
from amr_tf.networks import (
    build_decoder,
    build_discriminator,
    build_encoder,
    build_linear_probe,
)


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

    @classmethod
    def convolutional(
        cls,
        image_shape,
        latent_channels=2,
        latent_width=4,
        depth=16,
        mixer="mixup",
        k=2,
        num_classes=None,
        output_activation=None,
        seed=None,
        **kwargs,
    ):
        """A model of the networks that the paper's tables use.

        Args:
            image_shape: (H, W, C) with H = W = `latent_width` times a power of two, at least 2.
            latent_channels: feature maps of a code; d_h = latent_width^2 * latent_channels.
            latent_width: height and width of a code.
            depth: channels of the networks at full resolution.
            mixer: a mixer, its registered name ("mixup", "bernoulli"), or None for AE+GAN.
            k: how many codes a mix combines, where `mixer` is a name.
            num_classes: classes of the linear probe, or None for no probe.
            output_activation: of the decoder, None or "tanh".
            seed: of the mixer's random generator; the initial weights come from
                `keras.utils.set_random_seed`.
            **kwargs: as of `keras.Model`.

        Raises:
            ValueError: a size or name that is not allowed.
        """
        if isinstance(mixer, str):
            mixer = mixers.get(mixer, k=k, seed=seed)
        sizes = {"latent_channels": latent_channels, "latent_width": latent_width, "depth": depth}
        image_shape = tuple(image_shape)
        encoder = build_encoder(image_shape, **sizes)
        probe = None
        if num_classes is not None:
            probe = build_linear_probe(encoder.output_shape[1:], num_classes)
        return cls(
            encoder,
            build_decoder(image_shape, **sizes, output_activation=output_activation),
            build_discriminator(image_shape, **sizes),
            mixer,
            probe,
            **kwargs,
        )

    def autoencoder_losses(self, step):
        reconstruction = self._reconstruction_loss(step.images, step.reconstructions)
        adversarial = self._gan_loss(step.reconstruction_logits, 1.0)
        if self.mixer is not None:
            adversarial = adversarial + self._gan_loss(step.mix_logits, 1.0)
        loss = self.lambda_ * reconstruction + adversarial
        terms = {"reconstruction_loss": reconstruction, "adversarial_loss": adversarial}
        if self.beta:
            reencoded = self.encoder(step.mixes)
            terms["consistency_loss"] = losses.consistency(step.mixed_codes, reencoded)
            loss = loss + self.beta * terms["consistency_loss"]
        return loss, terms

    def discriminator_losses(self, step):
        loss = self._gan_loss(step.real_logits, 1.0)
        loss = loss + self._gan_loss(step.reconstruction_logits, 0.0)
        if self.mixer is not None:
            loss = loss + self._gan_loss(step.mix_logits, 0.0)
        return loss
