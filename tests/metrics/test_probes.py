"""The probes: what they choose, and on what."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from amr_tf.metrics.probes import (
    INVERSE_REGULARISATIONS,
    NEIGHBOURS,
    PROBES,
    WEIGHT_DECAYS,
    knn_probe,
    linear_probe,
    mlp_probe,
)


def blobs(count, seed, spread=1.0, classes=3):
    """Codes (count, 2, 2, 3) around one point per class, and their labels."""
    centres = 2.0 * np.random.default_rng(99).normal(size=(classes, 2, 2, 3))
    labels = np.arange(count) % classes
    noise = np.random.default_rng(seed).normal(size=(count, 2, 2, 3))
    return (centres[labels] + spread * noise).astype("float32"), labels


def scores(train, other):
    """The accuracy on `other` for each strength, computed step by step."""
    codes, labels = train[0].reshape(len(train[0]), -1), train[1]
    mean, std = codes.mean(axis=0), codes.std(axis=0)
    others = (other[0].reshape(len(other[0]), -1) - mean) / std
    accuracies = []
    for strength in INVERSE_REGULARISATIONS:
        probe = LogisticRegression(C=strength, max_iter=2000).fit((codes - mean) / std, labels)
        accuracies.append(float((probe.predict(others) == other[1]).mean()))
    return accuracies


def test_blobs_that_lie_apart_are_told_apart():
    results = linear_probe(blobs(90, 0, 0.1), blobs(30, 1, 0.1), blobs(30, 2, 0.1))
    assert results["train_accuracy"] == 1.0
    assert results["validation_accuracy"] == 1.0
    assert results["test_accuracy"] == 1.0


def test_labels_that_have_nothing_to_do_with_the_codes():
    codes, _ = blobs(600, 0)
    labels = np.random.default_rng(1).integers(0, 3, 600)
    pairs = [(codes[part], labels[part]) for part in (slice(200), slice(200, 400), slice(400, 600))]
    results = linear_probe(*pairs)
    assert 0.2 < results["test_accuracy"] < 0.47


@pytest.mark.parametrize("seed", (0, 10, 20))
def test_the_strength_is_the_best_on_the_validation_codes(seed):
    train, validation, test = (blobs(count, seed + i, 4.0) for i, count in enumerate((40, 60, 60)))
    results = linear_probe(train, validation, test)
    accuracies = scores(train, validation)
    best = int(np.argmax(accuracies))  # The strongest regularisation of equally good ones.
    assert results["inverse_regularisation"] == INVERSE_REGULARISATIONS[best]
    assert results["validation_accuracy"] == pytest.approx(accuracies[best])
    assert results["train_accuracy"] == pytest.approx(scores(train, train)[best])
    assert results["test_accuracy"] == pytest.approx(scores(train, test)[best])


def test_these_seeds_do_choose():
    """The test above would pass without a choice if all strengths were equally good."""
    chosen = set()
    for seed in (0, 10, 20):
        accuracies = scores(blobs(40, seed, 4.0), blobs(60, seed + 1, 4.0))
        assert len(set(accuracies)) > 1
        chosen.add(int(np.argmax(accuracies)))
    assert len(chosen) > 1


def test_test_codes_play_no_part_in_the_choice():
    train, validation = blobs(40, 0, 4.0), blobs(60, 1, 4.0)
    without = linear_probe(train, validation)
    assert set(without) == {"inverse_regularisation", "train_accuracy", "validation_accuracy"}
    for seed in (2, 3):
        results = linear_probe(train, validation, blobs(60, seed, 4.0))
        assert 0 <= results.pop("test_accuracy") <= 1
        assert results == without


def test_the_scale_of_the_codes_does_not_matter():
    pairs = [blobs(count, seed, 3.0) for seed, count in enumerate((60, 60, 60))]
    scales = 10.0 ** np.arange(-6, 6).reshape(2, 2, 3)
    scaled = [(codes.astype("float64") * scales, labels) for codes, labels in pairs]
    assert linear_probe(*scaled) == pytest.approx(linear_probe(*pairs), abs=1e-6)


def test_vector_codes():
    pairs = [
        (codes.reshape(len(codes), -1), labels) for codes, labels in (blobs(60, 0), blobs(9, 1))
    ]
    assert linear_probe(*pairs) == linear_probe(blobs(60, 0), blobs(9, 1))


# Attributes, and labels that are not known.


def attributes(count, seed):
    """Codes and two attributes, the first easy to read off and the second noise."""
    codes, labels = blobs(count, seed, 0.3, classes=2)
    noise = np.random.default_rng(seed + 100).integers(0, 2, count)
    return codes, np.stack([labels, noise], axis=1)


def column(pair, number):
    return pair[0], pair[1][:, number]


def test_attributes_are_probed_one_by_one():
    pairs = [attributes(80, seed) for seed in range(3)]
    results = linear_probe(*pairs)
    singles = [linear_probe(*(column(pair, number) for pair in pairs)) for number in range(2)]
    assert set(results) == set(singles[0])
    for name, value in results.items():
        assert value == pytest.approx(np.mean([single[name] for single in singles]))
    assert singles[0]["test_accuracy"] > 0.95
    assert singles[1]["test_accuracy"] < 0.75
    assert "test_accuracy" not in linear_probe(*pairs[:2])


def test_an_attribute_that_all_have_is_left_out():
    pairs = [attributes(80, seed) for seed in range(3)]
    expected = linear_probe(*(column(pair, 0) for pair in pairs))
    for _, labels in pairs:
        labels[:, 1] = 1
    assert linear_probe(*pairs) == pytest.approx(expected)
    for _, labels in pairs:
        labels[:, 0] = -1
    with pytest.raises(ValueError, match="^No attribute has images that have it and images that"):
        linear_probe(*pairs)


def test_unlabelled_examples_are_left_out():
    pairs = [blobs(count, seed, 3.0) for seed, count in enumerate((60, 60, 60))]
    expected = linear_probe(*pairs)
    with_more = []
    for codes, labels in pairs:
        unlabelled = np.random.default_rng(9).normal(size=(20, 2, 2, 3)).astype("float32")
        order = np.random.default_rng(3).permutation(80)
        codes = np.concatenate([codes, 50 * unlabelled])[order]
        with_more.append((codes, np.concatenate([labels, np.full(20, -1)])[order]))
    assert linear_probe(*with_more) == pytest.approx(expected, abs=1e-6)


def test_unknown_attributes_are_left_out():
    """Each attribute has examples of its own."""
    pairs = [attributes(80, seed) for seed in range(3)]
    expected = []
    for number in range(2):
        known = [np.arange(80) % 4 != number for _ in pairs]
        expected.append(
            linear_probe(
                *((pair[0][rows], pair[1][rows, number]) for pair, rows in zip(pairs, known))
            )
        )
    for _, labels in pairs:
        for number in range(2):
            labels[np.arange(80) % 4 == number, number] = -1
    results = linear_probe(*pairs)
    for name, value in results.items():
        assert value == pytest.approx(np.mean([one[name] for one in expected]), abs=1e-6)


# The k nearest neighbours and the MLP.

SETTINGS = {
    "linear": ("inverse_regularisation", INVERSE_REGULARISATIONS),
    "knn": ("neighbours", NEIGHBOURS),
    "mlp": ("weight_decay", WEIGHT_DECAYS),
}


@pytest.mark.parametrize("name", PROBES)
def test_every_probe(name):
    setting, values = SETTINGS[name]
    pairs = [blobs(count, seed, 0.3) for seed, count in enumerate((120, 60, 60))]
    results = PROBES[name](*pairs)
    assert set(results) == {setting, "train_accuracy", "validation_accuracy", "test_accuracy"}
    assert results[setting] in values
    assert results["test_accuracy"] > 0.95
    without = PROBES[name](*pairs[:2])
    assert without == {key: value for key, value in results.items() if key != "test_accuracy"}


@pytest.mark.parametrize("name", PROBES)
def test_every_probe_on_attributes(name):
    pairs = [attributes(80, seed) for seed in range(3)]
    singles = [PROBES[name](*(column(pair, number) for pair in pairs)) for number in range(2)]
    expected = np.mean([single["test_accuracy"] for single in singles])
    assert PROBES[name](*pairs)["test_accuracy"] == pytest.approx(expected)


def ring(count, seed):
    """Two classes that no line tells apart: inside and outside of a circle."""
    codes = np.random.default_rng(seed).normal(size=(count, 2))
    return codes, (np.linalg.norm(codes, axis=1) > 1.18).astype("int64")


@pytest.mark.parametrize("name", ("knn", "mlp"))
def test_what_a_linear_probe_cannot_see(name):
    pairs = [ring(400, seed) for seed in range(3)]
    assert linear_probe(*pairs)["test_accuracy"] < 0.65
    assert PROBES[name](*pairs)["test_accuracy"] > 0.85


def test_the_neighbours_are_those_that_are_best_on_the_validation_codes():
    """Computed step by step, with ties as scikit-learn breaks them: none, for odd numbers."""
    train, validation = blobs(60, 0, 5.0, classes=2), blobs(80, 1, 5.0, classes=2)
    flat = train[0].reshape(60, -1)
    standard = (flat - flat.mean(axis=0)) / flat.std(axis=0)
    others = (validation[0].reshape(80, -1) - flat.mean(axis=0)) / flat.std(axis=0)
    order = np.linalg.norm(others[:, None] - standard[None], axis=-1).argsort(axis=1)
    accuracy = {
        k: ((train[1][order[:, :k]].mean(axis=1) > 0.5) == validation[1]).mean() for k in (1, 3, 5)
    }
    results = knn_probe(train, validation)
    assert results["validation_accuracy"] >= max(accuracy.values()) - 1e-9
    if results["neighbours"] in accuracy:
        assert results["validation_accuracy"] == pytest.approx(accuracy[results["neighbours"]])


def test_fewer_training_codes_than_neighbours():
    results = knn_probe(blobs(4, 0, 0.1, classes=2), blobs(9, 1, 0.1, classes=2))
    assert results["neighbours"] in (1, 3)
    labelled = blobs(4, 0, 0.1, classes=2)
    unlabelled = np.concatenate([labelled[0], labelled[0]]), np.append(labelled[1], [-1] * 4)
    assert knn_probe(unlabelled, blobs(9, 1, 0.1, classes=2)) == results


def test_fewer_known_labels_of_an_attribute_than_neighbours():
    """Each attribute's probe has the images whose attribute is known, and no more neighbours."""
    pairs = [attributes(80, seed) for seed in range(2)]
    pairs[0][1][4:, 0] = -1
    few, many = (knn_probe(*(column(pair, number) for pair in pairs)) for number in range(2))
    assert few["neighbours"] in (1, 3)
    assert knn_probe(*pairs)["neighbours"] == (few["neighbours"] + many["neighbours"]) / 2


@pytest.mark.parametrize(("classes", "count"), [(2, 10), (3, 10), (2, 40)])
def test_the_mlp_probe_of_few_labels(classes, count):
    """scikit-learn cannot hold out a tenth of ten, or a single example of one of two classes."""
    codes, labels = blobs(count, 0, 0.1, classes=classes)
    if count == 40:
        labels = np.where(np.arange(count) == 1, 1, 0)  # The class of a single example.
    results = mlp_probe((codes, labels), blobs(9, 1, 0.1, classes=classes))
    assert results["train_accuracy"] >= 0.9


def test_the_mlp_probe_is_the_same_twice():
    pairs = [blobs(60, seed, 3.0) for seed in range(2)]
    assert mlp_probe(*pairs) == mlp_probe(*pairs)
