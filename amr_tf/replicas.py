"""The replicas of a `tf.distribute` strategy, and sums and means over them.

Without a strategy, or outside a replica, there is one replica and nothing is exchanged.
"""

from typing import Any

import tensorflow as tf


def count() -> int:
    """Returns the number of replicas, an integer."""
    return tf.distribute.get_strategy().num_replicas_in_sync if _context() else 1


def index() -> int | tf.Tensor:
    """Returns this replica's number, from 0: an integer, or an integer scalar tensor."""
    return _context().replica_id_in_sync_group if _context() else 0


def total(value: tf.Tensor) -> tf.Tensor:
    """Returns the sum of a float tensor over replicas; under a strategy, it has no gradient."""
    if not _context():
        return value
    summed = _context().all_reduce(tf.distribute.ReduceOp.SUM, tf.stop_gradient(value))
    return tf.stop_gradient(summed)


def mean(value: tf.Tensor) -> tf.Tensor:
    """Returns the mean of a float tensor over replicas; under a strategy, it has no gradient."""
    return total(value) / count() if _context() else value


def _context() -> Any:
    """Returns the replica context of a strategy, or None."""
    return tf.distribute.get_replica_context() if tf.distribute.has_strategy() else None
