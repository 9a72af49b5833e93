"""The tensors of one training step, passed from the networks to a method's losses."""

import dataclasses
from collections.abc import Iterable
from typing import Any

import tensorflow as tf


@dataclasses.dataclass
class StepTensors:
    """The networks' outputs for one batch of N images.

    Dictionaries map the names of groups of N examples to tensors. Methods that train on mixes have
    the groups "reconstruction", g(f(x)), and "mix", g(Mix(f(x), ...)). A discriminator usually
    sees the "real" images too, and methods may add further groups.

    Attributes:
        images: the real images, (N, H, W, C).
        labels: labels as `fit` takes them, or None.
        permutations: (k, N), given or drawn by the mixer.
        coefficients: (N, k, ...), given or drawn by the mixer.
        seed: an integer for reproducible draws, or None.
        codes: f(x).
        latents: the codes to decode, by group.
        decoded: the decoder's images (the fakes), by group.
        decoder_logits: the inputs of the decoder's tanh, by group, if the reconstruction loss
            takes logits.
        discriminator_groups: names of the groups that the discriminator sees, in order.
        discriminator_inputs: these groups as one batch.
        discriminator_outputs: the discriminator's output for this batch, or its list of outputs.
        logits: the discriminator's logits (N,), by group.
        features: the discriminator's features, by group, each a list of tensors (N, ...), if
            feature matching is on.
        discriminator_reconstructions: the discriminator's images, by group, if it is itself an
            auto-encoder (GAIA).
        posterior: mean and log variance of q(z|x), each with the shape of `codes` (VAE).
        class_logits: logits of the discriminator's classifier branch, by group (supervised AMR).
        mixed_labels: the labels that "label_mix" is conditioned on, (N, classes) (supervised AMR).
        label_weights: 1 where `mixed_labels` is known, else 0 (supervised AMR).
        regularization: the regularisation losses of each player's networks, by player.
    """

    images: Any
    labels: Any = None
    permutations: Any = None
    coefficients: Any = None
    seed: int | None = None
    codes: Any = None
    latents: dict = dataclasses.field(default_factory=dict)
    decoded: dict = dataclasses.field(default_factory=dict)
    decoder_logits: dict = dataclasses.field(default_factory=dict)
    discriminator_groups: tuple = ()
    discriminator_inputs: Any = None
    discriminator_outputs: Any = None
    logits: dict = dataclasses.field(default_factory=dict)
    features: dict = dataclasses.field(default_factory=dict)
    discriminator_reconstructions: dict = dataclasses.field(default_factory=dict)
    posterior: Any = None
    class_logits: dict = dataclasses.field(default_factory=dict)
    mixed_labels: Any = None
    label_weights: Any = None
    regularization: dict = dataclasses.field(default_factory=dict)

    @property
    def reconstructions(self) -> tf.Tensor:
        """g(f(x)), with the shape of `images`."""
        return self.decoded["reconstruction"]

    @property
    def mixes(self) -> tf.Tensor:
        """The decoded mixes, with the shape of `images`."""
        return self.decoded["mix"]

    @property
    def mixed_codes(self) -> tf.Tensor:
        """The codes of the mixes, with the shape of `codes`."""
        return self.latents["mix"]


def concat_groups(groups: dict) -> tf.Tensor:
    """Concatenates groups of N examples, for a network that processes examples independently.

    Args:
        groups: dictionary from names to tensors of the same shape.
    """
    dtype = list(groups.values())[-1].dtype
    return tf.concat([tf.cast(group, dtype) for group in groups.values()], axis=0)


def split_groups(outputs: Any, names: Iterable[str]) -> dict:
    """Splits a network's output for `concat_groups` into groups.

    Args:
        outputs: the network's output, or the list of its outputs.
        names: the groups' names, in order.

    Returns:
        A dictionary from names to each group's output, or list of outputs.
    """
    names = tuple(names)
    if isinstance(outputs, (list, tuple)):
        parts = zip(*(tf.split(output, len(names)) for output in outputs))
        return dict(zip(names, map(list, parts)))
    return dict(zip(names, tf.split(outputs, len(names))))
