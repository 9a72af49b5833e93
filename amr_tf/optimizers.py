"""Optimizers by name, and Adam with the weight decay of the paper's runs."""

import inspect
import re
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from amr_tf import checks
from amr_tf.registry import Call, Registry
from amr_tf.types import Tensor

SCHEDULES = Registry("learning rate schedule", context={"name": "Keras"})
"""Keras' learning rate schedules by name, such as `cosine_decay(...)`."""


class _Optimizers(Registry):
    """A registry of optimizers whose learning rate may be a schedule's call string."""

    def check_value(self, title: str, parameter: inspect.Parameter, value: Any) -> None:
        schedule = keras.optimizers.schedules.LearningRateSchedule
        if parameter.name == "learning_rate" and isinstance(value, str):
            SCHEDULES.parse(value)
        elif isinstance(value, str) and parameter.default is None:
            raise ValueError(f"{parameter.name} of {title} must be a number; got {value!r}.")
        elif parameter.name != "learning_rate" or not isinstance(value, schedule):
            super().check_value(title, parameter, value)

    def _defaults(self, name: str) -> dict[str, Any]:
        defaults = super()._defaults(name)
        defaults.pop("ema_momentum", None)  # It has no effect without use_ema.
        return defaults

    def build(self, call: str | Call, /, **context: Any) -> keras.optimizers.Optimizer:
        name, arguments = self.parse(call)
        rate = arguments.get("learning_rate")
        if isinstance(rate, str):
            arguments = {**arguments, "learning_rate": SCHEDULES.build(rate)}
        elif isinstance(rate, int):  # Keras takes floats only.
            arguments = {**arguments, "learning_rate": float(rate)}
        return super().build(Call(name, arguments), **context)


OPTIMIZERS = _Optimizers(
    "optimizer", context={"name": "Keras"}, nested={"learning_rate": SCHEDULES}
)
"""Optimizers by the names that flags such as `--autoencoder_optimizer` take."""


def get(optimizer: str | dict | keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    """Returns an optimizer from a call string or any argument of `keras.optimizers.get`.

    Example:

    >>> get("adam(learning_rate=cosine_decay(initial_learning_rate=1e-4, decay_steps=1000))")
    <keras.src.optimizers.adam.Adam object at ...>
    """
    if isinstance(optimizer, str):
        return OPTIMIZERS.build(optimizer)
    return keras.optimizers.get(optimizer)


@OPTIMIZERS.register("adam_l2")
@keras.saving.register_keras_serializable(package="amr_tf")
class AdamL2(keras.optimizers.Adam):
    """Adam with L2 weight decay that is added to the gradient before its moments are computed.

    There are two differences from `keras.optimizers.Adam`. The decay is coupled, whereas Keras'
    `weight_decay` is decoupled (AdamW), which gives different results. And `epsilon` is added after
    the bias correction, as in Kingma and Ba's algorithm 1 and in PyTorch. Keras adds it before,
    where it has ten times the effect in the first step at beta_2 = 0.99. This is enough to change
    the updates of a spectrally normalised discriminator, whose gradients are small. The defaults
    are those of the paper (section 4.1).

    Each variable is updated by one TensorFlow kernel. GPUs have none for variables of dtype
    bfloat16. Under the policy `mixed_bfloat16` variables are float32.

    Args:
        learning_rate: a float or a `keras.optimizers.schedules.LearningRateSchedule`.
        beta_1: decay rate of the first moment, at least 0 and below 1.
        beta_2: decay rate of the second moment, at least 0 and below 1.
        epsilon: constant added to the square root of the second moment.
        l2_weight_decay: coefficient w; each variable's gradient becomes `gradient + w * variable`.
            It applies to every trained variable, including biases and normalisation parameters.
        name: the optimizer's name.
        **kwargs: passed on to `keras.optimizers.Adam`, but not `amsgrad`.

    Raises:
        ValueError: a value is out of range, or `weight_decay` or `amsgrad` is given.
    """

    def __init__(
        self,
        learning_rate: float | keras.optimizers.schedules.LearningRateSchedule = 1e-4,
        beta_1: float = 0.5,
        beta_2: float = 0.99,
        epsilon: float = 1e-8,
        l2_weight_decay: float = 1e-5,
        name: str = "adam_l2",
        **kwargs: Any,
    ) -> None:
        if isinstance(learning_rate, (int, float)):
            checks.check_not_negative("learning_rate", learning_rate)
        checks.check_momentum("beta_1", beta_1)
        checks.check_momentum("beta_2", beta_2)
        checks.check_not_negative("epsilon", epsilon)
        checks.check_not_negative("l2_weight_decay", l2_weight_decay)
        if kwargs.get("weight_decay"):
            raise ValueError(
                "AdamL2 takes l2_weight_decay (coupled); for Keras' decoupled weight_decay use "
                "keras.optimizers.AdamW."
            )
        if kwargs.get("amsgrad"):
            raise ValueError("AdamL2 has no amsgrad; use keras.optimizers.Adam(amsgrad=True).")
        super().__init__(
            learning_rate, beta_1=beta_1, beta_2=beta_2, epsilon=epsilon, name=name, **kwargs
        )
        self.l2_weight_decay = l2_weight_decay
        self._shared: tuple[Tensor, Tensor, Tensor] | None = None

    def _distributed_tf_update_step(
        self, distribution: tf.distribute.Strategy, grads_and_vars: Any, learning_rate: Tensor
    ) -> None:
        # Computes once what all variables share. Keras calls this in graphs and eagerly.
        self._shared = self._bias_corrections()
        rate = learning_rate
        if isinstance(rate, keras.Variable):  # Read once. A schedule's rate is per replica.
            rate = tf.convert_to_tensor(rate)
        try:
            super()._distributed_tf_update_step(distribution, grads_and_vars, rate)
        finally:
            self._shared = None

    def _bias_corrections(self) -> tuple[Tensor, Tensor, Tensor]:
        """Returns beta_1 and beta_2 to the power of the step, and epsilon for TensorFlow's kernel.

        The kernel adds epsilon to the root of the uncorrected second moment, so it is multiplied
        by the root of the bias correction.
        """
        step = ops.cast(self.iterations + 1, "float32")
        powers = ops.power(self.beta_1, step), ops.power(self.beta_2, step)
        return (*powers, self.epsilon * ops.sqrt(1.0 - powers[1]))

    def update_step(
        self, gradient: Tensor, variable: keras.Variable, learning_rate: Tensor
    ) -> None:
        index = self._get_variable_index(variable)
        target = variable.value if isinstance(variable, keras.Variable) else variable
        dtype = target.dtype
        shared = self._shared or self._bias_corrections()
        beta_1_power, beta_2_power, epsilon = (tf.cast(value, dtype) for value in shared)
        gradient = tf.cast(tf.convert_to_tensor(gradient), dtype)
        if self.l2_weight_decay:
            gradient += self.l2_weight_decay * target
        # One kernel instead of thirty operations, whose tracing took half of a step's tracing time.
        tf.raw_ops.ResourceApplyAdam(
            var=target.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=beta_1_power,
            beta2_power=beta_2_power,
            lr=tf.cast(learning_rate, dtype),
            beta1=tf.constant(self.beta_1, dtype),
            beta2=tf.constant(self.beta_2, dtype),
            epsilon=epsilon,
            grad=gradient,
        )

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "l2_weight_decay": self.l2_weight_decay}


# These wrap other optimizers, which a call string cannot hold.
_WRAPPERS = ("LossScaleOptimizer", "MultiOptimizer", "Optimizer")


def _register_optimizers() -> None:
    """Registers Keras' optimizers under Keras' own names, such as "adamw" for `AdamW`."""
    for name, entry in vars(keras.optimizers).items():
        is_optimizer = isinstance(entry, type) and issubclass(entry, keras.optimizers.Optimizer)
        if is_optimizer and name not in _WRAPPERS:
            OPTIMIZERS.register(name.lower())(entry)


def _register_schedules() -> None:
    """Registers Keras' schedules in snake case, such as "cosine_decay" for `CosineDecay`."""
    for name, entry in vars(keras.optimizers.schedules).items():
        if isinstance(entry, type) and name != "LearningRateSchedule":
            SCHEDULES.register(re.sub("(?<=[a-z])(?=[A-Z])", "_", name).lower())(entry)


_register_optimizers()
_register_schedules()
