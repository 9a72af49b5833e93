"""What makes Keras' callbacks work with more than one player."""

from typing import Any

import keras


def with_own(callbacks: Any, model: Any) -> Any:
    """A user's callbacks with the mode of what they monitor, and `SharedLearningRate` behind them.

    Args:
        callbacks: as `fit` takes them: None, a callback, a list, or a `CallbackList`.
        model: the `ResynthesisModel` that is trained.
    """
    own = SharedLearningRate()
    if isinstance(callbacks, keras.callbacks.CallbackList):
        given = callbacks.callbacks
        callbacks.append(own)
        own.set_model(model)
        both = callbacks
    else:
        given = list(callbacks) if isinstance(callbacks, (list, tuple)) else [callbacks]
        given = [callback for callback in given if callback is not None]
        both = [*given, own]
    for callback in given:
        if getattr(callback, "mode", None) == "auto":
            _set_mode(callback, model)
    return both


def _set_mode(callback, model):
    """Keras finds the direction of its own metrics only; of ours, it would ask the user."""
    monitored = str(getattr(callback, "monitor", "")).removeprefix("val_")
    for metric in model.metrics:
        if metric.name == monitored and hasattr(metric, "_direction"):
            callback.mode = "max" if metric._direction == "up" else "min"


class SharedLearningRate(keras.callbacks.Callback):
    """Lets the learning rates of all players follow the auto-encoder's, in proportion.

    `ReduceLROnPlateau` and `LearningRateScheduler` set `model.optimizer.learning_rate`, which is
    the auto-encoder's: the discriminator would go on at its old rate. It comes behind them.
    Optimizers with a schedule of their own are left alone.
    """

    def __init__(self):
        super().__init__()
        self._last = None

    def on_train_begin(self, logs=None):
        self._last = self._rate()

    def on_epoch_begin(self, epoch, logs=None):
        self._follow()

    def on_epoch_end(self, epoch, logs=None):
        self._follow()

    def on_train_batch_begin(self, batch, logs=None):
        self._follow()

    def _rate(self):
        return float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))

    def _follow(self):
        if _has_schedule(self.model.optimizer):
            return
        rate = self._rate()
        if rate == self._last or not self._last:
            self._last = rate
            return
        for optimizer, _ in list(self.model.players.values())[1:]:
            if not _has_schedule(optimizer):
                old = float(keras.ops.convert_to_numpy(optimizer.learning_rate))
                optimizer.learning_rate = old * rate / self._last
        self._last = rate


def _has_schedule(optimizer):
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    return isinstance(inner._learning_rate, keras.optimizers.schedules.LearningRateSchedule)
