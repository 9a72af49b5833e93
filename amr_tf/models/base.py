"""What every method shares: the networks, one training step, and saving."""

import keras
import tensorflow as tf

from amr_tf import checks, losses, replicas
from amr_tf.models.compiling import Compiling
from amr_tf.models.data_checks import check_fit_data
from amr_tf.models.distributed import Distributed, Mean
from amr_tf.models.factory import Factory
from amr_tf.models.inference import Inference
from amr_tf.models.step import StepTensors, joined, parted
from amr_tf.models.training_step import TrainingStep

# Means over labelled images only.
_LABEL_METRICS = ("probe_loss", "probe_accuracy", "classifier_loss", "classifier_accuracy")


class ResynthesisModel(Factory, Compiling, TrainingStep, Inference, Distributed, keras.Model):
    """An auto-encoder with a mixer, a discriminator and a probe; methods derive from it.

    A method writes `autoencoder_losses` and `discriminator_losses`, and where its step differs
    one of `make_latents`, `criticised` and `update_state`; this class runs the networks, updates
    them, keeps the metrics, and checks what comes in.

    Args:
        encoder: `keras.Model` from images (N, H, W, C) in [-1, 1] to codes.
        decoder: `keras.Model` from codes to images.
        discriminator: `keras.Model` from images to logits (N,), or None for a method without.
        mixer: an `amr_tf.mixers.Mixer`, or None for a model that does not mix.
        probe: `keras.Model` from codes to class logits (N, classes), or None. It is trained on
            labelled batches; no gradient flows from it into the encoder unless `compile` is
            given a `supervision`.
        multi_label: whether labels are attributes, (N, attributes) of 0 and 1, not classes.
        **kwargs: as of `keras.Model`.

    Raises:
        ValueError: the shapes of two networks do not fit each other, or the method cannot use
            the mixer.
    """

    METRICS: tuple[str, ...] = (
        *("loss", "reconstruction_loss", "adversarial_loss", "consistency_loss"),
        *("discriminator_loss", "probe_loss", "probe_accuracy"),
    )
    # The constructor's arguments that are Keras objects.
    NETWORKS: tuple[str, ...] = ("encoder", "decoder", "discriminator", "mixer", "probe")
    # Whether training makes mixes, which the consistency loss needs.
    trains_on_mixes = True
    needs_labels = False

    def __init__(
        self,
        encoder,
        decoder,
        discriminator=None,
        mixer=None,
        probe=None,
        multi_label=False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.encoder = encoder
        self.decoder = decoder
        self.discriminator = discriminator
        self.mixer = mixer
        self.probe = probe
        self.multi_label = multi_label
        self._check_networks()
        self._check_mixer()
        self._trackers = {name: Mean(name=name) for name in self.METRICS}
        # Counts training steps; the auto-encoder's schedule reads it, so it is saved.
        self.step_counter = self.add_weight(
            name="step", shape=(), dtype="int64", initializer="zeros", trainable=False
        )
        if mixer is not None and not mixer.built:
            mixer.build((None, *self.mixed_shape))
        self.create_state()
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
    def mixed_shape(self):
        """Shape of what the mixer mixes: a code's."""
        return self.latent_shape

    @property
    def num_classes(self):
        """The number of classes, or attributes, that the probe knows, or None without a probe."""
        return None if self.probe is None else self.probe.output_shape[-1]

    def _check_networks(self):
        shape, latent = self.image_shape, self.latent_shape
        checks.check_shape("The decoder's input", self.decoder.input_shape, latent)
        checks.check_shape("The decoder's output", self.decoder.output_shape, shape)
        if self.discriminator is not None:
            seen = self.discriminator.input_shape
            checks.check_shape("The discriminator's input", seen, shape)
        if self.probe is not None:
            checks.check_shape("The probe's input", self.probe.input_shape, latent)

    def _check_mixer(self):
        """Raises a ValueError where the method cannot use the mixer."""
        if self.mixer is not None and self.mixer.needs_labels:
            raise ValueError(
                f"{type(self.mixer).__name__} mixes by labels: give it to SupervisedAMR as "
                "label_mixer (--method=supervised_amr)."
            )

    def build(self, input_shape):
        self.built = True

    def codes_of(self, encoded):
        """The code in the encoder's output, which is the whole of it unless a method differs."""
        return encoded

    def call(self, images, training=False):
        """Reconstructions g(f(x)), shaped as `images`."""
        codes = self.codes_of(self.encoder(images, training=training))
        return self.decoder(codes, training=training)

    @property
    def metrics(self):
        return list(self._trackers.values())

    @property
    def autoencoder_variables(self):
        """The trainable variables of encoder, decoder and mixer."""
        mixer = [] if self.mixer is None else self.mixer.trainable_variables
        return self.encoder.trainable_variables + self.decoder.trainable_variables + mixer

    # What a method defines.

    def create_state(self):
        """Creates what a method keeps beside its networks; a built model takes no more."""

    def autoencoder_losses(self, step):
        """The auto-encoder's loss, without consistency and supervision.

        Args:
            step: `StepTensors`.

        Returns:
            The scalar to minimise and a dictionary from metric names to its terms.
        """
        raise NotImplementedError

    def discriminator_losses(self, step):
        """The discriminator's loss, a scalar, and a dictionary from metric names to its terms."""
        raise NotImplementedError

    def make_latents(self, step, training):
        """Sets `step.codes` and returns what to decode: a dictionary from groups to codes."""
        step.codes = self.encoder(step.images, training=training)
        latents = {"reconstruction": step.codes}
        if self.mixer is not None:
            latents["mix"] = self._mix(step, step.codes)
        return latents

    def _mix(self, step, codes):
        """The mixer's mixes of `codes`; notes permutations and coefficients in `step`."""
        if step.permutations is None:
            step.permutations = self.mixer.draw_permutations(tf.shape(codes)[0], step.seed)
        mixed, step.coefficients = self.mixer.mix_batch(
            codes, step.permutations, step.coefficients, step.seed
        )
        return tf.cast(mixed, codes.dtype)

    def criticised(self, step):
        """What the discriminator sees: a dictionary from groups to images."""
        return {"real": step.images, **step.decoded}

    def criticise(self, step):
        """Sets `step.verdicts` from `step.judged`, the discriminator's output for all groups."""
        step.verdicts = parted(step.judged, step.criticised)

    def update_state(self, step):
        """Updates what a method keeps beside its networks, after their update."""

    # The training step.

    def forward(
        self,
        images,
        labels=None,
        training=False,
        permutations=None,
        coefficients=None,
        seed=None,
    ):
        """Runs encoder, mixer, decoder and discriminator once each.

        Args:
            images: (N, H, W, C).
            labels: as of `fit`, or None.
            training: whether the layers are in training mode.
            permutations: for the mixer, or None to draw them.
            coefficients: for the mixer, or None to draw them.
            seed: an integer for mixes that are the same at each call, or None.

        Returns:
            `StepTensors`.
        """
        step = self.resynthesize(images, labels, permutations, coefficients, seed, training)
        if self.discriminator is not None:
            step.judged = self.discriminator(step.shown, training=training)
            self.criticise(step)
        return step

    def resynthesize(
        self, images, labels=None, permutations=None, coefficients=None, seed=None, training=False
    ):
        """`forward` as far as the images that the discriminator will see, `step.shown`."""
        step = StepTensors(images, labels, permutations, coefficients, seed)
        step.latents = self.make_latents(step, training)
        decoded = self.decoder(joined(step.latents), training=training)
        step.decoded = parted(decoded, step.latents)
        if self.discriminator is not None:
            groups = self.criticised(step)
            step.criticised, step.shown = tuple(groups), joined(groups)
        return step

    def autoencoder_terms(self, step, training=False):
        """The auto-encoder's whole loss, the probe's loss or None, and their metrics."""
        loss, results = self.autoencoder_losses(step)
        probe_loss = None
        if self.beta:
            reencoded = self.codes_of(self.encoder(step.mixes, training=training))
            results["consistency_loss"] = losses.consistency(step.mixed_codes, reencoded)
            loss = loss + self.beta * results["consistency_loss"]
        if self.probe is not None and step.labels is not None:
            probe_loss = results["probe_loss"] = self._probe(step, results, training)
            if self.supervision:
                loss = loss + self.supervision * probe_loss
        results["loss"] = loss
        return loss, probe_loss, results

    def discriminator_terms(self, step, results):
        """The discriminator's loss, or None without one; adds its metrics to `results`."""
        if self.discriminator is None:
            return None
        loss, terms = self.discriminator_losses(step)
        results.update(terms, discriminator_loss=loss)
        return loss

    def _probe(self, step, results, training):
        codes = step.codes if self.supervision else tf.stop_gradient(step.codes)
        logits = self.probe(codes, training=training)
        targets, weights = self.label_targets(step.labels)
        results["probe_accuracy"] = losses.label_accuracy(
            targets, logits, weights, self.multi_label
        )
        return losses.label_crossentropy(targets, logits, weights, self.multi_label)

    def label_targets(self, labels):
        """`losses.label_targets` for this model's classes or attributes."""
        return losses.label_targets(labels, self.num_classes, self.multi_label)

    def train_step(self, data):
        images, labels, _ = keras.utils.unpack_x_y_sample_weight(data)
        return self._track(*self._train(images, labels))

    def test_step(self, data):
        """The losses on mixes that are the same in each epoch; nothing is updated."""
        images, labels, _ = keras.utils.unpack_x_y_sample_weight(data)
        step = self.forward(images, labels, seed=0)
        results = self.autoencoder_terms(step)[-1]
        self.discriminator_terms(step, results)
        return self._track(step, results)

    def metric_weights(self, step):
        """What metrics are means over, where it is not the batch's images: names to counts."""
        if step.labels is None or self.num_classes is None:
            return {}
        # As in `losses.masked_mean`, each replica's mean has the same weight.
        known = replicas.mean(tf.reduce_sum(self.label_targets(step.labels)[1]))
        return dict.fromkeys(_LABEL_METRICS, known)

    def _track(self, step, results):
        """Adds a batch's results to the running means and returns these."""
        count = tf.cast(tf.shape(step.images)[0], "float32")
        weights = {**dict.fromkeys(results, count), **self.metric_weights(step)}
        results, weights = self.over_replicas(results, weights)
        for name, value in results.items():
            self._trackers[name].update_state(value, sample_weight=weights[name])
        return self.for_trainer({name: self._trackers[name].result() for name in results})

    # What users call.

    def fit(self, x=None, y=None, batch_size=None, *args, validation_data=None, **kwargs):
        """As `keras.Model.fit`, after checking the data.

        Args:
            x: images (N, H, W, C) in [-1, 1], or a `tf.data.Dataset` or `keras.utils.PyDataset`
                of batches of images or (images, labels).
            y: class numbers (N,), -1 for an unlabelled image, or one-hot rows (N, classes); with
                `multi_label` attributes (N, attributes) of 0 and 1, -1 where unknown; or None.
            batch_size: images per step for arrays, 32 by default; the paper's is 64.
            validation_data: pair of arrays, or a data set, or None.
            *args: as of `keras.Model.fit`.
            **kwargs: as of `keras.Model.fit`.

        Raises:
            ValueError: images of another shape, outside of [-1, 1], not finite or not there at
                all, labels out of range, or k larger than the batch.
        """
        k = self.mixer.k if self.mixer is not None and self.trains_on_mixes else 1
        check_fit_data(self, x, y, batch_size or 32, k)
        if isinstance(validation_data, (tuple, list)):
            images, labels, _ = keras.utils.unpack_x_y_sample_weight(tuple(validation_data))
            check_fit_data(self, images, labels, None, 1, "validation ")
        elif validation_data is not None:
            check_fit_data(self, validation_data, None, None, 1, "validation ")
        return super().fit(x, y, batch_size, *args, validation_data=validation_data, **kwargs)

    # Saving.

    def get_config(self):
        serialize = keras.saving.serialize_keras_object
        return {
            **super().get_config(),
            **{name: serialize(getattr(self, name)) for name in self.NETWORKS},
            "multi_label": self.multi_label,
        }

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        for name in cls.NETWORKS:
            config[name] = keras.saving.deserialize_keras_object(config[name])
        return cls(**config)
