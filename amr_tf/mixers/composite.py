"""A mixer that picks other mixers at random."""

from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from amr_tf.mixers.base import MIXERS, Mixer, another_seed, get
from amr_tf.types import Seed, Shape, Tensor

# Distance between the seeds of two mixers, more than the number of seeds that one mixer uses.
_SEEDS_APART = 100


@MIXERS.register("composite")
@keras.saving.register_keras_serializable(package="amr_tf")
class CompositeMixer(Mixer):
    """Draws each example's coefficients from one of several mixers, chosen at random.

    All mixers share the permutations. The coefficients have the shape that those of all mixers
    broadcast to, such as (N, k, 1, 1, C) for mixup with Bernoulli mixup.

    Args:
        mixers: one or more names registered in `MIXERS`, or `Mixer` instances with the same k.
        k: number of codes in each mix, at least 2.
        weights: relative frequencies of the mixers, at least 0; they need not sum to one. None
            makes all mixers equally likely.
        seed: see `Mixer`. Mixers given by name get seeds derived from it.
        **kwargs: passed on to `Mixer`.

    Raises:
        ValueError: `mixers` is empty, holds the same instance twice, or holds a mixer that has a
            different k, needs labels, or overrides more of `Mixer` than the drawing of
            coefficients (such as "folded"); or `weights` are not allowed.

    Example:

    >>> mixer = CompositeMixer(("mixup", "spatial"), k=3, weights=(2, 1), seed=0)
    >>> mixed, coefficients = mixer(keras.random.normal((8, 4, 4, 2)))
    >>> coefficients.shape
    TensorShape([8, 3, 4, 4, 1])
    """

    def __init__(
        self,
        mixers: Sequence[str | Mixer] = ("mixup", "bernoulli"),
        k: int = 2,
        weights: Sequence[float] | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(k, seed, **kwargs)
        if isinstance(mixers, str) or not len(mixers):
            raise ValueError(f"mixers must be a list of at least one mixer; got {mixers!r}.")
        self.mixers = [self._member(mixer, index) for index, mixer in enumerate(mixers)]
        if len(set(map(id, self.mixers))) < len(self.mixers):
            raise ValueError("mixers holds one mixer twice: weights say how often one is drawn.")
        # Not called `weights`, which is an attribute of every Keras layer.
        self.mixer_weights = None if weights is None else _numbers(weights)
        self._check_weights()

    def _member(self, mixer: str | Mixer, index: int) -> Mixer:
        """Checks that a mixer can join and returns it; creates it if a name is given."""
        if isinstance(mixer, str):
            seed = another_seed(self.seed, (index + 1) * _SEEDS_APART)
            mixer = get(mixer, k=self.k, seed=seed)
        if not isinstance(mixer, Mixer):
            raise ValueError(f"mixers must hold names or mixers; got {mixer!r}.")
        kind = type(mixer)
        if mixer.k != self.k:
            raise ValueError(
                f"All mixers must have k = {self.k}; {kind.__name__} has k = {mixer.k}."
            )
        if kind.needs_labels:
            raise ValueError(f"{kind.__name__} mixes by labels and cannot join a CompositeMixer.")
        for method in ("draw_permutations", "weigh", "combine", "mix", "mix_batch", "call"):
            if getattr(kind, method) is not getattr(Mixer, method):
                raise ValueError(
                    f"{kind.__name__} has a {method} of its own and cannot join a CompositeMixer, "
                    "whose mixers may differ in their coefficients only."
                )
        return mixer

    def _check_weights(self) -> None:
        weights = self.mixer_weights
        if weights is None:
            return
        if len(weights) != len(self.mixers):
            raise ValueError(
                f"weights must hold one number for each of {len(self.mixers)} mixers; got "
                f"{len(weights)}."
            )
        if not np.isfinite(weights).all() or min(weights) < 0 or not sum(weights):
            raise ValueError(f"weights must be finite, at least 0, and not all 0; got {weights}.")

    def build(self, input_shape: Shape) -> None:
        super().build(input_shape)
        for mixer in self.mixers:
            if not mixer.built:
                mixer.build(input_shape)

    def check_codes(self, code_shape: Shape) -> None:
        for mixer in self.mixers:
            mixer.check_codes(code_shape)

    def draw_coefficients(self, code_shape: Shape, batch_size: int, seed: Seed = None) -> Tensor:
        seed = self.source(seed)
        chosen = self._choose(batch_size, seed)
        total = 0.0
        for index, mixer in enumerate(self.mixers):
            # Each mixer draws from its own generator, unless the seed is fixed.
            own = None if seed is self.seed_generator else seed + (index + 1) * _SEEDS_APART
            coefficients = mixer.draw_coefficients(code_shape, batch_size, own)
            share = ops.reshape(chosen[:, index], (-1, 1) + (1,) * len(code_shape))
            total = total + share * ops.cast(coefficients, "float32")
        return total

    def _choose(self, batch_size: int, seed: Seed) -> Tensor:
        """Draws a mixer for each example, as one-hot float32 (N, mixers)."""
        weights = self.mixer_weights or [1.0] * len(self.mixers)
        bounds = np.cumsum(weights) / np.cumsum(weights)[-1]
        number = keras.random.uniform((batch_size, 1), seed=seed)
        chosen = ops.sum(ops.cast(number >= bounds[:-1].astype("float32"), "int32"), axis=1)
        return ops.one_hot(chosen, len(self.mixers), dtype="float32")

    def coefficient_shape(self, code_shape: Shape) -> tuple[int | None, ...]:
        shapes = [mixer.coefficient_shape(code_shape) for mixer in self.mixers]
        return tuple(_broadcast(sizes) for sizes in zip(*shapes))

    def get_config(self) -> dict[str, Any]:
        mixers = [keras.saving.serialize_keras_object(mixer) for mixer in self.mixers]
        return {**super().get_config(), "mixers": mixers, "weights": self.mixer_weights}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "CompositeMixer":
        mixers = [keras.saving.deserialize_keras_object(mixer) for mixer in config["mixers"]]
        return super().from_config({**config, "mixers": mixers})


def _numbers(weights: Sequence[float]) -> list[float]:
    try:
        return [float(weight) for weight in weights]
    except (TypeError, ValueError):
        raise ValueError(f"weights must be a list of numbers; got {weights!r}.") from None


def _broadcast(sizes: Iterable[int | None]) -> int | None:
    """Returns the size that the sizes broadcast to: the first that is not 1 (None if unknown)."""
    return next((size for size in sizes if size != 1), 1)
