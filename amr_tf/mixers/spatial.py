"""Spatial mixup: blocks of positions are taken whole from other examples (paper, section 5)."""

import keras
from keras import ops

from amr_tf.mixers.base import MIXERS, Mixer, only_maps
from amr_tf.types import Seed, Shape, Tensor


@MIXERS.register("spatial")
@keras.saving.register_keras_serializable(package="amr_tf")
class SpatialMixup(Mixer):
    """Pastes a contiguous block of another example's feature maps into each code.

    The paper (section 5) proposes combining CutMix (Yun et al. 2019) and DropBlock (Ghiasi et al.
    2018): a rectangle of positions is taken from another example, in all feature maps. As in
    CutMix, the block covers a share ~ U(0, 1) of the map's area, its centre is drawn uniformly,
    and anything beyond the edge is cut off. The sides are rounded to whole positions, at least
    one, so the centre is always pasted. CutMix's own rule is meant for images and would often
    paste nothing into a 4 x 4 map.

    For k > 2, each further example pastes its own block, later ones over earlier ones.

    Coefficients are one-hot over axis 1 and have the shape (N, k, H, W, 1).

    See `Mixer` for the arguments.

    Raises:
        ValueError: codes are vectors (N, D), which have no positions, or their height or width
            is unknown.
    """

    def check_codes(self, code_shape: Shape) -> None:
        super().check_codes(code_shape)
        only_maps("SpatialMixup", "mixes positions", code_shape)
        if None in code_shape[:2]:
            raise ValueError(
                "SpatialMixup needs codes of known height and width; got (N, "
                f"{', '.join(map(str, code_shape))})."
            )

    def draw_coefficients(self, code_shape: Shape, batch_size: int, seed: Seed = None) -> Tensor:
        self.check_codes(code_shape)
        height, width, _ = code_shape
        # The area, and the centre's row and column, each (N, k - 1).
        shape = (3, batch_size, self.k - 1)
        share, row, column = ops.unstack(keras.random.uniform(shape, seed=self.source(seed)))
        side = ops.sqrt(share)
        rows, columns = _interval(height, side, row), _interval(width, side, column)
        block = ops.cast(ops.logical_and(rows[..., None], columns[..., None, :]), "int32")
        # A position belongs to the last example whose block covers it, or else to the first one.
        numbers = ops.reshape(ops.arange(1, self.k, dtype="int32"), (1, -1, 1, 1))
        owner = ops.max(block * numbers, axis=1)
        one_hot = ops.one_hot(owner, self.k, dtype="float32")
        return ops.transpose(one_hot, (0, 3, 1, 2))[..., None]

    def coefficient_shape(self, code_shape: Shape) -> Shape:
        return (*code_shape[:2], 1)


def _interval(size: int, share: Tensor, place: Tensor) -> Tensor:
    """Marks the positions of an interval that covers `share` of an axis, centred at `place`.

    Args:
        size: length of the axis, an integer.
        share: (N, k - 1) in [0, 1).
        place: (N, k - 1) in [0, 1), the centre as a share of the size.

    Returns:
        Booleans (N, k - 1, size), of which a contiguous run of at least one is true.
    """
    length = ops.maximum(ops.cast(ops.round(size * share), "int32"), 1)
    centre = ops.minimum(ops.cast(size * place, "int32"), size - 1)
    start = (centre - length // 2)[..., None]
    positions = ops.arange(size, dtype="int32")
    return ops.logical_and(positions >= start, positions < start + length[..., None])
