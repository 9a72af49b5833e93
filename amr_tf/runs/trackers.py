"""Trackers, which show the metrics of a run in addition to the files in its folder."""

import contextlib
import csv
import importlib.util
import json
import math
import os
import pathlib
import re
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import keras
from absl import logging

from amr_tf.files import read_json, write_whole
from amr_tf.registry import Registry, split_calls
from amr_tf.runs.callbacks import EpochTensorBoard

TRACKERS = Registry("tracker", context={"folder": "--run_dir", "config": "the run"})
# How training has ended.
FINISHED, INTERRUPTED, FAILED = "finished", "interrupted", "failed"
_RESULTS = "results/"  # Prefix of the names in `results.json`.
_PROJECT = "amr_tf"
_LONGEST = 300  # Characters of an error in a warning.


class Tracker(keras.callbacks.Callback):
    """Base class for callbacks that send a run's metrics, sample grids and results elsewhere.

    The files in the run's folder are the record. When training begins or resumes, `begin` returns
    how many epochs the tracker has, and the missing ones are sent from `log.csv`. So a resumed run
    sends no epoch twice, and a tracker that was added later or out of reach gets all epochs.

    An error in one of the methods below does not end training. It causes one warning, and this
    process sends nothing more. `--resume` sends what is missing.

    A subclass must define `begin` and `log_epoch`. `log_image`, `log_results` and `end` do nothing
    by default. The constructor may have further parameters, which a call string sets.

    Args:
        folder: the run's `amr_tf.runs.folder.RunFolder`.
        config: its `TrainingConfig`, with defaults written out.

    Attributes:
        title: the tracker's name in messages; the run's id is stored under it.
        extra: the extra of amr-tf that installs its packages, or None.
    """

    title = "Tracker"
    extra: str | None = None

    def __init__(self, folder: Any, config: Any) -> None:
        super().__init__()
        self.folder = folder
        self.config = config
        self._begun = self._gave_up = False
        self._epochs = 0
        self._drawn = -1  # The last epoch whose samples were sent.

    @classmethod
    def packages(cls) -> tuple[str, ...]:
        """Returns the packages that must be installed."""
        return ()

    def begin(self) -> int:
        """Creates or continues the tracker's run; returns the number of epochs that it has."""
        raise NotImplementedError

    def log_epoch(self, epoch: int, values: dict[str, float]) -> None:
        """Sends the metrics of an epoch.

        Args:
            epoch: its number, from 0, as in `log.csv`.
            values: dictionary from names to values.
        """
        raise NotImplementedError

    def log_image(self, epoch: int, image: pathlib.Path) -> None:
        """Sends the grid of samples that was drawn after an epoch.

        Args:
            epoch: the epoch of the last `log_epoch`.
            image: a PNG file.
        """

    def log_results(self, epoch: int, values: dict[str, float]) -> None:
        """Sends the results of the best epoch, and the file `folder.results`.

        Args:
            epoch: the number of the last epoch, from 0.
            values: dictionary from names, such as "results/test/probe_accuracy", to numbers.
        """

    def end(self, state: str) -> None:
        """Ends the tracker's run.

        Args:
            state: "finished", "interrupted" or "failed".
        """

    def remembered_id(self) -> str | None:
        """Returns the id that `remember_id` stored in the run's folder, or None.

        Raises:
            ValueError: the file is damaged.
        """
        found = self._ids().get(self.title)
        # W&B uses it in a path, and the folder may come from someone else.
        if found is not None and not re.fullmatch(r"[\w-]{1,64}", str(found)):
            raise ValueError(f"'{self.folder.trackers}' is damaged: {found!r:.50} is not an id")
        return found

    def remember_id(self, run_id: str) -> None:
        """Stores the id of the tracker's run in the run's folder, for `--resume`."""
        ids = {**self._ids(), self.title: run_id}
        write_whole(self.folder.trackers, json.dumps(ids, indent=2) + "\n")

    def _ids(self) -> dict[str, str]:
        return read_json(self.folder.trackers) if self.folder.trackers.exists() else {}

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._attempt(self._begin_once)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._attempt(lambda: self._send(epoch, _numbers(logs or {})))

    def finish(self, state: str, results: dict[str, Any] | None = None) -> None:
        """Sends the results, if any, and ends the tracker's run."""
        self._attempt(lambda: self._finish(state, results))

    def _attempt(self, action: Callable[[], Any]) -> None:
        if self._gave_up:
            return
        try:
            action()
        except Exception as error:  # Libraries raise various exceptions.
            self._gave_up = True
            reason = " ".join(f"{type(error).__name__}: {error}".split()).rstrip(".")
            logging.warning(
                "%s has failed (%s). Training continues without it; --resume sends what is "
                "missing.",
                self.title,
                reason[:_LONGEST],
            )

    def _begin_once(self) -> None:
        if self._begun:
            return
        self._begun = True
        self._epochs = self.begin()
        for epoch, values in _logged_epochs(self.folder.log):
            self._send(epoch, values)

    def _send(self, epoch: int, values: dict[str, float]) -> None:
        # The epoch was trained again after a kill, with the same results, or after a rollback.
        if epoch < self._epochs:
            return
        self.log_epoch(epoch, values)
        self._epochs = epoch + 1
        self._send_image(epoch)

    def _send_image(self, epoch: int) -> None:
        image = self.folder.samples / f"epoch_{epoch + 1:05d}.png"
        if epoch > self._drawn and image.is_file():
            self._drawn = epoch
            self.log_image(epoch, image)

    def _finish(self, state: str, results: dict[str, Any] | None) -> None:
        if state == FINISHED:
            self._begin_once()  # In case no epoch was left to train.
        if not self._begun:
            return
        last = self._epochs - 1
        self._send_image(last)  # Drawn late if training ends early.
        if results is not None:
            self.log_results(last, _flat(results))
        self.end(state)


def _logged_epochs(log: pathlib.Path) -> list[tuple[int, dict[str, float]]]:
    """Returns the epochs of a `log.csv` and their metrics; omits values that are not numbers."""
    if not log.exists():
        return []
    with log.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [(int(row.pop("epoch")), _numbers(row)) for row in rows]


def _numbers(values: dict[str, Any]) -> dict[str, float]:
    found = {}
    for name, value in values.items():
        # Skips "NA", which Keras writes for missing values, and other values of callbacks.
        with contextlib.suppress(ValueError, TypeError):
            found[name] = float(value)
    return found


def _flat(results: dict[str, Any], prefix: str = _RESULTS) -> dict[str, float]:
    """Returns the numbers in nested dictionaries, by names with slashes."""
    found: dict[str, float] = {}
    for name, value in results.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{prefix}{name}/")
        elif isinstance(value, (int, float)) and math.isfinite(value):
            found[f"{prefix}{name}"] = float(value)
    return found


@TRACKERS.register("tensorboard")
def tensorboard(folder: Any) -> keras.callbacks.Callback:
    """Writes event files for TensorBoard, with the sample grids, to the run's folder."""
    return EpochTensorBoard(folder.tensorboard, write_graph=False)


@TRACKERS.register("mlflow")
class MLflow(Tracker):
    """Logs to MLflow, to `MLFLOW_TRACKING_URI` or else to `mlflow.db` next to the run's folder.

    The parameters are the config's settings when the run began. The metrics are those of `log.csv`
    and `results.json`. The artifacts are `config.json`, `results.json` and the sample grids.

    Args:
        folder: see `Tracker`.
        config: see `Tracker`.
        experiment: the experiment's name; defaults to `MLFLOW_EXPERIMENT_NAME`, or "amr_tf".
    """

    title = "MLflow"
    extra = "mlflow"
    _STATES = {FINISHED: "FINISHED", INTERRUPTED: "KILLED", FAILED: "FAILED"}

    def __init__(self, folder: Any, config: Any, experiment: str | None = None) -> None:
        super().__init__(folder, config)
        self.experiment = experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME") or _PROJECT
        self._client: Any = None
        self._run_id = ""

    @classmethod
    def packages(cls) -> tuple[str, ...]:
        local = "MLFLOW_TRACKING_URI" not in os.environ
        return ("mlflow", "sqlalchemy", "alembic") if local else ("mlflow",)

    def begin(self) -> int:
        import mlflow

        # By default, MLflow tries for minutes to reach a server, during which training would stall.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
        beside = self.folder.path.resolve().parent
        local = not mlflow.is_tracking_uri_set()
        uri = f"sqlite:///{beside / 'mlflow.db'}" if local else mlflow.get_tracking_uri()
        self._client = mlflow.MlflowClient(uri)
        self._run_id = self._continued_run() or self._new_run(beside if local else None)
        self._client.update_run(self._run_id, status="RUNNING")
        self._client.log_artifact(self._run_id, str(self.folder.config))
        if self.config.verbose:
            print(f"MLflow: run {self._run_id} of experiment '{self.experiment}', {uri}")
        return 1 + max(map(self._last_step, self._names()), default=-1)

    def _continued_run(self) -> str | None:
        """Returns the id of this folder's run if the server has it, else None."""
        from mlflow.exceptions import MlflowException

        run_id = self.remembered_id()
        if run_id is None:
            return None
        try:
            run = self._client.get_run(run_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return None
        return run_id if run.info.lifecycle_stage == "active" else None

    def _new_run(self, beside: pathlib.Path | None) -> str:
        """Creates a run, and the experiment if it does not exist, with artifacts in `beside`."""
        from mlflow.entities import Param

        experiment = self._client.get_experiment_by_name(self.experiment)
        if experiment is None:
            artifacts = None if beside is None else (beside / "mlflow_artifacts").as_uri()
            number = self._client.create_experiment(self.experiment, artifact_location=artifacts)
        else:
            number = experiment.experiment_id
        run = self._client.create_run(number, run_name=self.folder.path.resolve().name)
        self.remember_id(run.info.run_id)
        settings = self.config.as_flags().items()
        self._client.log_batch(
            run.info.run_id, params=[Param(name, str(value)) for name, value in settings]
        )
        return run.info.run_id

    def _names(self) -> list[str]:
        """Returns the names of the run's epoch metrics."""
        names = self._client.get_run(self._run_id).data.metrics
        return [name for name in names if not name.startswith(_RESULTS)]

    def _last_step(self, name: str) -> int:
        history = self._client.get_metric_history(self._run_id, name)
        return max((metric.step for metric in history), default=-1)

    def log_epoch(self, epoch: int, values: dict[str, float]) -> None:
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        metrics = [Metric(name, value, now, epoch) for name, value in values.items()]
        self._client.log_batch(self._run_id, metrics=metrics)

    def log_image(self, epoch: int, image: pathlib.Path) -> None:
        self._client.log_artifact(self._run_id, str(image), "samples")

    def log_results(self, epoch: int, values: dict[str, float]) -> None:
        new = {name: value for name, value in values.items() if self._last_step(name) < epoch}
        self.log_epoch(epoch, new)
        self._client.log_artifact(self._run_id, str(self.folder.results))

    def end(self, state: str) -> None:
        self._client.set_terminated(self._run_id, self._STATES[state])


@TRACKERS.register("wandb")
class WandB(Tracker):
    """Logs to Weights & Biases, offline, to the run's folder, unless `WANDB_MODE` is set.

    If a run is resumed offline, each training process leaves a folder with all epochs since the
    first. `wandb sync` of the last folder sends the whole run.

    Args:
        folder: see `Tracker`.
        config: see `Tracker`.
        project: the project's name; defaults to `WANDB_PROJECT`, or "amr_tf".
        entity: the user or team; defaults to `WANDB_ENTITY`, or that of the account.
    """

    title = "W&B"
    extra = "wandb"

    def __init__(
        self, folder: Any, config: Any, project: str | None = None, entity: str | None = None
    ) -> None:
        super().__init__(folder, config)
        self.project = project or os.environ.get("WANDB_PROJECT") or _PROJECT
        self.entity = entity
        self._run: Any = None

    @classmethod
    def packages(cls) -> tuple[str, ...]:
        return ("wandb",)

    def begin(self) -> int:
        import wandb

        mode: Any = os.environ.get("WANDB_MODE") or "offline"
        run_id = self.remembered_id()
        if run_id is None:
            run_id = secrets.token_hex(4)
            self.remember_id(run_id)
        self._run = wandb.init(
            project=self.project,
            entity=self.entity,
            id=run_id,
            name=self.folder.path.resolve().name,
            dir=self.folder.path,
            config=self.config.as_flags(),
            allow_val_change=True,  # A resumed run may have more epochs.
            mode=mode,
            # Offline, there is no server to ask for the run.
            resume="allow" if mode == "online" else None,
            reinit="create_new",  # Does not end a run of the caller.
            settings=wandb.Settings(console="off"),
        )
        self._save(self.folder.config)
        return self._run.starting_step

    def _save(self, file: pathlib.Path) -> None:
        self._run.save(file, base_path=self.folder.path, policy="now")

    def log_epoch(self, epoch: int, values: dict[str, float]) -> None:
        self._run.log(values, step=epoch)

    def log_image(self, epoch: int, image: pathlib.Path) -> None:
        import wandb

        self._run.log({"samples": wandb.Image(str(image))}, step=epoch)

    def log_results(self, epoch: int, values: dict[str, float]) -> None:
        self._run.summary.update(values)
        self._save(self.folder.results)

    def end(self, state: str) -> None:
        self._run.finish(exit_code=0 if state == FINISHED else 1)


def tracker_calls(text: str) -> list[str]:
    """Splits a list of trackers into call strings.

    Args:
        text: such as "tensorboard,mlflow(experiment='digits')"; "none" or "" for no tracker.

    Raises:
        ValueError: the text is malformed.
    """
    return [] if text.strip() in ("", "none") else split_calls(text, "trackers")


def tracks_with(name: str, text: str) -> bool:
    """Returns whether a list of trackers includes the one called `name`."""
    return name in (TRACKERS.parse(call).name for call in tracker_calls(text))


def check_trackers(text: str) -> None:
    """Raises a ValueError for a tracker that is unknown, given twice, or not installed."""
    names = []
    for call in tracker_calls(text):
        name = TRACKERS.parse(call).name
        if name in names:
            raise ValueError(f"trackers names '{name}' twice; got {text!r}.")
        names.append(name)
        _check_installed(name)


def _check_installed(name: str) -> None:
    entry = TRACKERS.get(name)
    if not (isinstance(entry, type) and issubclass(entry, Tracker)):
        return
    missing = [package for package in entry.packages() if not _is_installed(package)]
    if missing:
        how = "" if entry.extra is None else f" (pip install 'amr-tf[{entry.extra}]')"
        raise ValueError(f"Tracker '{name}' needs {' and '.join(missing)}{how}.")


def _is_installed(package: str) -> bool:
    found = importlib.util.find_spec(package)
    # A folder of that name, such as W&B's in the working directory, is not a package.
    return found is not None and found.origin is not None


def make_trackers(config: Any, folder: Any) -> list[keras.callbacks.Callback]:
    """Creates the callbacks of a run's trackers.

    Args:
        config: the run's `TrainingConfig`, with defaults written out.
        folder: its `RunFolder`.
    """
    calls = tracker_calls(config.trackers)
    return [TRACKERS.build(call, folder=folder, config=config) for call in calls]


def end(
    trackers: Iterable[keras.callbacks.Callback],
    state: str,
    results: dict[str, Any] | None = None,
) -> None:
    """Ends the trackers' runs; ignores other callbacks in the list.

    Args:
        trackers: the list returned by `make_trackers`.
        state: "finished", "interrupted" or "failed".
        results: the contents of `results.json`, or None.
    """
    for tracker in trackers:
        if isinstance(tracker, Tracker):
            tracker.finish(state, results)


@contextlib.contextmanager
def told_of_failures(trackers: Iterable[keras.callbacks.Callback]) -> Iterator[None]:
    """Ends the trackers' runs as failed if an error, or Ctrl-C, occurs in the context."""
    try:
        yield
    except BaseException:
        end(trackers, FAILED)
        raise
