"""Probes: how well simple classifiers read the labels off frozen codes."""

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

INVERSE_REGULARISATIONS = (0.01, 0.1, 1.0, 10.0)


def linear_probe(train, validation, test=None):
    """Logistic regression on standardised, flattened codes.

    The inverse regularisation strength is the one of `INVERSE_REGULARISATIONS` with the best
    validation accuracy; test codes play no part in the choice. Unlabelled examples (-1) are left
    out.

    Args:
        train: pair of codes (N, ...) and integer labels (N,), or attributes (N, A) of 0 and 1:
            each attribute then has a probe, and the figures are means over these.
        validation: likewise.
        test: likewise, or None.

    Returns:
        A dictionary with "inverse_regularisation", "train_accuracy", "validation_accuracy" and,
        given `test`, "test_accuracy"; accuracies lie in 0 to 1.

    Raises:
        ValueError: no attribute has images that have it and images that do not.
    """
    if np.ndim(train[1]) == 2:
        return _mean_over_attributes(train, validation, test)
    train, validation, test = (_labelled(pair) for pair in (train, validation, test))
    fitted = []
    for strength in INVERSE_REGULARISATIONS:
        probe = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=2000))
        probe.fit(_flat(train[0]), train[1])
        fitted.append((probe.score(_flat(validation[0]), validation[1]), strength, probe))
    accuracy, strength, probe = max(fitted, key=lambda entry: entry[0])
    results = {
        "inverse_regularisation": strength,
        "train_accuracy": float(probe.score(_flat(train[0]), train[1])),
        "validation_accuracy": float(accuracy),
    }
    if test is not None:
        results["test_accuracy"] = float(probe.score(_flat(test[0]), test[1]))
    return results


def _flat(codes):
    return np.reshape(codes, (len(codes), -1))


def _labelled(pair):
    if pair is None:
        return None
    codes, labels = pair
    known = np.asarray(labels) >= 0
    return codes[known], labels[known]


def _mean_over_attributes(*splits):
    results = []
    for attribute in range(splits[0][1].shape[1]):
        columns = [None if pair is None else (pair[0], pair[1][:, attribute]) for pair in splits]
        if len(np.unique(_labelled(columns[0])[1])) > 1:
            results.append(linear_probe(*columns))
    if not results:
        raise ValueError("No attribute has images that have it and images that do not.")
    return {name: float(np.mean([result[name] for result in results])) for name in results[0]}
