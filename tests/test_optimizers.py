"""Adam with coupled decay against NumPy, and optimizers and schedules from call strings."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from amr_tf import AdamL2, optimizers
from amr_tf.optimizers import OPTIMIZERS, SCHEDULES


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


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [("float64", 1e-6), ("float16", 1e-3), ("bfloat16", 1e-2)]
)
def test_variables_of_other_dtypes(dtype, tolerance):
    start, gradient = np.array([0.5, -0.25, 1.0]), np.array([0.5, -0.125, 2.0])
    with tf.device("CPU"):  # There is no kernel for bfloat16 on a GPU.
        variable = keras.Variable(start, dtype=dtype)
        optimizer = AdamL2(0.01, epsilon=1e-3, l2_weight_decay=0.1)
        optimizer.apply([tf.cast(gradient, dtype)], [variable])
    expected = numpy_adam(start, [gradient])
    np.testing.assert_allclose(tf.cast(variable, "float64"), expected, atol=tolerance)


def test_gradients_of_a_few_rows():
    table = keras.Variable(np.ones((3, 2), "float32"))
    rows = tf.IndexedSlices(tf.constant([[0.5, -0.2]]), tf.constant([1]), tf.constant([3, 2]))
    optimizer = AdamL2(0.01, epsilon=1e-3, l2_weight_decay=0.1)
    optimizer.apply([rows], [table])
    dense = np.array([[0, 0], [0.5, -0.2], [0, 0]])
    np.testing.assert_allclose(table, numpy_adam(np.ones((3, 2)), [dense]), atol=1e-6)


def test_a_schedule_gives_the_rate_of_each_step():
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([0], [1.0, 0.25])
    variable = keras.Variable([0.0])
    optimizer = AdamL2(schedule, l2_weight_decay=0.0)
    found = []
    for _ in range(2):  # A gradient that stays moves a weight by the rate.
        optimizer.apply([tf.constant([3.0])], [variable])
        found.append(float(variable[0]))
    np.testing.assert_allclose(found, [-1.0, -1.25], rtol=1e-5)


def test_an_update_is_a_small_program():
    """One kernel for each variable, and a few operations more: tracing them is what takes long."""
    variables = [keras.Variable(np.ones(3, "float32")) for _ in range(20)]
    optimizer = AdamL2(1e-3)
    optimizer.build(variables)

    @tf.function
    def update():
        optimizer.apply([tf.ones(3)] * 20, variables)

    operations = [op.type for op in update.get_concrete_function().graph.get_operations()]
    assert operations.count("ResourceApplyAdam") == 20
    # Each reads the variable, adds its penalty, and has a few constants.
    assert len([kind for kind in operations if kind not in ("Const", "Placeholder")]) < 20 * 8


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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"l2_weight_decay": -1}, "l2_weight_decay must be a finite number of at least 0; got -1"),
        ({"learning_rate": -1e-3}, "learning_rate must be a finite number of at least 0"),
        ({"learning_rate": float("nan")}, "learning_rate must be a finite number"),
        ({"epsilon": -1e-8}, "epsilon must be a finite number of at least 0"),
        ({"beta_1": 1.0}, "beta_1 must be at least 0 and below 1; got 1.0"),
        ({"beta_1": -0.1}, "beta_1 must be a finite number of at least 0"),
        ({"beta_2": 2}, "beta_2 must be at least 0 and below 1; got 2"),
        ({"weight_decay": 1e-4}, "AdamW"),
        ({"amsgrad": True}, "amsgrad"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        AdamL2(**arguments)


# From call strings.


def test_every_optimizer_of_keras_has_a_name():
    """Its class' in lower case, as in Keras; those that wrap others have none."""
    wrappers = ("Optimizer", "LossScaleOptimizer", "MultiOptimizer")
    own = {
        name.lower(): entry
        for name, entry in vars(keras.optimizers).items()
        if isinstance(entry, type)
        and issubclass(entry, keras.optimizers.Optimizer)
        and name not in wrappers
    }
    own["adam_l2"] = AdamL2
    assert set(OPTIMIZERS.names()) == set(own)
    for name, expected in own.items():
        made = optimizers.get(name)
        assert type(made) is expected
        config = expected().get_config()
        del config["name"]  # Keras numbers it.
        assert config.items() <= made.get_config().items()


def test_values_out_of_range_in_the_call_string():
    with pytest.raises(ValueError, match="beta_1 must be at least 0 and below 1; got 2"):
        optimizers.get("adam_l2(beta_1=2)")


def test_parameters_in_the_call_string():
    made = optimizers.get("adamw(learning_rate=3e-3, beta_1=0.25, weight_decay=0.5, clipnorm=1.0)")
    config = made.get_config()
    assert type(made) is keras.optimizers.AdamW
    assert config["learning_rate"] == pytest.approx(3e-3)
    assert (config["beta_1"], config["weight_decay"], config["clipnorm"]) == (0.25, 0.5, 1.0)
    averaged = optimizers.get("sgd(use_ema=True, ema_momentum=0.5)")
    assert (averaged.use_ema, averaged.ema_momentum) == (True, 0.5)


def test_what_keras_takes_is_taken():
    made = keras.optimizers.Adam(1e-3)
    assert optimizers.get(made) is made
    again = optimizers.get(keras.optimizers.serialize(made))
    assert again.get_config() == made.get_config()


# A schedule's call string, and its rate at a step.
RATES = {
    "cosine_decay(initial_learning_rate=0.5, decay_steps=8)": (
        lambda step: 0.25 * (1 + np.cos(np.pi * step / 8))
    ),
    "exponential_decay(initial_learning_rate=0.5, decay_steps=2, decay_rate=0.5)": (
        lambda step: 0.5 * 0.5 ** (step / 2)
    ),
    "piecewise_constant_decay(boundaries=(2, 5), values=(0.5, 0.25, 0.125))": (
        lambda step: 0.5 if step <= 2 else 0.25 if step <= 5 else 0.125
    ),
    "polynomial_decay(initial_learning_rate=0.5, decay_steps=8, end_learning_rate=0.1)": (
        lambda step: 0.1 + 0.4 * (1 - step / 8)
    ),
    "inverse_time_decay(initial_learning_rate=0.5, decay_steps=2, decay_rate=1.0)": (
        lambda step: 0.5 / (1 + step / 2)
    ),
}


@pytest.mark.parametrize("schedule", RATES)
@pytest.mark.parametrize("name", ["adam", "adam_l2", "sgd"])
def test_schedules(name, schedule):
    """Nested without quotes, and in them; the rate moves with the optimizer's steps."""
    for text in (f"{name}(learning_rate={schedule})", f'{name}(learning_rate="{schedule}")'):
        made = optimizers.get(text)
        variable = keras.Variable(np.zeros(2, "float32"))
        for step in range(7):
            expected = RATES[schedule](step)
            assert float(made.learning_rate) == pytest.approx(expected, rel=1e-5)
            made.apply([tf.ones(2)], [variable])


def test_a_schedule_survives_a_file():
    text = "adam(learning_rate=cosine_decay(initial_learning_rate=0.5, decay_steps=8))"
    made = optimizers.get(text)
    again = keras.optimizers.deserialize(keras.optimizers.serialize(made))
    assert float(again.learning_rate) == 0.5
    assert again.get_config() == made.get_config()


def test_every_schedule_of_keras_has_a_name():
    own = [
        entry
        for entry in vars(keras.optimizers.schedules).values()
        if isinstance(entry, type) and entry is not keras.optimizers.schedules.LearningRateSchedule
    ]
    assert {SCHEDULES.get(name) for name in SCHEDULES.names()} == set(own)
    assert "cosine_decay_restarts" in SCHEDULES.names()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("adamm", "Unknown optimizer 'adamm'. Did you mean 'adam'?"),
        ("adam(lr=1)", "Unknown parameter of optimizer 'adam': 'lr'."),
        ("adam(learning_rat=1)", "Did you mean 'learning_rate'"),
        ("adam(name='mine')", "name of optimizer 'adam' is set by Keras"),
        ("adam(beta_1='high')", "beta_1 of optimizer 'adam' must be a number, such as 0.9"),
        ("adam(learning_rate='fast')", "Unknown learning rate schedule 'fast'"),
        ("adam(learning_rate=cosin_decay(a=1))", "Did you mean 'cosine_decay'"),
        (
            "adam(learning_rate=cosine_decay(initial_learning_rate=1.0))",
            "learning rate schedule 'cosine_decay' needs its parameter decay_steps",
        ),
        ("adam(learning_rate=cosine_decay(decay_step=1))", "Did you mean 'decay_steps'"),
        ("adam(learning_rate=None)", "learning_rate of optimizer 'adam' must be a number"),
        ("adam(epsilon=cosine_decay(a=1))", "epsilon of optimizer 'adam' must be a number"),
    ],
)
def test_bad_call_strings(text, message):
    for refuse in (optimizers.get, OPTIMIZERS.parse):
        with pytest.raises(ValueError) as error:
            refuse(text)
        assert message in str(error.value)
        assert "\n" not in str(error.value)


def test_ones_own_optimizer():
    @OPTIMIZERS.register("slow_sgd")
    class SlowSGD(keras.optimizers.SGD):
        def __init__(self, learning_rate=1e-6, factor=0.5, **kwargs):
            super().__init__(learning_rate, **kwargs)
            self.factor = factor

    try:
        made = optimizers.get("slow_sgd(factor=0.25, momentum=0.5)")
        assert (made.factor, made.momentum) == (0.25, 0.5)
    finally:
        del OPTIMIZERS._entries["slow_sgd"]
