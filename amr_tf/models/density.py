"""The density of a model's codes, a Gaussian mixture from which new codes are drawn."""

import io
import pathlib
import zipfile
from typing import Any

import numpy as np
import tensorflow as tf

from amr_tf import checks
from amr_tf.files import write_whole

_ARRAYS = ("offset", "axes", "weights", "means", "factors")
_JITTER = 1e-6


class CodeDensity:
    """A Gaussian mixture over the principal components of flattened codes.

    High-dimensional codes vary mainly along a few directions. The mixture is fitted along these.
    Along all others, samples equal the mean code. Ghosh et al. (2020, "From variational to
    deterministic autoencoders") sample deterministic auto-encoders in this way.

    Args:
        offset: mean code, (D,).
        axes: principal directions, (P, D).
        weights: weights of the mixture's components, (M,), which sum to one.
        means: means of the components, (M, P).
        factors: Cholesky factors of their covariances, (M, P, P).

    Example:

    >>> density = CodeDensity.fit(np.random.default_rng(0).normal(size=(500, 4, 4, 2)))
    >>> density.draw(3, seed=0).shape
    TensorShape([3, 32])
    """

    def __init__(
        self,
        offset: np.ndarray,
        axes: np.ndarray,
        weights: np.ndarray,
        means: np.ndarray,
        factors: np.ndarray,
    ) -> None:
        given = (offset, axes, weights, means, factors)
        self.offset, self.axes, self.weights, self.means, self.factors = (
            np.asarray(array, dtype="float32") for array in given
        )
        size, kept, count = len(self.offset), len(self.axes), len(self.weights)
        expected = ((size,), (kept, size), (count,), (count, kept), (count, kept, kept))
        for name, shape in zip(_ARRAYS, expected):
            if getattr(self, name).shape != shape or not np.isfinite(getattr(self, name)).all():
                raise ValueError(f"{name} must be finite numbers of the shape {shape}.")

    @classmethod
    def fit(
        cls, codes: np.ndarray, components: int = 10, directions: int = 64, seed: int = 0
    ) -> "CodeDensity":
        """Fits scikit-learn's `PCA` and `GaussianMixture` to codes.

        Args:
            codes: (N, ...), with N at least 2.
            components: number of the mixture's components. Reduced if there are fewer than twenty
                codes per component.
            directions: largest number of principal components to keep.
            seed: seed of the fit.
        """
        from sklearn.decomposition import PCA
        from sklearn.mixture import GaussianMixture

        checks.check_positive_integer("components", components)
        checks.check_positive_integer("directions", directions)
        flat = np.asarray(codes, dtype="float64").reshape(len(codes), -1)
        if len(flat) < 2:
            raise ValueError(f"A density needs at least 2 codes; got {len(flat)}.")
        kept = min(directions, flat.shape[1], len(flat) - 1)
        pca = PCA(kept, random_state=seed).fit(flat)
        scores = pca.transform(flat)
        variance = float(scores.var(axis=0).max()) or 1.0
        mixture = GaussianMixture(
            max(1, min(components, len(flat) // 20)),
            reg_covar=_JITTER * variance,
            random_state=seed,
        ).fit(scores)
        return cls(
            pca.mean_,
            pca.components_,
            mixture.weights_,
            mixture.means_,
            np.linalg.cholesky(mixture.covariances_),
        )

    def draw(self, count: Any, seed: Any) -> tf.Tensor:
        """Draws flattened codes, float32 (count, D). Works in graphs.

        Args:
            count: an integer or a scalar integer tensor.
            seed: an integer or a scalar integer tensor. The same seed gives the same codes.
        """
        seed = tf.cast(seed, "int32")
        logits = tf.math.log(tf.constant(self.weights))[None]
        chosen = tf.random.stateless_categorical(logits, count, tf.stack([seed, 0]))[0]
        shape = tf.stack([tf.cast(count, "int32"), self.means.shape[1]])
        noise = tf.random.stateless_normal(shape, tf.stack([seed, 1]))
        factors = tf.gather(tf.constant(self.factors), chosen)
        scores = tf.gather(tf.constant(self.means), chosen) + tf.linalg.matvec(factors, noise)
        return tf.matmul(scores, tf.constant(self.axes)) + self.offset

    def arrays(self) -> dict[str, np.ndarray]:
        """Returns the constructor's arguments by name."""
        return {name: getattr(self, name) for name in _ARRAYS}

    def save(self, path: str | pathlib.Path) -> None:
        """Writes an `.npz` file atomically."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **self.arrays())
        write_whole(path, buffer.getvalue())

    @classmethod
    def load(cls, path: str | pathlib.Path) -> "CodeDensity":
        """Reads a file written by `save`.

        Raises:
            ValueError: the file is damaged.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                return cls(**{name: file[name] for name in _ARRAYS})
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(f"'{path}' is not a density of codes: {error}") from error


def prior(count: Any, size: int, seed: Any) -> tf.Tensor:
    """Draws codes from a standard normal prior, float32 (count, size)."""
    shape = tf.stack([tf.cast(count, "int32"), size])
    return tf.random.stateless_normal(shape, tf.stack([tf.cast(seed, "int32"), 1]))
