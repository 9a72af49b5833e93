"""Style mixup: combines the layout of one image with the look of another."""

from typing import Any

import keras
from keras import ops

from amr_tf import checks
from amr_tf.mixers.base import MIXERS, Mixer, another_seed, only_maps
from amr_tf.mixers.mixup import dirichlet, stretch
from amr_tf.types import Seed, Shape, Tensor


@MIXERS.register("style")
@keras.saving.register_keras_serializable(package="amr_tf")
class StyleMixup(Mixer):
    """Mixes the layout and the look of images with separate coefficients.

    The look of an image is the mean of each feature map of its code. Its layout is what is left.
    Layouts are summed with one set of coefficients, looks with another. A mix can thus combine the
    layout of one image with the look of another into a single coherent image rather than an
    overlay of two. The swapping auto-encoder (Park et al. 2020) has the same aim, but needs a
    second network.

    A sum of unrelated codes has a smaller norm than each of them. As in `SphericalMixup`, both sums
    are rescaled so that their squared norms are the weighted means of the parents'. A code mixed
    with itself is unchanged.

    Both sets of coefficients are drawn from Dirichlet(1, ..., 1), once per example. With
    probability `swaps` an example is a whole swap instead, with the layout of the first image and
    the look of the second. Swaps are what a trained model is typically asked for, and uniform draws
    are seldom close to one.

    Args:
        k: number of codes in each mix, at least 2.
        swaps: probability that a mix is a whole swap, from 0 to 1.
        seed: see `Mixer`.
        **kwargs: passed on to `Mixer`.

    Call arguments:
        coefficients: shape (N, k, 1, 1, 2) for layout and look separately. With the shape
            (N, k, 1, 1, 1), or (N, k, 1, 1, C) for each feature map, both share coefficients.

    Returns:
        The mixed codes, and the coefficients used.

    Raises:
        ValueError: codes are vectors (N, D) or have fewer than three feature maps, or `swaps` lies
            outside [0, 1].

    Example:

    >>> codes = keras.random.normal((2, 8, 8, 16))
    >>> swap = [[[1.0, 0.0], [0.0, 1.0]]] * 2  # The layout of the first, the look of the second.
    >>> swap = keras.ops.reshape(swap, (2, 2, 1, 1, 2))
    >>> permutations = keras.ops.convert_to_tensor([[0, 1], [1, 0]])
    >>> mixed, _ = StyleMixup()(codes, permutations=permutations, coefficients=swap)
    >>> look = keras.ops.mean(mixed[0], axis=(0, 1)) - keras.ops.mean(codes[1], axis=(0, 1))
    >>> bool(keras.ops.max(keras.ops.abs(look)) < 1e-5)
    True
    """

    mixes_looks = True

    def __init__(
        self, k: int = 2, swaps: float = 0.0, seed: int | None = None, **kwargs: Any
    ) -> None:
        checks.check_share("swaps", swaps)
        super().__init__(k, seed, **kwargs)
        self.swaps = swaps

    def check_codes(self, code_shape: Shape) -> None:
        super().check_codes(code_shape)
        only_maps("StyleMixup", "takes means over positions", code_shape)
        if code_shape[-1] is not None and code_shape[-1] < 3:
            raise ValueError(
                f"StyleMixup needs codes of at least 3 feature maps; got {code_shape[-1]}."
            )

    def draw_coefficients(self, code_shape: Shape, batch_size: int, seed: Seed = None) -> Tensor:
        source = self.source(seed)
        drawn = dirichlet((batch_size, self.k, 1, 1, 2), source)
        if not self.swaps:
            return drawn
        swap = ops.reshape(ops.eye(self.k, 2), (1, self.k, 1, 1, 2))
        number = keras.random.uniform((batch_size, 1, 1, 1, 1), seed=another_seed(source))
        chosen = number < self.swaps
        return ops.where(chosen, swap, drawn)

    def coefficient_shape(self, code_shape: Shape) -> Shape:
        return (1, 1, 2)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "swaps": self.swaps}

    def combine(self, stack: Tensor, coefficients: Tensor) -> Tensor:
        of_layout, of_look = _both(ops.cast(coefficients, "float32"))
        codes = ops.cast(stack, "float32")
        looks = ops.mean(codes, axis=(2, 3), keepdims=True)
        mixed = _stretched_sum(codes - looks, of_layout) + _stretched_sum(looks, of_look)
        return ops.cast(mixed, stack.dtype)


def _stretched_sum(parts: Tensor, coefficients: Tensor) -> Tensor:
    """The weighted sum over axis 1, as long as what it is made of."""
    mixed = ops.sum(coefficients * parts, axis=1, keepdims=True) * stretch(parts, coefficients)
    return ops.squeeze(mixed, axis=1)


def _both(coefficients: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the coefficients of layout and look, which are equal unless two are given."""
    sizes = coefficients.shape[-1]
    if sizes is None:  # A graph input: either two columns, or one set for both.
        two = ops.equal(ops.shape(coefficients)[-1], 2)
        return tuple(
            ops.cond(two, lambda column=column: coefficients[..., column], lambda: coefficients)
            for column in (slice(0, 1), slice(1, 2))
        )
    return (coefficients[..., :1], coefficients[..., 1:]) if sizes == 2 else 2 * (coefficients,)
