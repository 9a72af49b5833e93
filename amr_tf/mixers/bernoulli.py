"""Bernoulli mixup: each feature map comes whole from one parent."""

from typing import Any

import keras
from keras import ops

from amr_tf import checks
from amr_tf.mixers.base import MIXERS, Mixer, another_seed
from amr_tf.types import Seed, Shape, Tensor


@MIXERS.register("bernoulli")
@keras.saving.register_keras_serializable(package="amr_tf")
class BernoulliMixup(Mixer):
    """Takes each feature map (or vector element), or group of them, whole from one of k examples.

    For k = 2, a mask `m ~ Bernoulli(p)` chooses between two codes (paper, equation 5). For k > 2,
    each feature map comes from one of the k examples, all equally likely. Coefficients are one-hot
    over axis 1 and have the shape (N, k, 1, 1, C) or (N, k, D).

    Args:
        k: number of codes in each mix, at least 2.
        probability: how often p ~ Uniform(0, 1) is drawn, for k = 2 only. "batch" draws it once
            for all examples (higher variance, used for the paper's tables), "example" once for
            each example. "element" draws it for each feature map (or group) of each example,
            which makes both parents equally likely.
        group_size: number of consecutive feature maps that come from the same parent.
        seed: see `Mixer`.
        **kwargs: passed on to `Mixer`.

    Raises:
        ValueError: `probability`, `group_size` or `k` is not allowed.
    """

    title = "Bernoulli"
    PROBABILITIES = ("batch", "example", "element")

    def __init__(
        self,
        k: int = 2,
        probability: str = "batch",
        group_size: int = 1,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        if probability not in self.PROBABILITIES:
            raise ValueError(
                f"probability must be one of {', '.join(self.PROBABILITIES)}; got {probability!r}."
            )
        super().__init__(k, seed, **kwargs)
        if k != 2 and probability != "batch":
            raise ValueError(
                f"probability is for k = 2 only: with k = {k} every parent is equally likely; got "
                f"{probability!r}."
            )
        checks.check_positive_integer("group_size", group_size)
        self.probability = probability
        self.group_size = group_size

    def draw_coefficients(self, code_shape: Shape, batch_size: int, seed: Seed = None) -> Tensor:
        seed = self.source(seed)
        maps = -(-code_shape[-1] // self.group_size)  # One draw per group. The last may be smaller.
        if self.k == 2:
            shapes = {"batch": (1, 1), "example": (batch_size, 1), "element": (batch_size, maps)}
            p = keras.random.uniform(shapes[self.probability], seed=seed)
            threshold = keras.random.uniform((batch_size, maps), seed=another_seed(seed))
            parent = ops.cast(threshold >= p, "int32")
        else:
            parent = keras.random.randint((batch_size, maps), 0, self.k, seed=seed)
        parent = ops.repeat(parent, self.group_size, axis=1)[:, : code_shape[-1]]
        one_hot = ops.transpose(ops.one_hot(parent, self.k, dtype="float32"), (0, 2, 1))
        shape = (batch_size, self.k, *self.coefficient_shape(code_shape))
        return ops.reshape(one_hot, shape)

    def coefficient_shape(self, code_shape: Shape) -> Shape:
        return (1,) * (len(code_shape) - 1) + (code_shape[-1],)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "probability": self.probability,
            "group_size": self.group_size,
        }
