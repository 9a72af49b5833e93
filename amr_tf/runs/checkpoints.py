"""Checkpoints from which a run continues exactly, and the best model so far."""

import contextlib
import fnmatch
import json
import math
import pathlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import keras
from absl import logging

from amr_tf.files import read_json, write_whole
from amr_tf.models import ResynthesisModel
from amr_tf.runs.divergence import check_finite
from amr_tf.runs.seals import Damaged, read_note, seal

_STATE = "state.json"
_BEST = "best.keras"
_LAST = "last-*.keras"
_KEPT = 2
_KERAS_KINDS = ("Operation", "Layer", "Functional", "Sequential", "Metric", "Optimizer", "Loss")


class Checkpoints(keras.callbacks.Callback):
    """Saves `best.keras` and the two newest `last-*.keras` while training.

    A `.keras` file holds the weights, the step counter, and the state of the optimizers and random
    generators. It is sealed (see `seals`), so that damage is detected before the file is used. The
    run then resumes from the other file. `state.json` names the file to resume from and holds the
    best value. It is replaced after the files it refers to, so it always names a whole checkpoint.
    A model with NaN or infinite numbers is never saved.

    Args:
        directory: folder for the files; created if it does not exist.
        monitor: the metric that selects the best epoch.
        mode: "max" or "min".
        every: number of epochs between checkpoints to resume from.
        tie_breaker: a metric to minimise that decides between epochs with equal values, or None. If
            epochs are still equal, the later one is kept.
        patience: number of epochs without improvement after which training stops, or None.
        best: the best epoch so far if the run is resumed, or None.
        previous: path of the checkpoint that the run is resumed from, or None.
        rollbacks: number of rollbacks to a checkpoint so far, after the run diverged.
    """

    def __init__(
        self,
        directory: str | pathlib.Path,
        monitor: str,
        mode: str,
        every: int = 1,
        tie_breaker: str | None = None,
        patience: int | None = None,
        best: "Best | None" = None,
        previous: str | pathlib.Path | None = None,
        rollbacks: int = 0,
    ) -> None:
        super().__init__()
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.monitor = monitor
        self.mode = mode
        self.every = every
        self.tie_breaker = tie_breaker
        self.patience = patience
        self.best = best
        self.rollbacks = rollbacks
        self._kept = [] if previous is None else [pathlib.Path(previous)]

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        check_finite(self.model)
        if self._better(epoch, logs or {}):
            _save_whole(self.model, self.directory / _BEST, self._note())
        if self.patience and self.best and epoch + 1 - self.best.since >= self.patience:
            self.model.stop_training = True
        ends = epoch + 1 == self.params.get("epochs") or self.model.stop_training
        if (epoch + 1) % self.every == 0 or ends:
            self.save()

    def _better(self, epoch: int, logs: dict[Any, Any]) -> bool:
        """Returns whether an epoch is the best so far, and records it if so."""
        value, tie = logs.get(self.monitor), logs.get(self.tie_breaker)
        if value is None or not math.isfinite(value):
            return False
        found = Best(float(value), None if tie is None else float(tie), epoch + 1, epoch + 1)
        if self.best is not None:
            ours, theirs = self._rank(found), self._rank(self.best)
            if ours < theirs:
                return False
            if ours == theirs:
                found = found._replace(since=self.best.since)
        self.best = found
        return True

    def _rank(self, best: "Best") -> tuple[float, float]:
        both = self.best is not None and self.best.tie is not None
        tie = -best.tie if both and best.tie is not None else 0.0
        return (best.value if self.mode == "max" else -best.value, tie)

    def _note(self) -> dict[str, Any]:
        """Returns what is needed besides the model to resume from a checkpoint."""
        step = self.model.steps_made
        return {"step": step, "rollbacks": self.rollbacks, **_written(self.best)}

    def save(self) -> None:
        """Saves the model in its current state as the checkpoint to resume from.

        Raises:
            Diverged: the model holds NaN or infinite numbers.
            OSError: a file cannot be written; previously saved files are unchanged.
        """
        check_finite(self.model)
        step = self.model.steps_made
        path = self.directory / f"last-{step:08d}.keras"
        _save_whole(self.model, path, self._note())
        state = {"checkpoint": path.name, "step": step, "monitor": self.monitor}
        state |= _written(self.best)
        with _told(self.directory / _STATE):
            write_whole(self.directory / _STATE, json.dumps(state, indent=2) + "\n")
        if path not in self._kept:
            self._kept = [path, *self._kept][:_KEPT]
        for old in [*self.directory.glob(_LAST), *self.directory.glob(f"partial-{_LAST}")]:
            if old not in self._kept:
                old.unlink()


class Best(NamedTuple):
    """The best epoch of a run.

    Attributes:
        value: value of the monitored metric.
        tie: value of the tie breaker, or None.
        epoch: its number, from 1; 0 if the file does not record it.
        since: number of the first epoch that was as good.
    """

    value: float
    tie: float | None
    epoch: int
    since: int


def _written(best: Best | None) -> dict[str, Any]:
    """Converts a `Best` to flat entries for a file; "best" is its value."""
    if best is None:
        return {"best": None}
    return {"best": best.value, **{f"best_{name}": getattr(best, name) for name in _OTHERS}}


def _best_of(values: dict[str, Any]) -> Best | None:
    if values["best"] is None:
        return None
    tie, *epochs = (values.get(f"best_{name}") for name in _OTHERS)
    return Best(values["best"], tie, *(epoch or 0 for epoch in epochs))


_BEST_KINDS = {"best": (int, float, type(None))}
_OTHERS = ("tie", "epoch", "since")
_OPTIONAL_KINDS = {
    "best_tie": (int, float, type(None)),
    "best_epoch": (int, type(None)),
    "best_since": (int, type(None)),
}


def read_state(directory: str | pathlib.Path) -> dict[str, Any] | None:
    """Reads from `state.json` which checkpoint of a run is the newest.

    Returns:
        A dictionary with "checkpoint" (path), "step" (training steps made) and "best" (a `Best`
        or None), or None if no checkpoint was saved.

    Raises:
        ValueError: `state.json` is damaged or names a file that does not exist.
    """
    path = pathlib.Path(directory) / _STATE
    if not path.exists():
        return None
    state = read_json(path)
    problem = _problem_of(state, {"checkpoint": str, "step": int, **_BEST_KINDS})
    if problem is not None:
        raise ValueError(f"'{path}' is damaged: {problem}.")
    # Only the name is used, since a state from someone else may name a file anywhere.
    name = pathlib.PurePath(state["checkpoint"]).name
    checkpoint = path.parent / name
    if not fnmatch.fnmatchcase(name, _LAST) or not checkpoint.is_file():
        raise ValueError(f"'{path}' names '{name}', which is not there.")
    return {"checkpoint": checkpoint, "step": state["step"], "best": _best_of(state)}


def read_best(directory: str | pathlib.Path) -> tuple[Best | None, str]:
    """Returns the best epoch so far, or None if unknown, and the metric that selected it."""
    values = {}
    with contextlib.suppress(ValueError, OSError):  # Damaged files are ignored.
        values = read_json(pathlib.Path(directory) / _STATE)
        # The model file's own note prevails: it may be from a later epoch than the state.
        values |= _checked_note(best_path(directory)) or {}
    problem = _problem_of(values, {**_BEST_KINDS, "monitor": str})
    return (None, "") if problem else (_best_of(values), values["monitor"])


def _problem_of(values: dict[str, Any], kinds: dict[str, Any]) -> str | None:
    """Returns what is wrong with a dictionary whose values must have certain types, or None."""
    for name, kind in kinds.items():
        if name not in values:
            return f"it has no '{name}'"
        if isinstance(values[name], bool) or not isinstance(values[name], kind):
            return f"its '{name}' is {values[name]!r:.50}"
    for name, kind in _OPTIONAL_KINDS.items():
        if isinstance(values.get(name), bool) or not isinstance(values.get(name), kind):
            return f"its '{name}' is {values[name]!r:.50}"
    return None


def resumable_state(directory: str | pathlib.Path) -> dict[str, Any] | None:
    """Returns the state of the newest whole checkpoint, and warns about damaged files.

    Returns:
        See `read_state`, with an additional "rollbacks". If `best.keras` is damaged, "best" is
        None, so that the next epoch becomes the best.

    Raises:
        ValueError: there are checkpoints, but none of them is whole.
    """
    directory = pathlib.Path(directory)
    state, problems = None, []
    try:
        state = read_state(directory)
    except ValueError as error:
        problems.append(str(error).rstrip("."))
    found = None
    for path in _candidates(directory, state):
        try:
            found = _state_of(path, state)
            break
        except Damaged as error:
            problems.append(f"'{path}' is damaged: {error}")
    if found is None:
        if problems:
            raise ValueError(f"No checkpoint to resume from is whole: {'; '.join(problems)}.")
        return None
    if problems:
        name = found["checkpoint"].name
        logging.warning("%s; going on from '%s'.", "; ".join(problems), name)
    return _with_best(directory, found)


def _candidates(directory: pathlib.Path, state: dict[str, Any] | None) -> list[pathlib.Path]:
    """Returns the checkpoints to try, newest first: those up to the one in `state`, or all."""
    paths = sorted(directory.glob(_LAST), reverse=True)
    if state is None:
        return paths
    named = state["checkpoint"]
    return [named, *(path for path in paths if path.name < named.name)]


def _state_of(path: pathlib.Path, named: dict[str, Any] | None) -> dict[str, Any]:
    """Returns the state of a checkpoint; raises `Damaged` if it is damaged or its state unknown."""
    note = _checked_note(path)
    if note is not None:
        kept = {key: note[key] for key in ("step", "rollbacks")}
        return {"checkpoint": path, **kept, "best": _best_of(note)}
    if named is None or path != named["checkpoint"]:
        raise Damaged("it has no seal, and state.json does not name it")
    return {**named, "rollbacks": 0}


def _checked_note(path: pathlib.Path) -> dict[str, Any] | None:
    """Calls `seals.read_note`; also raises `Damaged` for a note not written by `Checkpoints`."""
    note = read_note(path)
    kinds = {"step": int, "rollbacks": int, **_BEST_KINDS}
    problem = None if note is None else _problem_of(note, kinds)
    if problem is not None:
        raise Damaged(f"in its seal's note, {problem}")
    return note


def _with_best(directory: pathlib.Path, state: dict[str, Any]) -> dict[str, Any]:
    """Returns the state with "best" from `best.keras`, or None if that file is unusable.

    The file may be from a later epoch than the state.
    """
    path = best_path(directory)
    try:
        note = _checked_note(path)
        return state if note is None else {**state, "best": _best_of(note)}
    except FileNotFoundError:
        problem = "is not there"
    except Damaged as error:
        problem = f"is damaged: {error}"
    if state["best"] is not None:
        logging.warning("'%s' %s; the best of the epochs to come takes its place.", path, problem)
    return {**state, "best": None}


def best_path(directory: str | pathlib.Path) -> pathlib.Path:
    """Returns the path of the best model that `Checkpoints` saves in `directory`."""
    return pathlib.Path(directory) / _BEST


def load_model(path: str | pathlib.Path) -> ResynthesisModel:
    """Loads a `.keras` file of this package, after verifying its seal if it has one.

    Keras' safe mode is on, so that a file from someone else cannot run its own code.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged or holds no model of this package.
    """
    _check_model_file(path)
    try:
        model = keras.saving.load_model(path, safe_mode=True)
    except Exception as error:  # Keras, zipfile, h5py and json raise various exceptions.
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


def restore(model: ResynthesisModel, path: str | pathlib.Path) -> None:
    """Loads the weights of a checkpoint of the same run into a model.

    This keeps the model's traced functions, whereas a newly loaded model would be traced again.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged.
    """
    _check_model_file(path)
    model.load_weights(path)


def _check_model_file(path: str | pathlib.Path) -> None:
    """Raises an error unless a `.keras` file exists and is whole as far as its seal shows."""
    if not pathlib.Path(path).exists():
        raise FileNotFoundError(f"There is no model '{path}'.")
    # Keras selects its loader by suffix, and that of .h5 accepts older forms of Lambda layers.
    if pathlib.Path(path).suffix != ".keras":
        raise ValueError(f"'{path}' cannot be loaded as a model: its name must end in .keras.")
    try:
        read_note(path)
    except Damaged as error:
        raise ValueError(f"'{path}' cannot be loaded as a model: {error}.") from error


def _save_whole(model: ResynthesisModel, path: pathlib.Path, note: dict[str, Any]) -> None:
    """Saves beside `path` and then moves the file, so that a kill leaves the old one whole."""
    partial = path.with_name(f"partial-{path.name}")
    _remember_what_keras_skips()
    with _told(path):
        try:
            model.save(partial)
            seal(partial, note)
            partial.replace(path)
        except OSError:
            with contextlib.suppress(OSError):  # Half a file would keep a full disk full.
                partial.unlink(missing_ok=True)
            raise


def _remember_what_keras_skips() -> None:
    """Lets Keras reuse its lists of attributes to skip, which it otherwise rebuilds in each save.

    Keras 3.15 stores them as `saving_attr_skipset_...` but looks for `saving_attr_skiplist_...`
    (`saving_lib.get_attr_skipset`). So each save creates an optimizer to list its attributes, and
    TensorFlow never frees all of a variable: three optimizers leak 0.2 MiB per save.
    """
    try:
        from keras.src.backend.common import global_state
    except ImportError:  # Not a public module: a later Keras may lack it, and not need this.
        return
    for kind in _KERAS_KINDS:
        skipped = global_state.get_global_attribute(f"saving_attr_skipset_{kind}")
        if skipped is not None:
            global_state.set_global_attribute(f"saving_attr_skiplist_{kind}", skipped)


@contextlib.contextmanager
def _told(path: pathlib.Path) -> Iterator[None]:
    """Converts an OSError to one whose message is a sentence that names the file."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or " ".join(str(error).split())
        raise OSError(f"'{path}' could not be written: {reason}.") from error
