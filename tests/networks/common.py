"""What the tests of networks share."""

import contextlib

import keras
import numpy as np
import tensorflow as tf

from amr_tf import SpectralNormalization


def inputs_of(network, count=3, seed=0):
    """Random inputs of a network in [-1, 1], float32."""
    shape = (count, *network.input_shape[1:])
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype("float32")


def spectral_layers(network):
    return [x.name for x in network.layers if isinstance(x, SpectralNormalization)]


def without_gradient(network):
    """The names of the trainable weights that random inputs and targets leave without gradient."""
    images = tf.constant(inputs_of(network, 8))
    with tf.GradientTape() as tape:
        outputs = keras.tree.flatten(network(images, training=True))
        random = [np.random.default_rng(1).normal(size=out.shape) for out in outputs]
        loss = sum(tf.reduce_sum(out * target) for out, target in zip(outputs, random))
    gradients = tape.gradient(loss, network.trainable_variables)
    return [
        variable.path
        for variable, gradient in zip(network.trainable_variables, gradients)
        if gradient is None or not np.any(gradient)
    ]


def check_files(network, tmp_path):
    """Fails unless the network survives `.keras` with its weights and JSON with its form."""
    x = inputs_of(network)
    network.save(tmp_path / "network.keras")
    again = keras.saving.load_model(tmp_path / "network.keras")
    keras.tree.map_structure(np.testing.assert_array_equal, network(x), again(x))
    plain = keras.models.model_from_json(network.to_json())
    assert plain.output_shape == network.output_shape
    # A wrapped layer that is read back is built by itself, so that only the ends of paths agree.
    assert [w.name for w in plain.weights] == [w.name for w in network.weights]
    plain.set_weights(network.get_weights())
    keras.tree.map_structure(np.testing.assert_array_equal, network(x), plain(x))


@contextlib.contextmanager
def policy(name):
    """Networks are built under a dtype policy."""
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy("float32")


def dtypes_of_outputs(network):
    """The names of the dtypes that a network returns for random inputs, after a finite check."""
    outputs = keras.tree.flatten(network(inputs_of(network)))
    assert all(np.isfinite(output).all() for output in outputs)
    return {keras.backend.standardize_dtype(output.dtype) for output in outputs}
