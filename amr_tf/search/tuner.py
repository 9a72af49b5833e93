"""A KerasTuner tuner whose trials are training runs."""

import contextlib
import gc
import pathlib
import shutil
import time
from typing import Any

import grpc
import keras
import keras_tuner
import numpy as np
from keras_tuner import errors
from keras_tuner.engine import base_tuner

from amr_tf.experiments import train
from amr_tf.runs.checkpoints import read_state
from amr_tf.runs.config import TrainingConfig
from amr_tf.runs.divergence import Diverged
from amr_tf.runs.folder import RunFolder, load_data, load_run
from amr_tf.search import parallel
from amr_tf.search.oracles import OBJECTIVE, ORACLES
from amr_tf.search.settings import check_settings, search_settings, write_settings
from amr_tf.search.space import SearchSpace

_EPOCHS, _EARLIER = "tuner/epochs", "tuner/trial_id"  # What Hyperband adds to a trial's values.


def make_tuner(
    config: TrainingConfig,
    space: SearchSpace,
    directory: str | pathlib.Path,
    oracle: str = "grid",
    max_trials: int | None = None,
    executions: int = 1,
    worker_timeout: float = 60.0,
) -> "RunTuner":
    """Creates a tuner for the flags of `amr_tf.train`; `search()` starts or continues the search.

    If KERASTUNER_TUNER_ID, KERASTUNER_ORACLE_IP and KERASTUNER_ORACLE_PORT are set, it is the chief
    or a worker of KerasTuner's distributed service.

    Args:
        config: the `TrainingConfig` that trials change. Its `monitor` is not used: trials are
            compared by their best `val_probe_accuracy`.
        space: a `SearchSpace`.
        directory: folder for KerasTuner's state and the trials' runs, shared by all workers.
        oracle: "grid", "random", "bayesian" or "hyperband".
        max_trials: largest number of trials; None for the whole grid, or 10. Not for hyperband.
        executions: number of runs per trial, with the seeds `config.seed`, `config.seed + 1`, ...;
            their results are averaged.
        worker_timeout: seconds without contact after which a worker is considered lost.

    Raises:
        ValueError: the oracle is unknown, the space is empty, values are not allowed, the data have
            no labels, the folder holds another search, or only some of KerasTuner's variables are
            set.
        FileNotFoundError: the data do not exist.
    """
    make_oracle = ORACLES.get(oracle)
    role = parallel.role()
    if not space.names:
        raise ValueError("search needs at least one flag, such as lambda:2,5,10.")
    for name, count in (("executions", executions), ("max_trials", max_trials)):
        if count is not None and count < 1:
            raise ValueError(f"{name} must be at least 1; got {count}.")
    if not 1 <= worker_timeout < float("inf"):
        raise ValueError(f"worker_timeout must be at least 1 second; got {worker_timeout:g}.")
    space.check(config)
    settings = search_settings(config, space, oracle, executions)
    check_settings(directory, settings)
    if role != "chief":  # The chief trains nothing, and need not have the data.
        first = {name: values[0] for name, values in {**space.choices, **space.ranges}.items()}
        _check_labels(config.with_values(first))
    # KerasTuner takes a seed of 0 for none.
    made = make_oracle(space, max_trials, config.epochs, config.seed + 1)
    if role != "worker":
        write_settings(directory, settings)
    return RunTuner(made, config, space, executions, directory, settings, worker_timeout)


def _check_labels(config: TrainingConfig) -> None:
    if load_data(config).num_classes is None:
        raise ValueError(
            f"A search compares trials by {OBJECTIVE}, but data set '{config.dataset}' has no "
            "labels for a probe."
        )


class RunTuner(base_tuner.BaseTuner):
    """Trains a run for each trial and execution, and resumes interrupted runs.

    Args:
        oracle: a `keras_tuner.Oracle` that is `KillSafe`, with the objective "val_probe_accuracy".
        config: the `TrainingConfig` that trials change.
        space: the `SearchSpace` of the trials.
        executions: number of runs per trial.
        directory: folder for KerasTuner's state and the trials' runs.
        settings: the result of `search_settings`; a worker's must equal its chief's.
        worker_timeout: seconds without contact after which a worker is considered lost.

    Attributes:
        role: "alone", "chief" or "worker".
    """

    def __init__(
        self,
        oracle: keras_tuner.Oracle,
        config: TrainingConfig,
        space: SearchSpace,
        executions: int,
        directory: str | pathlib.Path,
        settings: dict[str, Any],
        worker_timeout: float,
    ) -> None:
        self.config = config
        self.space = space
        self.executions = executions
        self.role = parallel.role()
        self._settings = settings
        self._worker_timeout = worker_timeout
        self._next_request = 0.0
        super().__init__(oracle, directory=str(directory), project_name="tuner")
        self._chief = None
        if self.role == "worker":
            self._chief = parallel.Connection(self.oracle, worker_timeout)

    def search(self, verbose: int = 1) -> None:
        """Runs the remaining trials; the chief hands them out, and a worker runs some.

        Raises:
            ValueError: the data do not exist, or the settings are not the chief's.
            OSError: the folder cannot be written to, the chief does not answer, or there are no
                workers.
        """
        if self.role == "chief":
            self.oracle.verbose = verbose
            self.save()
            parallel.serve(self.oracle, self._worker_timeout)
            return
        if self._chief:
            self._chief.wait()
            check_settings(self.directory, self._settings)
        fatal = None
        try:
            super().search(verbose=verbose)
        except errors.FatalError as error:
            fatal = error.__cause__ or ValueError(str(error))
        except grpc.RpcError as error:
            raise OSError(parallel.lost(error)) from error
        if fatal is not None:
            raise fatal  # The error that ended a trial, with its traceback.

    def pre_create_trial(self) -> None:
        """Waits a second between a worker's requests; KerasTuner's worker asks without a pause."""
        if self._chief:
            time.sleep(max(0.0, self._next_request - time.monotonic()))
            self._next_request = time.monotonic() + 1

    def run_trial(self, trial: Any, verbose: int = 1) -> float:
        """Runs a trial; returns the mean of its best validation accuracies. `verbose` is unused."""
        try:
            with self._signs_of_life(trial):
                scores = [self._run(trial, number) for number in range(self.executions)]
            if self._chief:
                self._chief.wait()
        except Diverged as error:  # Other values may not diverge.
            raise errors.FailedTrialError(str(error)) from error
        except (ValueError, OSError) as error:
            raise errors.FatalError(str(error)) from error
        return float(np.mean(scores))

    def _signs_of_life(self, trial: Any) -> Any:
        if self._chief:
            return self._chief.signs_of_life(trial.trial_id)
        return contextlib.nullcontext()

    def _run(self, trial: Any, execution: int) -> float:
        config = self.trial_config(trial, execution)
        self._continue_earlier(trial, config, execution)
        _free_memory()
        results = train(config, resume=RunFolder(config.run_dir).config.is_file())
        if results is None:
            raise KeyboardInterrupt
        return results["best_" + OBJECTIVE]

    def trial_config(self, trial: Any, execution: int = 0) -> TrainingConfig:
        """Returns the `TrainingConfig` of one run of a trial."""
        values = trial.hyperparameters.values
        return self.config.with_values(self.space.changes(values)).replace(
            epochs=values.get(_EPOCHS, self.config.epochs),
            seed=self.config.seed + execution,
            monitor=OBJECTIVE,
            run_dir=str(self._run_dir(trial.trial_id, execution)),
        )

    def _run_dir(self, trial_id: str, execution: int) -> pathlib.Path:
        # The id comes from KerasTuner's files, and folders named after it are replaced and removed.
        if not trial_id.isalnum():
            raise errors.FatalError(f"A trial's name must not be a path; got '{trial_id}'.")
        return pathlib.Path(self.directory) / "runs" / f"trial{trial_id}_run{execution}"

    def _continue_earlier(self, trial: Any, config: TrainingConfig, execution: int) -> None:
        """Copies the run of an earlier trial, which Hyperband's later rounds continue."""
        earlier = trial.hyperparameters.values.get(_EARLIER)
        folder = RunFolder(config.run_dir)
        if earlier is None or read_state(folder.checkpoints) is not None:
            return
        shutil.rmtree(folder.path, ignore_errors=True)
        partial = folder.path.with_name(f"partial-{folder.path.name}")
        shutil.rmtree(partial, ignore_errors=True)
        # To trackers, the copy is a run of its own.
        ignored = shutil.ignore_patterns(folder.trackers.name)
        shutil.copytree(self._run_dir(earlier, execution), partial, ignore=ignored)
        partial.rename(folder.path)

    # The tuner has no state besides the oracle's, and `train` saves the runs.

    def _get_tuner_fname(self) -> str:
        return self.oracle._get_oracle_fname()

    def save(self) -> None:
        """Saves the oracle; workers have nothing to save."""
        if self.role != "worker":
            self.oracle.save()

    def reload(self) -> None:
        """Restores what the oracle saved; a chief's workers keep their trials."""
        if self.role != "worker":
            self.oracle.reload()
        if self.role == "chief":
            self.oracle.give_back()

    def save_model(self, trial_id: str, model: Any, step: int = 0) -> None:
        """Does nothing, since `train` saves checkpoints."""

    def load_model(self, trial: Any) -> Any:
        """Returns the best model of a trial's first run."""
        return load_run(self._run_dir(trial.trial_id, 0))[1]


def _free_memory() -> None:
    """Frees the previous model, since a search creates many in one process."""
    keras.backend.clear_session()
    gc.collect()
