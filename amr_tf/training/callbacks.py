"""Callbacks beside Keras' own: sample grids, and stopping at the user's wish."""

import pathlib
import signal
import threading

import keras
import tensorflow as tf

from amr_tf.evaluation.figures import figure_pixels, sample_figure


class SampleGrid(keras.callbacks.Callback):
    """Draws originals, reconstructions and mixes every few epochs, to PNG and TensorBoard.

    The images and the mixes' coefficients are the same each time, so the grids show the model
    change and nothing else; the training's random numbers are left alone.

    Args:
        images: float images (N, H, W, C) in [-1, 1], N at least the mixer's k.
        directory: for `epoch_00010.png` and so on.
        log_dir: TensorBoard's folder, or None.
        every: epochs between grids.
    """

    def __init__(self, images, directory, log_dir=None, every=10):
        super().__init__()
        self.images = images
        self.directory = pathlib.Path(directory)
        self.every = every
        self._writer = tf.summary.create_file_writer(str(log_dir)) if log_dir else None

    def on_epoch_end(self, epoch, logs=None):
        number = epoch + 1
        if number % self.every and number != self.params.get("epochs"):
            return
        self.directory.mkdir(parents=True, exist_ok=True)
        figure = sample_figure(self.model, self.images, f"After epoch {number}")
        figure.savefig(self.directory / f"epoch_{number:05d}.png")
        if self._writer is not None:
            with self._writer.as_default():
                tf.summary.image("samples", figure_pixels(figure)[None], step=number)
            self._writer.flush()


class EpochTensorBoard(keras.callbacks.TensorBoard):
    """Keras' TensorBoard callback, of which only the epochs' curves are drawn.

    With `update_freq="epoch"` Keras writes no curve over batches either, but calls the summary of
    each metric after each batch all the same, which costs 5 KiB of memory a step for good.
    """

    def on_train_batch_end(self, batch, logs=None):
        super().on_train_batch_end(batch)  # Without logs there is nothing to summarise.


class Interrupted(Exception):
    """Raised in the training loop, between two steps, after Ctrl-C or SIGTERM."""


class StopOnSignal(keras.callbacks.Callback):
    """Turns Ctrl-C and SIGTERM into `Interrupted` between two training steps.

    A context manager: the handlers hold while it is entered. A second Ctrl-C acts at once. Outside
    of the main thread, where Python allows no handlers, it does nothing.

    Args:
        agree: function from this process' wish to that of all workers of a job, so that all stop
            after the same step (`strategy.agreement`).
    """

    _SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self, agree=bool):
        super().__init__()
        self.received = None
        self._agree = agree
        self._previous = {}

    def __enter__(self):
        if threading.current_thread() is not threading.main_thread():
            return self
        for number in self._SIGNALS:
            self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *exception):
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number, frame):
        self.received = signal.Signals(number).name
        for other, handler in self._previous.items():
            signal.signal(other, handler)

    def on_train_batch_end(self, batch, logs=None):
        # After an epoch's last step its validation comes first, or its figures would be lost.
        if batch + 1 < self.params["steps"]:
            self._raise_if_asked()

    def on_epoch_end(self, epoch, logs=None):
        self._raise_if_asked()

    def _raise_if_asked(self):
        if self._agree(self.received):
            raise Interrupted(self.received or "a signal to another worker")
