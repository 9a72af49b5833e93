"""Checkpoints from which a run continues exactly, and the best model so far."""

import json
import pathlib
import zipfile

import keras

from amr_tf.files import write_whole
from amr_tf.models import ResynthesisModel

_STATE = "state.json"
_BEST = "best.keras"


class Checkpoints(keras.callbacks.Callback):
    """Saves `best.keras` and the newest `last-*.keras` while training.

    A `.keras` file holds the weights, the state of the optimizers and of the random generators
    and the step counter. `state.json` names the file to resume from and holds the best value; it
    is replaced after the files that it stands for, so at any moment it names a whole checkpoint.

    Args:
        directory: where the files go; made where it is missing.
        monitor: the metric that chooses the best epoch.
        mode: "max" or "min".
        every: epochs between checkpoints to resume from.
        best: the best value so far, of a run that is resumed, or None.
    """

    def __init__(self, directory, monitor, mode, every=1, best=None):
        super().__init__()
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.monitor = monitor
        self.mode = mode
        self.every = every
        self.best = best

    def on_epoch_end(self, epoch, logs=None):
        value = (logs or {}).get(self.monitor)
        if value is not None and self._better(float(value)):
            self.best = float(value)
            _save_whole(self.model, self.directory / _BEST)
        if (epoch + 1) % self.every == 0 or epoch + 1 == self.params.get("epochs"):
            self.save()

    def _better(self, value):
        if self.best is None:
            return True
        return value > self.best if self.mode == "max" else value < self.best

    def save(self):
        """Saves the model as it is and makes it the one to resume from."""
        step = int(self.model.step_counter)
        path = self.directory / f"last-{step:08d}.keras"
        _save_whole(self.model, path)
        state = {"checkpoint": path.name, "step": step, "best": self.best, "monitor": self.monitor}
        write_whole(self.directory / _STATE, json.dumps(state, indent=2) + "\n")
        for old in self.directory.glob("last-*.keras"):
            if old != path:
                old.unlink()


def read_state(directory):
    """The newest checkpoint of a run and what belongs to it.

    Returns:
        A dictionary with "checkpoint" (path), "step" (training steps made) and "best", or None
        where no checkpoint was saved.

    Raises:
        ValueError: `state.json` is damaged or names a file that is not there.
    """
    path = pathlib.Path(directory) / _STATE
    if not path.exists():
        return None
    try:
        state = json.loads(path.read_text())
        checkpoint = path.parent / pathlib.PurePath(state["checkpoint"]).name
        state = {"checkpoint": checkpoint, "step": int(state["step"]), "best": state["best"]}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"'{path}' is damaged: {error}.") from error
    if not checkpoint.exists():
        raise ValueError(f"'{path}' names '{checkpoint.name}', which is not there.")
    return state


def best_path(directory):
    """Path of the best model that `Checkpoints` saved in `directory`."""
    return pathlib.Path(directory) / _BEST


def load_model(path):
    """Loads a `.keras` file of this package.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged or not one of ours.
    """
    if not pathlib.Path(path).exists():
        raise FileNotFoundError(f"There is no model '{path}'.")
    if not zipfile.is_zipfile(path):
        raise ValueError(f"'{path}' cannot be loaded as a model: it is no whole .keras archive.")
    try:
        model = keras.saving.load_model(path)
    except Exception as error:  # Keras, zipfile, h5py and json each raise their own.
        reason = " ".join(str(error).split())
        if "Could not locate" in reason:
            reason = (
                "it holds a class of your own that is not registered; import the module that "
                f"registers it first. {reason}"
            )
        raise ValueError(f"'{path}' cannot be loaded as a model: {reason}") from error
    if not isinstance(model, ResynthesisModel):
        raise ValueError(f"'{path}' holds a {type(model).__name__}, not a model of this package.")
    return model


def _save_whole(model, path):
    """Saves beside `path` and moves into place, so that a kill leaves the old file whole."""
    partial = path.with_name(f"partial-{path.name}")
    model.save(partial)
    partial.replace(path)
