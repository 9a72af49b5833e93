"""The gradients of all players in one training step, in one pass or in two.

Both compute the same updates from the same losses:

- `one_pass` calls the discriminator once for all images. One backward pass yields its own gradient
  and, rescaled for each example, the auto-encoder's. This works because a logit depends on an
  image in the same way for both players; only the gradients of their losses at the logit differ
  (one-stage training, Shen et al., "Training generative adversarial networks in one stage", CVPR
  2021). Feature matching and some discriminators (see `_one_float32_logit`) need a second backward
  pass.
- `two_pass` is the textbook form: the auto-encoder's loss and its gradient through the
  discriminator, then the discriminator's loss on images without gradient. It serves as a reference,
  and is needed for discriminators whose examples depend on each other or whose output is random
  (see `treats_examples_alone`).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from amr_tf.models.forward import (
    compute_losses,
    discriminate,
    discriminator_terms,
    read_discriminator,
    resynthesize,
    scale_losses,
)
from amr_tf.models.step import StepTensors

# Replaces a smaller gradient of the discriminator's loss at a logit, such as 0, so that it can be
# rescaled to the auto-encoder's. Far below any gradient that moves a weight, and far above the
# smallest float32.
_TINY = 1e-20


class Gradients(NamedTuple):
    """Each player's gradients, in the order of its variables.

    Attributes:
        autoencoder: a function without arguments that computes them. Not every step calls it.
        discriminator: a list, or None without a discriminator.
        probe: a list, or None if no probe is trained.
    """

    autoencoder: Callable[[], list]
    discriminator: list | None
    probe: list | None


def one_pass(model: Any, step: StepTensors) -> tuple[Gradients, dict]:
    """Returns the gradients and metrics of one step.

    The tape's graph is cut before and after the discriminator, so that a single backward pass
    through it serves both players.

    Args:
        model: a compiled `ResynthesisModel`.
        step: the batch; the networks' outputs are added to it.
    """
    with tf.GradientTape(persistent=True) as tape:
        resynthesize(model, step, training=True)
        if model.discriminator is not None:
            inputs = _detach(tape, step.discriminator_inputs)
            outputs, features = discriminate(model, step, inputs, training=True)
            seen = _detach(tape, [outputs, features])
            read_discriminator(model, step, *seen)
        losses, results = compute_losses(model, step, training=True)
        losses = scale_losses(model, losses)
        # The part of the discriminator's loss that does not depend on its outputs.
        terms = step.regularization.items()
        penalty = scale_losses(
            model, {name: term for name, term in terms if name == "discriminator"}
        )
    probe = _probe_gradients(model, tape, losses)
    ae_loss, ae_variables = losses["autoencoder"], model.autoencoder_variables
    if model.discriminator is None:
        return Gradients(lambda: tape.gradient(ae_loss, ae_variables), None, probe), results

    d_variables = model.discriminator.trainable_variables
    zero = tf.UnconnectedGradients.ZERO
    d_grad = tape.gradient(losses["discriminator"], seen[0], unconnected_gradients=zero)
    ae_grad = tape.gradient(ae_loss, seen, unconnected_gradients=zero)
    if _one_float32_logit(model.discriminator) and not features:
        d_grad = tf.where(tf.abs(d_grad) < _TINY, tf.fill(tf.shape(d_grad), _TINY), d_grad)
        *d_gradients, d_image_grad = tape.gradient(outputs, [*d_variables, inputs], d_grad)
        scale = tf.reshape(ae_grad[0] / d_grad, [-1] + [1] * (len(inputs.shape) - 1))
        ae_image_grad = d_image_grad * tf.cast(scale, d_image_grad.dtype)
    else:
        d_gradients = tape.gradient(outputs, d_variables, d_grad)
        ae_image_grad = tape.gradient([outputs, features], inputs, ae_grad)
    if penalty:
        d_gradients = _sum(d_gradients, tape.gradient(penalty["discriminator"], d_variables))

    def autoencoder() -> list:
        targets, upstream = (
            [ae_loss, step.discriminator_inputs],
            [tf.ones_like(ae_loss), ae_image_grad],
        )
        return tape.gradient(targets, ae_variables, upstream)

    return Gradients(autoencoder, d_gradients, probe), results


def two_pass(model: Any, step: StepTensors) -> tuple[Gradients, dict]:
    """Returns the same as `one_pass`, computed player by player.

    The auto-encoder's loss uses the discriminator in inference mode, so that the vectors of
    spectral normalisation are updated once per step.
    """
    with tf.GradientTape(persistent=True) as tape:
        resynthesize(model, step, training=True)
        if model.discriminator is not None:
            seen = discriminate(model, step, step.discriminator_inputs)
            read_discriminator(model, step, *seen)
        losses, results = compute_losses(model, step, training=True)
        losses = scale_losses(model, losses)
    probe = _probe_gradients(model, tape, losses)
    d_gradients = None
    if model.discriminator is not None:
        with tf.GradientTape() as d_tape:
            inputs = tf.stop_gradient(step.discriminator_inputs)
            read_discriminator(model, step, *discriminate(model, step, inputs, training=True))
            d_loss, terms = discriminator_terms(model, step)
            d_loss = scale_losses(model, {"discriminator": d_loss})["discriminator"]
        results.update(terms)
        d_gradients = d_tape.gradient(d_loss, model.discriminator.trainable_variables)

    def autoencoder() -> list:
        return tape.gradient(losses["autoencoder"], model.autoencoder_variables)

    return Gradients(autoencoder, d_gradients, probe), results


STEPS = {"one_pass": one_pass, "two_pass": two_pass}
"""The forms of the step by name."""


def treats_examples_alone(discriminator: keras.Model, tolerance: float = 1e-3) -> bool:
    """Tests whether a discriminator allows `one_pass`.

    It must treat images independently, and give the same outputs in training as in inference. The
    test uses random images. Batch normalisation, minibatch statistics, dropout and noise fail it.
    No state is changed.

    Args:
        discriminator: a built `keras.Model`.
        tolerance: the largest difference between outputs, as a share of the largest output.
    """
    random = np.random.default_rng(0)
    shape = tuple(discriminator.input_shape[1:])
    images, others = random.uniform(-1, 1, (2, 4, *shape)).astype("float32")
    others[0] = images[0]
    # Adds noise to the weights. Weights of zero, such as a residual branch's scale, would hide what
    # they are multiplied by.
    weights = []
    for variable in discriminator.trainable_variables:
        noise = 0.1 / np.sqrt(np.prod(variable.shape[:-1])) * random.normal(size=variable.shape)
        weights.append((variable, np.asarray(variable) + noise.astype("float32")))

    def outputs(batch: np.ndarray, training: bool) -> list[np.ndarray]:
        with keras.StatelessScope(state_mapping=weights):
            made = tf.nest.flatten(discriminator(batch, training=training))
        return [np.asarray(tf.cast(output, "float32")) for output in made]

    together, inference = outputs(images, True), outputs(images, False)
    among_others = outputs(others, True)  # Of the same batch size, since it may affect rounding.
    for output, at_rest, other in zip(together, inference, among_others):
        differences = np.abs(output - at_rest).max(), np.abs(output[0] - other[0]).max()
        if not max(differences) <= tolerance * max(float(np.abs(output).max()), 1e-6):
            return False
    return True


def _one_float32_logit(discriminator: keras.Model) -> bool:
    """Returns whether a factor per example turns the image gradient into the auto-encoder's.

    Rescaling is exact up to float32 rounding, however small the discriminator's gradient is.
    Half-precision logits would round the gradient, and float16 layers would underflow, so both need
    two backward passes.
    """
    outputs = discriminator.outputs
    half = any(layer.compute_dtype == "float16" for layer in discriminator.layers)
    one = len(outputs) == 1 and len(outputs[0].shape) == 1
    return one and outputs[0].dtype == "float32" and not half


def _probe_gradients(model: Any, tape: tf.GradientTape, losses: dict) -> list | None:
    if "probe" not in losses:
        return None
    return tape.gradient(losses["probe"], model.probe.trainable_variables)


def _detach(tape: tf.GradientTape, tensors: Any) -> Any:
    """Stops gradients at the tensors and watches them as sources of gradients."""
    tensors = tf.nest.map_structure(tf.stop_gradient, tensors)
    tape.watch(tensors)
    return tensors


def _sum(gradients: list, others: list) -> list:
    """Adds two lists of gradients, whose entries may be None."""
    return [
        one if other is None else other if one is None else one + other
        for one, other in zip(gradients, others)
    ]
