"""Mixers: Keras layers that recombine the codes of k images into new codes.

A mixer draws, for a batch of N codes, k permutations of the batch (the first is the identity) and
coefficients, and returns for each example the combination of the k codes at its place in the
permutations. All mixers here are sums `sum_j coefficients[:, j] * codes[permutations[j]]` (paper,
equation 6); they differ in how the coefficients are drawn.

To add one, subclass `Mixer`, write `draw_coefficients`, and register the class for Keras and under
a name:

    @amr_tf.mixers.MIXERS.register("halves")
    @keras.saving.register_keras_serializable(package="my_project")
    class Halves(amr_tf.mixers.Mixer):
        def draw_coefficients(self, code_shape, batch_size, seed=None):
            return keras.ops.full((batch_size, self.k) + (1,) * len(code_shape), 1 / self.k)
"""

import keras
from keras import ops

from amr_tf.registry import Registry

MIXERS = Registry("mixer")
_SEED_STATE = "seed_generator_state"


class Mixer(keras.layers.Layer):
    """Base of the mixers: draws k permutations of a batch and sums the permuted codes.

    Args:
        k: how many codes go into each mix, at least 2.
        seed: an integer, or None for one drawn from Keras' global seed. The state of the random
            generator is saved with the layer, so a resumed training continues its draws.
        **kwargs: as of `keras.layers.Layer`.

    Call arguments:
        codes: shape (N, H, W, C) or (N, D), N at least k.
        permutations: integers of shape (k, N), or None to draw them.
        coefficients: shape (N, k, 1, 1, 1 or C) for spatial and (N, k, 1 or D) for vector codes,
            or None to draw them. With both given the layer is a plain function of its arguments.

    Returns:
        The mixed codes, shaped as `codes`, and the float32 coefficients that made them.
    """

    def __init__(self, k=2, seed=None, **kwargs):
        if not isinstance(k, int) or isinstance(k, bool) or k < 2:
            raise ValueError(f"k must be an integer of at least 2; got {k!r}.")
        super().__init__(**kwargs)
        self.k = k
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def draw_permutations(self, batch_size, seed=None):
        """k permutations of the numbers below `batch_size`, int32 (k, batch_size).

        The first is the identity; the others are independent, so an example can meet itself.

        Args:
            batch_size: an integer or a scalar integer tensor.
            seed: an integer for a fixed draw, or None for the layer's own generator.
        """
        seed = self.seed_generator if seed is None else seed
        identity = ops.arange(batch_size, dtype="int32")
        # Sorting independent uniform numbers gives a uniformly drawn order for each row.
        numbers = keras.random.uniform((self.k - 1, batch_size), seed=seed)
        shuffled = ops.cast(ops.argsort(numbers, axis=-1), "int32")
        return ops.concatenate([identity[None], shuffled], axis=0)

    def draw_coefficients(self, code_shape, batch_size, seed=None):
        """Mixing coefficients, float32 (batch_size, k, ...), that sum to one over axis 1.

        Args:
            code_shape: the shape of one code, (H, W, C) or (D,).
            batch_size: an integer or a scalar integer tensor.
            seed: an integer for a fixed draw, or None for the layer's own generator.
        """
        raise NotImplementedError(f"{type(self).__name__} must define draw_coefficients.")

    def mix(self, stack, coefficients):
        """The weighted sum of given codes (paper, equation 6).

        Args:
            stack: shape (N, k, H, W, C) or (N, k, D).
            coefficients: as of the call; anything that broadcasts against `stack`.

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
        return ops.sum(ops.cast(coefficients, stack.dtype) * stack, axis=1)

    def call(self, codes, permutations=None, coefficients=None):
        if len(codes.shape) not in (2, 4):
            raise ValueError(
                f"codes must have the shape (N, H, W, C) or (N, D); got {tuple(codes.shape)}."
            )
        batch_size = codes.shape[0]
        if batch_size is not None and batch_size < self.k and permutations is None:
            raise ValueError(
                f"A batch of {batch_size} is too small to mix k = {self.k} examples: "
                "k can be at most the batch size."
            )
        return self.mix_batch(codes, permutations, coefficients)

    def mix_batch(self, codes, permutations=None, coefficients=None, seed=None):
        """The call without its check that N is at least k, and with an optional fixed seed.

        A training set's last batch may hold fewer than k examples: its examples then meet
        themselves.
        """
        batch_size = ops.shape(codes)[0]
        if permutations is None:
            permutations = self.draw_permutations(batch_size, seed)
        if coefficients is None:
            coefficients = self.draw_coefficients(tuple(codes.shape[1:]), batch_size, seed)
        stack = ops.take(codes, ops.transpose(permutations), axis=0)
        return self.mix(stack, coefficients), ops.cast(coefficients, "float32")

    def compute_output_spec(self, codes, permutations=None, coefficients=None):
        rank = len(codes.shape)
        coefficient_shape = (codes.shape[0], self.k) + (1,) * (rank - 2) + (None,)
        return (
            keras.KerasTensor(codes.shape, dtype=self.compute_dtype),
            keras.KerasTensor(coefficient_shape, dtype="float32"),
        )

    def save_own_variables(self, store):
        super().save_own_variables(store)
        # Keras leaves a generator's state out; a resumed training must continue its draws.
        store[_SEED_STATE] = ops.convert_to_numpy(self.seed_generator.state)

    def load_own_variables(self, store):
        values = {key: store[key] for key in store.keys()}  # noqa: SIM118, it is no dictionary
        self.seed_generator.state.assign(values.pop(_SEED_STATE))
        super().load_own_variables(values)

    def get_config(self):
        return {**super().get_config(), "k": self.k, "seed": self.seed}


@MIXERS.register("mixup")
@keras.saving.register_keras_serializable(package="amr_tf")
class Mixup(Mixer):
    """Convex combinations with coefficients from Dirichlet(1, ..., 1), one set per example.

    For k = 2 that is `alpha * h1 + (1 - alpha) * h2` with alpha uniform in [0, 1] (paper,
    equations 4 and 6). Coefficients have the shape (N, k, 1, 1, 1) or (N, k, 1).

    Example:

    >>> mixed, coefficients = Mixup(k=3, seed=0)(keras.random.normal((8, 4, 4, 2)))
    >>> mixed.shape, coefficients.shape
    (TensorShape([8, 4, 4, 2]), TensorShape([8, 3, 1, 1, 1]))
    """

    def draw_coefficients(self, code_shape, batch_size, seed=None):
        seed = self.seed_generator if seed is None else seed
        shape = (batch_size, self.k) + (1,) * len(code_shape)
        # Independent exponentials divided by their sum are Dirichlet(1, ..., 1). The small number
        # keeps the quotient defined should every draw be zero.
        exponentials = 1e-20 - ops.log1p(-keras.random.uniform(shape, seed=seed))
        return exponentials / ops.sum(exponentials, axis=1, keepdims=True)


@MIXERS.register("bernoulli")
@keras.saving.register_keras_serializable(package="amr_tf")
class BernoulliMixup(Mixer):
    """Takes each feature map (or vector element) whole from one of the k examples.

    For k = 2 a mask `m ~ Bernoulli(p)` chooses between two codes (paper, equation 5); for k > 2
    each feature map comes from one of the k examples, all equally likely. Coefficients are one-hot
    over axis 1, of shape (N, k, 1, 1, C) or (N, k, D).

    Args:
        probability: for k = 2 only, how often p ~ Uniform(0, 1) is drawn: "batch", once for all
            examples (higher variance, the variant of the paper's tables), "example", once for
            each example, or "element", for each feature map of each example, which makes both
            parents equally likely.
        **kwargs: as of `Mixer`.
    """

    PROBABILITIES = ("batch", "example", "element")

    def __init__(self, k=2, probability="batch", seed=None, **kwargs):
        if probability not in self.PROBABILITIES:
            raise ValueError(
                f"probability must be one of {', '.join(self.PROBABILITIES)}; got {probability!r}."
            )
        super().__init__(k, seed, **kwargs)
        self.probability = probability

    def draw_coefficients(self, code_shape, batch_size, seed=None):
        seed = self.seed_generator if seed is None else seed
        maps = code_shape[-1]
        if self.k == 2:
            shapes = {"batch": (1, 1), "example": (batch_size, 1), "element": (batch_size, maps)}
            p = keras.random.uniform(shapes[self.probability], seed=seed)
            threshold = keras.random.uniform((batch_size, maps), seed=_another(seed))
            parent = ops.cast(threshold >= p, "int32")
        else:
            parent = keras.random.randint((batch_size, maps), 0, self.k, seed=seed)
        one_hot = ops.transpose(ops.one_hot(parent, self.k, dtype="float32"), (0, 2, 1))
        return ops.reshape(one_hot, (batch_size, self.k) + (1,) * (len(code_shape) - 1) + (maps,))

    def get_config(self):
        return {**super().get_config(), "probability": self.probability}


def _another(seed):
    """A generator gives a new draw at each use; a fixed integer needs a second one."""
    return seed + 1 if isinstance(seed, int) else seed


def get(name, **kwargs):
    """A new mixer by its registered name.

    Args:
        name: "mixup", "bernoulli", or a name registered in `MIXERS`.
        **kwargs: the mixer's arguments (`k`, `seed`, ...).

    Raises:
        ValueError: unknown name or arguments out of range.
    """
    return MIXERS.get(name)(**kwargs)
