"""A mixer that learns which positions and feature maps to take from which parent."""

from typing import Any

import keras
from keras import ops

from amr_tf import checks
from amr_tf.mixers.base import MIXERS, only_maps
from amr_tf.mixers.mixup import Mixup
from amr_tf.types import Shape, Tensor

_ITERATIONS = 8
_LARGEST_SCORE = 4.0
_SMALLEST_SHARE = 1e-6
_SLOPE = 0.2


@MIXERS.register("learned")
@keras.saving.register_keras_serializable(package="amr_tf")
class LearnedMixup(Mixup):
    """Mixes each position of each feature map with learned weights.

    Two 3x3 convolutions see a parent's code, the mean of all parents' codes and the parent's
    coefficient, and output a score for each element of the code. The softmax of the scores over
    the parents gives the weights. The weights sum to one for every element, and their mean over
    all elements is held at the parent's coefficient, so the mixer gains nothing by ignoring a
    parent. The coefficients are drawn as in `Mixup`. Initially all scores are 0, which is plain
    mixup.

    The convolutions are trained with the auto-encoder, to make mixes that look real.

    Args:
        k: number of codes in each mix, at least 2.
        filters: number of channels of the first convolution.
        seed: see `Mixer`.
        **kwargs: passed on to `Mixer`.

    Call arguments:
        coefficients: coefficients to use instead of drawn ones, shape (N, k, 1, 1, 1); or weights
            of shape (N, k, H, W, C), which are used unchanged.

    Returns:
        The mixed codes, and the weights used, (N, k, H, W, C).

    Raises:
        ValueError: codes are vectors (N, D), which have no positions.
    """

    def __init__(
        self, k: int = 2, filters: int = 64, seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(k, seed, **kwargs)
        checks.check_positive_integer("filters", filters)
        self.filters = filters
        self.network: keras.Model = None  # Created by `build`.

    def check_codes(self, code_shape: Shape) -> None:
        super().check_codes(code_shape)
        only_maps("LearnedMixup", "looks at positions", code_shape)

    def build(self, input_shape: Shape) -> None:
        super().build(input_shape)
        channels = input_shape[-1]
        policy = self.dtype_policy
        self.network = keras.Sequential(
            [
                keras.Input((*input_shape[1:-1], 2 * channels + 1)),
                keras.layers.Conv2D(self.filters, 3, padding="same", dtype=policy),
                keras.layers.LeakyReLU(_SLOPE, dtype=policy),
                keras.layers.Conv2D(
                    channels, 3, padding="same", kernel_initializer="zeros", dtype=policy
                ),
            ],
            name="scores",
        )

    def weigh(self, stack: Tensor, coefficients: Tensor) -> Tensor:
        coefficients = ops.cast(coefficients, "float32")
        sizes = coefficients.shape[2:]
        if None in sizes:  # The input of a graph, of which only the number of axes is known.
            return ops.cond(
                ops.equal(ops.prod(ops.shape(coefficients)[2:]), 1),
                lambda: self._learned(stack, coefficients),
                lambda: ops.broadcast_to(coefficients, ops.shape(stack)),
            )
        one = all(size == 1 for size in sizes)
        return self._learned(stack, coefficients) if one else coefficients

    def _learned(self, stack: Tensor, coefficients: Tensor) -> Tensor:
        """Returns the learned weights for one coefficient per parent."""
        # Exports accept any number of parents.
        coefficients = ops.reshape(coefficients, (-1, ops.shape(stack)[1], 1, 1, 1))
        shares = ops.clip(coefficients, _SMALLEST_SHARE, 1.0)
        return _held_parts(self._scores(stack, coefficients), shares)

    def _scores(self, stack: Tensor, coefficients: Tensor) -> Tensor:
        """Returns the scores of each parent's elements, float32, with the shape of `stack`."""
        stack = ops.convert_to_tensor(stack)
        mean = ops.broadcast_to(ops.mean(stack, axis=1, keepdims=True), ops.shape(stack))
        share = ops.cast(coefficients, stack.dtype) * ops.ones_like(stack[..., :1])
        seen = ops.concatenate([stack, mean, share], axis=-1)
        scores = self.network(ops.reshape(seen, (-1, *seen.shape[2:])))
        scores = ops.cast(ops.reshape(scores, ops.shape(stack)), "float32")
        return _LARGEST_SCORE * ops.tanh(scores / _LARGEST_SCORE)

    def coefficient_shape(self, code_shape: Shape) -> Shape:
        return tuple(code_shape)

    def compute_output_spec(
        self, codes: Tensor, permutations: Tensor | None = None, coefficients: Tensor | None = None
    ) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        return super().compute_output_spec(codes, permutations)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "filters": self.filters}


def _held_parts(scores: Tensor, shares: Tensor) -> Tensor:
    """Returns the softmax over axis 1 of shifted scores, whose means over elements are `shares`.

    The shifts are found as in Sinkhorn's algorithm: each is corrected by the error of its mean.

    Args:
        scores: (N, k, H, W, C).
        shares: (N, k, 1, 1, 1), summing to one over axis 1.
    """
    wanted = ops.log(shares)
    shifts = wanted
    for _ in range(_ITERATIONS):
        parts = ops.softmax(scores + shifts, axis=1)
        means = ops.mean(parts, axis=(2, 3, 4), keepdims=True)
        shifts = shifts + wanted - ops.log(means)
    return ops.softmax(scores + shifts, axis=1)
