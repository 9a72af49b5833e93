"""Disentanglement metrics on fixed arrays of codes and factors: MIG, DCI and SAP.

Codes are (N, ...) and are flattened to (N, D). Factors are integers (N, F), the index of each
factor's value. The examples should be a uniform sample of all combinations of the factors' values.
Metrics that fit classifiers take two pairs (codes, factors): `train` for fitting, and `held_out`,
with other examples, for scoring. All scores are from 0 to 1. Each docstring gives the scores of
chance and of perfect codes.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from scipy.special import entr
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import mutual_info_score
from sklearn.svm import LinearSVC

from amr_tf import checks

Pair: TypeAlias = tuple[np.ndarray, np.ndarray]
"""Codes, and the factors of the same examples."""


def checked(codes: np.ndarray, factors: np.ndarray) -> Pair:
    """Checks codes and factors, and converts them to float64 (N, D) and int64 (N, F).

    Raises:
        ValueError: their numbers differ, codes hold NaN or infinite values, factors are not
            integers, there are fewer than two factors, or a factor has a single value.
    """
    codes, factors = np.asarray(codes, "float64"), np.asarray(factors)
    if not codes.ndim or (len(codes) and not codes.size):
        raise ValueError(f"codes must have the shape (N, ...), not empty; got {codes.shape}.")
    if factors.ndim != 2 or factors.shape[1] < 2 or len(factors) != len(codes):
        raise ValueError(
            f"factors must have the shape ({len(codes)}, F) with two factors or more; got "
            f"{factors.shape}."
        )
    if not np.issubdtype(factors.dtype, np.integer):
        raise ValueError(f"factors must be integers; got {factors.dtype}.")
    if not np.isfinite(codes).all():
        raise ValueError("codes must be finite; they hold NaN or infinite values.")
    checks.check_squares("codes", codes)
    for number, column in enumerate(factors.T):
        if not len(column) or column.min() == column.max():
            raise ValueError(
                f"Each factor must have two values or more; factor {number} of {len(codes)} "
                "examples has not."
            )
    return codes.reshape(len(codes), -1), factors.astype("int64")


def checked_pairs(train: Pair, held_out: Pair) -> tuple[Pair, Pair]:
    """Checks two pairs of codes and factors, and converts each as `checked` does.

    Raises:
        ValueError: see `checked`, or the pairs differ in D or F.
    """
    pairs = checked(*train), checked(*held_out)
    for name, one, other in zip(("codes", "factors"), *pairs):
        if one.shape[1] != other.shape[1]:
            raise ValueError(
                f"{name} of train and held_out must have as many columns; got {one.shape[1]} and "
                f"{other.shape[1]}."
            )
    return pairs


def _two_or_more(codes: np.ndarray) -> np.ndarray:
    """Adds a constant dimension to one-dimensional codes, so that there is a second best."""
    if codes.shape[1] > 1:
        return codes
    return np.concatenate([codes, np.zeros_like(codes)], axis=1)


def mutual_information_gap(codes: np.ndarray, factors: np.ndarray, bins: int = 20) -> float:
    """Computes the mutual information gap (MIG; Chen et al. 2018, section 4.1).

    For each factor, it is the mutual information with the most informative dimension, minus that
    with the second most informative one, divided by the factor's entropy. The score is the mean
    over factors. As in Locatello et al. (2019), each dimension is discretised into `bins` of equal
    width between its smallest and largest value. Nothing is fitted.

    Codes that equal the factors score 1 if no factor has more values than there are bins.
    Otherwise, they score the share of entropy that remains after binning (0.90 for dSprites).

    Args:
        codes: (N, ...).
        factors: integers (N, F).
        bins: number of bins.

    Returns:
        A float from 0 to 1.
    """
    checks.check_positive_integer("bins", bins)
    codes, factors = checked(codes, factors)
    binned = [_binned(column, bins) for column in _two_or_more(codes).T]
    gaps = []
    for factor in factors.T:
        information = [mutual_info_score(factor, column) for column in binned]
        gaps.append(_gap(information) / mutual_info_score(factor, factor))
    return float(np.mean(gaps))


def _binned(column: np.ndarray, bins: int) -> np.ndarray:
    edges = np.histogram_bin_edges(column, bins)
    return np.searchsorted(edges[1:-1], column, side="right")


def _gap(scores: Sequence[float]) -> float:
    second, first = np.sort(scores)[-2:]
    return first - second


def dci(train: Pair, held_out: Pair, classifier: Any = None, seed: int = 0) -> dict[str, float]:
    """Computes disentanglement, completeness and informativeness (Eastwood & Williams 2018).

    A classifier for each factor provides the importance of each dimension. The default is a random
    forest of 50 trees that considers every dimension at each split and has at least 20 examples per
    leaf. Deeper trees would spread importance over dimensions that only fit noise. Gradient
    boosting, used in other studies, takes hours for factors with 40 values.

    Perfect codes score 1 in all three. For codes that are independent of the factors,
    disentanglement and completeness are close to 0, and informativeness is at chance, the mean over
    factors of one over the number of values.

    Args:
        train: pair of codes and factors, for fitting.
        held_out: like `train`, for informativeness.
        classifier: a scikit-learn classifier that has `feature_importances_` when fitted, or None.
        seed: seed of the random forest.

    Returns:
        A dictionary: "disentanglement" is high if each dimension is important for only one factor,
        "completeness" if each factor needs only one dimension; "informativeness" is the mean
        accuracy on held-out examples.
    """
    train, held_out = checked_pairs(train, held_out)
    train_codes, held_out_codes = _two_or_more(train[0]), _two_or_more(held_out[0])
    if classifier is None:
        classifier = RandomForestClassifier(
            50, max_features=None, min_samples_leaf=20, random_state=seed
        )
    importances, accuracies = [], []
    for fitted_to, scored_on in zip(train[1].T, held_out[1].T):
        fitted = clone(classifier).fit(train_codes, fitted_to)
        importances.append(fitted.feature_importances_)
        accuracies.append(fitted.score(held_out_codes, scored_on))
    disentanglement, completeness = concentration(np.stack(importances, axis=1))
    return {
        "disentanglement": disentanglement,
        "completeness": completeness,
        "informativeness": float(np.mean(accuracies)),
    }


def concentration(importances: np.ndarray) -> tuple[float, float]:
    """Computes disentanglement and completeness from importances (D, F).

    Disentanglement is 1 minus the normalised entropy of the distribution of a dimension's
    importance over factors; completeness is the same for a factor's over dimensions. Both are
    averaged with the importances as weights, and are 0 if all importances are 0.

    Raises:
        ValueError: there are fewer than two dimensions or factors, or an importance is negative or
            not finite.
    """
    importances = np.asarray(importances, "float64")
    if importances.ndim != 2 or min(importances.shape) < 2:
        raise ValueError(
            f"importances must have the shape (D, F), both at least 2; got {importances.shape}."
        )
    if not np.isfinite(importances).all() or importances.min() < 0:
        raise ValueError("importances must be finite numbers of at least 0.")
    return _concentration(importances), _concentration(importances.T)


def _concentration(importances: np.ndarray) -> float:
    totals = importances.sum(axis=1)
    used = totals > 0
    if not used.any():
        return 0.0
    shares = importances[used] / totals[used, None]
    concentrated = 1 - entr(shares).sum(axis=1) / np.log(importances.shape[1])
    return float(np.average(concentrated, weights=totals[used]))


def sap(train: Pair, held_out: Pair, seed: int = 0) -> float:
    """Computes the separated attribute predictability (SAP; Kumar et al. 2018, section 3).

    For each factor, it is the accuracy of the dimension that best predicts the factor, minus that
    of the second best. The score is the mean over factors. The classifiers are balanced linear
    support vector machines (C = 0.01, as in Locatello et al. 2019) on one standardised dimension,
    with the factor's values as classes.

    Perfect codes score less than 1. A one-against-rest linear classifier of a single number finds
    only the values at both ends of its range. It finds both values of a two-valued factor, but
    then chance is already one half. Perfect codes score 0.5 for two-valued factors, and 0.25 for
    those of dSprites.

    Args:
        train: pair of codes and factors, for fitting.
        held_out: like `train`, for the accuracies.
        seed: seed of the classifiers.

    Returns:
        A float from 0 to 1.
    """
    train, held_out = checked_pairs(train, held_out)
    mean, deviation = train[0].mean(axis=0), train[0].std(axis=0)
    deviation = np.where(deviation > 0, deviation, 1.0)
    scaled = [_two_or_more((codes - mean) / deviation) for codes in (train[0], held_out[0])]
    gaps = []
    for fitted_to, scored_on in zip(train[1].T, held_out[1].T):
        accuracies = []
        for fitted, scored in zip(*(codes.T[:, :, None] for codes in scaled)):
            classifier = LinearSVC(C=0.01, class_weight="balanced", random_state=seed)
            accuracies.append(classifier.fit(fitted, fitted_to).score(scored, scored_on))
        gaps.append(_gap(accuracies))
    return float(np.mean(gaps))
