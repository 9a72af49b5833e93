"""Helpers of `ResynthesisModel.compile`."""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

from amr_tf import losses, optimizers
from amr_tf.models.gradients import STEPS, treats_examples_alone
from amr_tf.registry import unknown_name


@dataclasses.dataclass(frozen=True)
class Player:
    """One of the players that are trained together.

    This is not a tuple, since Keras would save the optimizer a second time, under the name of the
    property that holds the tuple.

    Attributes:
        optimizer: a Keras optimizer.
        variables: the variables that it trains.
    """

    optimizer: keras.Optimizer
    variables: list

    def __iter__(self) -> Iterator:
        return iter((self.optimizer, self.variables))


def check_parts(model: Any, beta: float, look_matching: float, supervision: float) -> None:
    """Raises a ValueError if the model lacks a part that a loss term with a weight needs."""
    for name, weight, what in (
        ("beta", beta, "consistency"),
        ("look_matching", look_matching, "look"),
    ):
        if weight and (model.mixer is None or not model.trains_on_mixes):
            raise ValueError(
                f"{name} = {weight:g} weighs the {what} of mixes: it needs a mixer and a method "
                "that trains on mixes."
            )
    if look_matching and len(model.image_shape) != 3:
        raise ValueError(
            f"look_matching = {look_matching:g} compares colours and contrast, which need images "
            f"(H, W, C); the model's data have the shape {tuple(model.image_shape)}."
        )
    if supervision and model.probe is None:
        raise ValueError(f"supervision = {supervision:g} weighs the probe's loss: add a probe.")


def consistency_loss(loss: str | Callable | None, reconstruction_loss: Callable) -> Callable:
    """Returns the consistency loss.

    By default, it is the reconstruction loss, as in the released AMR code, or the mean absolute
    error if the reconstruction loss cannot compare codes.

    Raises:
        ValueError: the given loss cannot compare codes.
    """
    if loss is None:
        usable = losses.compares_codes(reconstruction_loss)
        return reconstruction_loss if usable else losses.mean_absolute_error
    made = losses.reconstruction_loss(loss)
    if not losses.compares_codes(made):
        takes = "a decoder's logits" if losses.takes_logits(made) else "images"
        raise ValueError(
            "consistency_loss must be a distance between codes, such as mean_absolute_error; "
            f"{loss!r} takes {takes}."
        )
    return made


def logit_decoder(decoder: keras.Model, reconstruction_loss: Callable) -> Callable | None:
    """Returns a function from codes to the decoder's logits and images, or None if not needed.

    Raises:
        ValueError: the loss takes logits, but the decoder does not end in a separate tanh layer.
    """
    if not losses.takes_logits(reconstruction_loss):
        return None
    last = decoder.layers[-1]
    if getattr(last, "activation", None) is not keras.activations.tanh or last.weights:
        raise ValueError(
            "This reconstruction loss takes the logits that the decoder's tanh is applied to: the "
            "decoder's last layer must be keras.layers.Activation('tanh') "
            "(output_activation='tanh')."
        )
    # Wrapped, since Keras would save a network in an attribute of the model a second time.
    return functools.partial(keras.Model(decoder.inputs[0], [last.input, decoder.outputs[0]]))


def featured_discriminator(discriminator: keras.Model | None) -> Callable:
    """Returns a function from images to a discriminator's output and the list of its features.

    The features are the outputs of its pooling layers and of its convolutions with strides.

    Raises:
        ValueError: there is no discriminator, or it has no such layers.
    """
    features = [] if discriminator is None else [x.output for x in _reducing(discriminator)]
    if discriminator is None or not features:
        raise ValueError(
            "feature_matching compares what a discriminator makes of images where its maps "
            "become smaller; this model has no discriminator with pooling layers or strides."
        )
    # Wrapped, since Keras would save a network in an attribute of the model a second time.
    outputs = keras.tree.pack_sequence_as(discriminator.output, discriminator.outputs)
    return functools.partial(keras.Model(discriminator.inputs[0], [outputs, features]))


def _reducing(discriminator: keras.Model) -> Iterator:
    """Yields the layers with strides, such as pooling layers, except those that pool the pixels."""
    for layer in discriminator.layers:
        inner = getattr(layer, "layer", layer)  # Unwraps SpectralNormalization and others.
        strides = np.max(getattr(inner, "strides", 1))
        enlarges = isinstance(inner, keras.layers.Conv2DTranspose)
        pools_pixels = not layer.weights and layer.input is discriminator.inputs[0]
        if strides > 1 and not enlarges and not pools_pixels:
            yield layer


def choose_step(step: str, discriminator: keras.Model | None) -> str:
    """Returns the form of the step. "auto" chooses one_pass if the discriminator allows it.

    Raises:
        ValueError: the form is unknown, or the discriminator does not allow one_pass.
    """
    if step not in (*STEPS, "auto"):
        raise unknown_name("step", step, (*STEPS, "auto"))
    if step == "two_pass" or discriminator is None or treats_examples_alone(discriminator):
        return "one_pass" if step == "auto" else step
    if step == "auto":
        return "two_pass"
    raise ValueError(
        "step='one_pass' needs a discriminator that maps each image by itself, in training as in "
        f"inference, but '{discriminator.name}' does not (batch normalisation, dropout and noise "
        "do not): use step='two_pass' or 'auto'."
    )


def optimizer(given: Any, loss_scaling: bool = False) -> keras.Optimizer:
    """Returns the optimizer given to `compile`, wrapped for loss scaling if needed."""
    made = optimizers.get(given)
    if loss_scaling and not isinstance(made, keras.optimizers.LossScaleOptimizer):
        made = keras.optimizers.LossScaleOptimizer(made)
    return made


def build_optimizers(players: dict[str, Player]) -> None:
    """Creates the optimizers' state now, since a branch of the graph could not create it.

    Raises:
        ValueError: two players share an optimizer, or one was built for other variables.
    """
    seen: dict[int, str] = {}
    for name, (made, variables) in players.items():
        inner = getattr(made, "inner_optimizer", made)
        if id(inner) in seen:
            raise ValueError(
                f"{name}_optimizer and {seen[id(inner)]} are the same object: every player needs "
                "an optimizer of its own."
            )
        seen[id(inner)] = f"{name}_optimizer"
        if inner.built and set(map(id, inner._trainable_variables)) != set(map(id, variables)):
            raise ValueError(
                f"{name}_optimizer has trained another model, or this one with other layers "
                "frozen: make a new one."
            )
        made.build(variables)


def finalize_all(model: Any) -> None:
    """Makes `fit` assign every player's averages (`use_ema`) to that player's variables.

    Keras' `fit` would pass all variables of the model to the auto-encoder's optimizer, which holds
    averages only of its own.
    """

    def finalize(variables: list) -> None:
        for name, (made, own) in model.players.items():
            if model.ema and name == "autoencoder":
                continue  # Its averages are already in place (`fit_callbacks.Averages`).
            type(made).finalize_variable_values(made, own)

    model.optimizer.finalize_variable_values = finalize
