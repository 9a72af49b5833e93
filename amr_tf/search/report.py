"""Results of a search: a table, a figure, and a flagfile for `amr_tf.train`."""

import csv
import io
import pathlib
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from amr_tf.figures.sheet import shortened
from amr_tf.files import write_whole
from amr_tf.runs.config import TrainingConfig

_LONGEST = 40  # Characters of a tick's label.
_ACROSS = 30  # Characters of all ticks' labels that fit side by side.


def finished_trials(tuner: Any) -> list:
    """Returns the completed trials, the best first."""
    trials = [trial for trial in tuner.oracle.trials.values() if trial.status == "COMPLETED"]
    return sorted(trials, key=lambda trial: -trial.score)


def failures(tuner: Any) -> list[str]:
    """Returns a sentence for each trial that failed, with the reason."""
    sentences = []
    for trial in tuner.oracle.trials.values():
        if trial.status == "FAILED":
            lines = (trial.message or "").strip().splitlines()
            reason = lines[-1].rpartition("Error: ")[2] if lines else "unknown"
            sentences.append(f"Trial {trial.trial_id} failed: {reason}")
    return sentences


def best_config(tuner: Any, run_dir: str | pathlib.Path) -> TrainingConfig:
    """Returns the `TrainingConfig` of the best trial, to be trained in `run_dir` for all epochs.

    Raises:
        ValueError: no trial is finished.
    """
    trials = finished_trials(tuner)
    if not trials:
        raise ValueError("No trial is finished.")
    config = tuner.trial_config(trials[0])
    return config.replace(
        run_dir=str(run_dir), epochs=tuner.config.epochs, monitor=tuner.config.monitor
    )


def summary_table(tuner: Any, names: Sequence[str]) -> str:
    """Formats the finished trials as a Markdown table, the best first.

    Args:
        tuner: a `RunTuner`.
        names: the fields that were searched.
    """
    head = [*(name.rstrip("_") for name in names), "validation accuracy"]
    rows = [head, ["---"] * len(head)]
    for trial in finished_trials(tuner):
        values = trial.hyperparameters.values
        rows.append([*(_text(values[name]) for name in names), f"{100 * trial.score:.1f} %"])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def tuning_figure(tuner: Any, names: Sequence[str]) -> Figure:
    """Draws validation accuracy against each searched flag, one panel each.

    Returns:
        A `matplotlib.figure.Figure`.
    """
    trials = finished_trials(tuner)
    figure = Figure(figsize=(4 * len(names), 3.5), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names):
        values = [trial.hyperparameters.values[name] for trial in trials]
        numbers = all(isinstance(value, (int, float)) for value in values)
        if not numbers:
            texts = list(dict.fromkeys(values))
            values = [texts.index(value) for value in values]
            _name_ticks(axes, texts)
        axes.plot(values, [100 * trial.score for trial in trials], "o", alpha=0.6)
        if numbers and min(values) > 0 and max(values) > 10 * min(values):
            axes.set_xscale("log")
            axes.minorticks_off()
        if numbers and len(set(values)) <= 8:
            axes.set_xticks(sorted(set(values)), map(_text, sorted(set(values))))
        axes.set(xlabel=name.rstrip("_"), ylabel="validation accuracy, %")
        axes.grid(alpha=0.3)
    return figure


def _name_ticks(axes: Axes, texts: Sequence[str]) -> None:
    """Labels the ticks 0, 1, ... of the x axis, slanted if the labels would overlap."""
    shown = [shortened(text, _LONGEST) for text in texts]
    aslant = sum(map(len, shown)) > _ACROSS
    slant: dict[str, Any] = {"rotation": 25, "ha": "right", "rotation_mode": "anchor"}
    axes.set_xticks(range(len(shown)), shown, **(slant if aslant else {}))
    axes.margins(x=0.15)


def write_results(tuner: Any, names: Sequence[str], directory: str | pathlib.Path) -> pathlib.Path:
    """Writes `trials.csv`, `trials.md`, `trials.png` and `best.cfg` into `directory`.

    Args:
        tuner: a `RunTuner` with at least one finished trial.
        names: the fields that were searched.
        directory: folder for the files.

    Returns:
        The path of `best.cfg`.
    """
    directory = pathlib.Path(directory)
    config = best_config(tuner, directory / "best")
    write_whole(directory / "best.cfg", config.to_flagfile())
    write_whole(directory / "trials.md", summary_table(tuner, names) + "\n")
    write_whole(directory / "trials.csv", _csv(tuner, names))
    tuning_figure(tuner, names).savefig(directory / "trials.png")
    return directory / "best.cfg"


def _csv(tuner: Any, names: Sequence[str]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["trial", *(name.rstrip("_") for name in names), "val_probe_accuracy"])
    for trial in finished_trials(tuner):
        values = [trial.hyperparameters.values[name] for name in names]
        writer.writerow([trial.trial_id, *values, trial.score])
    return text.getvalue()


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
