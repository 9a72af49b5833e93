"""Moving averages of the auto-encoder's weights, used in their place outside of training steps.

The averages live in the optimizer, as with Keras' `use_ema`, and are saved with it. There are two
differences from Keras. The momentum warms up, since the initial weights would otherwise dominate
the averages for hundreds of steps. Averages and weights are swapped without rounding,
so a model can be validated, saved and used with the averages and resume training from the weights.
"""

import functools
from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np
from keras import ops


def keep_averages(optimizer: keras.Optimizer, momentum: float) -> None:
    """Makes an optimizer keep moving averages of the variables it will train.

    After t updates the momentum is `t / (t + 9)`, up to `momentum`.

    Args:
        optimizer: a Keras optimizer, or its wrapper for loss scaling.
        momentum: the weight of the old averages in an update, above 0 and below 1.

    Raises:
        ValueError: the optimizer has been built without averages.
    """
    inner = _inner(optimizer)
    if inner.built and not inner.use_ema:
        raise ValueError(
            f"ema = {momentum:g} needs a new autoencoder_optimizer: this one has been used without "
            "averages."
        )
    inner.use_ema = True
    inner.ema_momentum = momentum
    inner._update_model_variables_moving_average = functools.partial(_update, inner)


def start_averages(optimizer: keras.Optimizer) -> None:
    """Sets the averages to the weights before the first update; Keras starts them at zero."""
    if not int(ops.convert_to_numpy(_inner(optimizer).iterations)):
        restart_averages(optimizer)


def restart_averages(optimizer: keras.Optimizer) -> None:
    """Sets the averages to the variables' present values."""
    for variable, average in _pairs(_inner(optimizer)):
        average.assign(ops.convert_to_numpy(variable))


def restored(optimizer: keras.Optimizer, load: Callable[[], Any]) -> bool:
    """Calls a function that loads a file, and restarts the averages if the file has none that fit.

    Keras skips the state of an optimizer that does not match the file, with a warning only.

    Returns:
        Whether the averages were restored from the file.
    """
    averages = [average for _, average in _pairs(_inner(optimizer))]
    before = [ops.convert_to_numpy(average) for average in averages]
    for average in averages:
        average.assign(np.full(average.shape, np.nan))
    try:
        load()
    except BaseException:
        for average, values in zip(averages, before):
            average.assign(values)
        raise
    if any(np.isnan(ops.convert_to_numpy(average)).all() for average in averages):
        restart_averages(optimizer)
        return False
    return True


def exchange(optimizer: keras.Optimizer) -> None:
    """Swaps the trained variables with their averages."""
    for variable, average in _pairs(_inner(optimizer)):
        values = ops.convert_to_numpy(variable)
        variable.assign(ops.convert_to_numpy(average))
        average.assign(values)


def _update(optimizer: Any, variables: list) -> None:
    """Updates the averages as Keras does, but with a momentum that grows from 0."""
    updates = ops.cast(optimizer.iterations, "float32")
    momentum = ops.minimum(updates / (updates + 9.0), optimizer.ema_momentum)
    for variable, average in zip(variables, optimizer._model_variables_moving_average):
        kept = ops.cast(momentum, average.dtype)
        average.assign(kept * average + (1.0 - kept) * ops.cast(variable, average.dtype))


def _pairs(inner: Any) -> Iterable[tuple[Any, Any]]:
    """Pairs the trained variables with their averages."""
    return zip(inner._trainable_variables, inner._model_variables_moving_average)


def _inner(optimizer: Any) -> Any:
    return getattr(optimizer, "inner_optimizer", optimizer)
