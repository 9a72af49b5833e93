"""Plans, starts and resumes the runs of a table, and reads their results."""

import dataclasses
import gc
import json
import pathlib
import re
import time
from collections.abc import Callable
from typing import Any

import keras

from amr_tf import data as data_lib
from amr_tf.data import ImageData, prepared
from amr_tf.data.pipeline import steps_per_epoch
from amr_tf.experiments import train
from amr_tf.figures.grids import sample_figure
from amr_tf.files import read_json, write_whole
from amr_tf.metrics.disentanglement import disentanglement
from amr_tf.paper import tables
from amr_tf.paper.cells import Cell
from amr_tf.runs.build import build_model
from amr_tf.runs.config import TrainingConfig
from amr_tf.runs.folder import RunFolder, load_data, load_run

_TIMED_STEPS = 5  # The published runs update the auto-encoder every fifth step.
_SAMPLES = 10


@dataclasses.dataclass(frozen=True)
class Plan:
    """A plan for reproducing a column of a table.

    Attributes:
        table: number of the table.
        dataset: name of the column, as in the flagfiles' names.
        cells: tuple of `Cell`s.
        out: folder for the runs and the report.
        runs: number of runs per cell, with the seeds 0, 1, ...
        lambdas: candidates for each cell's lambda, chosen by the best validation accuracy of the
            run with seed 0; empty to use the flagfiles' lambdas.
        changes: fields of `TrainingConfig` that differ from the flagfiles', such as the budget.
    """

    table: int
    dataset: str
    cells: tuple
    out: pathlib.Path
    runs: int = 3
    lambdas: tuple = ()
    changes: dict = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.runs < 1:
            raise ValueError(f"runs must be at least 1; got {self.runs}.")
        if self.lambdas and self.score == "factor_vae":
            raise ValueError(
                f"lambdas are chosen by validation accuracy, which table {self.table} does not "
                f"report; got {self.lambdas}."
            )
        if any(value <= 0 for value in self.lambdas):
            raise ValueError(f"lambdas must be above 0; got {self.lambdas}.")

    @property
    def score(self) -> str:
        """The metric of the table: "accuracy" or "factor_vae"."""
        return tables.SCORES.get(self.table, "accuracy")

    def config(self, cell: Cell, seed: int, lambda_: float | None = None) -> TrainingConfig:
        """Returns the `TrainingConfig` of one run."""
        lambda_ = cell.config.lambda_ if lambda_ is None else lambda_
        stem = re.sub(r"_lambda[^_]+", "", cell.name)
        run_dir = pathlib.Path(self.out) / "runs" / f"{stem}_lambda{lambda_:g}_seed{seed}"
        changes = {"verbose": 0, **self.changes}
        return cell.config.replace(**changes, lambda_=lambda_, seed=seed, run_dir=str(run_dir))

    def check(self) -> None:
        """Raises a ValueError that names the first cell with invalid settings."""
        hint = " Flags hold for every cell; --methods chooses cells." if self.changes else ""
        for cell in self.cells:
            for lambda_ in self.candidates(cell):
                try:
                    self.config(cell, 0, lambda_).validate()
                except ValueError as error:
                    raise ValueError(f"Cell {cell.name}: {error}{hint}") from error

    def candidates(self, cell: Cell) -> tuple:
        """Returns the candidate lambdas of a cell."""
        return self.lambdas or (cell.config.lambda_,)

    def all_configs(self) -> list[TrainingConfig]:
        """Returns the configs of all runs: seed 0 with each lambda, other seeds with one lambda.

        Until lambda is chosen, the other seeds have the first candidate.
        """
        configs = []
        for cell in self.cells:
            lambdas = self.candidates(cell)
            configs += [self.config(cell, 0, lambda_) for lambda_ in lambdas]
            chosen = self.chosen_lambda(cell) or lambdas[0]
            configs += [self.config(cell, seed, chosen) for seed in range(1, self.runs)]
        return configs

    def chosen_lambda(self, cell: Cell) -> float | None:
        """Returns the lambda with the best validation accuracy, or None while runs are missing.

        Without candidates, this is the flagfile's lambda.
        """
        results: dict[float, Any] = {
            value: read_results(self.config(cell, 0, value)) for value in self.lambdas
        }
        if not self.lambdas:
            return cell.config.lambda_
        if any(result is None for result in results.values()):
            return None
        return max(results, key=lambda value: results[value]["best_val_probe_accuracy"])

    def finished(self, cell: Cell) -> dict[int, dict[str, Any]]:
        """Returns the results of a cell's finished runs at its chosen lambda, by seed."""
        lambda_ = self.chosen_lambda(cell)
        if lambda_ is None:
            return {}
        results = {
            seed: read_results(self.config(cell, seed, lambda_)) for seed in range(self.runs)
        }
        return {seed: result for seed, result in results.items() if result is not None}


def read_results(config: TrainingConfig) -> dict[str, Any] | None:
    """Returns the results of a finished run with exactly this config, or None.

    The dictionary holds the contents of `results.json`, "seconds", and for data with factors
    "disentanglement".
    """
    folder = RunFolder(config.run_dir)
    if not folder.results.is_file() or folder.read_config().resolve() != config.resolve():
        return None
    extra = _extra_path(config)
    if not extra.is_file():
        return None
    return {**read_json(folder.results, finite=False), **read_json(extra, finite=False)}


def reproduce(
    plan: Plan, report: Callable[[], Any] | None = None, log: Callable[[str], Any] = print
) -> bool:
    """Trains all unfinished runs of a plan, and resumes those that were interrupted.

    Args:
        plan: a `Plan`.
        report: called after each new run, without arguments; or None.
        log: called with one line of text for each run.

    Returns:
        Whether all runs are finished; False after Ctrl-C or SIGTERM, which leave checkpoints.

    Raises:
        ValueError: the settings of a cell are invalid. Raised before any training.
        ValueError, FileNotFoundError, Diverged, OSError: see `amr_tf.experiments.train`.
    """
    plan.check()
    for cell in plan.cells:
        for lambda_ in plan.candidates(cell):
            if not _finish(plan.config(cell, 0, lambda_), cell, report, log):
                return False
        for seed in range(1, plan.runs):
            if not _finish(plan.config(cell, seed, plan.chosen_lambda(cell)), cell, report, log):
                return False
    return True


def _finish(
    config: TrainingConfig, cell: Cell, report: Callable[[], Any] | None, log: Callable[[str], Any]
) -> bool:
    """Trains or resumes one run unless it is finished; returns whether it is finished now."""
    name = pathlib.Path(config.run_dir).name
    results = read_results(config)
    if results is not None:
        log(f"{name}: finished before")
        return True
    folder = RunFolder(config.run_dir)
    resume = folder.config.is_file()
    if resume and folder.read_config().epochs > config.epochs:
        raise ValueError(
            f"'{folder.path}' holds a run of {folder.read_config().epochs} epochs, more than the "
            f"{config.epochs} asked for; choose another --out."
        )
    keras.backend.clear_session()
    gc.collect()
    start = time.monotonic()
    if train(config, resume=resume) is None:
        return False
    _measure_more(config, cell, time.monotonic() - start)
    log(f"{name}: {_summary(read_results(config))}")
    if report is not None:
        report()
    return True


def _measure_more(config: TrainingConfig, cell: Cell, seconds: float) -> None:
    """Writes the results that a table needs besides `results.json`, and a sheet of samples."""
    _, model = load_run(config.run_dir)  # The best epoch's model, as for all other results.
    data = load_data(config)
    extra: dict[str, Any] = {"seconds": round(seconds, 1)}
    if data.train.factors is not None:
        extra["disentanglement"] = disentanglement(model, data, split="test")
    images = prepared(data.validation, slice(_SAMPLES), data.image_size)
    sample_figure(model, images, cell.label).savefig(samples_path(config))
    write_whole(_extra_path(config), json.dumps(extra, indent=2) + "\n")


def _summary(results: Any) -> str:
    parts = []
    if "best_val_probe_accuracy" in results:
        parts.append(f"validation {100 * results['best_val_probe_accuracy']:.1f} %")
    if "disentanglement" in results:
        parts.append(f"FactorVAE {100 * results['disentanglement']['factor_vae']:.1f} %")
    return ", ".join([*parts, f"{results['seconds']:.0f} s"])


def _extra_path(config: TrainingConfig) -> pathlib.Path:
    return RunFolder(config.run_dir).path / "reproduction.json"


def samples_path(config: TrainingConfig) -> pathlib.Path:
    """Returns the path of a run's sheet of samples for the report."""
    return RunFolder(config.run_dir).path / "samples.png"


def estimate_seconds(plan: Plan, timed_steps: int = _TIMED_STEPS) -> dict[str, float]:
    """Estimates the training time of each unfinished run of a plan from measured steps.

    Steps on training images are measured after a first `fit`, which traces the graph. Tracing and
    the evaluation in each epoch are not included.

    Args:
        plan: a `Plan`.
        timed_steps: number of steps to measure for each method, mixer and k.

    Returns:
        A dictionary from run names to seconds, 0.0 for finished runs.

    Raises:
        ValueError: the settings of a cell are invalid.
    """
    plan.check()
    seconds, steps = {}, {}
    data = None
    for config in plan.all_configs():
        name = pathlib.Path(config.run_dir).name
        if read_results(config) is not None:
            seconds[name] = 0.0
            continue
        data = load_data(config) if data is None else data
        kind = tables.row_of(config)
        if kind not in steps:
            steps[kind] = _seconds_per_step(config, data, timed_steps)
        seconds[name] = steps[kind] * config.epochs * steps_per_epoch(data.train, config.batch_size)
    return seconds


def _seconds_per_step(config: TrainingConfig, data: ImageData, count: int) -> float:
    keras.backend.clear_session()
    model = build_model(
        config, data.image_shape, data.num_classes, data.multi_label, data.preprocessor
    )
    batches = data_lib.training_batches(data.train, config.batch_size, data.image_size, config.seed)
    model.fit(batches, steps_per_epoch=count, verbose=0, shuffle=False)
    start = time.perf_counter()
    model.fit(batches, steps_per_epoch=count, verbose=0, shuffle=False)
    return (time.perf_counter() - start) / count
