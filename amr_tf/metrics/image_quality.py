"""Realism and diversity of decoded images: Frechet distance, precision and recall of features.

Results of different feature extractors, or for different numbers of images, are not comparable.
Results therefore include both.
"""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.metrics import pairwise_distances_chunked
from sklearn.neighbors import NearestNeighbors

from amr_tf import checks
from amr_tf.data import ImageData, prepared
from amr_tf.metrics.extractors import extract_features
from amr_tf.models.base import ResynthesisModel
from amr_tf.models.inference import can_sample

_CHUNK = 1024  # Images in memory at a time.
_WORKING_MEMORY = 64  # MiB of distances at a time.
_MOST = 10_000  # Default limit of the images in each set.
_ROUNDING = 1e-7  # Error of distances from matrix products, relative to the features' norm.


def frechet_distance(features_a: np.ndarray, features_b: np.ndarray) -> float:
    """Computes the squared Frechet distance of two Gaussians fitted to features.

    It is |m_a - m_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^(1/2)) [Heusel et al. 2017], with unbiased
    covariances S. On features of the Inception network this is FID. With S = R^T R, where R comes
    from a QR decomposition of the centred features, the trace of the matrix root is the sum of the
    singular values of R_a R_b^T. This is real and stable even for singular covariances.

    The distance is overestimated for few images. The bias falls only as 1 / N, so N should be
    several times D. Compare only results for the same number of images.

    Args:
        features_a: (N, D), with N at least 2. Computed in float64.
        features_b: (M, D), with M at least 2.

    Returns:
        A float of at least 0.

    Raises:
        ValueError: the features differ in D, are too few, or are not finite.
    """
    features_a, features_b = _check_features(features_a, features_b)
    (mean_a, root_a), (mean_b, root_b) = (_gaussian(each) for each in (features_a, features_b))
    shift = mean_a - mean_b
    common = np.linalg.svd(root_a @ root_b.T, compute_uv=False).sum()
    distance = shift @ shift + (root_a**2).sum() + (root_b**2).sum() - 2 * common
    return max(float(distance), 0.0)


def precision_recall(
    real_features: np.ndarray, fake_features: np.ndarray, k: int = 3
) -> dict[str, float]:
    """Computes improved precision and recall [Kynkäänniemi et al. 2019, equations 1 and 2].

    The manifold of a set is the union of balls around its features, whose radii are the distances
    to the k-th nearest neighbour in the set.

    Args:
        real_features: (N, D), with N above k. Computed in float64.
        fake_features: (M, D), with M above k.
        k: the neighbour that determines the radius of a ball; 3 in that paper.

    Returns:
        A dictionary of shares from 0 to 1: "precision", of fake features in the real manifold
        (realism), and "recall", of real features in the fake manifold (coverage).

    Raises:
        ValueError: the features differ in D, are too few for k, or are not finite.
    """
    real, fake = _check_features(real_features, fake_features)
    _check_counts(len(real), len(fake), k)
    middle = real.mean(axis=0)  # Distances between centred features have smaller rounding errors.
    real, fake = real - middle, fake - middle
    return {"precision": _share_inside(fake, real, k), "recall": _share_inside(real, fake, k)}


def image_quality(
    real_images: np.ndarray,
    fake_images: np.ndarray,
    extractor: Any,
    k: int = 3,
    batch_size: int = 64,
) -> dict[str, Any]:
    """Computes Frechet distance, precision and recall between two sets of images.

    Args:
        real_images: float (N, H, W, C) in [-1, 1], with N above k.
        fake_images: float (M, H, W, C) in [-1, 1], with M above k. Decoded images may have to be
            clipped.
        extractor: a `keras.Model` or another function with a `name` from images to features
            (N, D), such as those of `metrics.extractors`.
        k: see `precision_recall`.
        batch_size: number of images passed to the extractor at a time.

    Returns:
        A dictionary with "fid", "precision", "recall", and the facts needed to interpret them:
        "extractor", its name; "features", their number D; and the numbers of "real_images" and
        "fake_images". "fid" is the FID of the literature only for features of the Inception
        network.

    Raises:
        ValueError: the images differ in shape, are too few, out of range or not finite, or the
            extractor has no name or does not return features (N, D).

    Warns:
        UserWarning: there are no more images than features, so that the Frechet distance is
            greatly overestimated.
    """
    real_images, fake_images = np.asarray(real_images), np.asarray(fake_images)
    checks.check_shape("fake_images", fake_images.shape, real_images.shape[1:])
    _check_counts(len(real_images), len(fake_images), k)
    real = extract_features(real_images, extractor, batch_size)
    fake = extract_features(fake_images, extractor, batch_size)
    _warn_of_few(min(len(real), len(fake)), real.shape[1])
    return _compare(real, fake, extractor, k)


def model_image_quality(
    model: ResynthesisModel,
    data: ImageData,
    extractor: Any,
    count: int | None = None,
    seed: int = 0,
    k: int = 3,
    batch_size: int = 64,
) -> dict[str, Any]:
    """Computes `image_quality` of a model's reconstructions, mixes and samples.

    The held-out images (test split, or validation split if there is none) are divided into two
    random sets of `count`: references for comparison, and sources to reconstruct and mix. Thus
    reconstructions cannot score well by copying the references. Decoded images are clipped to
    [-1, 1].

    About a thousand images at a time are kept in memory and mixed with each other; of the others,
    only features are kept.

    Args:
        model: a trained `ResynthesisModel` of images.
        data: its `ImageData`.
        extractor: see `image_quality`.
        count: number of images per set; None for half of the held-out images, up to 10,000.
        seed: seed of the sets, mixes and samples. Use the same for all models to be compared.
        k: see `precision_recall`.
        batch_size: number of images that are encoded, decoded or passed to the extractor at a time.

    Returns:
        A dictionary of results, each as in `image_quality`: "sources", the sources themselves,
        which are the best that a model can achieve; "reconstructions"; "mixes", if the model has a
        mixer and each set at least as many images as it combines; and "samples", if the model has a
        prior or a density of codes (`fit_density`). For sets of at most k images, there is no
        "precision" and "recall".

    Raises:
        ValueError: `count` is out of range, or the model's images are not finite; or see
            `image_quality`.

    Warns:
        UserWarning: see `image_quality`.
    """
    checks.check_positive_integer("k", k)
    references, sources = _two_sets(data, count, seed)
    fakes = {
        "sources": lambda images, seed: images,
        "reconstructions": lambda images, seed: model.reconstruct(images, batch_size),
    }
    k_mixed = 1 if model.mixer is None else model.mixer.k
    if model.mixer is not None and len(sources) >= k_mixed:
        fakes["mixes"] = lambda images, seed: model.mix(images, seed=seed, batch_size=batch_size)
    if can_sample(model):
        fakes["samples"] = lambda images, seed: model.sample(
            len(images), seed=seed, batch_size=batch_size
        )

    def features_of(indices: np.ndarray, make: Callable, name: str) -> np.ndarray:
        parts = []
        for number, chunk in enumerate(_chunks(indices, k_mixed)):
            images = make(prepared(data.held_out, chunk, data.image_size), seed + number)
            if not np.isfinite(images).all():
                raise ValueError(f"The model's {name} hold NaN or infinite values.")
            parts.append(extract_features(np.clip(images, -1, 1), extractor, batch_size))
        return np.concatenate(parts)

    real = features_of(references, fakes["sources"], "references")
    _warn_of_few(*real.shape)
    return {
        name: _compare(real, features_of(sources, make, name), extractor, k)
        for name, make in fakes.items()
    }


def check_held_out(data: ImageData) -> None:
    """Raises a ValueError unless an `ImageData` has enough held-out images for two sets."""
    if len(data.held_out) < 4:
        raise ValueError(
            "image_quality needs at least 4 held-out images, two in each set; data set "
            f"'{data.name}' has {len(data.held_out)}."
        )


def _chunks(indices: np.ndarray, least: int) -> list[np.ndarray]:
    """Splits the indices into chunks; merges the last one if it has fewer than `least`."""
    starts = list(range(0, len(indices), _CHUNK))
    if len(starts) > 1 and len(indices) - starts[-1] < least:
        starts.pop()
    return np.split(indices, starts[1:])


def _compare(real: np.ndarray, fake: np.ndarray, extractor: Any, k: int) -> dict[str, Any]:
    """Computes the result of `image_quality` from features."""
    enough = min(len(real), len(fake)) > k
    return {
        "fid": frechet_distance(real, fake),
        **(precision_recall(real, fake, k) if enough else {}),
        "extractor": extractor.name,
        "features": real.shape[1],
        "real_images": len(real),
        "fake_images": len(fake),
    }


def _warn_of_few(count: int, size: int) -> None:
    if count <= size:
        warnings.warn(
            f"{count} images are few for {size} features: the Frechet distance is biased upward, "
            "and comparable only between sets of the same size.",
            stacklevel=3,
        )


def _two_sets(data: ImageData, count: int | None, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draws the indices of two disjoint random sets of `count` held-out images."""
    check_held_out(data)
    largest = len(data.held_out) // 2
    count = min(largest, _MOST) if count is None else count
    checks.check_positive_integer("count", count)
    if not 2 <= count <= largest:
        raise ValueError(
            f"count must lie in 2 to {largest}, half of the held-out images; got {count}."
        )
    chosen = np.random.default_rng(seed).permutation(len(data.held_out))[: 2 * count]
    return chosen[:count], chosen[count:]


def _check_counts(real: int, fake: int, k: int) -> None:
    """Raises a ValueError unless both sets have more than k images."""
    checks.check_positive_integer("k", k)
    if min(real, fake) <= k:
        raise ValueError(
            f"Each set must hold at least k + 1 = {k + 1} images; got {real} and {fake}."
        )


def _check_features(features_a: np.ndarray, features_b: np.ndarray) -> list[np.ndarray]:
    """Converts both sets to float64; raises a ValueError unless they can be compared."""
    sets = [np.asarray(features, dtype="float64") for features in (features_a, features_b)]
    shapes = [features.shape for features in sets]
    if any(len(shape) != 2 or not shape[1] for shape in shapes) or shapes[0][1] != shapes[1][1]:
        raise ValueError(
            f"Features must have the shapes (N, D) and (M, D); got {shapes[0]} and {shapes[1]}."
        )
    if min(shapes[0][0], shapes[1][0]) < 2:
        raise ValueError(
            f"Each set must hold at least 2 images; got {shapes[0][0]} and {shapes[1][0]}."
        )
    if not all(np.isfinite(features).all() for features in sets):
        raise ValueError("Features must be finite; they hold NaN or infinite values.")
    checks.check_squares("Features", *sets)
    return sets


def _gaussian(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the mean (D,), and R (at most D, D), for which R^T R is the covariance."""
    mean = features.mean(axis=0)
    return mean, np.linalg.qr(features - mean, mode="r") / np.sqrt(len(features) - 1)


def _share_inside(points: np.ndarray, features: np.ndarray, k: int) -> float:
    """Returns the share of points that lie in the manifold of features."""
    neighbours = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(features)
    # Without an argument, kneighbors does not count a point as its own neighbour.
    radii = neighbours.kneighbors()[0][:, -1]
    radii = radii + _ROUNDING * np.linalg.norm(features, axis=1).max()
    inside = pairwise_distances_chunked(
        points,
        features,
        reduce_func=lambda distances, _: (distances <= radii).any(axis=1),
        working_memory=_WORKING_MEMORY,
    )
    return float(np.concatenate(list(inside)).mean())
