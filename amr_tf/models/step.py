"""What one training step computes, handed from the networks to a method's losses."""

import dataclasses
from collections.abc import Iterable
from typing import Any

import tensorflow as tf


@dataclasses.dataclass
class StepTensors:
    """What the networks made of one batch of N images; each network is called once.

    Dictionaries map the name of a group of N examples to its tensors. The groups of every method
    with a mixer are "reconstruction", g(f(x)), and "mix", g(Mix(f(x), ...)). A discriminator sees
    the "real" images too, and a method may add groups of its own.

    Attributes:
        images: the real images, (N, H, W, C).
        labels: labels as `fit` takes them, or None.
        permutations: (k, N), given or None where the mixer draws them.
        coefficients: (N, k, ...), given, or what the mixer drew.
        seed: an integer for random numbers that are the same at each call, or None.
        codes: f(x).
        latents: the codes that are decoded, by group.
        decoded: the decoder's images, by group: the fakes.
        decoder_logits: what the decoder's tanh was applied to, by group, where the reconstruction
            loss takes logits.
        discriminator_groups: names of the groups that the discriminator sees, in order.
        discriminator_inputs: these groups as one batch.
        discriminator_outputs: the discriminator's output for this batch, or its list of outputs.
        logits: the discriminator's logits by group, (N,).
        features: the discriminator's features by group, a list of tensors (N, ...) each, where the
            auto-encoder matches them.
        discriminator_reconstructions: a discriminator's images by group, where it is an
            auto-encoder itself (GAIA).
        posterior: mean and log variance of q(z|x), each shaped as `codes` (VAE).
        class_logits: of the discriminator's classifier branch, by group (supervised AMR).
        mixed_labels: what "label_mix" is conditioned on, (N, classes) (supervised AMR).
        label_weights: 1 where an entry of `mixed_labels` is known, else 0 (supervised AMR).
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
        """g(f(x)), shaped as `images`."""
        return self.decoded["reconstruction"]

    @property
    def mixes(self) -> tf.Tensor:
        """The decoded mixes, shaped as `images`."""
        return self.decoded["mix"]

    @property
    def mixed_codes(self) -> tf.Tensor:
        """The mixer's output, shaped as `codes`."""
        return self.latents["mix"]


def concat_groups(groups: dict) -> tf.Tensor:
    """The groups of N examples as one batch, for a network that treats every example by itself.

    Args:
        groups: dictionary from names to tensors of one shape.
    """
    dtype = list(groups.values())[-1].dtype
    return tf.concat([tf.cast(group, dtype) for group in groups.values()], axis=0)


def split_groups(outputs: Any, names: Iterable[str]) -> dict:
    """A network's output for `concat_groups`, group by group.

    Args:
        outputs: the network's output, or the list of its outputs.
        names: the groups' names, in order.

    Returns:
        A dictionary from the names to the output for each group, or the list of outputs.
    """
    names = tuple(names)
    if isinstance(outputs, (list, tuple)):
        parts = zip(*(tf.split(output, len(names)) for output in outputs))
        return dict(zip(names, map(list, parts)))
    return dict(zip(names, tf.split(outputs, len(names))))
