"""Mixes under labels: which labels, which images, which marks."""

import numpy as np
import pytest

from amr_tf import AMR, SupervisedAMR, SupervisedBernoulliMixup
from amr_tf.figures.labels import (
    attribute_label_mixes,
    class_label_mixes,
    label_mix_figure,
    label_mixes,
)
from amr_tf.figures.sheet import to_uint8
from tests.figures.test_grids import captions, shown
from tests.models.helpers import ATTRIBUTES, SHAPE, X, Y, make

NAMES = ("male", "makeup", "lipstick")
A, B = slice(0, 2), slice(4, 6)


def supervised(**arguments):
    multi_label = arguments.pop("multi_label", False)
    label_mixer = SupervisedBernoulliMixup(3, condition="parents", seed=1)
    return make(SupervisedAMR, None, label_mixer=label_mixer, multi_label=multi_label, **arguments)


@pytest.fixture(scope="module")
def attributes_model():
    return supervised(multi_label=True)


@pytest.fixture(scope="module")
def classes_model():
    return supervised()


def marks(figure):
    """The filled shares of the squares, in the order drawn."""
    filled = [patch for patch in figure.artists + figure.patches if patch.get_fill()]
    outlines = [patch for patch in figure.artists + figure.patches if not patch.get_fill()]
    assert len(filled) == len(outlines)
    return [float(part.get_height() / whole.get_height()) for part, whole in zip(filled, outlines)]


def test_labels_of_class_mixes():
    mixed = class_label_mixes(np.array([2, 0]), np.array([1, 0]), 3)
    expected = [[[0, 0, 1], [0, 0.5, 0.5], [0, 1, 0]], [[1, 0, 0]] * 3]
    np.testing.assert_array_equal(mixed, expected)


def test_all_combinations_of_attributes():
    mixed = attribute_label_mixes(np.zeros((2, 3), "int64"))
    assert mixed.shape == (2, 8, 3)
    np.testing.assert_array_equal(mixed[0], mixed[1])
    assert len(np.unique(mixed[0], axis=0)) == 8
    assert mixed[0, 0].tolist() == [0, 0, 0]
    assert mixed[0, -1].tolist() == [1, 1, 1]


def test_one_attribute_at_a_time():
    labels = np.array([[1, 0, 0, 1], [0, 0, 0, 0]])
    mixed = attribute_label_mixes(labels)
    assert mixed.shape == (2, 5, 4)
    np.testing.assert_array_equal(mixed[:, 0], labels)
    for column in range(4):
        changed = mixed[:, 1 + column] != labels
        np.testing.assert_array_equal(changed, np.arange(4) == column * np.ones((2, 1)))
    np.testing.assert_array_equal(
        attribute_label_mixes(labels[:, :3], combinations=False).shape, (2, 4, 3)
    )
    assert attribute_label_mixes(labels, combinations=True).shape == (2, 16, 4)


def test_mixes_differ_by_their_label_alone(attributes_model):
    given = X[A], X[B]
    own = [ATTRIBUTES[part].astype("float32") for part in (A, B)]
    mixed = np.repeat(attribute_label_mixes(ATTRIBUTES[A])[:, :1], 3, axis=1)
    images = label_mixes(attributes_model, *given, mixed, *own, seed=3)
    assert images.shape == (2, 3, *SHAPE)
    np.testing.assert_array_equal(images[:, 0], images[:, 2])
    expected = attributes_model.mix_labels(*given, mixed[:, 0], *own, seed=3)
    np.testing.assert_array_equal(images[:, 1], expected)


def test_attributes(attributes_model):
    labels = ATTRIBUTES[A], ATTRIBUTES[B]
    figure = label_mix_figure(attributes_model, X[A], X[B], *labels, NAMES, "Title", seed=2)
    headers = ["parent", *["mix"] * 8, "parent"]
    rows = [text for number in (1, 2) for text in (*NAMES, f"{number}: latent space")]
    assert captions(figure) == ["Title", *headers, *rows]
    cells = np.array(shown(figure), "int").reshape(2, 10, 8, 8)
    np.testing.assert_array_equal(cells[:, 0], to_uint8(X[A])[..., 0])
    np.testing.assert_array_equal(cells[:, -1], to_uint8(X[B])[..., 0])
    wanted = np.tile([1.0, 1.0, 1.0], (2, 1)).astype("float32")
    own = [part.astype("float32") for part in labels]
    mixes = attributes_model.mix_labels(X[A], X[B], wanted, *own, seed=2)
    np.testing.assert_allclose(cells[:, 8], to_uint8(mixes)[..., 0].astype("int"), atol=1)
    # Line by line: an attribute's squares above a pair's images.
    squares = np.array(marks(figure)).reshape(2, 3, 10)
    for pair in range(2):
        np.testing.assert_allclose(squares[pair, :, 0], labels[0][pair])
        np.testing.assert_allclose(squares[pair, :, -1], labels[1][pair])
        np.testing.assert_allclose(squares[pair, :, 1:-1].T, attribute_label_mixes(labels[0])[pair])


def test_classes(classes_model):
    a, b = np.array([0, 2]), np.array([1, 0])
    figure = label_mix_figure({"one": classes_model}, X[A], X[B], a, b, ("zero", "one", "two"))
    headers = ["parent", "mix", "mix", "mix", "parent"]
    assert captions(figure) == [*headers, "zero", "one", "1: one", "two", "zero", "2: one"]
    squares = np.array(marks(figure)).reshape(2, 2, 5)
    np.testing.assert_allclose(squares, [[[1, 1, 0.5, 0, 0], [0, 0, 0.5, 1, 1]]] * 2)
    cells = np.array(shown(figure), "int").reshape(2, 5, 8, 8)
    hot = np.eye(3, dtype="float32")
    halves = classes_model.mix_labels(X[A], X[B], (hot[a] + hot[b]) / 2, hot[a], hot[b], 0)
    np.testing.assert_allclose(cells[:, 2], to_uint8(halves)[..., 0].astype("int"), atol=1)


def test_several_models(classes_model):
    models = {"one": classes_model, "two": classes_model}
    figure = label_mix_figure(models, X[A], X[B], Y[A], Y[B], NAMES)
    assert len(shown(figure)) == 2 * 2 * 5
    assert len(marks(figure)) == 2 * 2 * 5  # Once for both models.
    assert captions(figure)[-2:] == ["2: one", "2: two"]


def test_a_model_without_a_label_mixer(model):
    with pytest.raises(ValueError, match="'latent space' has no label mixer: only models of"):
        label_mix_figure(model, X[A], X[B], Y[A], Y[B], NAMES)
    plain = AMR.convolutional((8, 8, 1), depth=2, mixer=None)
    with pytest.raises(ValueError, match="'mine' has no label mixer"):
        label_mix_figure({"mine": plain}, X[A], X[B], Y[A], Y[B], NAMES)


def test_labels_that_are_wrong(attributes_model, classes_model):
    unknown = ATTRIBUTES[A].copy()
    unknown[0, 1] = -1
    with pytest.raises(ValueError, match="labels_a must be known; it holds -1"):
        label_mix_figure(attributes_model, X[A], X[B], unknown, ATTRIBUTES[B], NAMES)
    with pytest.raises(ValueError, match="labels_b must lie in 0 to 2"):
        label_mix_figure(classes_model, X[A], X[B], Y[A], np.array([0, 3]), NAMES)
    with pytest.raises(ValueError, match="labels_b must have the shape"):
        label_mix_figure(classes_model, X[A], X[B], Y[A], Y[:3], NAMES)
