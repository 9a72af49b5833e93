"""A callback that draws samples while a model trains."""

import pathlib
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from amr_tf.figures.grids import figure_pixels, sample_figure


class SampleGrid(keras.callbacks.Callback):
    """Draws originals, reconstructions and mixes every few epochs, to PNG and TensorBoard.

    The last epoch is also drawn, even if training stops early.

    Images and mixing coefficients are the same every time, so grids differ only by the model. The
    random numbers of training are not affected.

    Args:
        images: float images (N, H, W, C) in [-1, 1], with N at least the mixer's k.
        directory: folder for `epoch_00010.png` and so on.
        log_dir: folder for TensorBoard's logs, or None.
        every: number of epochs between grids.
    """

    def __init__(
        self,
        images: np.ndarray,
        directory: str | pathlib.Path,
        log_dir: str | pathlib.Path | None = None,
        every: int = 10,
    ) -> None:
        super().__init__()
        self.images = images
        self.directory = pathlib.Path(directory)
        self.every = every
        self._number = self._drawn = 0
        self._writer = tf.summary.create_file_writer(str(log_dir)) if log_dir else None

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._number = epoch + 1
        if self._number % self.every == 0 or self._number == self.params.get("epochs"):
            self._draw()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        if self.model.stop_training and self._drawn != self._number:
            self._draw()

    def _draw(self) -> None:
        self._drawn = number = self._number
        self.directory.mkdir(parents=True, exist_ok=True)
        figure = sample_figure(self.model, self.images, f"After epoch {number}")
        figure.savefig(self.directory / f"epoch_{number:05d}.png")
        if self._writer is not None:
            with self._writer.as_default():
                tf.summary.image("samples", figure_pixels(figure)[None], step=number)
            self._writer.flush()
