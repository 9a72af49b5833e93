"""A KerasTuner tuner whose trials are training runs."""

import gc
import itertools
import pathlib
import shutil

import keras
import keras_tuner
import numpy as np
from keras_tuner import errors
from keras_tuner.engine import base_tuner
from keras_tuner.oracles import BayesianOptimizationOracle, HyperbandOracle, RandomSearchOracle

from amr_tf.registry import Registry
from amr_tf.training.checkpoints import read_state
from amr_tf.training.run import RunFolder, load_run, train

OBJECTIVE = "val_probe_accuracy"
ORACLES = Registry("way of searching")
_EPOCHS, _EARLIER = "tuner/epochs", "tuner/trial_id"  # What Hyperband adds to a trial's values.


class GridOracle(keras_tuner.Oracle):
    """Every combination of the choices, the last flag's changing fastest.

    Unlike `keras_tuner.oracles.GridSearchOracle`, which keeps its place in memory only and so ends
    a search that is resumed after a kill, it looks at which trials there are.
    """

    def populate_space(self, trial_id):
        space = self.get_space().space
        tried = {self._key(trial.hyperparameters.values, space) for trial in self.trials.values()}
        for values in itertools.product(*(parameter.values for parameter in space)):
            if values not in tried:
                names = [parameter.name for parameter in space]
                return {"status": "RUNNING", "values": dict(zip(names, values))}
        return {"status": "IDLE" if self.ongoing_trials else "STOPPED", "values": None}

    def _key(self, values, space):
        return tuple(values[parameter.name] for parameter in space)


@ORACLES.register("grid")
def _grid(space, max_trials, epochs, seed):
    if space.ranges:
        name = next(iter(space.ranges))
        raise ValueError(f"A grid takes lists of values, but {name.rstrip('_')} has a range.")
    return GridOracle(
        keras_tuner.Objective(OBJECTIVE, "max"),
        max_trials,
        hyperparameters=space.hyperparameters(),
        seed=seed,
    )


@ORACLES.register("random")
def _random(space, max_trials, epochs, seed):
    return _of_class(RandomSearchOracle, space, max_trials, seed)


@ORACLES.register("bayesian")
def _bayesian(space, max_trials, epochs, seed):
    return _of_class(BayesianOptimizationOracle, space, max_trials, seed)


@ORACLES.register("hyperband")
def _hyperband(space, max_trials, epochs, seed):
    return HyperbandOracle(
        keras_tuner.Objective(OBJECTIVE, "max"),
        max_epochs=epochs,
        hyperparameters=space.hyperparameters(),
        seed=seed,
    )


def _of_class(oracle, space, max_trials, seed):
    return oracle(
        objective=keras_tuner.Objective(OBJECTIVE, "max"),
        max_trials=max_trials or 10,
        hyperparameters=space.hyperparameters(),
        seed=seed,
    )


def make_tuner(config, space, directory, oracle="grid", max_trials=None, executions=1):
    """A tuner over the flags of `amr_tf.train`; `search()` starts it or goes on.

    With KERASTUNER_TUNER_ID, KERASTUNER_ORACLE_IP and KERASTUNER_ORACLE_PORT set, it is the chief
    or a worker of KerasTuner's own service.

    Args:
        config: the `TrainingConfig` that trials change.
        space: a `SearchSpace`.
        directory: folder for KerasTuner's state and the trials' runs.
        oracle: "grid", "random", "bayesian" or "hyperband".
        max_trials: trials at most; None for all of a grid, or ten.
        executions: runs of each trial, with the seeds `config.seed`, `config.seed + 1`, ...; their
            mean counts.

    Raises:
        ValueError: an unknown oracle, an empty space, or values that are not allowed.
    """
    make_oracle = ORACLES.get(oracle)
    if not space.names:
        raise ValueError("search needs at least one flag, such as lambda:2,5,10.")
    for name, count in (("executions", executions), ("max_trials", max_trials)):
        if count is not None and count < 1:
            raise ValueError(f"{name} must be at least 1; got {count}.")
    if config.resolve().mixer == "none" and "k" in space.names:
        raise ValueError("search names k, but there is no mixer.")
    space.check(config)
    made = make_oracle(space, max_trials, config.epochs, config.seed + 1)  # It takes 0 for none.
    return RunTuner(made, config, executions, directory)


class RunTuner(base_tuner.BaseTuner):
    """Trains a run for each trial and execution; a run that was broken off goes on.

    Args:
        oracle: a `keras_tuner.Oracle` with the objective "val_probe_accuracy".
        config: the `TrainingConfig` that trials change.
        executions: runs of each trial.
        directory: folder for everything.
    """

    def __init__(self, oracle, config, executions, directory):
        self.config = config
        self.executions = executions
        super().__init__(oracle, directory=str(directory), project_name="tuner")

    def run_trial(self, trial, verbose=1):
        """The mean of a trial's best validation accuracies; `verbose` is KerasTuner's."""
        scores = []
        for execution in range(self.executions):
            config = self.trial_config(trial, execution)
            self._continue_earlier(trial, config, execution)
            _free_memory()
            try:
                results = train(config, resume=RunFolder(config.run_dir).config.is_file())
            except (ValueError, OSError) as error:
                raise errors.FatalError(str(error)) from error
            if results is None:
                raise KeyboardInterrupt
            scores.append(results["best_" + OBJECTIVE])
        return float(np.mean(scores))

    def trial_config(self, trial, execution=0):
        """The `TrainingConfig` of one run of a trial."""
        values = trial.hyperparameters.values
        changes = {name: value for name, value in values.items() if "/" not in name}
        return self.config.replace(
            **changes,
            epochs=values.get(_EPOCHS, self.config.epochs),
            seed=self.config.seed + execution,
            run_dir=str(self._run_dir(trial.trial_id, execution)),
        )

    def _run_dir(self, trial_id, execution):
        return pathlib.Path(self.directory) / "runs" / f"trial{trial_id}_run{execution}"

    def _continue_earlier(self, trial, config, execution):
        """Hyperband's later rounds go on from a copy of the run of an earlier trial."""
        earlier = trial.hyperparameters.values.get(_EARLIER)
        folder = RunFolder(config.run_dir)
        if earlier is None or read_state(folder.checkpoints) is not None:
            return
        shutil.rmtree(folder.path, ignore_errors=True)
        partial = folder.path.with_name(f"partial-{folder.path.name}")
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(self._run_dir(earlier, execution), partial)
        partial.rename(folder.path)

    # Runs are saved by `train`.

    def save_model(self, trial_id, model, step=0):
        """Nothing: `train` saves its checkpoints."""

    def load_model(self, trial):
        """The best model of a trial's first run."""
        return load_run(self._run_dir(trial.trial_id, 0))[1]


def _free_memory():
    """Lets go of the model before; a search makes many in one process."""
    keras.backend.clear_session()
    gc.collect()
