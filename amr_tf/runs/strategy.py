"""Training on several devices or machines: `tf.distribute` strategies by name.

Global-batch semantics. `batch_size` is that of the global batch; each of R replicas takes a
contiguous R-th of it. Losses are means over the global batch and every replica makes the same
update, so R replicas train as one device does, with one exception: examples are mixed within a
replica's share, with random numbers of its own, so that no codes travel between devices.

Only the chief, the first worker, writes; all workers read the run folder, which must be shared.
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
# What TensorFlow raises in the others when a worker is gone.
_LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.InternalError,
    tf.errors.FailedPreconditionError,
)


class WorkerLost(ConnectionError):
    """Another worker of the job is gone; the message is one sentence."""


def make_strategy(name: str) -> tf.distribute.Strategy | None:
    """The strategy of a name; call it before TensorFlow has run anything.

    Args:
        name: "none"; "mirrored": all GPUs of this machine, or all logical CPU devices where there
            is none; "multi_worker": the workers of the environment variable TF_CONFIG.

    Returns:
        A `tf.distribute.Strategy`, or None to train on one device: for "none", and for "mirrored"
        on a machine with a single device, with a warning.

    Raises:
        ValueError: another name, or a TF_CONFIG that is missing or malformed.
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
    """Raises a ValueError unless `text` is a TF_CONFIG of workers.

    Args:
        text: a JSON document `{"cluster": {"worker": ["host:port", ...]}, "task": {"type":
            "worker", "index": 0}}`, or None where the variable is not set. A job "chief" of one
            host may stand beside the workers.
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
    """Whether this process is the one that writes."""
    if strategy is None or not is_multi_worker(strategy):
        return True
    resolver = strategy.cluster_resolver
    if resolver.task_type == "chief":
        return True
    return resolver.task_id == 0 and "chief" not in resolver.cluster_spec().jobs


def is_multi_worker(strategy: tf.distribute.Strategy | None) -> bool:
    """Whether a strategy, or None, spans several processes."""
    return isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)


def check_shares(strategy: tf.distribute.Strategy | None, batch_size: int, k: int = 1) -> None:
    """Raises a ValueError unless replicas get equal shares of a batch, of k examples or more.

    Args:
        strategy: a `tf.distribute.Strategy` or None.
        batch_size: examples of the global batch.
        k: how many examples a mix combines.
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
    """Batches as the replicas take them: replica r the r-th of R contiguous shares.

    Args:
        strategy: a `tf.distribute.Strategy` or None.
        batches: a `tf.data.Dataset` of global batches, the same on all workers.

    Returns:
        `batches` for None, else a `tf.distribute.DistributedDataset`.
    """
    if strategy is None:
        return batches
    return strategy.distribute_datasets_from_function(lambda context: _shares(batches, context))


def _shares(batches: tf.data.Dataset, context: tf.distribute.InputContext) -> tf.data.Dataset:
    """The shares of one worker's replicas, one after the other."""
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
            # Of a smaller last batch the first replicas get one more.
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
    """Silences what Keras warns of at the end of each distributed validation set.

    A `DistributedDataset` does not tell its steps, so Keras takes its end for one too early.
    """
    with warnings.catch_warnings():
        if strategy is not None:
            warnings.filterwarnings("ignore", "Your input ran out of data")
        yield


def agreement(strategy: tf.distribute.Strategy | None) -> Callable[[Any], bool]:
    """A function that tells each worker whether any of them says yes.

    Args:
        strategy: a `tf.distribute.Strategy` or None.

    Returns:
        A function from a truth value to a truth value that all workers must call together.
    """
    if not is_multi_worker(strategy):
        return bool
    share = _mean_over_workers(strategy)
    return lambda vote: share(bool(vote)) > 0


def check_same_step(strategy: tf.distribute.Strategy | None, step: int) -> None:
    """Raises a ValueError on a worker that resumes from another step than the others.

    Args:
        strategy: a `tf.distribute.Strategy` or None; all workers must call together.
        step: the number of steps that this worker's model has made.
    """
    if is_multi_worker(strategy) and _mean_over_workers(strategy)(step) != step:
        raise ValueError(
            f"This worker's checkpoint is of step {step}, another worker's is not: all must read "
            "the same run_dir."
        )


def _mean_over_workers(strategy: Any) -> Callable[[float], float]:
    """A function from a number on each worker to their mean."""

    @tf.function
    def mean(number: tf.Tensor) -> tf.Tensor:
        return strategy.reduce("MEAN", strategy.run(lambda: number), axis=None)

    return lambda number: float(mean(tf.constant(float(number))))


def lost_worker(
    error: Exception, strategy: tf.distribute.Strategy | None, run_dir: str | pathlib.Path
) -> WorkerLost | None:
    """A `WorkerLost` for what TensorFlow raises when another worker is gone, otherwise None."""
    if strategy is None or not is_multi_worker(strategy) or not isinstance(error, _LOST):
        return None
    resolver = strategy.cluster_resolver
    return WorkerLost(
        f"{resolver.task_type} {resolver.task_id} lost another worker of the job and stopped; "
        f"start all workers again with --run_dir={run_dir} --resume."
    )
