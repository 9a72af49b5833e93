import keras
import numpy as np
import pytest
import tensorflow as tf

from amr_tf import AdamL2


def numpy_adam(value, gradients, rate=0.01, beta_1=0.5, beta_2=0.99, epsilon=1e-3, decay=0.1):
    """Kingma and Ba's algorithm 1 with the penalty's gradient added, in float64."""
    value = value.astype("float64")
    m = v = np.zeros_like(value)
    for step, gradient in enumerate(gradients, start=1):
        gradient = gradient + decay * value
        m = beta_1 * m + (1 - beta_1) * gradient
        v = beta_2 * v + (1 - beta_2) * gradient**2
        scale = np.sqrt(v / (1 - beta_2**step)) + epsilon
        value = value - rate * m / (1 - beta_1**step) / scale
    return value


def test_steps_against_numpy():
    random = np.random.default_rng(0)
    start = random.normal(size=(3, 4)).astype("float32")
    gradients = [random.normal(size=(3, 4)).astype("float32") * 1e-2 for _ in range(5)]
    variable = keras.Variable(start)
    optimizer = AdamL2(0.01, beta_1=0.5, beta_2=0.99, epsilon=1e-3, l2_weight_decay=0.1)
    for gradient in gradients:
        optimizer.apply([tf.constant(gradient)], [variable])
    np.testing.assert_allclose(variable, numpy_adam(start, gradients), atol=1e-6)


def test_decay_is_coupled():
    """Without a gradient but the penalty's, Adam still takes a whole step towards zero."""
    variable = keras.Variable(np.array([2.0, -3.0], "float32"))
    AdamL2(0.01, l2_weight_decay=1e-3).apply([tf.zeros(2)], [variable])
    np.testing.assert_allclose(variable, [1.99, -2.99], atol=1e-5)


def test_without_decay_close_to_keras():
    ours, theirs = (keras.Variable(np.ones(3, "float32")) for _ in range(2))
    gradient = tf.constant([0.5, -0.2, 0.1])
    for _ in range(3):
        AdamL2(0.01, l2_weight_decay=0.0).apply([gradient], [ours])
        keras.optimizers.Adam(0.01, 0.5, 0.99, epsilon=1e-8).apply([gradient], [theirs])
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_config_round_trip():
    optimizer = AdamL2(3e-4, beta_1=0.4, l2_weight_decay=1e-3, clipnorm=1.0)
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert isinstance(again, AdamL2)
    assert again.get_config() == optimizer.get_config()


def test_defaults_are_the_papers():
    config = AdamL2().get_config()
    assert config["learning_rate"] == pytest.approx(1e-4)
    names = ("beta_1", "beta_2", "epsilon", "l2_weight_decay")
    assert [config[name] for name in names] == [0.5, 0.99, 1e-8, 1e-5]


def test_bad_arguments():
    with pytest.raises(ValueError, match="at least 0; got -1"):
        AdamL2(l2_weight_decay=-1)
    with pytest.raises(ValueError, match="AdamW"):
        AdamL2(weight_decay=1e-4)
    with pytest.raises(ValueError, match="amsgrad"):
        AdamL2(amsgrad=True)
