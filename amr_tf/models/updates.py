"""Updates and metrics of a training step, on one device or on a strategy's replicas.

Each replica runs the step on its share of the global batch. Its losses are divided by the number
of replicas and the optimizers sum the gradients, so that all replicas apply the update for the
mean loss over the global batch. Examples are mixed within a share; replicas draw different mixes.

State that the step itself assigns (step counter, vectors of spectral normalisation, seeds,
balances) is not aggregated: every replica assigns the same value to its own copy, and the first
replica's copy is saved.
"""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from amr_tf import replicas
from amr_tf.types import Shape


class Mean(keras.metrics.Mean):
    """`keras.metrics.Mean` for values that are the same on all replicas.

    Keras' own metric sums its state over replicas whenever it is read, so one worker that writes a
    checkpoint would wait forever for the others. The class keeps Keras' name, since it names the
    state in saved files.
    """

    def add_variable(
        self,
        shape: Shape,
        initializer: Any,
        dtype: Any = None,
        aggregation: str = "none",
        name: str | None = None,
    ) -> keras.Variable:
        return keras.Variable(
            initializer=initializer, shape=shape, dtype=dtype, trainable=False, name=name
        )


def share_of(loss: tf.Tensor) -> tf.Tensor:
    """Returns this replica's contribution to the global batch's mean loss, a scalar."""
    return loss / replicas.count() if replicas.count() > 1 else loss


def apply_update(optimizer: keras.Optimizer, gradients: list, variables: list) -> None:
    """Updates variables with the sum of the replicas' gradients."""
    if replicas.count() > 1 and isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        gradients = _finite_for_all(gradients)
    optimizer.apply(gradients, variables)


def apply_update_if(
    due: tf.Tensor, optimizer: keras.Optimizer, compute_gradients: Callable, variables: list
) -> None:
    """Computes the gradients and updates the variables if `due` is true, else does neither.

    Args:
        due: boolean scalar, the same on all replicas.
        optimizer: a built Keras optimizer.
        compute_gradients: function without arguments that returns the list of gradients.
        variables: list of trainable variables.
    """
    if not tf.distribute.has_strategy():
        tf.cond(due, lambda: optimizer.apply(compute_gradients(), variables), lambda: None)
        return
    # Replicas cannot communicate inside a condition, so the gradients are computed first, and the
    # condition around the update is placed in the cross-replica context.
    gradients = tf.cond(
        due,
        lambda: _without_none(compute_gradients(), variables),
        lambda: _without_none([None] * len(variables), variables),
    )
    if replicas.count() > 1 and isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        gradients = _finite_for_all(gradients)

    def update(strategy: tf.distribute.Strategy, due: Any, gradients: list) -> None:
        def on_each_replica() -> None:
            strategy.extended.call_for_each_replica(optimizer.apply, (gradients, variables))

        tf.cond(strategy.experimental_local_results(due)[0], on_each_replica, lambda: None)

    tf.distribute.get_replica_context().merge_call(update, args=(due, gradients))


def over_replicas(results: dict, weights: dict) -> tuple[dict, dict]:
    """Averages a batch's results over the global batch, the same on all replicas.

    Args:
        results: dictionary from names to scalars, means over this replica's share.
        weights: dictionary from the same names to the weight of each in the global mean.

    Returns:
        Both dictionaries for the global batch.
    """
    if replicas.count() == 1:
        return results, weights
    values = tf.stack([tf.cast(results[name], "float32") for name in results])
    share = tf.stack([tf.cast(weights[name], "float32") for name in results])
    # The share of a last batch with fewer examples than replicas may be empty and have no mean.
    sums = replicas.total(tf.stack([tf.math.multiply_no_nan(values, share), share]))
    means = tf.unstack(tf.math.divide_no_nan(sums[0], sums[1]), len(results))
    return dict(zip(results, means)), dict(zip(results, tf.unstack(sums[1], len(results))))


def for_trainer(results: dict) -> dict:
    """Converts results to the form that Keras' trainer averages over replicas.

    With several workers it averages over axis 0, so the results must be vectors.
    """
    if isinstance(tf.distribute.get_strategy(), tf.distribute.MultiWorkerMirroredStrategy):
        return {name: tf.reshape(value, (1,)) for name, value in results.items()}
    return results


def _without_none(gradients: list, variables: list) -> list:
    return [
        tf.zeros(variable.shape, variable.dtype) if gradient is None else gradient
        for gradient, variable in zip(gradients, variables)
    ]


def _finite_for_all(gradients: list) -> list:
    """Makes the gradients non-finite on all replicas if they are non-finite on any.

    Keras' loss scaling checks only the first replica, and would miss NaN on the others.
    """
    finite = [tf.reduce_all(tf.math.is_finite(one)) for one in gradients if one is not None]
    failed = replicas.total(1.0 - tf.cast(tf.reduce_all(finite), "float32"))
    poison = tf.where(failed > 0, float("nan"), 0.0)
    return [None if one is None else one + tf.cast(poison, one.dtype) for one in gradients]
