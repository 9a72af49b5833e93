"""Label consistency, on models whose mixes are known, and its classifier."""

import dataclasses

import keras
import numpy as np
import pytest

from amr_tf import SupervisedBernoulliMixup, losses
from amr_tf.data import ImageData, Split
from amr_tf.metrics.label_mixing import label_consistency, train_classifier
from tests.metrics.conftest import float_images, make_data, random_states

COUNT, COLUMNS = 600, 3


def painted(labels):
    """Images whose first pixels are the labels, from -1 for 0 to 1 for 1."""
    images = np.full((len(labels), 8, 8, 1), -1, "float32")
    images[:, 0, :COLUMNS, 0] = 2 * labels - 1
    return images


def read(images):
    return (images[:, 0, :COLUMNS, 0] + 1) / 2


class Reader:
    """A classifier that reads what is painted."""

    def predict(self, images, verbose=0, batch_size=None):
        return images[:, 0, :COLUMNS, 0]


class Stub:
    """A model that notes what it mixes, and whose mixes bear what `paint` says.

    `paint` is a function of y~ and the parents' labels.
    """

    def __init__(self, paint, multi_label, alphas="example"):
        self.paint = paint
        self.multi_label = multi_label
        self.label_mixer = SupervisedBernoulliMixup(COLUMNS, seed=0, alphas=alphas)
        self.pairs = []

    def label_targets(self, labels):
        return losses.label_targets(labels, COLUMNS, self.multi_label)

    def reconstruct(self, images):
        return images

    def mix_labels(self, images_a, images_b, mixed_labels, labels_a, labels_b, seed):
        self.pairs.append((read(images_a), read(images_b), mixed_labels, labels_a, labels_b))
        return painted(self.paint(mixed_labels, read(images_a), read(images_b)))


def labels_of(multi_label, seed=0):
    generator = np.random.default_rng(seed)
    if multi_label:
        return generator.integers(0, 2, (COUNT, COLUMNS))
    return generator.integers(0, COLUMNS, COUNT)


def split_of(labels):
    shown = labels if labels.ndim == 2 else np.eye(COLUMNS)[np.maximum(labels, 0)]
    images = ((painted(np.maximum(shown, 0)) + 1) * 127.5).astype("uint8")
    return Split(images, labels)


def consistency(paint, multi_label, alphas="example", seed=0):
    model = Stub(paint, multi_label, alphas)
    results = label_consistency(model, Reader(), split_of(labels_of(multi_label)), 8, seed)
    return model, results


def obey(mixed, first, second):
    return mixed


def either(mixed, first, second):
    """One of the parents, by a coin of its own."""
    return np.where(np.random.default_rng(77).random((len(first), 1)) < 0.5, first, second)


def asked(model):
    """What was mixed for "pure" and for "drawn"."""
    one, two = model.pairs
    whole = [np.isin(mixed, (0, 1)).all() for _, _, mixed, _, _ in (one, two)]
    assert sorted(whole) == [False, True]
    return (one, two) if whole[0] else (two, one)


def judged(model):
    first, second = model.pairs[0][:2]
    return first != second if model.multi_label else (first != second).any(axis=1)


@pytest.mark.parametrize(
    ("multi_label", "alphas"), [(False, "example"), (True, "example"), (True, "attribute")]
)
def test_a_model_that_obeys(multi_label, alphas):
    model, results = consistency(obey, multi_label, alphas)
    assert results["drawn"] == 1
    assert results["pure"] == 1
    assert results["chance"] == pytest.approx(0.5, abs=0.08)
    assert results["reconstruction_accuracy"] == 1
    assert results["comparisons"] == judged(model).sum()
    assert 0.3 * judged(model).size < results["comparisons"] < judged(model).size
    if multi_label:
        assert "either_parent" not in results
    else:
        assert results["either_parent"] == 1


@pytest.mark.parametrize(
    "paint",
    [
        either,
        lambda mixed, first, second: first,
        lambda mixed, first, second: second,
    ],
    ids=["either", "first", "second"],
)
@pytest.mark.parametrize("multi_label", [False, True])
def test_a_model_that_ignores_the_label(multi_label, paint):
    _, results = consistency(paint, multi_label)
    for name in ("drawn", "pure", "chance"):
        assert results[name] == pytest.approx(0.5, abs=0.08), name
    if not multi_label:
        assert results["either_parent"] == 1


def test_a_model_that_does_the_contrary():
    _, results = consistency(lambda mixed, first, second: 1 - mixed, True)
    assert results["drawn"] == results["pure"] == 0
    assert results["chance"] == pytest.approx(0.5, abs=0.08)


def test_mixes_of_a_third_class():
    """For three classes what neither parent is: no mix is right, none like a parent."""
    _, results = consistency(lambda mixed, first, second: 1 - np.maximum(first, second), False)
    for name in ("drawn", "pure", "chance", "either_parent"):
        assert results[name] == 0


def test_the_pairs():
    """Each image once on each side, with its own label; y~ within the parents' labels."""
    model, _ = consistency(obey, True)
    pure, drawn = asked(model)
    for first, second, mixed, labels_a, labels_b in (drawn, pure):
        np.testing.assert_array_equal(first, labels_a)
        np.testing.assert_array_equal(second, labels_b)
        low, high = np.minimum(first, second), np.maximum(first, second)
        assert np.all((mixed >= low - 1e-6) & (mixed <= high + 1e-6))
        for side in (first, second):
            np.testing.assert_array_equal(side.sum(axis=0), labels_of(True).sum(axis=0))
    share = (drawn[2] - drawn[1])[drawn[0] != drawn[1]]
    assert len(np.unique(share)) > 100
    whole = (pure[2] == pure[0]).all(axis=1), (pure[2] == pure[1]).all(axis=1)
    assert np.all(whole[0] | whole[1])
    assert not whole[0].all()
    assert not whole[1].all()


def test_attributes_of_their_own_are_drawn_one_by_one():
    model, _ = consistency(obey, True, "attribute")
    first, second, pure = asked(model)[0][:3]
    assert np.all((pure == first) | (pure == second))
    assert not np.all((pure == first).all(axis=1) | (pure == second).all(axis=1))


def test_seeds():
    (one, first), (two, second) = (consistency(either, False) for _ in range(2))
    assert first == second
    np.testing.assert_array_equal(one.pairs[0][2], two.pairs[0][2])
    other, third = consistency(either, False, seed=5)
    assert third != first
    assert not np.array_equal(one.pairs[0][2], other.pairs[0][2])


def test_reconstructions_that_are_misread():
    model = Stub(obey, False)
    model.reconstruct = lambda images: np.roll(images, 1, axis=2)  # Class 0 becomes class 1 ...
    labels = labels_of(False)
    results = label_consistency(model, Reader(), split_of(labels), 8)
    # ... and class 2, out of sight, is read as class 0: nothing is right.
    assert results["reconstruction_accuracy"] == 0


def test_masks_are_not_tied_to_the_labels_that_they_are_judged_by():
    model = Stub(None, True, "attribute")
    mixer = model.label_mixer
    mixer.build((None, COLUMNS))
    for variable in mixer.embedding.weights:
        variable.assign(0 * variable)  # p = 1/2 whatever the label.

    def mix_labels(images_a, images_b, mixed_labels, labels_a, labels_b, seed):
        """Codes are the labels themselves, so a map decodes to its parent's attribute."""
        codes = read(images_a), read(images_b)
        mixed = mixer.mix_pairs(*codes, mixed_labels.astype("float32"), seed=seed)
        return painted(np.asarray(mixed))

    model.mix_labels = mix_labels
    results = label_consistency(model, Reader(), split_of(labels_of(True)), 8)
    assert results["pure"] == pytest.approx(0.5, abs=0.08)
    assert results["drawn"] == pytest.approx(0.5, abs=0.08)


@pytest.mark.parametrize("multi_label", [False, True])
def test_unknown_labels_are_not_judged(multi_label):
    labels = labels_of(multi_label)
    hidden = np.random.default_rng(5).random(labels.shape) < 0.3
    labels = np.where(hidden, -1, labels)
    model = Stub(obey, multi_label)
    results = label_consistency(model, Reader(), split_of(labels), 8)
    first, second, _, labels_a, labels_b = model.pairs[0]
    if multi_label:
        known = (labels_a != 0.5) & (labels_b != 0.5)
        expected = known & (labels_a != labels_b)
    else:
        known = (labels_a.max(axis=1) == 1) & (labels_b.max(axis=1) == 1)
        expected = known & (labels_a != labels_b).any(axis=1)
    assert 0 < expected.sum() < judged(model).sum()
    assert results["comparisons"] == expected.sum()
    assert results["drawn"] == 1
    assert results["reconstruction_accuracy"] == 1


# The classifier.


def test_classifier_of_classes():
    data = make_data()
    classifier = train_classifier(data, epochs=40, batch_size=5)
    assert classifier.output_shape == (None, 3)
    logits = classifier.predict(float_images(data.test), verbose=0)
    accuracy = (logits.argmax(axis=1) == data.test.labels).mean()
    assert accuracy > 0.8
    metrics = classifier.evaluate(
        float_images(data.test), data.test.labels, verbose=0, return_dict=True
    )
    assert metrics["accuracy"] == pytest.approx(accuracy, abs=1e-6)


def test_classifier_of_attributes():
    """Whether the upper and the lower half are bright."""

    def split(count, seed):
        generator = np.random.default_rng(seed)
        labels = generator.integers(0, 2, (count, 2))
        halves = np.repeat(labels, 4, axis=1)[:, :, None, None]
        noise = generator.integers(0, 100, (count, 8, 8, 1))
        return Split((noise + 150 * halves).astype("uint8"), labels)

    data = ImageData(
        "halves", split(60, 0), split(20, 1), None, ("upper", "lower"), 8, multi_label=True
    )
    classifier = train_classifier(data, epochs=40, batch_size=5)
    assert classifier.output_shape == (None, 2)
    images, labels = float_images(data.validation), data.validation.labels
    accuracy = ((classifier.predict(images, verbose=0) > 0) == (labels == 1)).mean()
    assert accuracy > 0.8
    metrics = classifier.evaluate(images, labels, verbose=0, return_dict=True)
    assert metrics["accuracy"] == pytest.approx(accuracy, abs=1e-6)


def test_classifier_needs_labels():
    with pytest.raises(ValueError, match="^A classifier needs labels; data set 'noise' has none.$"):
        train_classifier(make_data(labelled=False))


def test_the_classifier_leaves_the_global_random_state_alone(eager):
    data = make_data()
    states = []
    for trains in (False, True):
        keras.utils.set_random_seed(7)
        if trains:
            train_classifier(data, epochs=1, batch_size=20)
        states.append(random_states())
    assert states[0] == states[1]


def test_the_seed_of_the_classifier(eager):
    data, logits = make_data(), []
    for caller, seed in ((1, 0), (2, 0), (1, 5)):
        keras.utils.set_random_seed(caller)
        classifier = train_classifier(data, epochs=1, batch_size=20, seed=seed)
        logits.append(classifier.predict(float_images(data.test), verbose=0))
    np.testing.assert_array_equal(logits[0], logits[1])
    assert abs(logits[0] - logits[2]).max() > 0.01


def test_a_classifier_of_few_images_is_trained_on_all_of_them():
    data = make_data()
    few = dataclasses.replace(data, train=data.train.take(np.arange(12)))
    classifier = train_classifier(few)
    images, labels = float_images(few.train), few.train.labels
    assert classifier.optimizer.iterations == 400  # One step an epoch.
    assert (classifier.predict(images, verbose=0).argmax(axis=1) == labels).all()


def test_a_classifier_is_not_trained_on_images_without_a_label(eager):
    """Two of three images have none, and the one that is left of a class decides."""
    data = make_data()
    hidden = np.where(np.arange(60) % 2, -1, data.train.labels)
    partly = dataclasses.replace(data, train=Split(data.train.images, hidden))
    labelled = dataclasses.replace(data, train=data.train.take(np.arange(0, 60, 2)))
    one, two = (train_classifier(each, epochs=3, batch_size=10) for each in (partly, labelled))
    for first, second in zip(one.get_weights(), two.get_weights(), strict=True):
        np.testing.assert_array_equal(first, second)


def test_a_classifier_of_partly_unknown_attributes():
    """Unknown attributes neither train it nor count."""
    data = make_data()
    shown = np.stack([data.train.labels > 0, data.train.labels > 1], axis=1).astype("int64")
    unknown = np.random.default_rng(0).random(shown.shape) < 0.4

    def trained(labels):
        changed = Split(data.train.images, labels)
        return train_classifier(
            dataclasses.replace(
                data, train=changed, class_names=("lit", "bright"), multi_label=True
            ),
            epochs=20,
            batch_size=20,
        )

    labels = np.where(unknown, -1, shown)
    labels[unknown.all(axis=1), 0] = shown[unknown.all(axis=1), 0]
    classifier = trained(labels)
    images = float_images(data.train)
    right = (classifier.predict(images, verbose=0) > 0) == (shown == 1)
    assert right.mean() > 0.9
    metrics = classifier.evaluate(images, labels, 16, verbose=0, return_dict=True)
    assert metrics["accuracy"] == pytest.approx(right[labels >= 0].mean(), abs=1e-6)
    assert np.isfinite(metrics["loss"])


def test_no_image_has_a_label():
    data = make_data()
    none = dataclasses.replace(data, train=Split(data.train.images, np.full(60, -1)))
    with pytest.raises(ValueError, match="no training image of data set 'noise' has one.$"):
        train_classifier(none)


def test_nothing_to_compare():
    results = label_consistency(Stub(obey, False), Reader(), split_of(np.full(COUNT, -1)), 8)
    assert results["comparisons"] == 0
    assert {value for name, value in results.items() if name != "comparisons"} == {None}
