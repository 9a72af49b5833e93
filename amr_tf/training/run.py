"""A training run in a folder: model, data, callbacks, resuming and results."""

import csv
import json
import pathlib
import sys

import keras
import numpy as np

from amr_tf import data as data_lib
from amr_tf.data.pipeline import steps_per_epoch
from amr_tf.evaluation.evaluate import evaluate
from amr_tf.files import write_whole
from amr_tf.training.build import build_model
from amr_tf.training.callbacks import Interrupted, SampleGrid, StopOnSignal
from amr_tf.training.checkpoints import Checkpoints, best_path, load_model, read_state
from amr_tf.training.config import TrainingConfig

_SAMPLES = 10
_POINTS = 1000


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
    """

    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.config = self.path / "config.json"
        self.flagfile = self.path / "flagfile.cfg"
        self.log = self.path / "log.csv"
        self.checkpoints = self.path / "checkpoints"
        self.tensorboard = self.path / "tensorboard"
        self.samples = self.path / "samples"
        self.results = self.path / "results.json"

    def read_config(self):
        """The run's `TrainingConfig`.

        Raises:
            FileNotFoundError: the folder is not there or holds no run.
            ValueError: `config.json` is damaged.
        """
        if not self.config.is_file():
            raise FileNotFoundError(f"'{self.path}' is not a run folder: it has no config.json.")
        try:
            return TrainingConfig.from_json(self.config.read_text())
        except (ValueError, TypeError) as error:
            raise ValueError(f"'{self.config}' is damaged: {error}") from error


def load_data(config):
    """The `ImageData` of a `TrainingConfig`."""
    return data_lib.load(
        config.dataset,
        data_dir=config.data_dir,
        image_size=config.image_size,
        validation_fraction=config.validation_fraction,
        train_subset=config.train_subset,
        labelled=config.labelled,
        attributes=config.attributes,
        crop=config.crop,
        seed=config.seed,
    )


def load_run(path, last=False):
    """A run's config and its best model, or with `last` the model at its newest checkpoint.

    Raises:
        FileNotFoundError: the folder holds no run, or no model yet.
        ValueError: a file of the run is damaged.
    """
    folder = RunFolder(path)
    config = folder.read_config()
    if not last:
        return config, load_model(best_path(folder.checkpoints))
    state = read_state(folder.checkpoints)
    if state is None:
        raise FileNotFoundError(f"Run '{folder.path}' has no checkpoint yet.")
    return config, load_model(state["checkpoint"])


def train(config, resume=False):
    """Trains a model as `config` says and leaves everything in `config.run_dir`.

    Ctrl-C or SIGTERM saves a checkpoint in the middle of an epoch; `resume=True` goes on from
    there as if nothing had happened: the weights, optimizers, random numbers, order of images
    and best value are those that an uninterrupted run would have had.

    Args:
        config: a `TrainingConfig`.
        resume: whether to continue the run in `config.run_dir`.

    Returns:
        The results: a dictionary, also written as `results.json`. None after an interruption.

    Raises:
        ValueError, FileNotFoundError: a value that is not allowed, data that are not there, or
            a run folder that does not fit; raised before anything is trained or written.
    """
    config.validate()
    config = config.resolve()
    folder = RunFolder(config.run_dir)
    state = _check_folder(folder, config, resume)
    keras.utils.set_random_seed(config.seed)
    data = load_data(config)
    steps = steps_per_epoch(data.train, config.batch_size)
    if state is None:
        model = build_model(config, data.image_shape, data.num_classes, data.multi_label)
    else:
        model = load_model(state["checkpoint"])
    _write_config(folder, config)
    if not _fit(model, data, config, folder, steps, state):
        return None
    results = {
        "best_" + _monitor(model)[0]: read_state(folder.checkpoints)["best"],
        **evaluate(load_model(best_path(folder.checkpoints)), data),
    }
    write_whole(folder.results, json.dumps(results, indent=2) + "\n")
    return results


def _check_folder(folder, config, resume):
    """The state to resume from, or None; refuses to overwrite or to mix runs."""
    state = read_state(folder.checkpoints)
    if resume:
        saved = folder.read_config().resolve()
        conflicts = saved.conflicts(config)
        if conflicts:
            name = conflicts[0]
            raise ValueError(
                f"A resumed run keeps its settings, but {name.rstrip('_')} was "
                f"{getattr(saved, name)} and is {getattr(config, name)}."
            )
        return state
    if state is not None:
        raise ValueError(
            f"'{folder.path}' already holds a run. Continue it with --resume, or choose another "
            "--run_dir."
        )
    return None


def _write_config(folder, config):
    folder.path.mkdir(parents=True, exist_ok=True)
    write_whole(folder.config, config.to_json())
    write_whole(folder.flagfile, config.to_flagfile())


def _monitor(model):
    """The metric that chooses the best epoch, and its mode."""
    if model.probe is not None:
        return "val_probe_accuracy", "max"
    return "val_reconstruction_loss", "min"


def _fit(model, data, config, folder, steps, state):
    """Runs the epochs that are left; returns whether it came to the end."""
    done = 0 if state is None else state["step"]
    first_epoch, first_batch = divmod(done, steps)
    _trim_log(folder.log, first_epoch)
    validation = data_lib.evaluation_batches(data.validation, config.batch_size, data.image_size)
    checkpoints = Checkpoints(
        folder.checkpoints,
        *_monitor(model),
        every=config.checkpoint_every,
        best=None if state is None else state["best"],
    )
    stop = StopOnSignal()
    callbacks = _logging_callbacks(data, config, folder) + [checkpoints, stop]
    with stop:
        try:
            for epoch, last_epoch, count in _segments(
                first_epoch, first_batch, config.epochs, steps
            ):
                batches = data_lib.training_batches(
                    data.train,
                    config.batch_size,
                    data.image_size,
                    config.seed,
                    first_step=int(model.step_counter),
                )
                model.fit(
                    batches,
                    shuffle=False,  # The batches are; Keras would warn that it cannot.
                    steps_per_epoch=count,
                    initial_epoch=epoch,
                    epochs=last_epoch,
                    validation_data=validation,
                    callbacks=callbacks,
                    verbose=config.verbose,
                )
        except Interrupted as reason:
            checkpoints.save()
            print(
                f"\nStopped by {reason} after step {int(model.step_counter)}; saved. Continue "
                f"with: python {_command()} --run_dir={folder.path} --resume"
            )
            return False
    return True


def _command():
    """What trains: this package's command, or the script that called `train.run`."""
    script = getattr(sys.modules["__main__"], "__spec__", None) is None  # Not started with -m.
    return sys.argv[0] if script and sys.argv[0].endswith(".py") else "-m amr_tf.train"


def _segments(first_epoch, first_batch, epochs, steps):
    """The calls of `fit` as (epoch, end, steps per epoch): the rest of a broken epoch first."""
    if first_batch and first_epoch < epochs:
        yield first_epoch, first_epoch + 1, steps - first_batch
        first_epoch += 1
    if first_epoch < epochs:
        yield first_epoch, epochs, steps


def _logging_callbacks(data, config, folder):
    callbacks = [
        keras.callbacks.CSVLogger(folder.log, append=True),
        keras.callbacks.TensorBoard(folder.tensorboard, write_graph=False),
    ]
    if config.sample_every:
        count = _POINTS if data.image_size is None else _SAMPLES
        images = np.asarray(data.validation.images[:count])
        images = np.asarray(data_lib.preprocess(images, data.image_size))
        callbacks.append(
            SampleGrid(images, folder.samples, folder.tensorboard / "samples", config.sample_every)
        )
    return callbacks


def _trim_log(path, epochs):
    """Drops the rows of epochs that will be trained again: logged, but not checkpointed."""
    if not path.exists():
        return
    with path.open(newline="") as file:
        rows = list(csv.reader(file))
    kept = rows[:1] + [row for row in rows[1:] if row and int(row[0]) < epochs]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(kept)
