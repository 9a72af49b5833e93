"""Callbacks that make Keras' own callbacks work with several players."""

from typing import Any

import keras


def with_own(callbacks: Any, model: Any) -> Any:
    """Adds the library's callbacks to the user's, and sets the mode of callbacks with a monitor.

    Args:
        callbacks: as `fit` takes them: None, a callback, a list, or a `CallbackList`.
        model: the `ResynthesisModel` to be trained.

    Raises:
        ValueError: `SwapEMAWeights` would undo the switching to averages that `ema` implies.
    """
    own = SharedLearningRate()
    first: list[keras.callbacks.Callback] = [Averages()] if model.ema else []
    if isinstance(callbacks, keras.callbacks.CallbackList):
        given = callbacks.callbacks
        if not any(isinstance(callback, SharedLearningRate) for callback in given):
            for added in [*first, own]:
                added.set_model(model)
            given[:] = [*first, *given, own]
        both = callbacks
    else:
        given = list(callbacks) if isinstance(callbacks, (list, tuple)) else [callbacks]
        given = [callback for callback in given if callback is not None]
        both = [*first, *given, own]
    for callback in given:
        if model.ema and isinstance(callback, keras.callbacks.SwapEMAWeights):
            raise ValueError(
                f"With ema = {model.ema:g}, `fit` already uses the averages for validation and "
                "saving: leave out SwapEMAWeights."
            )
        if getattr(callback, "mode", None) == "auto":
            _set_mode(callback, model)
    return both


def _set_mode(callback: Any, model: Any) -> None:
    """Sets a callback's mode, which Keras can infer only for its own metrics."""
    monitored = str(getattr(callback, "monitor", "")).removeprefix("val_")
    for metric in model.metrics:
        if metric.name == monitored and hasattr(metric, "_direction"):
            callback.mode = "max" if metric._direction == "up" else "min"


class Averages(keras.callbacks.Callback):
    """Switches to the averages of the auto-encoder's weights outside of training steps.

    It runs before other callbacks, so that validation and callbacks at the end of an epoch, such
    as saving, use the averages.
    """

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.model.use_averages(False)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.model.use_averages(False)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.model.use_averages(True)

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.model.use_averages(True)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        self.model.use_averages(True)


class SharedLearningRate(keras.callbacks.Callback):
    """Scales the learning rates of all players in proportion to the auto-encoder's.

    `ReduceLROnPlateau` and `LearningRateScheduler` change only `model.optimizer.learning_rate`, the
    auto-encoder's. Without this callback, which runs after them, the discriminator would keep its
    old rate. Optimizers with their own schedule are left unchanged.
    """

    def __init__(self) -> None:
        super().__init__()
        self._last: float | None = None
        self._ratios: dict[str, float] = {}

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._last = _rate(self.model.optimizer)
        self._note_ratios()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._follow()
        self._note_ratios()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._follow()

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._follow()

    def _others(self) -> dict[str, keras.Optimizer]:
        players = list(self.model.players.items())[1:]
        return {name: one.optimizer for name, one in players if not _has_schedule(one.optimizer)}

    def _note_ratios(self) -> None:
        if self._last:  # A warm-up may start at 0, for which ratios are undefined.
            ratios = {name: _rate(one) / self._last for name, one in self._others().items()}
            self._ratios = ratios

    def _follow(self) -> None:
        rate: Any = (
            self._last if _has_schedule(self.model.optimizer) else _rate(self.model.optimizer)
        )
        if rate == self._last:
            return
        for name, optimizer in self._others().items():
            if name in self._ratios:
                optimizer.learning_rate = self._ratios[name] * rate
        self._last = rate


def _rate(optimizer: keras.Optimizer) -> float:
    return float(keras.ops.convert_to_numpy(optimizer.learning_rate))


def _has_schedule(optimizer: keras.Optimizer) -> bool:
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    return isinstance(inner._learning_rate, keras.optimizers.schedules.LearningRateSchedule)
