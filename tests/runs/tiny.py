"""The architecture `tiny`: a layer or two a network, for tests of what surrounds a training.

The graph of a convolutional network's step takes most of such a test's time. Codes are maps, as
theirs are, so that every mixer takes them.
"""

import contextlib
import math

import keras

from amr_tf.networks.architectures import ARCHITECTURES, Networks

NAME = "tiny"
WIDTH, CHANNELS = 2, 2


def tiny(image_shape, *, encoder_outputs=1, critic="logits", num_classes=None):
    """Dense networks without a hidden layer; critics are of the kind "logits" only."""
    assert critic in ("logits", None)
    code_shape = (WIDTH, WIDTH, CHANNELS)
    encoded_shape = (WIDTH, WIDTH, CHANNELS * encoder_outputs)
    return Networks(
        _network(image_shape, encoded_shape),
        _network(code_shape, image_shape),
        _network(image_shape, ()) if critic else None,
    )


def _network(inputs, outputs):
    return keras.Sequential(
        [
            keras.Input(inputs),
            keras.layers.Flatten(),
            keras.layers.Dense(math.prod(outputs)),
            keras.layers.Reshape(outputs),
        ]
    )


def register():
    """`--architecture=tiny` in a process of a test's own."""
    ARCHITECTURES.register(NAME)(tiny)


@contextlib.contextmanager
def registered():
    """The same while the context lasts, for a process whose other tests list what is registered."""
    register()
    try:
        yield NAME
    finally:
        del ARCHITECTURES._entries[NAME]
