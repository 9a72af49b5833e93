"""Updates and metrics of a training step, on one device or on a strategy's replicas.

Each replica runs the step on its share of the global batch. Its losses are divided by the number
of replicas and the optimizers add the gradients up, so that all replicas make the update of the
global batch's mean loss. Examples are mixed within a share; replicas draw different mixes.

State that a step assigns itself (step counter, vectors of the spectral normalisation, seeds,
balances) has no aggregation: every replica assigns its own copy, all compute the same value, and
the first one's is saved.
"""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from amr_tf import replicas
from amr_tf.types import Shape


class Mean(keras.metrics.Mean):
    """`keras.metrics.Mean` for values that are the same on all replicas.

    Keras' own sums its state over the replicas whenever it is read, also when a checkpoint is
    written, and would wait for ever for workers that write none. The name is Keras', since it
    names the state in saved files.
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
    """What this replica's mean loss adds to the global batch's, a scalar."""
    return loss / replicas.count() if replicas.count() > 1 else loss


def apply_update(optimizer: keras.Optimizer, gradients: list, variables: list) -> None:
    """Updates variables with the sum of the replicas' gradients."""
    if replicas.count() > 1 and isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        gradients = _finite_for_all(gradients)
    optimizer.apply(gradients, variables)


def apply_update_if(
    due: tf.Tensor, optimizer: keras.Optimizer, compute_gradients: Callable, variables: list
) -> None:
    """`apply_update` where `due` holds; otherwise nothing is computed and nothing changes.

    Args:
        due: boolean scalar, the same on all replicas.
        optimizer: a built Keras optimizer.
        compute_gradients: function without arguments that returns the list of gradients.
        variables: list of trainable variables.
    """
    if not tf.distribute.has_strategy():
        tf.cond(due, lambda: optimizer.apply(compute_gradients(), variables), lambda: None)
        return
    # Replicas may not exchange anything inside of a condition, so the gradients come first
    # and the condition around the update stands outside of the replicas.
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
    """A batch's results as means over the global batch, the same on all replicas.

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
    # An empty share, of a last batch smaller than the number of replicas, has no mean.
    sums = replicas.total(tf.stack([tf.math.multiply_no_nan(values, share), share]))
    means = tf.unstack(tf.math.divide_no_nan(sums[0], sums[1]), len(results))
    return dict(zip(results, means)), dict(zip(results, tf.unstack(sums[1], len(results))))


def for_trainer(results: dict) -> dict:
    """Results in the form that Keras' trainer averages over replicas.

    With several workers it takes a mean over axis 0 and needs vectors.
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
    """Gradients that are not finite on this replica if they are not on any.

    Keras' loss scaling looks at the first replica only, and would let the others' NaN pass.
    """
    finite = [tf.reduce_all(tf.math.is_finite(one)) for one in gradients if one is not None]
    failed = replicas.total(1.0 - tf.cast(tf.reduce_all(finite), "float32"))
    poison = tf.where(failed > 0, float("nan"), 0.0)
    return [None if one is None else one + tf.cast(poison, one.dtype) for one in gradients]
