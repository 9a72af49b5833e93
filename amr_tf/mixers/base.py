"""What all mixers share: permutations, the weighted sum, saving, and names.

A mixer draws, for a batch of N codes, k permutations of the batch (the first is the identity) and
coefficients, and returns for each example the combination of the k codes at its place in the
permutations. Nearly all mixers are sums `sum_j coefficients[:, j] * codes[permutations[j]]` (paper,
equation 6) that differ in how the coefficients are drawn. What another mixer makes of codes and
coefficients is its `combine`, which training, exports and figures call.

To add one, subclass `Mixer`, write `draw_coefficients`, and register the class for Keras and under
a name:

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
MIXERS.nested["mixers"] = MIXERS  # Those of a mixer of mixers.


class Mixer(SeedStateSaving, keras.layers.Layer):
    """Base of the mixers: draws k permutations of a batch and sums the permuted codes.

    Args:
        k: how many codes go into each mix, at least 2.
        seed: an integer, or None for one drawn from Keras' global seed. The state of the random
            generator is saved with the layer, so a resumed training continues its draws.
        **kwargs: further arguments of `keras.layers.Layer`.

    Call arguments:
        codes: shape (N, H, W, C) or (N, D), N at least k.
        permutations: integers of shape (k, N), or None to draw them.
        coefficients: shape (N, k, ...), anything that broadcasts against (N, k, H, W, C) or
            (N, k, D), or None to draw them. With both given the layer is a plain function of its
            arguments.

    Returns:
        The mixed codes, shaped as `codes`, and the float32 coefficients that made them.

    Raises:
        ValueError: `k` is out of range, the batch is smaller than k, or the mixer cannot mix codes
            of this shape.
    """

    # Whether a mix depends on the examples' labels.
    needs_labels = False
    # Whether its coefficients may be two, of the layout and of the look, on the last axis.
    mixes_looks = False
    # What captions call the mixer; None for its registered name.
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
        """k permutations of the numbers below `batch_size`, int32 (k, batch_size).

        The first is the identity; the others are independent, so an example can meet itself.

        Args:
            batch_size: an integer or a scalar integer tensor.
            seed: an integer for a fixed draw, or None for the layer's own generator.
        """
        identity = ops.arange(batch_size, dtype="int32")
        # Sorting independent uniform numbers gives a uniformly drawn order for each row.
        numbers = keras.random.uniform((self.k - 1, batch_size), seed=self.source(seed))
        shuffled = ops.cast(ops.argsort(numbers, axis=-1), "int32")
        return ops.concatenate([identity[None], shuffled], axis=0)

    def draw_coefficients(self, code_shape: Shape, batch_size: int, seed: Seed = None) -> Tensor:
        """Mixing coefficients, float32 (batch_size, k, ...), that sum to one over axis 1.

        Args:
            code_shape: the shape of one code, (H, W, C) or (D,).
            batch_size: an integer or a scalar integer tensor.
            seed: an integer for a fixed draw, or None for the layer's own generator.
        """
        raise NotImplementedError(f"{type(self).__name__} must define draw_coefficients.")

    def coefficient_shape(self, code_shape: Shape) -> tuple[int | None, ...]:
        """The shape of a coefficient set without (N, k); None for a size that is not known.

        Only symbolic calls ask for it. A size of 1 broadcasts against the code's.
        """
        return (1,) * (len(code_shape) - 1) + (None,)

    def weigh(self, stack: Tensor, coefficients: Tensor) -> Tensor:
        """The coefficients with which the codes of `stack` are summed, where they depend on these.

        Args:
            stack: (N, K, ...). K is k in training; exports and figures mix any number of codes.
            coefficients: as they were drawn, or given.
        """
        return coefficients

    def source(self, seed: Seed) -> int | keras.random.SeedGenerator:
        """What to draw from: a fixed seed, or for None the layer's own generator."""
        return self.seed_generator if seed is None else seed

    def mix(self, stack: Tensor, coefficients: Tensor) -> Tensor:
        """The mix of given codes: of most mixers their weighted sum (paper, equation 6).

        A mixer that mixes in another way overrides `combine`.

        Args:
            stack: shape (N, k, H, W, C) or (N, k, D).
            coefficients: as the call takes them; anything that broadcasts against `stack`.

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
        """What `mix` makes of any number of codes, with coefficients that `weigh` has seen.

        Args:
            stack: shape (N, K, H, W, C) or (N, K, D).
            coefficients: anything that broadcasts against `stack`.

        Returns:
            Codes of shape (N, H, W, C) or (N, D), of the dtype of `stack`.
        """
        return ops.sum(ops.cast(coefficients, stack.dtype) * stack, axis=1)

    def between(self, start: Tensor, end: Tensor, weights: Tensor) -> Tensor:
        """Codes on the way from one code to another, for interpolations: the mixes of the two.

        Of most mixers these lie on the straight line.

        Args:
            start: (N, ...).
            end: shaped as `start`.
            weights: the shares of `end`, (S,).

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
        """The call without its check that N is at least k, and with an optional fixed seed.

        A training set's last batch may hold fewer than k examples: its examples then meet
        themselves.
        """
        code_shape = tuple(codes.shape[1:])
        self.check_codes(code_shape)
        batch_size = ops.shape(codes)[0]
        if permutations is None:
            permutations = self.draw_permutations(batch_size, seed)
        if coefficients is None:
            # With the permutations' seed the coefficients would be tied to the order.
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
    """A seed for one more draw of a mix: a generator moves on by itself, a fixed integer does not.

    Args:
        seed: an integer, a `keras.random.SeedGenerator`, or None for a mixer's own.
        steps: how far on.
    """
    if seed is None or isinstance(seed, keras.random.SeedGenerator):
        return seed
    return seed + steps


def only_pairs(name: str, k: int) -> None:
    """Raises a ValueError for mixers that combine two codes unless k is 2."""
    if k != 2:
        raise ValueError(f"{name} mixes pairs: k must be 2; got {k!r}.")


def only_maps(name: str, reason: str, code_shape: Shape) -> None:
    """Raises a ValueError for mixers of feature maps unless codes have positions.

    Args:
        name: the mixer's class.
        reason: why it needs them.
        code_shape: the shape of one code.
    """
    if len(code_shape) != 3:
        raise ValueError(
            f"{name} needs codes (N, H, W, C), since it {reason}; got vectors (N, {code_shape[0]})."
        )


def _with_batch(code_shape: Shape) -> str:
    return "(" + ", ".join(["N", *map(str, code_shape)]) + ")"


def get(name: str, /, **kwargs: Any) -> Mixer:
    """A new mixer from its call string.

    Args:
        name: "mixup", "bernoulli(probability='example')", or another call of what is registered
            in `MIXERS`.
        **kwargs: further arguments of the mixer (`k`, `seed`, ...).

    Raises:
        ValueError: an unknown name or parameter, or a value out of range.
    """
    call = MIXERS.parse(name)
    context = {key: value for key, value in kwargs.items() if key in MIXERS.context}
    own = {key: value for key, value in kwargs.items() if key not in context}
    return MIXERS.build(Call(call.name, {**call.arguments, **own}), **context)
