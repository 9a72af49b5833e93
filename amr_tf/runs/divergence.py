"""Detects losses and weights that are not finite, and varies random draws after a rollback."""

import math
from typing import Any, NoReturn

import keras
import numpy as np

from amr_tf.models import ResynthesisModel

ON_NAN = ("stop", "rollback")
MAX_ROLLBACKS = 3
# Added to the seed of the order of images at each rollback. Users cannot set a seed this large.
_SEED_STRIDE = 2**32


class Diverged(ValueError):
    """Raised if a loss or a weight is NaN or infinite. This module's messages have no full stop."""


class StopOnNonFinite(keras.callbacks.Callback):
    """Raises `Diverged` at the first step after which a loss is not finite.

    `fit` reports means over the epoch so far. A single NaN or infinite value makes all later means
    NaN or infinite, so the first such report identifies the step. With `steps_per_execution` above
    1, Keras reports only after that many steps, and the message names their range.
    """

    def __init__(self) -> None:
        super().__init__()
        self._last_batch = -1

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._last_batch = -1

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        if not all(map(math.isfinite, (logs or {}).values())):
            self._raise(logs, batch - self._last_batch)
        self._last_batch = batch

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if not all(map(math.isfinite, (logs or {}).values())):
            self._raise(logs, 1)

    def _raise(self, logs: Any, steps: int) -> NoReturn:
        step = self.model.steps_made
        where = f"in step {step}" if steps == 1 else f"in steps {step - steps + 1} to {step}"
        names = sorted(
            (name for name, value in logs.items() if not math.isfinite(value)), key=self._place
        )
        others = f" (and with it {', '.join(names[1:])})" if names[1:] else ""
        raise Diverged(f"Training diverged {where}: {names[0]} is {logs[names[0]]}{others}")

    def _place(self, name: str) -> int:
        """Returns a loss's position in the order of computation; the total loss comes last."""
        order = self.model.METRICS[1:] + self.model.METRICS[:1]
        name = name.removeprefix("val_")
        return order.index(name) if name in order else len(order)


def check_finite(model: ResynthesisModel) -> None:
    """Raises `Diverged` if a weight, or a moment of an optimizer, is NaN or infinite.

    Args:
        model: a compiled `ResynthesisModel`.
    """
    optimizers = (model.autoencoder_optimizer, model.discriminator_optimizer, model.probe_optimizer)
    variables = [*model.weights, *(v for each in optimizers if each for v in each.variables)]
    for variable in variables:
        if not np.isfinite(keras.ops.convert_to_numpy(variable)).all():
            raise Diverged(
                f"Training diverged by step {model.steps_made}: the variable "
                f"'{variable.path}' holds NaN or infinite values"
            )


def other_draws(model: ResynthesisModel, rollbacks: int) -> None:
    """Changes the states of a model's random generators, depending on the number of rollbacks.

    Args:
        model: a newly loaded model.
        rollbacks: number of rollbacks so far, at least 1.
    """
    for variable in model.variables:
        if variable.name == "seed_generator_state":
            # The state is (seed, counter). The shift avoids the seeds of sibling generators.
            seed, counter = (int(part) for part in keras.ops.convert_to_numpy(variable))
            seed = (seed + (rollbacks << 24)) % 2**32
            variable.assign(np.array([seed, counter], variable.dtype))


def order_seed(seed: int, rollbacks: int) -> int:
    """Returns the seed of the order of images after a number of rollbacks, which may be 0."""
    return seed + rollbacks * _SEED_STRIDE
