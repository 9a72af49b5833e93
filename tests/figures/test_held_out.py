"""Draws of held-out images."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amr_tf.data import Split
from amr_tf.figures.held_out import draw_groups, draw_labelled_pairs, draw_sample


def numbered(labels):
    """A split in which an image's grey is its number, and the numbers of images."""
    count = len(labels)
    images = np.broadcast_to(np.arange(count, dtype="uint8").reshape(-1, 1, 1, 1), (count, 4, 4, 1))
    return Split(images, np.asarray(labels))


def numbers(images):
    return np.round((images[:, 0, 0, 0] + 1) * 127.5).astype("int").tolist()


def test_groups_are_of_different_images():
    split = numbered(np.zeros(12, "int64"))
    groups = draw_groups(split, 4, groups=4, members=3)
    assert [group.shape for group in groups] == [(4, 4, 4, 1)] * 3
    found = [number for group in groups for number in numbers(group)]
    assert sorted(found) == list(range(12))
    again = draw_groups(split, 4, groups=4, members=3)
    np.testing.assert_array_equal(groups, again)
    assert not np.array_equal(groups, draw_groups(split, 4, groups=4, members=3, seed=1))


def test_groups_of_too_few_images():
    with pytest.raises(ValueError, match="pairs = 7 needs 14 images of the 12 there are"):
        draw_groups(numbered(np.zeros(12, "int64")), 4, groups=7)


@given(labels=st.lists(st.integers(-1, 3), min_size=1, max_size=40), seed=st.integers(0, 99))
def test_pairs_have_known_labels_that_differ(labels, seed):
    split = numbered(np.array(labels))
    known = [label for label in labels if label >= 0]
    if len(set(known)) < 2:
        with pytest.raises(ValueError, match="only 0 were found among"):
            draw_labelled_pairs(split, 4, 1, seed)
        return
    a, b, labels_a, labels_b = draw_labelled_pairs(split, 4, 1, seed)
    assert (labels_a != labels_b).all()
    assert [labels[number] for number in numbers(a) + numbers(b)] == [*labels_a, *labels_b]
    assert min(*labels_a, *labels_b) >= 0


def test_pairs_of_attributes():
    labels = np.random.default_rng(0).integers(0, 2, (30, 3))
    labels[::4, 1] = -1
    split = numbered(labels)
    a, b, labels_a, labels_b = draw_labelled_pairs(split, 4, 8)
    assert labels_a.shape == (8, 3)
    assert (labels_a != labels_b).any(axis=1).all()
    drawn = numbers(a) + numbers(b)
    assert len(set(drawn)) == 16
    np.testing.assert_array_equal(labels[drawn], np.concatenate([labels_a, labels_b]))


def test_pairs_without_labels():
    split = Split(np.zeros((4, 4, 4, 1), "uint8"), None)
    with pytest.raises(ValueError, match="need labelled images; these have no labels"):
        draw_labelled_pairs(split, 4, 1)


def test_samples():
    split = numbered(np.arange(20) % 3)
    images, labels = draw_sample(split, 4, 8)
    assert [number % 3 for number in numbers(images)] == labels.tolist()
    assert len(set(numbers(images))) == 8
    everything, _ = draw_sample(split, 4, 100)
    assert sorted(numbers(everything)) == list(range(20))
    points = Split(np.zeros((5, 2), "float32"), None)
    found, labels = draw_sample(points, None, 3)
    assert found.shape == (3, 2)
    assert labels is None
