"""Style mixup: combines the layout of one image with the look of another."""

from typing import Any

import keras
from keras import ops

from amr_tf import checks
from amr_tf.mixers.base import MIXERS, Mixer, only_maps
from amr_tf.mixers.mixup import dirichlet
from amr_tf.types import Seed, Shape, Tensor

_EPSILON = 1e-4
_LEAST = 0.1  # Least deviation of a map in the geometric mean, relative to the root mean square.
_SAME = 1e-5  # Codes whose deviations differ by less, relative to the largest, count as the same.


@MIXERS.register("style")
@keras.saving.register_keras_serializable(package="amr_tf")
class StyleMixup(Mixer):
    """Mixes the layout and the look of images with separate coefficients.

    The look of an image is the mean of each feature map of its code, and how far the maps deviate
    from these means. Its layout is the code minus the means, divided by the deviation.
    Layouts are summed with one set of coefficients, looks with another. A mix can thus combine the
    layout of one image with the look of another into a single coherent image rather than an
    overlay of two. The swapping auto-encoder (Park et al. 2020) has the same aim, but needs a
    second network.

    By default, a code has one deviation, the geometric mean of its maps' standard deviations, so a
    mix keeps the proportions between the maps. With `shared_scale=False` each map has its own, as
    in adaptive instance normalisation (Huang & Belongie 2017). This changes the proportions, and
    smooth areas become dotted.

    A sum of unrelated layouts is flatter than each of them, so it is rescaled to their spread. When
    the layout of one image gets the look of another, the decoder renders it with less contrast than
    the second image has. `contrast` makes up for this.

    Both sets of coefficients are drawn from Dirichlet(1, ..., 1), once per example.

    Args:
        k: see `Mixer`.
        seed: see `Mixer`.
        contrast: how much to amplify the deviations from the mean if the layout is one image's and
            the look another's. The factor is `1 + contrast * (1 - s)`, where s, the sum of the
            products of their coefficients, is the share in which both are of the same code. A code
            mixed with itself is thus unchanged.
        shared_scale: whether the maps of a code share one deviation. If `False`, each map has its
            own, as in adaptive instance normalisation.
        **kwargs: passed on to `Mixer`.

    Call arguments:
        coefficients: shape (N, k, 1, 1, 2) for layout and look separately. With the shape
            (N, k, 1, 1, 1), or (N, k, 1, 1, C) for each feature map, both share coefficients.

    Returns:
        The mixed codes, and the coefficients used.

    Raises:
        ValueError: codes are vectors (N, D) or have fewer than three feature maps, `contrast` is
            negative, or `shared_scale` is not a boolean.

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
    # In older versions there was no contrast, and each map had its own deviation.
    older_defaults = {"contrast": 0.0, "shared_scale": False}

    def __init__(
        self,
        k: int = 2,
        seed: int | None = None,
        contrast: float = 0.1,
        shared_scale: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(k, seed, **kwargs)
        checks.check_not_negative("contrast", contrast)
        checks.check_bool("shared_scale", shared_scale)
        self.contrast = contrast
        self.shared_scale = shared_scale

    def check_codes(self, code_shape: Shape) -> None:
        super().check_codes(code_shape)
        only_maps("StyleMixup", "takes means over positions", code_shape)
        if code_shape[-1] is not None and code_shape[-1] < 3:
            raise ValueError(
                f"StyleMixup needs codes of at least 3 feature maps; got {code_shape[-1]}."
            )

    def draw_coefficients(self, code_shape: Shape, batch_size: int, seed: Seed = None) -> Tensor:
        return dirichlet((batch_size, self.k, 1, 1, 2), self.source(seed))

    def coefficient_shape(self, code_shape: Shape) -> Shape:
        return (1, 1, 2)

    def look_shares(self, coefficients: Tensor) -> Tensor:
        return super().look_shares(_both(coefficients)[1])

    def combine(self, stack: Tensor, coefficients: Tensor) -> Tensor:
        of_layout, of_look = _both(ops.cast(coefficients, "float32"))
        codes = ops.cast(stack, "float32")
        mean = _mean(codes)
        deviation = _deviation(codes - mean)
        scale = self._scale(deviation)
        layouts = (codes - mean) / scale
        layout = ops.sum(of_layout * layouts, axis=1, keepdims=True)
        # User-given coefficients may lie outside the simplex, but the weights of this average must
        # not.
        weights = ops.abs(of_layout)
        weights = weights / ops.maximum(ops.sum(weights, axis=1, keepdims=True), _EPSILON)
        spread = ops.sum(weights * _mean(ops.square(layouts)), axis=1, keepdims=True)
        layout = layout * self._scale(ops.sqrt(spread + _EPSILON) / _deviation(layout))
        look = ops.sum(of_look * scale, axis=1), ops.sum(of_look * mean, axis=1)
        # With user-given coefficients, the share may lie outside [0, 1], too.
        apart = ops.clip(1.0 - _together(of_layout, of_look, deviation), 0.0, 1.0)
        gain = 1.0 + self.contrast * apart
        return ops.cast(ops.squeeze(layout, axis=1) * gain * look[0] + look[1], stack.dtype)

    def _scale(self, factors: Tensor) -> Any:
        """Returns the factors of the maps, or their geometric mean if all maps share one."""
        if not self.shared_scale:
            return factors
        # Maps that are flat in one image must not outweigh all others.
        least = _LEAST * ops.sqrt(ops.mean(ops.square(factors), axis=-1, keepdims=True))
        return ops.exp(ops.mean(ops.log(ops.maximum(factors, least)), axis=-1, keepdims=True))

    def get_config(self) -> dict[str, Any]:
        settings = {"contrast": self.contrast, "shared_scale": self.shared_scale}
        return {**super().get_config(), **settings}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "StyleMixup":
        return super().from_config({**cls.older_defaults, **config})


def _both(coefficients: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the coefficients of layout and look, which are equal unless two are given."""
    sizes = coefficients.shape[-1]
    if sizes is None:  # The input of a graph may have two columns, or one set for both.
        two = ops.equal(ops.shape(coefficients)[-1], 2)
        return tuple(
            ops.cond(two, lambda column=column: coefficients[..., column], lambda: coefficients)
            for column in (slice(0, 1), slice(1, 2))
        )
    return (coefficients[..., :1], coefficients[..., 1:]) if sizes == 2 else 2 * (coefficients,)


def _together(of_layout: Tensor, of_look: Tensor, deviation: Tensor) -> Any:
    """Returns the share in which layout and look are of the same code, (N, 1, 1, 1 or C)."""
    apart = ops.max(ops.abs(deviation[:, :, None] - deviation[:, None]), axis=(3, 4, 5))
    same = ops.cast(apart < _SAME * ops.max(deviation), "float32")[..., None, None, None]
    return ops.sum(of_layout[:, :, None] * of_look[:, None] * same, axis=(1, 2))


def _mean(codes: Tensor) -> Any:
    """Returns the mean over positions of codes (N, k, H, W, C), shape (N, k, 1, 1, C)."""
    return ops.mean(codes, axis=(2, 3), keepdims=True)


def _deviation(centred: Tensor) -> Any:
    """Returns the standard deviation of each map, slightly enlarged so that none is 0."""
    return ops.sqrt(_mean(ops.square(centred)) + _EPSILON)
