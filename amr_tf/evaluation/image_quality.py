"""How real and how varied decoded images are: Frechet distance, precision and recall of features.

Figures of different feature extractors cannot be compared, nor can those of different numbers of
images: results carry both.
"""

import warnings

import numpy as np
from sklearn.metrics import euclidean_distances
from sklearn.neighbors import NearestNeighbors

from amr_tf import checks
from amr_tf.data import prepared
from amr_tf.evaluation.extractors import extract_features

_CHUNK = 1024
_ROUNDING = 1e-7  # Of a distance, as a share of the features' size: it comes of a matrix product.


def frechet_distance(features_a, features_b):
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
    shift = features_a.mean(axis=0) - features_b.mean(axis=0)
    root_a, root_b = _covariance_root(features_a), _covariance_root(features_b)
    common = np.linalg.svd(root_a @ root_b.T, compute_uv=False).sum()
    distance = shift @ shift + (root_a**2).sum() + (root_b**2).sum() - 2 * common
    return max(float(distance), 0.0)


def precision_recall(real_features, fake_features, k=3):
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


def image_quality(real_images, fake_images, extractor, k=3, batch_size=64):
    """Frechet distance, precision and recall between two sets of images.

    Args:
        real_images: float (N, H, W, C) in [-1, 1], N above k.
        fake_images: float (M, H, W, C) in [-1, 1], M above k; clip what a decoder overshoots.
        extractor: a `keras.Model` or another function from images to features (N, D), with a
            `name`: one of `evaluation.extractors` or one's own.
        k: as of `precision_recall`.
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


def model_image_quality(model, data, extractor, count=None, seed=0, k=3, batch_size=64):
    """`image_quality` of a model's reconstructions and mixes.

    The held-out images (the test split, or without one the validation split) are cut in two
    random sets of `count`: references to compare with, and sources that are reconstructed and
    mixed. So reconstructions cannot do well by being copies of the references. Decoded images are
    clipped to [-1, 1].

    Args:
        model: a trained `ResynthesisModel` of images.
        data: its `ImageData`.
        extractor: as of `image_quality`.
        count: images per set; None for half of the held-out images.
        seed: of the sets and the mixes; the same for every model that is to be compared.
        k: as of `precision_recall`.
        batch_size: images encoded, decoded or looked at by the extractor at a time.

    Returns:
        A dictionary of results as of `image_quality`: "sources", of the sources themselves, the
        best that a model can do; "reconstructions"; "mixes" where the model has a mixer; and
        "samples" where it has a prior or a density of codes (`fit_density`).

    Raises:
        ValueError: `count` is out of range, the model's images are not finite, or as of
            `image_quality`.

    Warns:
        UserWarning: as of `image_quality`.
    """
    references, sources = _two_sets(data, count, seed)
    _check_counts(len(references), len(sources), k)
    fakes = {"sources": sources, "reconstructions": model.reconstruct(sources, batch_size)}
    if model.mixer is not None:
        fakes["mixes"] = model.mix(sources, seed=seed, batch_size=batch_size)
    if model.density is not None or model.unit_prior:
        fakes["samples"] = model.sample(len(sources), seed=seed, batch_size=batch_size)
    real = extract_features(references, extractor, batch_size)
    _warn_of_few(*real.shape)
    results = {}
    for name, images in fakes.items():
        if not np.isfinite(images).all():
            raise ValueError(f"The model's {name} hold NaN or infinite values.")
        features = extract_features(np.clip(images, -1, 1), extractor, batch_size)
        results[name] = _compare(real, features, extractor, k)
    return results


def _compare(real, fake, extractor, k):
    """The result of `image_quality` from features."""
    shares = precision_recall(real, fake, k)
    return {
        "fid": frechet_distance(real, fake),
        **shares,
        "extractor": extractor.name,
        "features": real.shape[1],
        "real_images": len(real),
        "fake_images": len(fake),
    }


def _warn_of_few(count, size):
    if count <= size:
        warnings.warn(
            f"{count} images are few for {size} features: the Frechet distance is biased upward, "
            "and comparable only between sets of the same size.",
            stacklevel=3,
        )


def _two_sets(data, count, seed):
    """Two disjoint random sets of held-out images, each float32 (count, H, W, C) in [-1, 1]."""
    largest = len(data.held_out) // 2
    count = largest if count is None else count
    checks.check_positive_integer("count", count)
    if count > largest:
        raise ValueError(
            f"count must lie in 1 to {largest}, half of the held-out images; got {count}."
        )
    chosen = np.random.default_rng(seed).permutation(len(data.held_out))[: 2 * count]
    images = prepared(data.held_out, chosen, data.image_size)
    return images[:count], images[count:]


def _check_counts(real, fake, k):
    """Raises a ValueError unless there are k other images for each image of both sets."""
    checks.check_positive_integer("k", k)
    if min(real, fake) <= k:
        raise ValueError(
            f"Each set must hold at least k + 1 = {k + 1} images; got {real} and {fake}."
        )


def _check_features(features_a, features_b):
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


def _covariance_root(features):
    """R of shape (min(N, D), D) with R^T R the covariance."""
    centred = (features - features.mean(axis=0)) / np.sqrt(len(features) - 1)
    return np.linalg.qr(centred, mode="r")


def _share_inside(points, features, k):
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
