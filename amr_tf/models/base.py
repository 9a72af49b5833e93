"""What every method shares: the networks, one training step, checks, encoding and decoding."""

import dataclasses
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from amr_tf import checks, losses
from amr_tf.optimizers import AdamL2

_COMPILE_KWARGS = ("run_eagerly", "steps_per_execution", "jit_compile", "auto_scale_loss")

METRICS = (
    "loss",
    "reconstruction_loss",
    "adversarial_loss",
    "consistency_loss",
    "discriminator_loss",
    "probe_loss",
    "probe_accuracy",
)


@dataclasses.dataclass
class StepTensors:
    """What the networks made of one batch of N images; each network was asked once.

    Attributes:
        images: (N, H, W, C).
        codes: f(x).
        reconstructions: g(f(x)), shaped as `images`.
        real_logits: D(x), (N,).
        reconstruction_logits: D(g(f(x))), (N,).
        mixed_codes: the mixer's output, shaped as `codes`, or None without a mixer.
        coefficients: (N, k, ...), or None.
        mixes: g(mixed_codes), or None.
        mix_logits: D(mixes), or None.
    """

    images: Any
    codes: Any
    reconstructions: Any
    real_logits: Any
    reconstruction_logits: Any
    mixed_codes: Any = None
    coefficients: Any = None
    mixes: Any = None
    mix_logits: Any = None


class ResynthesisModel(keras.Model):
    """An auto-encoder whose codes are mixed, with a discriminator and a probe.

    A subclass writes `autoencoder_losses` and `discriminator_losses`; this class runs the
    networks, updates them, keeps the metrics, and checks what comes in.

    Args:
        encoder: `keras.Model` from images (N, H, W, C) in [-1, 1] to codes.
        decoder: `keras.Model` from codes to images.
        discriminator: `keras.Model` from images to logits (N,).
        mixer: an `amr_tf.mixers.Mixer`, or None for a model that does not mix.
        probe: `keras.Model` from codes to class logits (N, classes), or None. It is trained on
            labelled batches; no gradient flows from it into the encoder.
        **kwargs: as of `keras.Model`.

    Raises:
        ValueError: the shapes of two networks do not fit each other.
    """

    def __init__(self, encoder, decoder, discriminator, mixer=None, probe=None, **kwargs):
        super().__init__(**kwargs)
        self.encoder = encoder
        self.decoder = decoder
        self.discriminator = discriminator
        self.mixer = mixer
        self.probe = probe
        self._check_networks()
        self._trackers = {name: keras.metrics.Mean(name=name) for name in METRICS}
        # Counts training steps; the auto-encoder's schedule reads it, so it is saved.
        self.step_counter = self.add_weight(
            name="step", shape=(), dtype="int64", initializer="zeros", trainable=False
        )
        if mixer is not None and not mixer.built:
            mixer.build((None, *self.latent_shape))
        self.build((None, *self.image_shape))

    @property
    def image_shape(self):
        """(H, W, C) of the images."""
        return tuple(self.encoder.input_shape[1:])

    @property
    def latent_shape(self):
        """Shape of one code, (H, W, C) or (D,)."""
        return tuple(self.encoder.output_shape[1:])

    @property
    def num_classes(self):
        """The number of classes that the probe tells apart, or None without a probe."""
        return None if self.probe is None else self.probe.output_shape[-1]

    def _check_networks(self):
        shape, latent = self.image_shape, self.latent_shape
        checks.check_shape("The decoder's input", self.decoder.input_shape, latent)
        checks.check_shape("The decoder's output", self.decoder.output_shape, shape)
        checks.check_shape("The discriminator's input", self.discriminator.input_shape, shape)
        if self.probe is not None:
            checks.check_shape("The probe's input", self.probe.input_shape, latent)

    def build(self, input_shape):
        self.built = True

    def call(self, images, training=False):
        """Reconstructions g(f(x)), shaped as `images`."""
        return self.decoder(self.encoder(images, training=training), training=training)

    # Compiling.

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
        checks.check_positive_integer("generator_update_every", generator_update_every)
        if beta and self.mixer is None:
            raise ValueError(f"beta = {beta:g} weighs the consistency of mixes: it needs a mixer.")
        self._reconstruction_loss = _function(losses.RECONSTRUCTION_LOSSES, reconstruction_loss)
        self._gan_loss = _function(losses.GAN_LOSSES, gan_loss)
        self.lambda_ = lambda_
        self.beta = beta
        self.generator_update_every = generator_update_every
        super().compile(optimizer=_optimizer(autoencoder_optimizer), loss=None, **kwargs)
        # Under mixed_float16, super().compile has wrapped its optimizer for loss scaling.
        scaling = isinstance(self.optimizer, keras.optimizers.LossScaleOptimizer)
        self.autoencoder_optimizer = self.optimizer
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
            **kwargs,
        }
        self._build_optimizers()

    def _build_optimizers(self):
        """Creates the optimizers' state now: a graph's branch could not do it later."""
        self.autoencoder_optimizer.build(self.autoencoder_variables)
        self.discriminator_optimizer.build(self.discriminator.trainable_variables)
        if self.probe is not None:
            self.probe_optimizer.build(self.probe.trainable_variables)

    def get_compile_config(self):
        if not self.compiled:
            return {}
        return keras.saving.serialize_keras_object(self._compile_arguments)

    def compile_from_config(self, config):
        self.compile(**keras.saving.deserialize_keras_object(config))

    @property
    def metrics(self):
        return list(self._trackers.values())

    @property
    def autoencoder_variables(self):
        """The trainable variables of encoder, decoder and mixer."""
        mixer = [] if self.mixer is None else self.mixer.trainable_variables
        return self.encoder.trainable_variables + self.decoder.trainable_variables + mixer

    # What a method defines.

    def autoencoder_losses(self, step):
        """The auto-encoder's loss.

        Args:
            step: `StepTensors`.

        Returns:
            The scalar to minimise and a dictionary from metric names to its terms.
        """
        raise NotImplementedError

    def discriminator_losses(self, step):
        """The discriminator's loss, a scalar."""
        raise NotImplementedError

    # The training step.

    def forward(self, images, training=False, permutations=None, coefficients=None, seed=None):
        """Runs encoder, mixer, decoder and discriminator once each.

        Decoder and discriminator treat every image by itself, so codes and mixed codes go
        through them as one batch.

        Args:
            images: (N, H, W, C).
            training: whether the layers are in training mode.
            permutations: for the mixer, or None to draw them.
            coefficients: for the mixer, or None to draw them.
            seed: an integer for mixes that are the same at each call, or None.

        Returns:
            `StepTensors`.
        """
        codes = self.encoder(images, training=training)
        if self.mixer is None:
            reconstructions = self.decoder(codes, training=training)
            both = tf.concat([tf.cast(images, reconstructions.dtype), reconstructions], axis=0)
            logits = tf.split(self.discriminator(both, training=training), 2)
            return StepTensors(images, codes, reconstructions, *logits)
        mixed_codes, coefficients = self.mixer.mix_batch(codes, permutations, coefficients, seed)
        all_codes = tf.concat([codes, tf.cast(mixed_codes, codes.dtype)], axis=0)
        decoded = self.decoder(all_codes, training=training)
        seen = tf.concat([tf.cast(images, decoded.dtype), decoded], axis=0)
        logits = tf.split(self.discriminator(seen, training=training), 3)
        reconstructions, mixes = tf.split(decoded, 2)
        return StepTensors(
            images=images,
            codes=codes,
            reconstructions=reconstructions,
            real_logits=logits[0],
            reconstruction_logits=logits[1],
            mixed_codes=mixed_codes,
            coefficients=coefficients,
            mixes=mixes,
            mix_logits=logits[2],
        )

    def train_on(self, images, labels=None, permutations=None, coefficients=None):
        """One training step; given permutations and coefficients make it replayable.

        The auto-encoder's gradient and the discriminator's come from the same forward pass: the
        discriminator learns on the images made before the auto-encoder's update.

        Args:
            images: (N, H, W, C) in [-1, 1].
            labels: integers (N,) for the probe, or None.
            permutations: (k, N) for the mixer, or None to draw them.
            coefficients: (N, k, ...) for the mixer, or None to draw them.

        Returns:
            A dictionary from metric names to scalar tensors of this batch.
        """
        with tf.GradientTape(persistent=True) as tape:
            step = self.forward(images, True, permutations, coefficients)
            autoencoder_loss, terms = self.autoencoder_losses(step)
            discriminator_loss = self.discriminator_losses(step)
            scaled = self.autoencoder_optimizer.scale_loss(autoencoder_loss)
            scaled_discriminator = self.discriminator_optimizer.scale_loss(discriminator_loss)
        # The discriminator's gradient is taken before, and applied after, the auto-encoder's
        # update: neither reads what the other changes.
        variables = self.discriminator.trainable_variables
        gradients = tape.gradient(scaled_discriminator, variables)
        self._update_autoencoder(tape, scaled)
        self.discriminator_optimizer.apply(gradients, variables)
        self.step_counter.assign_add(1)
        results = {"loss": autoencoder_loss, **terms, "discriminator_loss": discriminator_loss}
        if self.probe is not None and labels is not None:
            results.update(self._train_probe(step.codes, labels))
        return results

    def _update_autoencoder(self, tape, loss):
        variables = self.autoencoder_variables

        def update():
            self.autoencoder_optimizer.apply(tape.gradient(loss, variables), variables)

        if self.generator_update_every == 1:
            update()
        else:
            due = tf.equal(self.step_counter.value % self.generator_update_every, 0)
            tf.cond(due, update, lambda: None)

    def _train_probe(self, codes, labels):
        codes = tf.stop_gradient(codes)
        with tf.GradientTape() as tape:
            results = self._probe_results(codes, labels, training=True)
            scaled = self.probe_optimizer.scale_loss(results["probe_loss"])
        variables = self.probe.trainable_variables
        self.probe_optimizer.apply(tape.gradient(scaled, variables), variables)
        return results

    def _probe_results(self, codes, labels, training=False):
        labels = tf.reshape(labels, (-1,))
        logits = self.probe(codes, training=training)
        hits = keras.metrics.sparse_categorical_accuracy(labels, logits)
        return {
            "probe_loss": losses.probe_crossentropy(labels, logits),
            "probe_accuracy": tf.reduce_mean(tf.cast(hits, "float32")),
        }

    def train_step(self, data):
        images, labels, _ = keras.utils.unpack_x_y_sample_weight(data)
        return self._track(self.train_on(images, labels), images)

    def test_step(self, data):
        """The losses on mixes that are the same in each epoch; nothing is updated."""
        images, labels, _ = keras.utils.unpack_x_y_sample_weight(data)
        step = self.forward(images, seed=0)
        loss, terms = self.autoencoder_losses(step)
        results = {"loss": loss, **terms, "discriminator_loss": self.discriminator_losses(step)}
        if self.probe is not None and labels is not None:
            results.update(self._probe_results(step.codes, labels))
        return self._track(results, images)

    def _track(self, results, images):
        """Adds a batch's results to the running means and returns these."""
        for name, value in results.items():
            self._trackers[name].update_state(value, sample_weight=tf.shape(images)[0])
        return {name: self._trackers[name].result() for name in results}

    # What users call.

    def fit(self, x=None, y=None, batch_size=None, *args, validation_data=None, **kwargs):
        """As `keras.Model.fit`, after checking the data.

        Args:
            x: images (N, H, W, C) in [-1, 1], or a `tf.data.Dataset` or `keras.utils.PyDataset`
                of batches of images or (images, labels).
            y: integer class labels (N,) for the probe, or None.
            batch_size: images per step for arrays, 32 by default; the paper's is 64.
            validation_data: pair of arrays, or a data set, or None.
            *args: as of `keras.Model.fit`.
            **kwargs: as of `keras.Model.fit`.

        Raises:
            ValueError: images of another shape, outside of [-1, 1], not finite or not there at
                all, labels out of range, or k larger than the batch.
        """
        k = 1 if self.mixer is None else self.mixer.k
        self._check_data(x, y, batch_size or 32, k)
        if isinstance(validation_data, (tuple, list)):
            images, labels, _ = keras.utils.unpack_x_y_sample_weight(tuple(validation_data))
            self._check_data(images, labels, None, 1, "validation ")
        elif validation_data is not None:
            self._check_data(validation_data, None, None, 1, "validation ")
        return super().fit(x, y, batch_size, *args, validation_data=validation_data, **kwargs)

    def _check_data(self, x, y, batch_size, k, prefix=""):
        """Checks arrays whole; of a data set, its first batch."""
        if isinstance(x, tf.data.Dataset):
            first = next(iter(x.take(1)), None)
            if first is None:
                raise ValueError(f"The {prefix}data set is empty: it must hold at least one batch.")
            x, y, _ = keras.utils.unpack_x_y_sample_weight(first)
            batch_size = None
        elif isinstance(x, keras.utils.PyDataset):
            if not len(x):
                raise ValueError(f"The {prefix}data set is empty: it must hold at least one batch.")
            x, y, _ = keras.utils.unpack_x_y_sample_weight(x[0])
            batch_size = None
        if x is None or not hasattr(x, "shape"):
            return  # Something of Keras' own, such as a Python generator: no look without taking.
        images = np.asarray(x)
        checks.check_images(images, self.image_shape, f"{prefix}images")
        checks.check_batch_size(min(batch_size or len(images), len(images)), k)
        if y is not None and self.probe is not None:
            checks.check_labels(y, len(images), self.num_classes, f"{prefix}labels")

    def encode(self, images, batch_size=256):
        """Codes of images, as a NumPy array (N, *latent_shape).

        Args:
            images: (N, H, W, C) in [-1, 1].
            batch_size: images encoded at a time.
        """
        images = np.asarray(images)
        checks.check_images(images, self.image_shape)
        return self.encoder.predict(images, batch_size=batch_size, verbose=0)

    def decode(self, codes, batch_size=256):
        """Images of codes (N, *latent_shape), as a NumPy array (N, H, W, C)."""
        codes = np.asarray(codes)
        checks.check_shape("codes", codes.shape, self.latent_shape)
        if not np.isfinite(codes).all():
            raise ValueError("codes must be finite; they hold NaN or infinite values.")
        return self.decoder.predict(codes, batch_size=batch_size, verbose=0)

    def reconstruct(self, images, batch_size=256):
        """g(f(x)) as a NumPy array (N, H, W, C)."""
        return self.decode(self.encode(images, batch_size), batch_size)

    def mix(self, images, permutations=None, coefficients=None, batch_size=256):
        """Mixes images: each with k - 1 others of the batch, through the codes.

        Args:
            images: (N, H, W, C) in [-1, 1], N at least k.
            permutations: (k, N), or None to draw them.
            coefficients: (N, k, ...), or None to draw them.
            batch_size: images encoded or decoded at a time; any N images can meet.

        Returns:
            NumPy array (N, H, W, C).
        """
        if self.mixer is None:
            raise ValueError(f"'{self.name}' has no mixer; build it with one to mix images.")
        codes = tf.convert_to_tensor(self.encode(images, batch_size))
        mixed, _ = self.mixer(codes, permutations, coefficients)
        return self.decode(tf.cast(mixed, codes.dtype), batch_size)

    def interpolate(self, images_a, images_b, steps=9, batch_size=256):
        """Decoded straight lines between the codes of two sets of images.

        Args:
            images_a: (N, H, W, C), decoded at step 0.
            images_b: (N, H, W, C), decoded at the last step.
            steps: images per line, at least 2, both ends included.
            batch_size: images encoded or decoded at a time.

        Returns:
            NumPy array (N, steps, H, W, C).
        """
        if not isinstance(steps, int) or steps < 2:
            raise ValueError(f"steps must be an integer of at least 2; got {steps!r}.")
        start, end = self.encode(images_a, batch_size), self.encode(images_b, batch_size)
        if len(start) != len(end):
            raise ValueError(
                f"images_a and images_b must be as many; got {len(start)} and {len(end)}."
            )
        weights = np.linspace(0, 1, steps, dtype="float32").reshape(1, -1, *(1,) * (start.ndim - 1))
        codes = (1 - weights) * start[:, None] + weights * end[:, None]
        images = self.decode(codes.reshape(-1, *self.latent_shape), batch_size)
        return images.reshape(len(start), steps, *self.image_shape)

    # Saving.

    def get_config(self):
        serialize = keras.saving.serialize_keras_object
        return {
            **super().get_config(),
            "encoder": serialize(self.encoder),
            "decoder": serialize(self.decoder),
            "discriminator": serialize(self.discriminator),
            "mixer": serialize(self.mixer),
            "probe": serialize(self.probe),
        }

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        for name in ("encoder", "decoder", "discriminator", "mixer", "probe"):
            config[name] = keras.saving.deserialize_keras_object(config[name])
        return cls(**config)


def _function(registry, loss):
    return loss if callable(loss) else registry.get(loss)


def _optimizer(optimizer, loss_scaling=False):
    """An optimizer from what `compile` takes, wrapped for loss scaling where that is needed."""
    optimizer = AdamL2() if optimizer is None else keras.optimizers.get(optimizer)
    if loss_scaling and not isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer
