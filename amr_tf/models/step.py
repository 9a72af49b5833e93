"""What one training step computes, handed from the networks to a method's losses."""

import dataclasses
from typing import Any

import tensorflow as tf


@dataclasses.dataclass
class StepTensors:
    """What the networks made of one batch of N images; each network was asked once.

    Dictionaries map the name of a group of N examples to its tensors. The groups of every method
    with a mixer are "reconstruction", g(f(x)), and "mix", g(Mix(f(x), ...)); a discriminator sees
    "real" images too, and a method may add groups of its own.

    Attributes:
        images: (N, H, W, C).
        labels: as `fit` takes them, or None.
        permutations: (k, N), given or None where the mixer draws them.
        coefficients: (N, k, ...), given, or what the mixer drew.
        seed: an integer for random numbers that are the same at each call, or None.
        codes: f(x).
        latents: the codes that were decoded, by group.
        decoded: the decoder's images, by group.
        criticised: names of the groups of images that the discriminator sees, in order.
        shown: these images as one batch, connected to the networks that made them.
        judged: the discriminator's output for the whole batch, or the list of its outputs.
        verdicts: `judged` by group: logits (N,), or images for GAIA.
        posterior: mean and log variance of q(z|x), each shaped as `codes` (VAE).
        class_logits: of the discriminator's classifier branch, by group (supervised AMR).
        mixed_labels: what "label_mix" is conditioned on, (N, classes) (supervised AMR).
        label_weights: 1 where an entry of `mixed_labels` is known, else 0 (supervised AMR).
    """

    images: Any
    labels: Any = None
    permutations: Any = None
    coefficients: Any = None
    seed: int | None = None
    codes: Any = None
    latents: dict = dataclasses.field(default_factory=dict)
    decoded: dict = dataclasses.field(default_factory=dict)
    criticised: tuple = ()
    shown: Any = None
    judged: Any = None
    verdicts: dict = dataclasses.field(default_factory=dict)
    posterior: tuple | None = None
    class_logits: dict = dataclasses.field(default_factory=dict)
    mixed_labels: Any = None
    label_weights: Any = None

    @property
    def reconstructions(self):
        """g(f(x)), shaped as `images`."""
        return self.decoded["reconstruction"]

    @property
    def mixes(self):
        """The decoded mixes, shaped as `images`."""
        return self.decoded["mix"]

    @property
    def mixed_codes(self):
        """The mixer's output, shaped as `codes`."""
        return self.latents["mix"]


def joined(groups):
    """The groups of N examples as one batch, for a network that treats every example by itself.

    Args:
        groups: dictionary from names to tensors of one shape.
    """
    dtype = list(groups.values())[-1].dtype
    return tf.concat([tf.cast(group, dtype) for group in groups.values()], axis=0)


def parted(outputs, names):
    """What a network returned for `joined` groups, group by group.

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


def cut(tape, tensors):
    """The tensor, or list of tensors, as sources of gradients: none flows further back."""
    tensors = tf.nest.map_structure(tf.stop_gradient, tensors)
    tape.watch(tensors)
    return tensors
