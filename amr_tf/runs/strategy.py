"""Training on several devices or machines: `tf.distribute` strategies by name.

`batch_size` is the size of the global batch, of which each of R replicas takes a contiguous R-th.
Losses are means over the global batch, and every replica makes the same update. So R replicas train
like one device, with one exception: each replica mixes examples within its own share, with its own
random numbers, so that no codes are sent between devices.

Only the chief, which is the first worker, writes files. All workers read the run folder, which must
be shared.
"""

import contextlib
import json
import os
import pathlib
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf
from absl import logging

STRATEGIES = ("none", "mirrored", "multi_worker")
_JOBS = ("chief", "worker")
# Errors that TensorFlow raises in the other workers when one is lost.
_LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.InternalError,
    tf.errors.FailedPreconditionError,
)


class WorkerLost(ConnectionError):
    """Raised if another worker of the job is lost; the message is one sentence."""


def make_strategy(name: str) -> tf.distribute.Strategy | None:
    """Creates a strategy by name; call it before TensorFlow has run anything.

    Args:
        name: "none"; "mirrored" for all GPUs of this machine, or all logical CPU devices if it has
            none; "multi_worker" for the workers in the environment variable TF_CONFIG.

    Returns:
        A `tf.distribute.Strategy`, or None to train on one device: for "none", and for "mirrored"
        on a machine with a single device, with a warning.

    Raises:
        ValueError: TF_CONFIG is missing or malformed.
    """
    if name == "multi_worker":
        check_tf_config(os.environ.get("TF_CONFIG"))
        return tf.distribute.MultiWorkerMirroredStrategy()
    if name != "mirrored":
        return None
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    names = [device.name for device in devices]
    if len(names) < 2:
        logging.warning("strategy mirrored found one device, %s: training on it alone.", *names)
        return None
    return tf.distribute.MirroredStrategy(names)


def check_tf_config(text: str | None) -> None:
    """Raises a ValueError unless `text` is a valid TF_CONFIG.

    Args:
        text: a JSON document `{"cluster": {"worker": ["host:port", ...]}, "task": {"type":
            "worker", "index": 0}}`, or None if the variable is not set. Besides the workers, there
            may be a job "chief" with one host.
    """
    if not text:
        raise ValueError(
            "strategy multi_worker needs the environment variable TF_CONFIG with cluster and task; "
            "it is not set."
        )
    try:
        config = json.loads(text)
        cluster, task = dict(config["cluster"]), config["task"]
        kind, index = task["type"], int(task["index"])
        addresses = [(job, address) for job in cluster for address in cluster[job]]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            'TF_CONFIG must be JSON such as {"cluster": {"worker": ["host:port", ...]}, "task": '
            f'{{"type": "worker", "index": 0}}}}; got {text!r}.'
        ) from error
    for job, address in addresses:
        if job not in _JOBS:
            raise ValueError(f"TF_CONFIG's jobs must be worker and chief; got {job!r}.")
        host, _, port = str(address).rpartition(":")
        if not host or not port.isdigit():
            raise ValueError(f"TF_CONFIG's addresses must be host:port; got {address!r}.")
    if len({address for _, address in addresses}) < len(addresses):
        raise ValueError(f"TF_CONFIG names an address twice: {[a for _, a in addresses]}.")
    if not 0 <= index < len(cluster.get(kind, ())):
        raise ValueError(f"TF_CONFIG's task {kind} {index!r} is not in its cluster.")


def is_chief(strategy: tf.distribute.Strategy | None) -> bool:
    """Returns whether this process is the one that writes files."""
    if strategy is None or not is_multi_worker(strategy):
        return True
    resolver = strategy.cluster_resolver
    if resolver.task_type == "chief":
        return True
    return resolver.task_id == 0 and "chief" not in resolver.cluster_spec().jobs


def is_multi_worker(strategy: tf.distribute.Strategy | None) -> bool:
    """Returns whether a strategy, or None, spans several processes."""
    return isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)


def check_shares(strategy: tf.distribute.Strategy | None, batch_size: int, k: int = 1) -> None:
    """Raises a ValueError unless replicas get equal shares of a batch, of at least k examples.

    Args:
        strategy: a `tf.distribute.Strategy` or None.
        batch_size: size of the global batch.
        k: number of examples in each mix.
    """
    count = 1 if strategy is None else strategy.num_replicas_in_sync
    if batch_size % count:
        raise ValueError(
            f"batch_size = {batch_size} is the global batch's and must be divisible by the "
            f"{count} replicas."
        )
    if batch_size // count < k:
        raise ValueError(
            f"A replica's share of {batch_size // count} (batch_size = {batch_size} over {count} "
            f"replicas) is too small to mix k = {k} examples."
        )


def distribute(strategy: tf.distribute.Strategy | None, batches: tf.data.Dataset) -> Any:
    """Distributes batches: replica r gets the r-th of R contiguous shares.

    Args:
        strategy: a `tf.distribute.Strategy` or None.
        batches: a `tf.data.Dataset` of global batches, the same on all workers.

    Returns:
        `batches` if `strategy` is None, else a `tf.distribute.DistributedDataset`.
    """
    if strategy is None:
        return batches
    return strategy.distribute_datasets_from_function(lambda context: _shares(batches, context))


def _shares(batches: tf.data.Dataset, context: tf.distribute.InputContext) -> tf.data.Dataset:
    """Returns the shares of one worker's replicas, one after the other."""
    count = context.num_replicas_in_sync
    local = count // context.num_input_pipelines
    first = local * context.input_pipeline_id
    spec = tf.nest.flatten(batches.element_spec)[0]
    if spec.shape[0] is not None:
        size = spec.shape[0] // count

        @tf.autograph.experimental.do_not_convert
        def stacked(*batch: tf.Tensor) -> Any:
            return tf.nest.map_structure(
                lambda part: tf.reshape(
                    part[first * size : (first + local) * size], (local, size, *part.shape[1:])
                ),
                batch if len(batch) > 1 else batch[0],
            )

        return batches.map(stacked).unbatch().prefetch(local)

    @tf.autograph.experimental.do_not_convert
    def split(*batch: tf.Tensor) -> tf.data.Dataset:
        total = tf.shape(batch[0], out_type="int64")[0]

        def share(replica: tf.Tensor) -> Any:
            # If a smaller last batch cannot be divided evenly, the first replicas get one more.
            start, end = (
                place * (total // count) + tf.minimum(place, total % count)
                for place in (replica, replica + 1)
            )
            parts = tf.nest.map_structure(lambda part: part[start:end], batch)
            return parts if len(parts) > 1 else parts[0]

        return tf.data.Dataset.range(first, first + local).map(share)

    return batches.flat_map(split).prefetch(local)


@contextlib.contextmanager
def no_end_warning(strategy: tf.distribute.Strategy | None) -> Iterator[None]:
    """Silences Keras' warning at the end of each distributed validation set.

    A `DistributedDataset` has no known length, so Keras takes its end for a premature one.
    """
    with warnings.catch_warnings():
        if strategy is not None:
            warnings.filterwarnings("ignore", "Your input ran out of data")
        yield


def agreement(strategy: tf.distribute.Strategy | None) -> Callable[[Any], bool]:
    """Returns a function that tells each worker whether any of them votes yes.

    Args:
        strategy: a `tf.distribute.Strategy` or None.

    Returns:
        A function from a truth value to a truth value, which all workers must call together.
    """
    if not is_multi_worker(strategy):
        return bool
    share = _mean_over_workers(strategy)
    return lambda vote: share(bool(vote)) > 0


def check_same_step(strategy: tf.distribute.Strategy | None, step: int) -> None:
    """Raises a ValueError on a worker that resumes from a different step than the others.

    Args:
        strategy: a `tf.distribute.Strategy` or None. All workers must call this together.
        step: number of steps that this worker's model has made.
    """
    if is_multi_worker(strategy) and _mean_over_workers(strategy)(step) != step:
        raise ValueError(
            f"This worker's checkpoint is of step {step}, another worker's is not: all must read "
            "the same run_dir."
        )


def _mean_over_workers(strategy: Any) -> Callable[[float], float]:
    """Returns a function from a number on each worker to their mean."""

    @tf.function
    def mean(number: tf.Tensor) -> tf.Tensor:
        return strategy.reduce("MEAN", strategy.run(lambda: number), axis=None)

    return lambda number: float(mean(tf.constant(float(number))))


def lost_worker(
    error: Exception, strategy: tf.distribute.Strategy | None, run_dir: str | pathlib.Path
) -> WorkerLost | None:
    """Returns a `WorkerLost` if an error of TensorFlow means that a worker is lost, else None."""
    if strategy is None or not is_multi_worker(strategy) or not isinstance(error, _LOST):
        return None
    resolver = strategy.cluster_resolver
    return WorkerLost(
        f"{resolver.task_type} {resolver.task_id} lost another worker of the job and stopped; "
        f"start all workers again with --run_dir={run_dir} --resume."
    )
