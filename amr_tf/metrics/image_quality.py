"""How real and how varied decoded images are: Frechet distance, precision and recall of features.

Figures of different feature extractors cannot be compared, nor can those of different numbers of
images: results carry both.
"""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.metrics import euclidean_distances
from sklearn.neighbors import NearestNeighbors

from amr_tf import checks
from amr_tf.data import ImageData, prepared
from amr_tf.metrics.extractors import extract_features
from amr_tf.models.base import ResynthesisModel

_CHUNK = 1024
_MOST = 10_000  # Images in each set, by default.
_ROUNDING = 1e-7  # Of a distance, as a share of the features' size: it comes of a matrix product.


def frechet_distance(features_a: np.ndarray, features_b: np.ndarray) -> float:
    """The squared Frechet distance of two Gaussians that are fitted to features.

    |m_a - m_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^(1/2)) [Heusel et al. 2017], with unbiased
    covariances S. On features of the Inception network this is FID. The matrix root is neither
    complex nor unstable for singular covariances: with S = R^T R, where R comes from a QR
    decomposition of the centred features, its trace is the sum of the singular values of
    R_a R_b^T.

    With few images the figure is too large: its bias falls only as 1 / N, and N should be several
    times D. Compare figures of the same number of images only.

    Args:
        features_a: (N, D), N at least 2; computed in float64.
        features_b: (M, D), M at least 2.

    Returns:
        A float of at least 0.

    Raises:
        ValueError: the features differ in D, are too few, or not finite.
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
    """Improved precision and recall [Kynkäänniemi et al. 2019, equations 1 and 2].

    A set's manifold is the union of balls around its features, each as large as the distance to
    the k-th nearest other one of the set.

    Args:
        real_features: (N, D), N above k; computed in float64.
        fake_features: (M, D), M above k.
        k: the neighbour that sets the size of a ball; 3 in the paper.

    Returns:
        A dictionary of shares from 0 to 1: "precision", of fake features in the real manifold
        (are they realistic?), and "recall", of real features in the fake manifold (is everything
        covered?).

    Raises:
        ValueError: the features differ in D, are too few for k, or not finite.
    """
    real, fake = _check_features(real_features, fake_features)
    _check_counts(len(real), len(fake), k)
    middle = real.mean(axis=0)  # Distances of centred features lose less to rounding.
    real, fake = real - middle, fake - middle
    return {"precision": _share_inside(fake, real, k), "recall": _share_inside(real, fake, k)}


def image_quality(
    real_images: np.ndarray,
    fake_images: np.ndarray,
    extractor: Any,
    k: int = 3,
    batch_size: int = 64,
) -> dict[str, Any]:
    """Frechet distance, precision and recall between two sets of images.

    Args:
        real_images: float (N, H, W, C) in [-1, 1], N above k.
        fake_images: float (M, H, W, C) in [-1, 1], M above k; clip what a decoder overshoots.
        extractor: a `keras.Model` or another function from images to features (N, D), with a
            `name`: one of `metrics.extractors` or one's own.
        k: see `precision_recall`.
        batch_size: images that the extractor sees at a time.

    Returns:
        A dictionary: "fid", "precision", "recall"; and what they are worthless without:
        "extractor", its name, "features", D, "real_images" and "fake_images", how many. "fid" is
        what the literature calls FID only on the features of the Inception network.

    Raises:
        ValueError: the images differ in shape, are too few, out of range or not finite, or the
            extractor has no name or gives no features (N, D).

    Warns:
        UserWarning: with no more images than features; the Frechet distance is then much too
            large.
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
    """`image_quality` of a model's reconstructions and mixes.

    The held-out images (the test split, or without one the validation split) are cut in two
    random sets of `count`: references to compare with, and sources that are reconstructed and
    mixed. So reconstructions cannot do well by being copies of the references. Decoded images are
    clipped to [-1, 1].

    A thousand images at a time are in memory, and mixed with each other; of the others their
    features are.

    Args:
        model: a trained `ResynthesisModel` of images.
        data: its `ImageData`.
        extractor: see `image_quality`.
        count: images per set; None for half of the held-out images, up to 10,000.
        seed: of the sets and the mixes; the same for every model that is to be compared.
        k: see `precision_recall`.
        batch_size: images encoded, decoded or looked at by the extractor at a time.

    Returns:
        A dictionary like that of `image_quality`: "sources", of the sources themselves, the
        best that a model can do; "reconstructions"; "mixes" where the model has a mixer, and
        each set as many images as it combines; and "samples" where it has a prior or a density of
        codes (`fit_density`). With sets of no more than k images they have no "precision" and
        "recall".

    Raises:
        ValueError: `count` is out of range, the model's images are not finite, or as of
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
    if model.density is not None or model.unit_prior:
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
    """The indices in parts of a thousand; the last one is longer where `least` would not remain."""
    starts = list(range(0, len(indices), _CHUNK))
    if len(starts) > 1 and len(indices) - starts[-1] < least:
        starts.pop()
    return np.split(indices, starts[1:])


def _compare(real: np.ndarray, fake: np.ndarray, extractor: Any, k: int) -> dict[str, Any]:
    """The result of `image_quality` from features."""
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
    """The numbers of two disjoint random sets of held-out images, `count` in each."""
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
    """Raises a ValueError unless there are k other images for each image of both sets."""
    checks.check_positive_integer("k", k)
    if min(real, fake) <= k:
        raise ValueError(
            f"Each set must hold at least k + 1 = {k + 1} images; got {real} and {fake}."
        )


def _check_features(features_a: np.ndarray, features_b: np.ndarray) -> list[np.ndarray]:
    """Both sets in float64; raises a ValueError unless they can be compared."""
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
    """The mean (D,), and R of shape (at most D, D) with R^T R the covariance.

    Both run over chunks of features, of which none is copied as a whole: R is that of a QR
    decomposition of what R was before, the centred chunk, and a row for the change of the mean.
    """
    mean: Any = np.zeros(features.shape[1])
    root: Any = np.zeros((0, features.shape[1]))
    for seen in range(0, len(features), _CHUNK):
        chunk = features[seen : seen + _CHUNK]
        total = seen + len(chunk)
        middle = chunk.mean(axis=0)
        change = np.sqrt(seen * len(chunk) / total) * (middle - mean)
        root = np.linalg.qr(np.concatenate([root, chunk - middle, change[None]]), mode="r")
        mean = mean + len(chunk) / total * (middle - mean)
    return mean, root / np.sqrt(len(features) - 1)


def _share_inside(points: np.ndarray, features: np.ndarray, k: int) -> float:
    """The share of points that lie in the manifold of features."""
    neighbours = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(features)
    # Without an argument, kneighbors does not count a point as its own neighbour.
    radii = neighbours.kneighbors()[0][:, -1]
    radii = radii + _ROUNDING * np.linalg.norm(features, axis=1).max()
    inside = [
        (euclidean_distances(points[start : start + _CHUNK], features) <= radii).any(axis=1)
        for start in range(0, len(points), _CHUNK)
    ]
    return float(np.concatenate(inside).mean())
