"""Distance of decoded mixes from a known manifold: the paper's spiral (supplement 7.3)."""

from collections.abc import Callable

import numpy as np

from amr_tf.models.base import ResynthesisModel


def near_manifold(
    model: ResynthesisModel,
    points: np.ndarray,
    distance: Callable[[np.ndarray], np.ndarray],
    radius: float = 0.05,
    seed: int = 0,
) -> dict[str, float]:
    """Measures the share of decoded mixes that lie within `radius` of a manifold.

    Args:
        model: a trained `ResynthesisModel` of points, with a mixer.
        points: float (N, D), to be mixed in random groups of k.
        distance: function from points (N, D) to their distances from the manifold, (N,).
        radius: largest distance that counts as near, in the points' units.
        seed: seed of partners and coefficients.

    Returns:
        A dictionary with "near", the share of mixes within `radius`, and "mean_distance".
    """
    distances = distance(model.mix(points, seed=seed))
    return {"near": float(np.mean(distances <= radius)), "mean_distance": float(distances.mean())}
