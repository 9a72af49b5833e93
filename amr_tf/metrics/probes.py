"""Probes: classifiers that measure how well labels can be predicted from frozen codes.

Each probe is fitted with several settings, of which validation accuracy selects the best. Test
codes are not used for the selection.
"""

import functools
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

Pair: TypeAlias = tuple[np.ndarray, np.ndarray]
"""Codes, and the labels of the same images."""
INVERSE_REGULARISATIONS = (0.01, 0.1, 1.0, 10.0)
NEIGHBOURS = (1, 3, 5, 10, 20, 50)
WEIGHT_DECAYS = (1e-4, 1e-2, 1.0)
_HIDDEN_UNITS = 256


def _for_each_attribute(probe: Callable) -> Callable[..., dict[str, float]]:
    """Extends a probe of classes to attributes: fits it to each and averages the results."""

    @functools.wraps(probe)
    def probe_any(train: Pair, validation: Pair, test: Pair | None = None) -> dict[str, float]:
        if np.ndim(train[1]) == 1:
            return probe(*(_labelled(pair) for pair in (train, validation, test)))
        return _mean_over_attributes(probe, train, validation, test)

    return probe_any


@_for_each_attribute
def linear_probe(train: Pair, validation: Pair, test: Pair | None = None) -> dict[str, float]:
    """Fits a logistic regression to standardised, flattened codes.

    The inverse regularisation strength is selected from `INVERSE_REGULARISATIONS` by validation
    accuracy. Unlabelled examples (-1) are left out.

    Args:
        train: pair of codes (N, ...) and integer labels (N,); or attributes (N, A) in {0, 1}, for
            which results are averaged over one probe per attribute.
        validation: like `train`.
        test: like `train`, or None.

    Returns:
        A dictionary with "inverse_regularisation", "train_accuracy", "validation_accuracy" and, if
        `test` is given, "test_accuracy". Accuracies are from 0 to 1.

    Raises:
        ValueError: no attribute has both values among the training examples.
    """

    def make(strength: float) -> LogisticRegression:
        return LogisticRegression(C=strength, max_iter=2000)

    return _probe(make, "inverse_regularisation", INVERSE_REGULARISATIONS, train, validation, test)


@_for_each_attribute
def knn_probe(train: Pair, validation: Pair, test: Pair | None = None) -> dict[str, float]:
    """Fits a k-nearest-neighbours classifier; otherwise like `linear_probe`.

    The number of neighbours is selected from `NEIGHBOURS` and returned as "neighbours" instead of
    "inverse_regularisation". Distances are Euclidean, between standardised codes.
    """
    counts = [count for count in NEIGHBOURS if count <= len(train[0])]
    return _probe(KNeighborsClassifier, "neighbours", counts, train, validation, test)


@_for_each_attribute
def mlp_probe(train: Pair, validation: Pair, test: Pair | None = None) -> dict[str, float]:
    """Fits an MLP with a hidden layer of 256 ReLUs; otherwise like `linear_probe`.

    Its L2 weight decay is selected from `WEIGHT_DECAYS` and returned as "weight_decay" instead of
    "inverse_regularisation". A tenth of the training examples is held out for early stopping, if
    there are enough.
    """

    stops = _can_hold_out(train[1])

    def make(decay: float) -> MLPClassifier:
        return MLPClassifier(
            (_HIDDEN_UNITS,), alpha=decay, early_stopping=stops, max_iter=100, random_state=0
        )

    return _probe(make, "weight_decay", WEIGHT_DECAYS, train, validation, test)


# The probes that `evaluate` supports.
PROBES = {"linear": linear_probe, "knn": knn_probe, "mlp": mlp_probe}


def _probe(
    make: Callable,
    setting: str,
    values: Iterable[Any],
    train: Pair,
    validation: Pair,
    test: Pair | None,
) -> dict[str, float]:
    """Fits a classifier for each value of its setting and returns the results of the best."""
    fitted = []
    for value in values:
        probe = make_pipeline(StandardScaler(), make(value))
        probe.fit(_flat(train[0]), train[1])
        fitted.append((probe.score(_flat(validation[0]), validation[1]), value, probe))
    accuracy, value, probe = max(fitted, key=lambda entry: entry[0])
    results = {
        setting: value,
        "train_accuracy": float(probe.score(_flat(train[0]), train[1])),
        "validation_accuracy": float(accuracy),
    }
    if test is not None:
        results["test_accuracy"] = float(probe.score(_flat(test[0]), test[1]))
    return results


def _can_hold_out(labels: np.ndarray) -> bool:
    """Returns whether scikit-learn can hold out a tenth of the examples.

    It must hold out at least two examples. For two classes it stratifies the split, which takes at
    least two examples of each class.
    """
    counts = np.unique(labels, return_counts=True)[1]
    return len(labels) > 10 and (len(counts) > 2 or counts.min() > 1)


def _flat(codes: np.ndarray) -> np.ndarray:
    return np.reshape(codes, (len(codes), -1))


def _labelled(pair: Any) -> Any:
    if pair is None:
        return None
    codes, labels = pair
    known = np.asarray(labels) >= 0
    return codes[known], labels[known]


def _mean_over_attributes(probe: Callable, *splits: Any) -> dict[str, float]:
    """Averages a probe's results over the attributes that have both values."""
    results = []
    for attribute in range(splits[0][1].shape[1]):
        columns = [None if pair is None else (pair[0], pair[1][:, attribute]) for pair in splits]
        known = [_labelled(pair) for pair in columns]
        if len(np.unique(known[0][1])) > 1:
            results.append(probe(*known))
    if not results:
        raise ValueError("No attribute has images that have it and images that do not.")
    return {name: float(np.mean([result[name] for result in results])) for name in results[0]}
