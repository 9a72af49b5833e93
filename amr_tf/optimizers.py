"""Adam with the weight decay that the paper's runs used."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="amr_tf")
class AdamL2(keras.optimizers.Adam):
    """Adam with an L2 penalty added to the gradient before its moments are taken.

    Two things differ from `keras.optimizers.Adam`. The decay is coupled; Keras' `weight_decay` is
    decoupled (AdamW), shrinks the weights beside the update and gives other results. And `epsilon`
    is added after the bias correction, as in Kingma and Ba's algorithm 1 and in PyTorch: Keras
    adds it before, where it weighs ten times as much in the first step at beta_2 = 0.99, enough
    to change the updates of a spectrally normalised discriminator, whose gradients are small. The
    defaults are the paper's (section 4.1).

    Args:
        learning_rate: a float or a `keras.optimizers.schedules.LearningRateSchedule`.
        l2_weight_decay: coefficient w; each variable's gradient becomes `gradient + w * variable`.
            It holds for every trained variable, biases and normalisation parameters included.
        **kwargs: as of `keras.optimizers.Adam`, without `amsgrad`.

    Raises:
        ValueError: `l2_weight_decay` is negative, or `weight_decay` or `amsgrad` is given as well.
    """

    def __init__(
        self,
        learning_rate=1e-4,
        beta_1=0.5,
        beta_2=0.99,
        epsilon=1e-8,
        l2_weight_decay=1e-5,
        name="adam_l2",
        **kwargs,
    ):
        if l2_weight_decay < 0:
            raise ValueError(f"l2_weight_decay must be at least 0; got {l2_weight_decay}.")
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

    def update_step(self, gradient, variable, learning_rate):
        dtype = variable.dtype
        index = self._get_variable_index(variable)
        momentum, velocity = self._momentums[index], self._velocities[index]
        step = ops.cast(self.iterations + 1, dtype)
        momentum_correction = 1.0 - ops.power(ops.cast(self.beta_1, dtype), step)
        velocity_correction = 1.0 - ops.power(ops.cast(self.beta_2, dtype), step)
        decay = self.l2_weight_decay * ops.convert_to_tensor(variable)
        gradient = ops.cast(gradient, dtype) + decay
        self.assign_add(momentum, (gradient - momentum) * (1.0 - self.beta_1))
        self.assign_add(velocity, (ops.square(gradient) - velocity) * (1.0 - self.beta_2))
        scale = ops.sqrt(ops.convert_to_tensor(velocity) / velocity_correction) + self.epsilon
        rate = ops.cast(learning_rate, dtype) / momentum_correction
        self.assign_sub(variable, rate * ops.convert_to_tensor(momentum) / scale)

    def get_config(self):
        return {**super().get_config(), "l2_weight_decay": self.l2_weight_decay}
