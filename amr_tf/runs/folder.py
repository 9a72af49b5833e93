"""The folder of a run: its paths, config, data, model and lock, and errors of its disk."""

import contextlib
import csv
import errno
import fcntl
import io
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import tensorflow as tf
from absl import logging

from amr_tf import data as data_lib
from amr_tf.data import ImageData
from amr_tf.data.fingerprint import difference, fingerprint
from amr_tf.files import read_json, read_text, user_path, write_whole
from amr_tf.registry import unknown_name
from amr_tf.runs.checkpoints import (
    best_path,
    load_model,
    read_best,
    read_state,
    resumable_state,
)
from amr_tf.runs.config import OtherVersion, TrainingConfig

# TensorFlow reports disk errors by these texts, and not as OSErrors.
_DISK = tuple(
    os.strerror(code) for code in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO)
)


class RunFolder:
    """The paths of one run.

    Attributes:
        config: `config.json`, the run's `TrainingConfig`.
        flagfile: `flagfile.cfg`, with which `amr_tf.train` repeats the run.
        log: `log.csv`, one row of metrics per epoch.
        checkpoints: folder of checkpoints.
        tensorboard: folder of TensorBoard's events.
        samples: folder of image grids.
        results: `results.json`, written at the end.
        data: `data.json`, the fingerprint of the data that the run was trained on.
        trackers: `trackers.json`, the ids of the run in trackers such as MLflow.
        lock: file whose lock is held by the process that trains the run.
    """

    def __init__(self, path: str | pathlib.Path) -> None:
        self.path = user_path(path)
        self.config = self.path / "config.json"
        self.flagfile = self.path / "flagfile.cfg"
        self.log = self.path / "log.csv"
        self.checkpoints = self.path / "checkpoints"
        self.tensorboard = self.path / "tensorboard"
        self.samples = self.path / "samples"
        self.results = self.path / "results.json"
        self.data = self.path / "data.json"
        self.trackers = self.path / "trackers.json"
        self.lock = self.path / "lock"

    def read_config(self) -> TrainingConfig:
        """Returns the run's `TrainingConfig`.

        Raises:
            FileNotFoundError: the folder does not exist or holds no run.
            ValueError: `config.json` is damaged or from another version.
        """
        if not self.config.is_file():
            raise FileNotFoundError(f"'{self.path}' is not a run folder: it has no config.json.")
        try:
            return TrainingConfig.from_json(read_text(self.config)).completed()
        except OtherVersion as error:
            raise ValueError(f"'{self.config}' cannot be used. {error}") from error
        except (ValueError, TypeError) as error:
            raise ValueError(f"'{self.config}' is damaged: {error}") from error


def load_data(config: TrainingConfig) -> ImageData:
    """Loads the `ImageData` of a `TrainingConfig`."""
    return data_lib.load(
        config.dataset,
        data_dir=config.data_dir,
        image_size=config.image_size,
        validation_fraction=config.validation_fraction,
        train_subset=config.train_subset,
        labelled=config.labelled,
        seed=config.seed,
    )


class ChangedData(ValueError):
    """Raised if a run's data are not those that it was trained on."""


def load_run_data(
    path: str | pathlib.Path,
    config: TrainingConfig,
    data_dir: str | None = None,
    allow_changes: bool = False,
) -> ImageData:
    """Loads the data of a run, and checks that they are those that it was trained on.

    Args:
        path: the run's folder.
        config: the run's config.
        data_dir: folder of the data, or None for the run's.
        allow_changes: whether images may have been added or removed since, or classes renamed.

    Raises:
        ChangedData: the data have changed.
        ValueError, FileNotFoundError: the data cannot be loaded.
    """
    if data_dir is not None:
        config = config.replace(data_dir=data_dir)
    data = load_data(config)
    check_same_data(RunFolder(path), data, allow_changes)
    return data


def check_same_data(folder: RunFolder, data: ImageData, allow_changes: bool = False) -> None:
    """Raises `ChangedData` unless data are those that a run was trained on.

    Without the check, a new class folder would shift the class numbers. A new image would change
    which images are held out for validation, and the model was trained on some of these.

    Args:
        folder: the run's folder.
        data: an `ImageData`.
        allow_changes: whether changes that keep the number of classes only cause a warning.
    """
    if not folder.data.exists():  # The run is from an earlier version.
        return
    before, now = read_json(folder.data), fingerprint(data)
    changed = difference(before, now)
    if changed is None:
        return
    same_number = len(before.get("classes") or ()) == len(now["classes"] or ())
    said = f"The data of '{folder.path}' have changed since it was trained: {changed}."
    if not same_number:
        raise ChangedData(f"{said} Its model knows other classes: train a new one.")
    if not allow_changes:
        raise ChangedData(
            f"{said} Images that it was trained on may be held out now. Bring the data back as "
            "they were, or accept the change with --allow_changed_data."
        )
    logging.warning("%s It is accepted: figures on held-out images can be too good.", said)


EPOCHS = ("best", "last")


def load_run(path: str | pathlib.Path, epoch: str = "best") -> tuple[TrainingConfig, Any]:
    """Loads a run's config and its model.

    Args:
        path: the run's folder.
        epoch: "best" for the model of the best epoch, "last" for that of the newest checkpoint.

    Raises:
        FileNotFoundError: the folder holds no run, or no model yet.
        ValueError: `epoch` has another value, or a file of the run is damaged.
    """
    if epoch not in EPOCHS:
        raise unknown_name("epoch", epoch, EPOCHS)
    folder = RunFolder(path)
    config = folder.read_config()
    if epoch == "best":
        return config, load_model(best_path(folder.checkpoints))
    state = resumable_state(folder.checkpoints)
    if state is None:
        raise FileNotFoundError(f"Run '{folder.path}' has no checkpoint yet.")
    return config, load_model(state["checkpoint"])


def which_epoch(path: str | pathlib.Path, epoch: str, model: Any) -> str:
    """Describes the model that `load_run` loaded from a run.

    Args:
        path: the run's folder.
        epoch: the epoch passed to `load_run`.
        model: the model returned by `load_run`.
    """
    step = f"step {model.steps_made:,}"
    if epoch == "last":
        return f"the newest checkpoint ({step})"
    best, monitor = read_best(RunFolder(path).checkpoints)
    if best is None:
        return f"the best epoch ({step})"
    number = f"epoch {best.epoch}, " if best.epoch else ""
    return f"the best epoch ({number}{step}; {monitor} {best.value:.4g})"


@contextlib.contextmanager
def locked(folder: RunFolder) -> Iterator[None]:
    """Locks a run's folder in a context, so that no other process trains there.

    The operating system releases the lock when the process ends for any reason. On a disk without
    locks, there is only a warning.

    Raises:
        ValueError: another process holds the lock.
    """
    folder.path.mkdir(parents=True, exist_ok=True)
    with folder.lock.open("a", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(
                f"'{folder.path}' is being trained by another process: wait for its end, or choose "
                "another --run_dir."
            ) from None
        except OSError as error:
            logging.warning("'%s' cannot be locked: %s.", folder.path, error.strerror)
        yield


def check_writable(path: pathlib.Path) -> None:
    """Raises an OSError unless `path`, or its closest existing parent, can be written to."""
    there = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    if not os.access(there, os.W_OK):
        raise OSError(f"'{there}' cannot be written to: it is read-only for this user.")


def trim_log(path: pathlib.Path, epochs: int) -> None:
    """Removes the rows of epochs that were logged but not saved, and will be trained again."""
    if not path.exists():
        return
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.reader(file) if row]
    except csv.Error as error:
        raise ValueError(f"'{path}' is damaged: {error}.") from error
    if not rows or rows[0][0] != "epoch":
        kept = path.with_name(f"{path.stem}.edited{path.suffix}")
        path.replace(kept)
        logging.warning(
            "'%s' was changed by another program: it is kept as '%s', and a new one begins.",
            path,
            kept.name,
        )
        return
    # A full disk can leave half a row.
    whole = [row for row in rows[1:] if len(row) == len(rows[0]) and _before(row[0], epochs)]
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows[:1] + whole)
    if not whole:
        path.unlink()
    else:
        write_whole(path, text.getvalue())


def _before(text: str, epochs: int) -> bool:
    return text.isdecimal() and int(text) < epochs


def disk_error(error: Exception, folder: RunFolder) -> Exception:
    """Returns an OSError with the problem and where to resume; returns unrelated errors as is."""
    reason = " ".join(str(error).split()).rstrip(".")
    if isinstance(error, tf.errors.OpError):
        said = [text for text in _DISK if text in reason]
        if not said:
            return error
        reason = f"'{folder.tensorboard}' could not be written: {said[0]}"
    state = read_state(folder.checkpoints)
    where = "no checkpoint was saved before"
    if state is not None:
        where = f"'{state['checkpoint']}' (step {state['step']}) is whole: continue with --resume"
    return OSError(f"Training stopped: {reason}; {where}.")
