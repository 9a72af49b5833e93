"""Mixup and its variants, which blend the parents' codes as a whole or map by map."""

from typing import Any

import keras
from keras import ops

from amr_tf import checks
from amr_tf.mixers.base import MIXERS, Mixer, only_pairs
from amr_tf.types import Seed, Shape, Tensor


class _OneSetPerExample(Mixer):
    """Base class for mixers with one coefficient per parent, (N, k, 1, 1, 1) or (N, k, 1)."""

    def coefficient_shape(self, code_shape: Shape) -> Shape:
        return (1,) * len(code_shape)


@MIXERS.register("mixup")
@keras.saving.register_keras_serializable(package="amr_tf")
class Mixup(_OneSetPerExample):
    """Convex combinations with coefficients from Dirichlet(1, ..., 1), one set per example.

    For k = 2 this is `alpha * h1 + (1 - alpha) * h2` with alpha uniform in [0, 1] (paper,
    equations 4 and 6). Coefficients have the shape (N, k, 1, 1, 1) or (N, k, 1).

    See `Mixer` for the arguments.

    Example:

    >>> mixed, coefficients = Mixup(k=3, seed=0)(keras.random.normal((8, 4, 4, 2)))
    >>> mixed.shape, coefficients.shape
    (TensorShape([8, 4, 4, 2]), TensorShape([8, 3, 1, 1, 1]))
    """

    def draw_coefficients(self, code_shape: Shape, batch_size: int, seed: Seed = None) -> Tensor:
        shape = (batch_size, self.k) + (1,) * len(code_shape)
        return dirichlet(shape, self.source(seed))


@MIXERS.register("spherical")
@keras.saving.register_keras_serializable(package="amr_tf")
class SphericalMixup(Mixup):
    """Mixup that preserves the norm of the codes.

    The mean of unrelated codes has a smaller norm than each of them (by a factor of sqrt(2) for
    equal parts of two codes). The decoder then sees norms that no image has, and renders pale
    images. This mixer therefore rescales the weighted sum `h = sum_j c_j h_j` by
    `sqrt(sum_j c_j |h_j|^2) / |h|`, so that its squared norm, taken over all elements of a code,
    is the weighted mean of the parents'. For two codes of equal norm the result lies on the arc
    between them (slerp; White 2016, "Sampling generative networks"). A code mixed with itself is
    unchanged. Coefficients are drawn as in `Mixup`.

    See `Mixer` for the arguments.

    Returns:
        The mixed codes, and the rescaled coefficients, which need not sum to one.

    Example:

    >>> codes = keras.ops.convert_to_tensor([[3.0, 0.0], [0.0, 3.0]])
    >>> halves = keras.ops.full((2, 2, 1), 0.5)
    >>> mixed, _ = SphericalMixup()(codes, permutations=[[0, 1], [1, 0]], coefficients=halves)
    >>> keras.ops.norm(mixed, axis=1).numpy().round(3)
    array([3., 3.], dtype=float32)
    """

    def weigh(self, stack: Tensor, coefficients: Tensor) -> Tensor:
        coefficients, codes = ops.cast(coefficients, "float32"), ops.cast(stack, "float32")
        # Returned coefficients do not sum to one. Normalised here, they give the same mix if they
        # are passed in again.
        total = ops.sum(coefficients, axis=1, keepdims=True)
        coefficients = coefficients / ops.where(ops.abs(total) < 1e-6, 1.0, total)
        return coefficients * _stretch(codes, coefficients)


@MIXERS.register("channelwise")
@keras.saving.register_keras_serializable(package="amr_tf")
class ChannelwiseMixup(Mixer):
    """Convex combinations with separate coefficients for each feature map.

    Lies between `Mixup`, which weighs all feature maps equally, and `BernoulliMixup`, which blends
    none. The coefficients of each map (or vector element) are drawn from Dirichlet(1, ..., 1); for
    k = 2, alpha is uniform in [0, 1]. Mixes fill the box with the parents at its corners.
    Coefficients have the shape (N, k, 1, 1, C) or (N, k, D).

    See `Mixer` for the arguments.
    """

    def draw_coefficients(self, code_shape: Shape, batch_size: int, seed: Seed = None) -> Tensor:
        shape = (batch_size, self.k, *self.coefficient_shape(code_shape))
        return dirichlet(shape, self.source(seed))

    def coefficient_shape(self, code_shape: Shape) -> Shape:
        return (1,) * (len(code_shape) - 1) + (code_shape[-1],)


@MIXERS.register("gaussian")
@keras.saving.register_keras_serializable(package="amr_tf")
class GaussianMixup(_OneSetPerExample):
    """GAIA's combinations around the midpoint (Sainburg et al. 2018).

    Computes `alpha * h1 + (1 - alpha) * h2` with one alpha ~ N(0.5, sigma) per example. If alpha
    falls outside [0, 1], the mix lies on the line through its parents, but beyond one of them.

    Args:
        k: must be 2.
        sigma: standard deviation of alpha, above 0.
        seed: see `Mixer`.
        **kwargs: passed on to `Mixer`.

    Raises:
        ValueError: k is not 2, or sigma is not above 0.
    """

    def __init__(
        self, k: int = 2, sigma: float = 0.25, seed: int | None = None, **kwargs: Any
    ) -> None:
        only_pairs(type(self).__name__, k)
        checks.check_positive("sigma", sigma)  # With 0, all mixes would be midpoints.
        super().__init__(k, seed, **kwargs)
        self.sigma = sigma

    def draw_coefficients(self, code_shape: Shape, batch_size: int, seed: Seed = None) -> Tensor:
        shape = (batch_size, 1) + (1,) * len(code_shape)
        alpha = keras.random.normal(shape, mean=0.5, stddev=self.sigma, seed=self.source(seed))
        return _two(alpha)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "sigma": self.sigma}


@MIXERS.register("folded")
@keras.saving.register_keras_serializable(package="amr_tf")
class FoldedMixup(_OneSetPerExample):
    """The mixing of ACAI's original code (Berthelot et al. 2019).

    Computes `alpha * h + (1 - alpha) * reversed h`, with partners found by reversing the batch.
    There is one alpha per example, drawn uniformly from [0, 1] and folded to [0, 0.5] by
    `0.5 - |alpha - 0.5|`. Each example thus gets the smaller weight in its own mix, and every pair
    is mixed twice. In a batch of odd size the middle example is mixed with itself.

    Args:
        k: must be 2.
        seed: see `Mixer`.
        **kwargs: passed on to `Mixer`.

    Raises:
        ValueError: k is not 2.
    """

    def __init__(self, k: int = 2, seed: int | None = None, **kwargs: Any) -> None:
        only_pairs(type(self).__name__, k)
        super().__init__(k, seed, **kwargs)

    def draw_permutations(self, batch_size: int, seed: Seed = None) -> Tensor:
        """Returns the identity and the reversed order, int32 (2, batch_size); draws nothing."""
        identity = ops.arange(batch_size, dtype="int32")
        return ops.stack([identity, ops.flip(identity)])

    def draw_coefficients(self, code_shape: Shape, batch_size: int, seed: Seed = None) -> Tensor:
        shape = (batch_size, 1) + (1,) * len(code_shape)
        alpha = keras.random.uniform(shape, seed=self.source(seed))
        return _two(0.5 - ops.abs(alpha - 0.5))


def dirichlet(shape: Shape, seed: Seed) -> Tensor:
    """Draws from Dirichlet(1, ..., 1) over axis 1."""
    # Independent exponentials divided by their sum are Dirichlet(1, ..., 1). The small constant
    # keeps the quotient defined if every draw is zero.
    exponentials = 1e-20 - ops.log1p(-keras.random.uniform(shape, seed=seed))
    return exponentials / ops.sum(exponentials, axis=1, keepdims=True)


def _stretch(codes: Tensor, coefficients: Tensor) -> Tensor:
    """Returns the factors that give weighted sums of codes the mean norm of these codes.

    Args:
        codes: float32 (N, k, ...).
        coefficients: float32, broadcastable to the shape of `codes`.

    Returns:
        float32 (N, 1, 1, ...): the square root of the weighted mean of the codes' squared norms,
        divided by the norm of their weighted sum.
    """
    axes = tuple(range(2, len(codes.shape)))
    summed = ops.sum(coefficients * codes, axis=1, keepdims=True)
    wanted = ops.sum(coefficients * ops.square(codes), axis=(1, *axes), keepdims=True)
    squared = ops.sum(ops.square(summed), axis=axes, keepdims=True)
    wanted = ops.maximum(wanted, 0.0)  # Given coefficients may lie outside the simplex.
    # Codes that cancel out have no direction, so the factor is limited to 1,000.
    squared = ops.maximum(squared, 1e-6 * wanted)
    return ops.sqrt((wanted + 1e-12) / (squared + 1e-12))


def _two(alpha: Tensor) -> Tensor:
    """Returns the coefficients alpha and 1 - alpha, (N, 2, ...), for an alpha (N, 1, ...)."""
    return ops.concatenate([alpha, 1.0 - alpha], axis=1)
