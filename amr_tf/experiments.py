"""A run from its config to its results: training with figures, and evaluation."""

import json
from collections.abc import Sequence
from typing import Any

import keras

from amr_tf.data import ImageData
from amr_tf.figures.held_out import draw_sample
from amr_tf.figures.sample_grid import SampleGrid
from amr_tf.files import write_whole
from amr_tf.metrics.measure import check_probes, evaluate
from amr_tf.models.base import ResynthesisModel
from amr_tf.runs import run, trackers
from amr_tf.runs.checkpoints import best_path, load_model, restore
from amr_tf.runs.config import TrainingConfig
from amr_tf.runs.folder import RunFolder

_SAMPLES = 10
_POINTS = 1000


def train(
    config: TrainingConfig,
    resume: bool = False,
    probes: Sequence[str] = ("linear",),
    allow_changed_data: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> dict | None:
    """Trains a model, draws samples during training, and evaluates the best epoch.

    Args:
        config: a `TrainingConfig`.
        resume: whether to continue the run in `config.run_dir`.
        probes: names of the probes on frozen codes at the end, see `evaluate`; empty for none.
        allow_changed_data: whether a resumed run may continue with data that have changed.
        callbacks: further Keras callbacks, such as a tracker's. They see each epoch's logs before
            the checkpoint is saved, and the averaged weights if `ema` is set. Only the chief calls
            them.

    Returns:
        A dictionary of results, also written to `results.json`. It is empty on workers other than
        the chief. None after an interruption.

    Raises:
        ValueError: a probe is unknown.
        ValueError, FileNotFoundError, Diverged, OSError: see `amr_tf.runs.run.train`.

    Example:

    >>> from amr_tf.runs.config import TrainingConfig
    >>> csv = keras.callbacks.CSVLogger("digits.csv")
    >>> results = train(TrainingConfig(run_dir="runs/digits", epochs=5), callbacks=[csv])
    """
    check_probes(probes)

    def make_callbacks(
        config: TrainingConfig, data: ImageData, folder: RunFolder
    ) -> list[keras.callbacks.Callback]:
        return [*sample_grids(config, data, folder), *callbacks]

    trained = run.train(config, resume, make_callbacks, allow_changed_data)
    if trained is None:
        return None
    if not trained.chief:
        return {}
    with trackers.told_of_failures(trained.trackers):
        measured = evaluate(_best_model(trained), trained.data, probes=probes)
    results = {**_best(trained), **measured}
    write_whole(trained.folder.results, json.dumps(results, indent=2) + "\n")
    trackers.end(trained.trackers, trackers.FINISHED, results)
    return results


def _best_model(trained: run.Trained) -> ResynthesisModel:
    path = best_path(trained.folder.checkpoints)
    if trained.model is None:
        return load_model(path)
    restore(trained.model, path)
    return trained.model


def _best(trained: run.Trained) -> dict[str, Any]:
    if trained.best is None:
        return {"best_" + trained.monitor: None}
    return {"best_" + trained.monitor: trained.best.value, "best_epoch": trained.best.epoch}


def sample_grids(
    config: TrainingConfig, data: ImageData, folder: RunFolder
) -> list[keras.callbacks.Callback]:
    """Returns a list with the callback that draws sample grids, empty if none are wanted."""
    if not config.sample_every:
        return []
    count = _POINTS if data.image_size is None else _SAMPLES
    # In random order, since a folder's images come class by class.
    images, _ = draw_sample(data.validation, data.image_size, count)
    shown = trackers.tracks_with("tensorboard", config.trackers)
    log_dir = folder.tensorboard / "samples" if shown else None
    return [SampleGrid(images, folder.samples, log_dir, config.sample_every)]
