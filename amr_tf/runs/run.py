"""A training run in a folder: model, data, callbacks and resuming."""

import contextlib
import json
import pathlib
import shlex
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from absl import logging

from amr_tf import data as data_lib
from amr_tf.data import ImageData, prepared
from amr_tf.data.fingerprint import fingerprint
from amr_tf.data.pipeline import steps_per_epoch
from amr_tf.files import write_whole
from amr_tf.registry import unknown_name
from amr_tf.runs import trackers as trackers_lib
from amr_tf.runs.build import build_model
from amr_tf.runs.callbacks import (
    Interrupted,
    ProgressBar,
    StopAtDeadline,
    StopOnSignal,
)
from amr_tf.runs.checkpoints import (
    Best,
    Checkpoints,
    load_model,
    read_state,
    resumable_state,
)
from amr_tf.runs.config import TrainingConfig, in_short
from amr_tf.runs.divergence import (
    MAX_ROLLBACKS,
    Diverged,
    StopOnNonFinite,
    check_finite,
    order_seed,
    other_draws,
)
from amr_tf.runs.folder import (
    RunFolder,
    check_same_data,
    check_writable,
    disk_error,
    load_data,
    locked,
    trim_log,
)
from amr_tf.runs.health import IMAGES, PREFIX, HealthMonitor
from amr_tf.runs.precision import SkippedUpdates, warn_of_precision
from amr_tf.runs.sampling import forget_densities
from amr_tf.runs.strategy import (
    agreement,
    check_same_step,
    check_shares,
    distribute,
    is_chief,
    lost_worker,
    make_strategy,
    no_end_warning,
)


class Trained(NamedTuple):
    """A finished run.

    Attributes:
        folder: its `RunFolder`.
        data: its `ImageData`.
        monitor: the metric that selected the best epoch.
        best: the best epoch, or None if no epoch had the metric.
        chief: whether this process writes files; false on the other workers of a job.
        model: the model after its last step, or None under a strategy.
        trackers: callbacks to which `trackers.end` sends the results.
    """

    folder: RunFolder
    data: Any
    monitor: str
    best: Best | None
    chief: bool
    model: Any
    trackers: list[keras.callbacks.Callback]


def train(
    config: TrainingConfig,
    resume: bool = False,
    make_callbacks: Callable | None = None,
    allow_changed_data: bool = False,
) -> Trained | None:
    """Trains a model according to `config` and writes everything to `config.run_dir`.

    Ctrl-C, SIGTERM or SIGHUP (a closed terminal) saves a checkpoint in the middle of an epoch.
    `resume=True` continues from there as if the run had never stopped: the weights, optimizers,
    random numbers, order of images and best value are those of an uninterrupted run.

    Args:
        config: a `TrainingConfig`.
        resume: whether to continue the run in `config.run_dir`.
        make_callbacks: function of the resolved config, the `ImageData` and the `RunFolder` that
            returns a list of further callbacks; or None.
        allow_changed_data: whether a resumed run may continue with data that have changed.

    Returns:
        The finished run, or None after an interruption.

    Raises:
        ValueError, FileNotFoundError: a value is not allowed, the data do not exist, or the run
            folder does not match; raised before anything is trained or written.
        Diverged: a loss or a weight became NaN or infinite, and `config.on_nan` is "stop" or
            rolling back did not help; the last good checkpoint is unchanged.
        OSError: the folder cannot be written to, or another worker of the job is lost; nothing that
            was saved is lost.
    """
    config.validate(parts=False)
    config = config.resolve()
    folder = RunFolder(config.run_dir)
    state = _check_folder(folder, config, resume)
    strategy = make_strategy(config.strategy)  # Before anything that initialises TensorFlow.
    config.validate()
    check_shares(strategy, config.batch_size, config.k or 1)
    with contextlib.ExitStack() as lock:
        if resume and is_chief(strategy):
            lock.enter_context(locked(folder))
            state = _check_folder(folder, config, resume)  # The run may have continued since.
        return _train(
            config, folder, state, strategy, resume, make_callbacks, allow_changed_data, lock
        )


def _train(
    config: TrainingConfig,
    folder: RunFolder,
    state: dict[str, Any] | None,
    strategy: tf.distribute.Strategy | None,
    resume: bool,
    make_callbacks: Callable | None,
    allow_changed_data: bool,
    lock: contextlib.ExitStack,
) -> Trained | None:
    """Trains after the checks of the config; the lock of a new run is entered into `lock`."""
    warn_of_precision(config.precision)
    keras.utils.set_random_seed(config.seed)
    if config.deterministic:
        tf.config.experimental.enable_op_determinism()
    data = load_data(config)
    if resume:
        check_same_data(folder, data, allow_changed_data)
    steps = steps_per_epoch(data.train, config.batch_size)
    model = _model_of(state, config, data, strategy)
    monitor = monitor_of(config, model)
    check_same_step(strategy, model.steps_made)
    chief = is_chief(strategy)
    if chief:
        if not resume:
            lock.enter_context(locked(folder))
            _check_folder(folder, config, resume)  # Another process may have started it.
        _write_config(folder, config)
        write_whole(folder.data, json.dumps(fingerprint(data), indent=2) + "\n")
    callbacks = make_callbacks(config, data, folder) if chief and make_callbacks else []
    if chief and config.verbose:
        print(_data_line(data))
    if chief and config.verbose and model.jit_compile:
        print("XLA compiles the training step, which can take minutes; a GPU keeps it for later.")
    deadline = None  # A rollback does not extend it.
    if config.max_minutes is not None:
        deadline = StopAtDeadline(config.max_minutes, agreement(strategy))
    trackers = trackers_lib.make_trackers(config, folder) if chief else []
    with trackers_lib.told_of_failures(trackers):
        while True:
            try:
                ended = _fit(
                    *(model, data, config, folder, steps, state, strategy),
                    *(callbacks, trackers, deadline),
                )
                break
            except Diverged as error:
                model = None  # Frees its memory for the next model.
                state = _state_after(error, config, folder, state)
                if chief:
                    forget_densities(folder.path)
                model = _model_of(state, config, data, strategy)
                other_draws(model, state["rollbacks"])
    if not ended:
        trackers_lib.end(trackers, trackers_lib.INTERRUPTED)
        return None
    kept: Any = read_state(folder.checkpoints) if chief else {"best": None}
    last = model if strategy is None else None
    return Trained(folder, data, monitor.name, kept["best"], chief, last, trackers)


def _data_line(data: ImageData) -> str:
    """Describes the data, so that users notice at once if a folder is not read as intended."""
    splits = {"training": data.train, "validation": data.validation, "test": data.test}
    counts = [f"{len(split):,} for {use}" for use, split in splits.items() if split is not None]
    kind = "attributes" if data.multi_label else "classes"
    names = data.class_names or ()
    listed = f" ({', '.join(names)})" if 0 < len(names) <= 10 else ""
    return f"Data: {', '.join(counts)}; {len(names) or 'no'} {kind}{listed}"


def _model_of(
    state: dict[str, Any] | None,
    config: TrainingConfig,
    data: ImageData,
    strategy: tf.distribute.Strategy | None = None,
) -> Any:
    """Returns the model from a checkpoint, or a new model if there is none."""
    with contextlib.nullcontext() if strategy is None else strategy.scope():
        if state is None or state["checkpoint"] is None:
            return build_model(
                config, data.image_shape, data.num_classes, data.multi_label, data.preprocessor
            )
        return load_model(state["checkpoint"])


def _state_after(
    error: Exception, config: TrainingConfig, folder: RunFolder, state: dict[str, Any] | None
) -> dict[str, Any]:
    """Returns the state to roll back to; raises `Diverged` with advice if there is no rollback."""
    last = resumable_state(folder.checkpoints)
    rollbacks = 0 if state is None else state["rollbacks"]
    where = "no checkpoint was saved before"
    if last is not None:
        where = f"the last good checkpoint is '{last['checkpoint']}' (step {last['step']})"
    if config.on_nan == "stop":
        raise Diverged(
            f"{error}; {where}. Go on from there with --resume --on_nan=rollback, or start again "
            "with a smaller learning_rate."
        ) from error
    if rollbacks == MAX_ROLLBACKS:
        raise Diverged(f"{error}; {where}, and {rollbacks} rollbacks have not helped.") from error
    logging.warning("%s; %s: rolling back, with other random draws.", error, where)
    if last is None:
        last = {"checkpoint": None, "step": 0, "best": None}
    return {**last, "rollbacks": rollbacks + 1}


def _check_folder(folder: RunFolder, config: TrainingConfig, resume: bool) -> dict[str, Any] | None:
    """Returns the state to resume from, or None; refuses to overwrite or to mix runs."""
    check_writable(folder.path)
    if resume:
        state = resumable_state(folder.checkpoints)
        saved = folder.read_config().resolve()
        conflicts = saved.conflicts(config)
        if conflicts:
            name = conflicts[0]
            was, now = (in_short(name, getattr(each, name)) for each in (saved, config))
            raise ValueError(
                f"A resumed run keeps its settings, but {name.rstrip('_')} was {was} and is {now}."
            )
        return state
    if read_state(folder.checkpoints) is not None:
        raise ValueError(
            f"'{folder.path}' already holds a run. Continue it with --resume, or choose another "
            "--run_dir."
        )
    return None


def _write_config(folder: RunFolder, config: TrainingConfig) -> None:
    folder.path.mkdir(parents=True, exist_ok=True)
    write_whole(folder.config, config.to_json())
    write_whole(folder.flagfile, config.to_flagfile())


class Monitor(NamedTuple):
    """The metric that selects the best epoch.

    Attributes:
        name: a metric of the log.
        mode: "max" or "min".
        tie_breaker: a metric to minimise that decides between epochs with equal values, or None.
    """

    name: str
    mode: str
    tie_breaker: str | None


def monitor_of(config: TrainingConfig, model: Any) -> Monitor:
    """Returns the metric that selects a run's best epoch.

    This is `config.monitor`, or by default the probe's accuracy, or without a probe the
    reconstruction loss. Accuracy is measured on a few hundred images, so epochs often tie. Then the
    epoch with the lower reconstruction loss is the best, or else the later one.

    Raises:
        ValueError: the run logs no such metric, or its mode is neither known nor given.
    """
    error = "val_reconstruction_loss"
    if config.monitor is None:
        if model.probe is None:
            return Monitor(error, "min", None)
        return Monitor("val_probe_accuracy", "max", error)
    name, _, mode = config.monitor.partition(":")
    known = {metric.name: metric for metric in model.metrics}
    own = known.get(name.removeprefix("val_"))
    has_labels = model.probe is not None or not name.removeprefix("val_").startswith("probe")
    if (own is None and not name.startswith(PREFIX)) or not has_labels:
        logged = [f"val_{key}" for key in known if has_labels or not key.startswith("probe")]
        raise unknown_name("metric to monitor", name, logged)
    if not mode:
        if own is None:
            raise ValueError(f"monitor {name} needs a mode: {name}:max or {name}:min.")
        mode = "max" if own._direction == "up" else "min"
    if mode not in ("max", "min"):
        raise ValueError(f"monitor's mode must be max or min; got {config.monitor!r}.")
    return Monitor(name, mode, None if name == error else error)


def _fit(
    model: Any,
    data: ImageData,
    config: TrainingConfig,
    folder: RunFolder,
    steps: int,
    state: dict[str, Any] | None,
    strategy: tf.distribute.Strategy | None,
    callbacks: list[keras.callbacks.Callback],
    trackers: list[keras.callbacks.Callback],
    deadline: StopAtDeadline | None,
) -> bool:
    """Runs the remaining epochs; returns False if it is interrupted, else True."""
    done, rollbacks = (0, 0) if state is None else (state["step"], state["rollbacks"])
    first_epoch, first_batch = divmod(done, steps)
    if _waited_enough(config, state, first_epoch):
        return True
    validation = data_lib.evaluation_batches(data.validation, config.batch_size, data.image_size)
    stop = StopOnSignal(agreement(strategy))
    first = [] if deadline is None else [deadline]
    if is_chief(strategy):
        trim_log(folder.log, first_epoch)
        checkpoints = _checkpoints(model, config, folder, state, rollbacks)
        logging_ = _logging_callbacks(data, config, folder)
        # Trackers are last, so that an epoch they receive is already saved and not trained again.
        writing = [
            *logging_,
            *callbacks,
            _check_logged(checkpoints.monitor),
            checkpoints,
            *trackers,
        ]
    else:
        checkpoints = None
        writing = [_check_finite_callback(model)]
    bar = [ProgressBar()] if is_chief(strategy) and config.verbose else []
    with stop, no_end_warning(strategy):
        try:
            for epoch, last_epoch, count in _segments(
                first_epoch, first_batch, config.epochs, steps
            ):
                _set_steps_per_execution(model, config.steps_per_execution, count)
                batches = data_lib.training_batches(
                    data.train,
                    config.batch_size,
                    data.image_size,
                    order_seed(config.seed, rollbacks),
                    first_step=model.steps_made,
                )
                model.fit(
                    distribute(strategy, batches),
                    shuffle=False,  # Already shuffled; Keras would warn that it cannot.
                    steps_per_epoch=count,
                    initial_epoch=epoch,
                    epochs=last_epoch,
                    validation_data=distribute(strategy, validation),
                    callbacks=[*first, StopOnNonFinite(), *writing, stop, *bar],
                    verbose=config.verbose if is_chief(strategy) else 0,
                )
                if deadline is not None and deadline.passed:
                    print(
                        f"Stopped after max_minutes = {config.max_minutes:g}, at step "
                        f"{model.steps_made}. Continue with --resume."
                    )
                    break
                if model.stop_training:
                    print(f"Stopped: no better epoch for {config.patience} epochs.")
                    break
        except (OSError, tf.errors.OpError) as error:
            lost = lost_worker(error, strategy, folder.path)
            raise (lost or disk_error(error, folder)) from error
        except Interrupted as reason:
            if checkpoints is not None:
                model.use_averages()
                checkpoints.save()
                with contextlib.suppress(OSError):  # The terminal may be gone.
                    print(
                        f"\nStopped by {reason} after step {model.steps_made}; saved. Continue "
                        f"with: {_command()} {shlex.quote(f'--run_dir={folder.path}')} "
                        "--resume",
                        flush=True,
                    )
            return False
    return True


def _waited_enough(config: TrainingConfig, state: dict[str, Any] | None, epochs: int) -> bool:
    """Returns whether a run that is resumed had already been ended by `patience`."""
    best = None if state is None else state["best"]
    return bool(config.patience and best and epochs - best.since >= config.patience)


def _set_steps_per_execution(model: keras.Model, wanted: int, steps: int) -> None:
    """Sets `steps_per_execution` to the largest divisor of an epoch's `steps` up to `wanted`.

    With other numbers, Keras rounds an epoch up to a multiple, and a resumed run loses its place.
    """
    number = next(number for number in range(min(wanted, steps), 0, -1) if steps % number == 0)
    if number != wanted:
        logging.warning(
            "steps_per_execution = %d does not divide the %d steps of this epoch: %d at a time.",
            wanted,
            steps,
            number,
        )
    if number != model.steps_per_execution:
        model.steps_per_execution = number
        model.train_function = model.test_function = None  # Else Keras reuses them.


def _check_finite_callback(model: keras.Model) -> keras.callbacks.Callback:
    """Returns a callback that checks weights as the chief's `Checkpoints` does, but never saves."""
    return keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: check_finite(model))


def _check_logged(monitor: str) -> keras.callbacks.Callback:
    """Returns a callback that raises an error after the first epoch if `monitor` is not logged."""

    def check(epoch: int, logs: dict[str, Any]) -> None:
        if monitor not in logs:
            raise unknown_name("metric to monitor", monitor, logs)

    return keras.callbacks.LambdaCallback(on_epoch_end=check)


def _checkpoints(
    model: keras.Model,
    config: TrainingConfig,
    folder: RunFolder,
    state: dict[str, Any] | None,
    rollbacks: int,
) -> Checkpoints:
    monitor = monitor_of(config, model)
    return Checkpoints(
        folder.checkpoints,
        monitor.name,
        monitor.mode,
        every=config.checkpoint_every,
        tie_breaker=monitor.tie_breaker,
        patience=config.patience,
        best=None if state is None else state["best"],
        previous=None if state is None else state["checkpoint"],
        rollbacks=rollbacks,
    )


def _command() -> str:
    """Returns the command that trains: this package's, or the script that called `train.run`."""
    script = getattr(sys.modules["__main__"], "__spec__", None) is None  # Not started with -m.
    if script and sys.argv[0].endswith(".py"):
        return f"python {sys.argv[0]}"
    if script and pathlib.Path(sys.argv[0]).stem == "amr":
        return "amr train"
    return "python -m amr_tf.train"


def _segments(
    first_epoch: int, first_batch: int, epochs: int, steps: int
) -> Iterator[tuple[int, int, int]]:
    """Yields `fit` calls as (epoch, end, steps per epoch): the rest of a partial epoch first."""
    if first_batch and first_epoch < epochs:
        yield first_epoch, first_epoch + 1, steps - first_batch
        first_epoch += 1
    if first_epoch < epochs:
        yield first_epoch, epochs, steps


def _logging_callbacks(
    data: ImageData, config: TrainingConfig, folder: RunFolder
) -> list[keras.callbacks.Callback]:
    return [
        *_health_monitor(data, config, folder),
        *([SkippedUpdates()] if config.precision == "mixed_float16" else []),
        keras.callbacks.CSVLogger(folder.log, append=True),
    ]


def _health_monitor(
    data: ImageData, config: TrainingConfig, folder: RunFolder
) -> list[HealthMonitor]:
    """Returns a list with the `HealthMonitor`, empty if there are too few images to mix."""
    split = data.validation
    count = min(IMAGES, len(split))
    if count < max(2, config.k or 1):
        return []
    images = prepared(split, slice(count), data.image_size)
    labels = None if split.labels is None else np.asarray(split.labels[:count])
    # A log keeps the columns of its first row, and that of an older run may lack these.
    write = not folder.log.exists() or PREFIX in folder.log.read_text(encoding="utf-8")
    return [HealthMonitor(images, labels, write=write)]
