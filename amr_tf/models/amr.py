"""Adversarial mixup resynthesis (Beckham et al. 2019), AE+GAN, and the pixel-space baseline."""

from collections.abc import Iterator
from typing import Any, Self

import keras
import tensorflow as tf

from amr_tf import checks
from amr_tf.models.base import ResynthesisModel
from amr_tf.models.methods import METHODS
from amr_tf.models.step import StepTensors


@METHODS.register("amr")
@keras.saving.register_keras_serializable(package="amr_tf")
class AMR(ResynthesisModel):
    """An auto-encoder whose decoded mixes of codes must look real (paper, equation 3).

    The auto-encoder minimises `lambda * reconstruction + gan(D(g(h)), 1) + gan(D(g(mix)), 1) +
    beta * consistency(mix, f(g(mix)))`. The discriminator minimises `gan(D(x), 1) +
    gan(D(g(h)), 0) + gan(D(g(mix)), 0)`. Without a mixer the mix terms are left out, which gives
    AE+GAN (equation 2).

    See `ResynthesisModel` for the arguments and errors. `AMR.convolutional` builds the paper's
    networks.

    Example:

    >>> model = AMR.convolutional((32, 32, 1), mixer="mixup", k=3, num_classes=10)
    >>> model.compile(lambda_=10.0)
    """

    title = "AMR"
    r1 = 0.0  # Until the model is compiled.
    setting_checks = {
        **ResynthesisModel.setting_checks,
        "adversarial_weight": checks.check_not_negative,
        "mix_weight": checks.check_not_negative,
        "real_weight": checks.check_not_negative,
        "mix_steps": checks.check_not_negative_integer,
        "relativistic": checks.check_bool,
        "r1": checks.check_not_negative,
    }

    def compile(
        self,
        *optimizers: str | keras.Optimizer,
        adversarial_weight: float = 1.0,
        mix_weight: float | None = 1.0,
        real_weight: float = 1.0,
        relativistic: bool = False,
        r1: float = 0.0,
        mix_steps: int = 0,
        **kwargs: Any,
    ) -> None:
        """Configures training; adds six settings to `ResynthesisModel.compile`.

        Args:
            *optimizers: optimizers of the players, as in `ResynthesisModel.compile`.
            adversarial_weight: weight of the adversarial terms in the auto-encoder's loss.
            mix_weight: weight of mixes in both players' losses, relative to reconstructions.
            real_weight: weight of real images in the discriminator's loss. The hinge loss needs
                the weight of all fakes, `1 + mix_weight` (`1 + 2 * mix_weight` if `SupervisedAMR`
                has both mixers): with 1 the discriminator calls everything fake.
            relativistic: whether to compare each reconstruction with its original, and each mix
                with its first parent: `gan(D(x) - D(fake), 1)` for the discriminator and
                `gan(D(fake) - D(x), 1)` for the auto-encoder (Jolicoeur-Martineau 2018, "The
                relativistic discriminator"). `real_weight` then has no effect.
            r1: weight of the R1 gradient penalty `r1 / 2 |grad D(x)|^2` on real images (Mescheder
                et al. 2018, "Which training methods for GANs do actually converge?"), logged as
                part of `discriminator_regularization_loss`. It costs two extra passes through the
                discriminator.
            mix_steps: number of steps after which mixes are left out of both players' losses; 0
                keeps them in. The weight of real images falls in the same proportion as that of
                all fakes. In long training, a small discriminator begins to reward grain in mixes
                (docs/photos_trials.md). The consistency and look losses are kept to the end.
            **kwargs: passed on to `ResynthesisModel.compile`.
        """
        super().compile(*optimizers, **kwargs)
        self.remember(
            adversarial_weight=adversarial_weight,
            mix_weight=mix_weight,
            real_weight=real_weight,
            relativistic=relativistic,
            r1=r1,
            mix_steps=mix_steps,
        )

    def read_discriminator(self, step: StepTensors) -> None:
        super().read_discriminator(step)
        if self.r1:
            # Counts as regularisation: like weight penalties, it does not depend on `step.logits`.
            terms = [*self.discriminator.losses, self.r1 / 2 * self._squared_slope(step.images)]
            step.regularization["discriminator"] = tf.add_n(
                [tf.cast(term, "float32") for term in terms]
            )

    def _squared_slope(self, images: tf.Tensor) -> tf.Tensor:
        """Returns the mean squared norm of the logit's gradient with respect to the images."""
        images = tf.cast(images, "float32")
        with tf.GradientTape() as tape:
            tape.watch(images)
            # Inference mode leaves the vectors of spectral normalisation unchanged.
            logits = tf.nest.flatten(self.discriminator(images, training=False))[0]
        slopes = tape.gradient(logits, images)
        return tf.reduce_mean(tf.reduce_sum(tf.square(slopes), axis=range(1, slopes.shape.rank)))

    def autoencoder_losses(self, step: StepTensors) -> tuple[tf.Tensor, dict]:
        reconstruction = self.reconstruction_error(step)
        adversarial = sum(
            weight * self.generator_loss(logits, 1.0) for weight, logits in self._fakes(step)
        )
        terms = {"reconstruction_loss": reconstruction, "adversarial_loss": adversarial}
        weight = self.adversarial_weight * self.adversarial_ramp()
        return self.lambda_ * reconstruction + weight * adversarial, terms

    def discriminator_losses(self, step: StepTensors) -> tuple[tf.Tensor, dict]:
        if self.relativistic:
            return sum(w * self.gan_loss(-logits, 1.0) for w, logits in self._fakes(step)), {}
        weight = self.real_weight
        mixes = len(step.decoded) - 1  # Number of groups of mixes; `SupervisedAMR` may have two.
        if self.mix_steps and mixes:
            fakes = 1.0 + mixes * self._weight_of_mixes()
            weight = weight * fakes / (1.0 + mixes * self.mix_weight)
        real = weight * self.gan_loss(step.logits["real"], 1.0)
        return real + sum(w * self.gan_loss(logits, 0.0) for w, logits in self._fakes(step)), {}

    def _fakes(self, step: StepTensors) -> Iterator[tuple[float, tf.Tensor]]:
        """Yields each group's weight and logits, minus the real logits if relativistic."""
        for group in step.decoded:
            weight = 1.0 if group == "reconstruction" else self._weight_of_mixes()
            logits = step.logits[group]
            yield weight, logits - step.logits["real"] if self.relativistic else logits

    def _weight_of_mixes(self) -> Any:
        if not self.mix_steps:
            return self.mix_weight
        made = tf.convert_to_tensor(self.step_counter)
        return self.mix_weight * tf.cast(made < self.mix_steps, "float32")


@METHODS.register("ae_gan")
@keras.saving.register_keras_serializable(package="amr_tf")
class AEGAN(AMR):
    """The adversarial reconstruction auto-encoder (paper, equation 2): AMR without a mixer."""

    title = "AE+GAN"
    takes_mixer = False
    trains_on_mixes = False
    unused_settings = (
        *("mixer", "k", "beta", "consistency_loss", "look_matching"),
        *("mix_weight", "mix_steps"),
    )

    @classmethod
    def create(
        cls,
        image_shape: tuple[int, ...],
        architecture: str = "convolutional",
        mixer: None = None,
        **kwargs: Any,
    ) -> Self:
        """Creates a model; see `ResynthesisModel.create`. It takes no mixer."""
        return super().create(image_shape, architecture, mixer, **kwargs)

    def compile(
        self, *optimizers: str | keras.Optimizer, mix_weight: float | None = None, **kwargs: Any
    ) -> None:
        """Configures training; see `AMR.compile`. `mix_weight` is not used."""
        super().compile(*optimizers, mix_weight=mix_weight, **kwargs)


@METHODS.register("pixel_mixup")
@keras.saving.register_keras_serializable(package="amr_tf")
class PixelMixup(AMR):
    """A baseline for AMR that mixes images instead of codes.

    The mixer combines images in pixel space, as in mixup (Zhang et al. 2018). The blends pass
    through the auto-encoder, which learns to make them look real. All losses are those of AMR;
    only the place of the mixing differs.
    """

    title = "pixel-space AMR"
    mixes_pixels = True

    def make_latents(self, step: StepTensors, training: bool) -> dict:
        if self.mixer is None:
            return super().make_latents(step, training)
        images = tf.cast(step.images, "float32")
        both = tf.concat([images, tf.cast(self.mix_codes(step, images), "float32")], axis=0)
        step.codes, blends = tf.split(self.encoder(both, training=training), 2)
        return {"reconstruction": step.codes, "mix": blends}
