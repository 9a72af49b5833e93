"""The base class of all mixers: permutations, the weighted sum, saving, and names.

For a batch of N codes, a mixer draws coefficients and k permutations of the batch, the first of
which is the identity. Each example is mixed from the k codes at its position in the permutations.
Most mixers compute `sum_j coefficients[:, j] * codes[permutations[j]]` (paper, equation 6) and
differ only in how they draw the coefficients. Other mixers override `combine`, which training,
exports and figures call.

To add a mixer, subclass `Mixer`, implement `draw_coefficients`, and register the class with Keras
and under a name:

    @amr_tf.mixers.MIXERS.register("halves")
    @keras.saving.register_keras_serializable(package="my_project")
    class Halves(amr_tf.mixers.Mixer):
        def draw_coefficients(self, code_shape, batch_size, seed=None):
            return keras.ops.full((batch_size, self.k) + (1,) * len(code_shape), 1 / self.k)
"""

from typing import Any

import keras
from keras import ops

from amr_tf import checks
from amr_tf.layers import ReplicaSeedGenerator, SeedStateSaving
from amr_tf.registry import Call, Registry
from amr_tf.types import Seed, Shape, Tensor

MIXERS = Registry("mixer", {"k": "--k", "seed": "--seed", "num_labels": "the data"})
"""Mixers by the names that `--mixer` takes."""
MIXERS.nested["mixers"] = MIXERS  # `CompositeMixer` takes mixers by name.


class Mixer(SeedStateSaving, keras.layers.Layer):
    """Base class of the mixers: draws k permutations of a batch and sums the permuted codes.

    Args:
        k: number of codes in each mix, at least 2.
        seed: an integer, or None to draw one from Keras' global seed. The state of the random
            generator is saved with the layer, so a resumed run continues the same random sequence.
        **kwargs: passed on to `keras.layers.Layer`.

    Call arguments:
        codes: shape (N, H, W, C) or (N, D), with N at least k.
        permutations: integers of shape (k, N), or None to draw them.
        coefficients: shape (N, k, ...), broadcastable to (N, k, H, W, C) or (N, k, D), or None to
            draw them. If both are given, the layer is a deterministic function of its arguments.

    Returns:
        The mixed codes, with the shape of `codes`, and the float32 coefficients used.

    Raises:
        ValueError: `k` is out of range, permutations would be drawn for a batch smaller than k,
            or the mixer cannot mix codes of this shape.
    """

    # Whether a mix depends on the examples' labels.
    needs_labels = False
    # Whether the last axis of the coefficients may hold two values, for the layout and the look.
    mixes_looks = False
    # The mixer's name in captions; None to use its registered name.
    title: str | None = None

    def __init__(self, k: int = 2, seed: int | None = None, **kwargs: Any) -> None:
        if not isinstance(k, int) or isinstance(k, bool) or k < 2:
            raise ValueError(f"k must be an integer of at least 2; got {k!r}.")
        super().__init__(**kwargs)
        self.k = k
        self.seed = seed
        self.seed_generator = ReplicaSeedGenerator(seed)

    def build(self, input_shape: Shape) -> None:
        self.check_codes(tuple(input_shape[1:]))
        super().build(input_shape)

    def check_codes(self, code_shape: Shape) -> None:
        """Raises a ValueError unless the mixer can mix codes of this shape.

        Args:
            code_shape: the shape of one code, (H, W, C) or (D,).
        """
        if len(code_shape) not in (1, 3):
            raise ValueError(
                f"codes must have the shape (N, H, W, C) or (N, D); got {_with_batch(code_shape)}."
            )

    def draw_permutations(self, batch_size: int, seed: Seed = None) -> Tensor:
        """Draws k permutations of `range(batch_size)`, int32 (k, batch_size).

        The first is the identity. The others are independent, so an example can be mixed with
        itself.

        Args:
            batch_size: an integer or a scalar integer tensor.
            seed: an integer for a fixed draw, or None to use the layer's own generator.
        """
        identity = ops.arange(batch_size, dtype="int32")
        # The order that sorts independent uniform numbers is a uniformly random permutation.
        numbers = keras.random.uniform((self.k - 1, batch_size), seed=self.source(seed))
        shuffled = ops.cast(ops.argsort(numbers, axis=-1), "int32")
        return ops.concatenate([identity[None], shuffled], axis=0)

    def draw_coefficients(self, code_shape: Shape, batch_size: int, seed: Seed = None) -> Tensor:
        """Draws mixing coefficients, float32 (batch_size, k, ...), that sum to one over axis 1.

        Args:
            code_shape: the shape of one code, (H, W, C) or (D,).
            batch_size: an integer or a scalar integer tensor.
            seed: an integer for a fixed draw, or None to use the layer's own generator.
        """
        raise NotImplementedError(f"{type(self).__name__} must define draw_coefficients.")

    def coefficient_shape(self, code_shape: Shape) -> tuple[int | None, ...]:
        """Returns the coefficients' shape without (N, k); None stands for an unknown size.

        Symbolic calls use it. Axes of size 1 broadcast to the code's.
        """
        return (1,) * (len(code_shape) - 1) + (None,)

    def weigh(self, stack: Tensor, coefficients: Tensor) -> Tensor:
        """Returns the coefficients to sum `stack` with, for mixers that adapt them to the codes.

        Args:
            stack: (N, K, ...). K is k in training; exports and figures mix any number of codes.
            coefficients: the drawn or given coefficients.
        """
        return coefficients

    def look_shares(self, coefficients: Tensor) -> Tensor:
        """Returns each parent's share in the look of the mix, (N, k).

        By default, this is its share in the whole mix, the mean of its coefficients. Shares sum to
        one, even if `weigh` rescales coefficients.

        Args:
            coefficients: (N, k, ...), which `weigh` has returned.
        """
        coefficients = ops.cast(coefficients, "float32")
        shares = ops.mean(coefficients, axis=tuple(range(2, len(coefficients.shape))))
        return shares / ops.sum(shares, axis=1, keepdims=True)

    def source(self, seed: Seed) -> int | keras.random.SeedGenerator:
        """Returns the given seed, or the layer's own generator if it is None."""
        return self.seed_generator if seed is None else seed

    def mix(self, stack: Tensor, coefficients: Tensor) -> Tensor:
        """Mixes the given codes, by a weighted sum for most mixers (paper, equation 6).

        Mixers that work differently override `combine`.

        Args:
            stack: shape (N, k, H, W, C) or (N, k, D).
            coefficients: broadcastable to the shape of `stack`.

        Returns:
            Codes of shape (N, H, W, C) or (N, D).

        Raises:
            ValueError: the second axis of `stack` is not k.
        """
        stack = ops.convert_to_tensor(stack, dtype=self.compute_dtype)
        if len(stack.shape) < 3 or stack.shape[1] != self.k:
            raise ValueError(
                f"stack must have the shape (N, k, ...) with k = {self.k}; "
                f"got {tuple(stack.shape)}."
            )
        return self.combine(stack, coefficients)

    def combine(self, stack: Tensor, coefficients: Tensor) -> Tensor:
        """Combines any number of codes, given coefficients that `weigh` has returned.

        Args:
            stack: shape (N, K, H, W, C) or (N, K, D).
            coefficients: broadcastable to the shape of `stack`.

        Returns:
            Codes of shape (N, H, W, C) or (N, D), with the dtype of `stack`.
        """
        return ops.sum(ops.cast(coefficients, stack.dtype) * stack, axis=1)

    def between(self, start: Tensor, end: Tensor, weights: Tensor) -> Tensor:
        """Interpolates between two codes by mixing them.

        For most mixers the results lie on a straight line.

        Args:
            start: (N, ...).
            end: the same shape as `start`.
            weights: the weights of `end`, (S,).

        Returns:
            Codes (N, S, ...).
        """
        count, steps = ops.shape(start)[0], ops.shape(weights)[0]
        stack = ops.repeat(ops.stack([start, end], axis=1), steps, axis=0)
        shares = ops.tile(ops.stack([1.0 - weights, weights], axis=1), (count, 1))
        shares = ops.reshape(shares, (-1, 2) + (1,) * (len(start.shape) - 1))
        mixed = self.combine(stack, self.weigh(stack, shares))
        return ops.reshape(mixed, (count, steps, *start.shape[1:]))

    def call(
        self, codes: Tensor, permutations: Tensor | None = None, coefficients: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        batch_size = codes.shape[0]
        if batch_size is not None and permutations is None:
            checks.check_batch_size(batch_size, self.k)
        return self.mix_batch(codes, permutations, coefficients)

    def mix_batch(
        self,
        codes: Tensor,
        permutations: Tensor | None = None,
        coefficients: Tensor | None = None,
        seed: Seed = None,
    ) -> tuple[Tensor, Tensor]:
        """Mixes a batch as a call does, but accepts a fixed seed and fewer than k examples.

        The last batch of a data set may hold fewer than k examples. They are then also mixed with
        themselves.
        """
        code_shape = tuple(codes.shape[1:])
        self.check_codes(code_shape)
        batch_size = ops.shape(codes)[0]
        if permutations is None:
            permutations = self.draw_permutations(batch_size, seed)
        if coefficients is None:
            # With the same seed, coefficients and permutations would be correlated.
            coefficients = self.draw_coefficients(code_shape, batch_size, another_seed(seed))
        stack = ops.take(codes, ops.transpose(permutations), axis=0)
        coefficients = self.weigh(stack, coefficients)
        return self.mix(stack, coefficients), ops.cast(coefficients, "float32")

    def compute_output_spec(
        self, codes: Tensor, permutations: Tensor | None = None, coefficients: Tensor | None = None
    ) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        if coefficients is None:
            drawn = self.coefficient_shape(tuple(codes.shape[1:]))
            shape = (codes.shape[0], self.k, *drawn)
        else:
            shape = coefficients.shape
        return (
            keras.KerasTensor(codes.shape, dtype=self.compute_dtype),
            keras.KerasTensor(shape, dtype="float32"),
        )

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "k": self.k, "seed": self.seed}


def another_seed(seed: Seed, steps: int = 1) -> Seed:
    """Returns the seed of a further draw: increases an integer, and returns a generator unchanged.

    Args:
        seed: an integer, a `keras.random.SeedGenerator`, or None for a mixer's own generator.
        steps: number to add to an integer.
    """
    if seed is None or isinstance(seed, keras.random.SeedGenerator):
        return seed
    return seed + steps


def only_pairs(name: str, k: int) -> None:
    """Raises a ValueError unless k is 2, for mixers of two codes."""
    if k != 2:
        raise ValueError(f"{name} mixes pairs: k must be 2; got {k!r}.")


def only_maps(name: str, reason: str, code_shape: Shape) -> None:
    """Raises a ValueError unless codes are feature maps, for mixers that need positions.

    Args:
        name: the mixer's class.
        reason: why it needs positions.
        code_shape: the shape of one code.
    """
    if len(code_shape) != 3:
        raise ValueError(
            f"{name} needs codes (N, H, W, C), since it {reason}; got vectors (N, {code_shape[0]})."
        )


def _with_batch(code_shape: Shape) -> str:
    return "(" + ", ".join(["N", *map(str, code_shape)]) + ")"


def get(name: str, /, **kwargs: Any) -> Mixer:
    """Creates a mixer from a call string.

    Args:
        name: a call of a mixer registered in `MIXERS`, such as "mixup" or
            "bernoulli(probability='example')".
        **kwargs: passed on to the mixer (`k`, `seed`, ...).

    Raises:
        ValueError: a name or parameter is unknown, or a value is out of range.
    """
    call = MIXERS.parse(name)
    context = {key: value for key, value in kwargs.items() if key in MIXERS.context}
    own = {key: value for key, value in kwargs.items() if key not in context}
    return MIXERS.build(Call(call.name, {**call.arguments, **own}), **context)
