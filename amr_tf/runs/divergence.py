"""What happens when a loss or a weight is no longer a finite number."""

import math
from typing import Any, NoReturn

import keras
import numpy as np

from amr_tf.models import ResynthesisModel

ON_NAN = ("stop", "rollback")
MAX_ROLLBACKS = 3
# Added to the seed of the order of images after a rollback: beyond every seed that a user can set.
_SEED_STRIDE = 2**32


class Diverged(ValueError):
    """A loss or a weight became NaN or infinite; the message is one sentence without a stop."""


class StopOnNonFinite(keras.callbacks.Callback):
    """Raises `Diverged` at the first step after which a loss is not finite.

    `fit` reports means over the epoch so far, which a single NaN or infinite value makes NaN or
    infinite for good, so the first such report is the step's. With `steps_per_execution` above 1
    Keras reports after so many steps, and the sentence names their range.
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
        """Losses in the order in which a step computes them; the total, made of all, is last."""
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
    """Gives all random generators of a model states that depend on the number of rollbacks.

    Args:
        model: a model that was just loaded.
        rollbacks: how many rollbacks there were, at least 1.
    """
    for variable in model.variables:
        if variable.name == "seed_generator_state":
            # The state is (seed, counter); other seeds than those of sibling generators.
            seed, counter = (int(part) for part in keras.ops.convert_to_numpy(variable))
            seed = (seed + (rollbacks << 24)) % 2**32
            variable.assign(np.array([seed, counter], variable.dtype))


def order_seed(seed: int, rollbacks: int) -> int:
    """The seed of the order of images after so many rollbacks, none included."""
    return seed + rollbacks * _SEED_STRIDE
