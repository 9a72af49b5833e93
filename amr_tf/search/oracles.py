"""KerasTuner's oracles, made to survive a kill at any moment, and a grid."""

import itertools
import json
import pathlib
from typing import Any

import keras_tuner
from keras_tuner import oracles

from amr_tf.files import write_whole
from amr_tf.registry import Registry
from amr_tf.search.space import SearchSpace

OBJECTIVE = "val_probe_accuracy"
ORACLES = Registry("way of searching")
"""KerasTuner's oracles by the names that `--oracle` takes."""


class KillSafe(keras_tuner.Oracle):
    """An oracle that writes its files atomically and neither loses nor repeats a trial.

    In contrast, KerasTuner 1.4 writes its files in place, saves a trial and the list of trials
    separately, and dismisses workers before the last trial is finished.
    """

    # Attributes of `keras_tuner.Oracle`.
    trials: dict[str, Any]
    _retry_queue: list[str]

    def save(self) -> None:
        """Saves the list of trials."""
        write_whole(self._get_oracle_fname(), json.dumps(self.get_state()))

    def _save_trial(self, trial: Any) -> None:
        path = pathlib.Path(self._get_trial_dir(trial.trial_id)) / "trial.json"
        write_whole(path, json.dumps(trial.get_state()))

    def reload(self) -> None:
        """Restores the last save.

        A trial that finished at the moment of a kill stays finished. A trial that no worker had
        received yet is removed, and will be created again with the same values.
        """
        super().reload()
        self._retry_queue = [name for name in self._retry_queue if self._is_running(name)]
        for name in [name for name in self.trials if self._is_running(name)]:
            if name not in self._retry_queue:
                del self.trials[name]
        self.trials = dict(sorted(self.trials.items()))  # Files are read in any order.

    def _is_running(self, trial_id: str) -> bool:
        return self.trials[trial_id].status == "RUNNING"

    @keras_tuner.synchronized
    def create_trial(self, tuner_id: str) -> Any:
        """Returns the next trial; a worker waits while it may have to take over another's trial."""
        trial = super().create_trial(tuner_id)
        if trial.status == "STOPPED" and self.ongoing_trials:
            trial.status = "IDLE"
            self.tuner_ids.add(tuner_id)
        return trial

    @keras_tuner.synchronized
    def give_back(self) -> None:
        """Gives running trials back to their workers, after `reload`."""
        saved = json.loads(pathlib.Path(self._get_oracle_fname()).read_text(encoding="utf-8"))
        for tuner_id, trial_id in saved["ongoing_trials"].items():
            if trial_id in self._retry_queue:
                self._retry_queue.remove(trial_id)
                self.ongoing_trials[tuner_id] = self.trials[trial_id]
                self._display.on_trial_begin(self.trials[trial_id])  # Needed at the trial's end.

    @keras_tuner.synchronized
    def give_up(self, tuner_id: str) -> str | None:
        """Makes a lost worker's trial available to another.

        Returns:
            The trial's name, or None if the worker had no unfinished trial.
        """
        self.tuner_ids.discard(tuner_id)
        trial = self.ongoing_trials.pop(tuner_id, None)
        if trial is None or trial.status != "RUNNING":
            return None
        self._retry_queue.append(trial.trial_id)
        self.save()
        return trial.trial_id


class GridOracle(KillSafe):
    """Every combination of the choices; the last flag varies fastest.

    `keras_tuner.oracles.GridSearchOracle` keeps its position only in memory, so it would end a
    search that is resumed after a kill. This oracle checks which trials exist.
    """

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        space = self.get_space().space
        tried = {self._key(trial.hyperparameters.values, space) for trial in self.trials.values()}
        for values in itertools.product(*(parameter.values for parameter in space)):
            if values not in tried:
                names = [parameter.name for parameter in space]
                return {"status": "RUNNING", "values": dict(zip(names, values))}
        return {"status": "STOPPED", "values": None}

    def _key(self, values: dict[str, Any], space: list) -> tuple:
        return tuple(values[parameter.name] for parameter in space)


class RandomOracle(KillSafe, oracles.RandomSearchOracle):
    """Values drawn at random."""


class BayesianOracle(KillSafe, oracles.BayesianOptimizationOracle):
    """Values chosen by a Gaussian process fitted to the finished trials."""


class HyperbandOracle(KillSafe, oracles.HyperbandOracle):
    """Many short trials, of which the best are trained further."""


@ORACLES.register("grid")
def _grid(space: SearchSpace, max_trials: int | None, epochs: int, seed: int) -> keras_tuner.Oracle:
    if space.ranges:
        name = next(iter(space.ranges))
        raise ValueError(f"A grid takes lists of values, but {name.rstrip('_')} has a range.")
    return GridOracle(max_trials=max_trials, **_common(space, seed))


@ORACLES.register("random")
def _random(
    space: SearchSpace, max_trials: int | None, epochs: int, seed: int
) -> keras_tuner.Oracle:
    return RandomOracle(max_trials=max_trials or 10, **_common(space, seed))


@ORACLES.register("bayesian")
def _bayesian(
    space: SearchSpace, max_trials: int | None, epochs: int, seed: int
) -> keras_tuner.Oracle:
    return BayesianOracle(max_trials=max_trials or 10, **_common(space, seed))


@ORACLES.register("hyperband")
def _hyperband(
    space: SearchSpace, max_trials: int | None, epochs: int, seed: int
) -> keras_tuner.Oracle:
    if max_trials is not None:
        raise ValueError("max_trials is not for hyperband, which plans its trials from epochs.")
    return HyperbandOracle(max_epochs=epochs, **_common(space, seed))


def _common(space: SearchSpace, seed: int) -> dict[str, Any]:
    return {
        "objective": keras_tuner.Objective(OBJECTIVE, "max"),
        "hyperparameters": space.hyperparameters(),
        "seed": seed,
        "max_consecutive_failed_trials": None,  # Diverging trials do not end a search.
    }
