"""What `compile` takes: losses, their weights, and one optimizer for each player."""

import keras

from amr_tf import checks, losses
from amr_tf.models.training_step import check_step
from amr_tf.optimizers import AdamL2

_COMPILE_KWARGS = ("run_eagerly", "steps_per_execution", "jit_compile", "auto_scale_loss")


class Compiling:
    """Part of `ResynthesisModel`: compiling, and what of it is saved with the model."""

    def compile(
        self,
        autoencoder_optimizer=None,
        discriminator_optimizer=None,
        probe_optimizer=None,
        reconstruction_loss="mean_absolute_error",
        gan_loss="binary_crossentropy",
        lambda_=10.0,
        beta=0.0,
        generator_update_every=1,
        supervision=0.0,
        step="one_pass",
        **kwargs,
    ):
        """Configures the training.

        Args:
            autoencoder_optimizer: trains encoder, decoder and mixer; an optimizer, its Keras
                name, or None for `AdamL2()`, the paper's. It is also `model.optimizer`, the one
                that Keras' learning rate callbacks steer.
            discriminator_optimizer: likewise for the discriminator.
            probe_optimizer: likewise for the probe.
            reconstruction_loss: "mean_absolute_error" (the published tables'),
                "mean_squared_error" or "binary_crossentropy", or a function of (images,
                reconstructions) that returns a scalar.
            gan_loss: "binary_crossentropy" or "least_squares", or a function of (logits, target).
            lambda_: weight of the reconstruction, lambda in the paper.
            beta: weight of the consistency loss `|mix - f(g(mix))|`.
            generator_update_every: the auto-encoder is updated in every n-th step, the
                discriminator and the probe in each. The paper's published runs used 5.
            supervision: weight of the probe's loss in the auto-encoder's: above 0 the probe's
                gradient trains the encoder too (paper, section 5); with labels of -1 for some
                images that is semi-supervised learning.
            step: "one_pass", the fastest, or "two_pass", the plain form with the same result; see
                `amr_tf.models.training_step`.
            **kwargs: `run_eagerly`, `steps_per_execution`, `jit_compile`, `auto_scale_loss`, as
                of `keras.Model.compile`.

        Raises:
            ValueError: an unknown loss or a value out of range.
        """
        for name in kwargs:
            if name not in _COMPILE_KWARGS:
                raise TypeError(f"compile() does not take {name!r}.")
        checks.check_not_negative("lambda_", lambda_)
        checks.check_not_negative("beta", beta)
        checks.check_not_negative("supervision", supervision)
        checks.check_positive_integer("generator_update_every", generator_update_every)
        if beta and (self.mixer is None or not self.trains_on_mixes):
            raise ValueError(
                f"beta = {beta:g} weighs the consistency of mixes: it needs a mixer and a method "
                "that trains on mixes."
            )
        if supervision and self.probe is None:
            raise ValueError(f"supervision = {supervision:g} weighs the probe's loss: add a probe.")
        check_step(step, self.discriminator)
        self._reconstruction_loss = _function(losses.RECONSTRUCTION_LOSSES, reconstruction_loss)
        self._gan_loss = _function(losses.GAN_LOSSES, gan_loss)
        self.lambda_ = lambda_
        self.beta = beta
        self.generator_update_every = generator_update_every
        self.supervision = supervision
        self.step = step
        super().compile(optimizer=_optimizer(autoencoder_optimizer), loss=None, **kwargs)
        # Keras' own, which is not used: under a strategy it could not be saved by one worker.
        self._loss_tracker = None
        # Under mixed_float16, super().compile has wrapped its optimizer for loss scaling.
        scaling = isinstance(self.optimizer, keras.optimizers.LossScaleOptimizer)
        self.autoencoder_optimizer = self.optimizer
        self.discriminator_optimizer = None
        if self.discriminator is not None:
            self.discriminator_optimizer = _optimizer(discriminator_optimizer, scaling)
        self.probe_optimizer = None
        if self.probe is not None:
            self.probe_optimizer = _optimizer(probe_optimizer, scaling)
        self._compile_arguments = {
            "autoencoder_optimizer": self.autoencoder_optimizer,
            "discriminator_optimizer": self.discriminator_optimizer,
            "probe_optimizer": self.probe_optimizer,
            "reconstruction_loss": reconstruction_loss,
            "gan_loss": gan_loss,
            "lambda_": lambda_,
            "beta": beta,
            "generator_update_every": generator_update_every,
            "supervision": supervision,
            "step": step,
            **kwargs,
        }
        self._build_optimizers()

    def _remember(self, **settings):
        """Keeps a method's own arguments of `compile`, as attributes and for the saved file."""
        for name, value in settings.items():
            setattr(self, name, value)
            self._compile_arguments[name] = value

    def _build_optimizers(self):
        """Creates the optimizers' state now: a graph's branch could not do it later."""
        self.autoencoder_optimizer.build(self.autoencoder_variables)
        if self.discriminator is not None:
            self.discriminator_optimizer.build(self.discriminator.trainable_variables)
        if self.probe is not None:
            self.probe_optimizer.build(self.probe.trainable_variables)

    def get_compile_config(self):
        if not self.compiled:
            return {}
        return keras.saving.serialize_keras_object(self._compile_arguments)

    def compile_from_config(self, config):
        self.compile(**keras.saving.deserialize_keras_object(config))


def _function(registry, loss):
    return loss if callable(loss) else registry.get(loss)


def _optimizer(optimizer, loss_scaling=False):
    """An optimizer from what `compile` takes, wrapped for loss scaling where that is needed."""
    optimizer = AdamL2() if optimizer is None else keras.optimizers.get(optimizer)
    if loss_scaling and not isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer
