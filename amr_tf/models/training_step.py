"""One training step: the gradients of all players, in one pass or in two, and their updates.

Both ways make the same updates from the same losses:

- `one_pass` asks the discriminator once for all images. One backward pass gives its own gradient
  and, scaled example by example, the auto-encoder's: how a logit depends on an image is the same
  for both players, they only pull at the logit with different strength (one-stage training, Shen
  et al., "Training generative adversarial networks in one stage", CVPR 2021).
- `two_pass` is the textbook's: the auto-encoder's loss and its gradient through the
  discriminator, then the discriminator's loss on images that carry no gradient. It is there to be
  read and compared with, and for discriminators whose examples depend on each other.
"""

import keras
import tensorflow as tf

from amr_tf.models.step import cut

STEPS = ("one_pass", "two_pass")
# Far below any gradient that moves a weight, far above the smallest float32. A logit that the
# discriminator's loss does not pull at gets this, so that the auto-encoder's can be scaled to.
_TINY = 1e-20


class TrainingStep:
    """Part of `ResynthesisModel`: gradients and updates."""

    def train_on(self, images, labels=None, permutations=None, coefficients=None):
        """One training step; given permutations and coefficients make it replayable.

        The auto-encoder's gradient and the discriminator's belong to the same images, those made
        before the auto-encoder's update.

        Args:
            images: (N, H, W, C) in [-1, 1].
            labels: as of `fit`, or None.
            permutations: (k, N) for the mixer, or None to draw them.
            coefficients: (N, k, ...) for the mixer, or None to draw them.

        Returns:
            A dictionary from metric names to scalar tensors of this batch.
        """
        return self._train(images, labels, permutations, coefficients)[1]

    def _train(self, images, labels, permutations=None, coefficients=None):
        """`train_on`, which also returns the step's tensors."""
        make_gradients = self._one_pass if self.step == "one_pass" else self._two_pass
        step, results, autoencoder, others = make_gradients(
            images, labels, permutations, coefficients
        )
        # All other gradients are there before the update that changes what they depend on.
        self._update_autoencoder(autoencoder)
        for optimizer, gradients, variables in others:
            self.apply_update(optimizer, gradients, variables)
        self.update_state(step)
        self.step_counter.assign_add(1)
        return step, results

    def _one_pass(self, *batch):
        """The step, its metrics, a function for the auto-encoder's gradients, and the others'.

        The tape's graph is cut before the discriminator and behind it, so that the backward pass
        through it can be made once, between the two others.
        """
        with tf.GradientTape(persistent=True) as tape:
            step = self.resynthesize(*batch, training=True)
            if self.discriminator is not None:
                seen = cut(tape, step.shown)
                outputs = self.discriminator(seen, training=True)
                step.judged = cut(tape, outputs)
                self.criticise(step)
            loss, probe_loss, results = self.autoencoder_terms(step, training=True)
            scaled = self._scaled(self.autoencoder_optimizer, loss)
            discriminator_loss = self._scaled(
                self.discriminator_optimizer, self.discriminator_terms(step, results)
            )
            scaled_probe = self._scaled(self.probe_optimizer, probe_loss)
        others = self._probe_update(tape, scaled_probe)
        targets, upstream = [scaled], [tf.ones_like(scaled)]
        if self.discriminator is not None:
            losses = scaled, discriminator_loss
            own, at_images = self._through_discriminator(tape, seen, outputs, step.judged, losses)
            variables = self.discriminator.trainable_variables
            others.append((self.discriminator_optimizer, own, variables))
            targets.append(step.shown)
            upstream.append(at_images)

        def autoencoder():
            return tape.gradient(targets, self.autoencoder_variables, upstream)

        return step, results, autoencoder, others

    def _through_discriminator(self, tape, seen, outputs, judged, losses):
        """The discriminator's gradients, and that of the auto-encoder's loss at what it showed.

        Args:
            tape: the step's persistent tape.
            seen: the discriminator's input, cut from the networks that made it.
            outputs: its output, or the list of its outputs.
            judged: the same, cut from the discriminator.
            losses: the auto-encoder's and the discriminator's, scaled.
        """
        autoencoder_loss, discriminator_loss = losses
        variables = self.discriminator.trainable_variables
        zero = tf.UnconnectedGradients.ZERO
        pull = tape.gradient(discriminator_loss, judged, unconnected_gradients=zero)
        wanted = tape.gradient(autoencoder_loss, judged, unconnected_gradients=zero)
        if not self._one_logit_each():
            own = tape.gradient(outputs, variables, pull)
            return own, tape.gradient(outputs, seen, wanted)
        pull = tf.where(tf.abs(pull) < _TINY, tf.fill(tf.shape(pull), _TINY), pull)
        *own, at_images = tape.gradient(outputs, [*variables, seen], pull)
        scale = tf.reshape(wanted / pull, [-1] + [1] * (len(seen.shape) - 1))
        return own, at_images * tf.cast(scale, at_images.dtype)

    def _one_logit_each(self):
        """Whether one number an example says how the players' gradients differ.

        Scaling is exact to float32's relative rounding however small the discriminator's pull,
        but float16 would lose small pulls, so there the backward pass is made twice.
        """
        shape = self.discriminator.output_shape
        half = any(layer.compute_dtype == "float16" for layer in self.discriminator.layers)
        return not isinstance(shape, list) and len(shape) == 1 and not half

    def _two_pass(self, *batch):
        """As `_one_pass`, step by step as a textbook has it.

        The auto-encoder's loss sees the discriminator in inference mode, so that the vectors of
        its spectral normalisation move once a step.
        """
        with tf.GradientTape(persistent=True) as tape:
            step = self.resynthesize(*batch, training=True)
            if self.discriminator is not None:
                step.judged = self.discriminator(step.shown, training=False)
                self.criticise(step)
            loss, probe_loss, results = self.autoencoder_terms(step, training=True)
            scaled = self._scaled(self.autoencoder_optimizer, loss)
            scaled_probe = self._scaled(self.probe_optimizer, probe_loss)
        others = self._probe_update(tape, scaled_probe)
        if self.discriminator is not None:
            with tf.GradientTape() as second_tape:
                step.judged = self.discriminator(tf.stop_gradient(step.shown), training=True)
                self.criticise(step)
                discriminator_loss = self._scaled(
                    self.discriminator_optimizer, self.discriminator_terms(step, results)
                )
            variables = self.discriminator.trainable_variables
            own = second_tape.gradient(discriminator_loss, variables)
            others.append((self.discriminator_optimizer, own, variables))
        return (
            step,
            results,
            lambda: tape.gradient(scaled, self.autoencoder_variables),
            others,
        )

    def _scaled(self, optimizer, loss):
        return None if loss is None else optimizer.scale_loss(self.share_of(loss))

    def _probe_update(self, tape, loss):
        """A list with the probe's optimizer, gradients and variables, empty without a loss."""
        if loss is None:
            return []
        variables = self.probe.trainable_variables
        return [(self.probe_optimizer, tape.gradient(loss, variables), variables)]

    def _update_autoencoder(self, compute_gradients):
        optimizer, variables = self.autoencoder_optimizer, self.autoencoder_variables
        if self.generator_update_every == 1:
            self.apply_update(optimizer, compute_gradients(), variables)
        else:
            due = tf.equal(self.step_counter.value % self.generator_update_every, 0)
            self.apply_update_if(due, optimizer, compute_gradients, variables)


def check_step(step, discriminator):
    """Raises a ValueError for an unknown step, or one that the discriminator does not allow."""
    if step not in STEPS:
        raise ValueError(f"step must be {' or '.join(map(repr, STEPS))}; got {step!r}.")
    if step == "two_pass" or discriminator is None:
        return
    for layer in discriminator._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            raise ValueError(
                "step='one_pass' needs a discriminator that treats each example by itself, but "
                f"'{discriminator.name}' has the batch normalisation '{layer.name}': use "
                "step='two_pass'."
            )
