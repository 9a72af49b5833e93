"""What the tests of mixers share."""

import numpy as np
import tensorflow as tf

# Every registered mixer that needs no labels, and those of them that mix pairs only.
NAMES = ("bernoulli", "channelwise", "composite", "folded", "gaussian", "mixup", "spatial")
PAIRS = ("folded", "gaussian")
SHAPES = ((3, 2, 5), (7,))
# (name, k, shape of a code) that a mixer can be used with.
CASES = [
    (name, k, shape)
    for name in NAMES
    for k in (2, 3, 4)
    for shape in SHAPES
    if not (name in PAIRS and k > 2) and not (name == "spatial" and len(shape) == 1)
]


def codes_of(shape, count, seed=0):
    """Random codes, float32 (count, *shape)."""
    return np.random.default_rng(seed).normal(size=(count, *shape)).astype("float32")


def mixed_parents(mixer, codes):
    """A mixer's output with the codes that went into each mix, (N, k, ...)."""
    permutations = np.asarray(mixer.draw_permutations(len(codes)))
    mixed, coefficients = mixer(tf.constant(codes), permutations)
    stack = np.moveaxis(codes[permutations], 0, 1)
    return np.asarray(mixed), np.asarray(coefficients), stack


def drawn(mixer, shape, count, seed=None):
    """Drawn coefficients as a NumPy array."""
    return np.asarray(mixer.draw_coefficients(shape, count, seed))


def generators(mixer):
    """The states of a mixer's random generators, with those of the mixers inside it."""
    inner = getattr(mixer, "mixers", [])
    states = [np.asarray(mixer.seed_generator.state)]
    return np.stack(states + [np.asarray(one.seed_generator.state) for one in inner])
