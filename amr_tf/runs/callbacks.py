"""Callbacks for epoch curves, the progress bar, and stopping at a deadline or on a signal."""

import shutil
import signal
import threading
import time
import types
from collections.abc import Callable
from typing import Any, Self

import keras


class EpochTensorBoard(keras.callbacks.TensorBoard):
    """Keras' TensorBoard callback, limited to curves over epochs.

    With `update_freq="epoch"`, Keras writes no curves over batches either. But it still calls the
    summary of each metric after each batch, which leaks 5 KiB of memory per step.
    """

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        super().on_train_batch_end(batch)  # Without logs, there is nothing to summarise.


class ProgressBar(keras.callbacks.ProgbarLogger):
    """Keras' progress bar, which shows only the metrics that fit on one line until the epoch ends.

    A terminal cannot overwrite a line that it has wrapped. With all metrics of an AMR, about 200
    characters, Keras' bar would leave most of itself on the screen at each step.
    """

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        super().on_train_batch_end(batch, self._fitting(logs or {}))

    def _fitting(self, logs: dict[str, Any]) -> dict[str, Any]:
        columns = shutil.get_terminal_size().columns
        # Without "7/90 ", the bar of 20 characters, " 10:00" and " 100ms/step".
        room = columns - (2 * len(str(self.target)) + 2) - 20 - 6 - 11
        fitting = {}
        for name in sorted(logs, key=lambda name: name != "reconstruction_loss"):
            value = float(logs[name])
            digits = ".4f" if abs(value) > 1e-3 else ".4e"
            room -= len(f" - {name}: {value:{digits}}")
            if room < 0:
                break
            fitting[name] = logs[name]
        return fitting


class StopAtDeadline(keras.callbacks.Callback):
    """Ends training after a number of minutes, between two steps, as if the last epoch were over.

    Validation, saving and figures at the end of the epoch still take place. A resumed run continues
    after the last completed step.

    Args:
        minutes: minutes from the creation of the callback, above 0.
        agree: see `StopOnSignal`.
    """

    def __init__(self, minutes: float, agree: Callable[[Any], bool] = bool) -> None:
        super().__init__()
        self.passed = False
        self._end = time.monotonic() + 60.0 * minutes
        self._agree = agree

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        if self._agree(time.monotonic() >= self._end):
            self.passed = self.model.stop_training = True


class Interrupted(Exception):
    """Raised in the training loop, between two steps, after Ctrl-C, SIGTERM or SIGHUP."""


class StopOnSignal(keras.callbacks.Callback):
    """Turns Ctrl-C, SIGTERM and SIGHUP into `Interrupted` between two training steps.

    As a context manager, it installs the signal handlers, and restores the previous ones at exit. A
    second Ctrl-C acts at once. SIGTERM and SIGHUP stay ignored if they already are, as under
    `nohup`. Outside the main thread, where Python allows no handlers, it does nothing.

    Args:
        agree: function that takes whether this worker wants to stop and returns whether any worker
            of the job does, so that all stop after the same step (`strategy.agreement`).
    """

    # SIGHUP means that the terminal was closed. Windows does not have it.
    _SIGNALS = tuple(
        getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
    )

    def __init__(self, agree: Callable[[Any], bool] = bool) -> None:
        super().__init__()
        self.received: str | None = None
        self._agree = agree
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is not threading.main_thread():
            return self
        for number in self._SIGNALS:
            # nohup ignores SIGHUP, so that closing the terminal stops nothing. Background jobs of a
            # script ignore SIGINT, too, but there it is only sent on purpose.
            if number == signal.SIGINT or signal.getsignal(number) is not signal.SIG_IGN:
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *exception: Any) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: types.FrameType | None) -> None:
        self.received = signal.Signals(number).name
        for other, handler in self._previous.items():
            signal.signal(other, handler)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        # After an epoch's last step, validation runs first, or its results would be lost.
        if batch + 1 < self.params["steps"]:
            self._raise_if_asked()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._raise_if_asked()

    def _raise_if_asked(self) -> None:
        if self._agree(self.received):
            raise Interrupted(self.received or "a signal to another worker")
