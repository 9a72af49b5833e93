"""Splits: disjoint, stratified, deterministic, in the original order."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amr_tf.data.splits import Split, draw_subset, hide_labels, split_off


def numbered(labels=None, count=None):
    """A split whose image number n holds the number n."""
    count = len(labels) if count is None else count
    images = np.arange(count, dtype="uint32").view("uint8").reshape(count, 2, 2, 1)
    return Split(images, None if labels is None else np.asarray(labels, dtype="int64"))


def numbers(split):
    return split.images.reshape(-1).view("uint32").astype("int64")


LABELS = np.random.default_rng(0).choice(4, size=400, p=(0.4, 0.3, 0.2, 0.1))


def test_take_keeps_images_and_labels_together():
    split = numbered(LABELS)
    taken = split.take(np.array([5, 3, 399]))
    assert len(taken) == 3
    assert numbers(taken).tolist() == [5, 3, 399]
    assert taken.labels.tolist() == LABELS[[5, 3, 399]].tolist()
    assert taken.images.dtype == np.uint8


def test_take_of_unlabelled_images_has_no_labels():
    assert numbered(count=5).take(np.array([1, 2])).labels is None


labels_of_any_kind = st.one_of(
    st.none(), st.lists(st.integers(0, 4), min_size=2, max_size=60).map(np.array)
)


@settings(deadline=None, max_examples=60)
@given(
    labels=labels_of_any_kind,
    unlabelled=st.integers(2, 60),
    fraction=st.floats(0.05, 0.95),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_two_parts_are_a_partition_in_the_original_order(labels, unlabelled, fraction, seed):
    split = numbered(labels) if labels is not None else numbered(count=unlabelled)
    count = round(fraction * len(split))
    if not 0 < count < len(split):
        with pytest.raises(ValueError, match="validation_fraction"):
            split_off(split, fraction, seed)
        return
    rest, part = split_off(split, fraction, seed)
    assert len(part) == count
    assert sorted([*numbers(rest), *numbers(part)]) == list(range(len(split)))
    for piece in (rest, part):
        assert (np.diff(numbers(piece)) > 0).all()
        if labels is not None:
            assert piece.labels.tolist() == labels[numbers(piece)].tolist()


@pytest.mark.parametrize("fraction", (0.1, 0.25, 0.5))
def test_the_parts_are_stratified(fraction):
    rest, part = split_off(numbered(LABELS), fraction, seed=3)
    counts = np.bincount(LABELS)
    assert (abs(np.bincount(part.labels) - fraction * counts) < 1).all()
    assert (abs(np.bincount(rest.labels) - (1 - fraction) * counts) < 1).all()


def test_a_subset_is_stratified():
    subset = draw_subset(numbered(LABELS), 100, seed=3)
    assert (abs(np.bincount(subset.labels) - np.bincount(LABELS) / 4) < 1).all()


@settings(deadline=None, max_examples=60)
@given(labels=labels_of_any_kind, data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_a_subset_has_exactly_the_number_asked_for_in_order(labels, data, seed):
    split = numbered(labels) if labels is not None else numbered(count=40)
    count = data.draw(st.integers(1, len(split)))
    subset = draw_subset(split, count, seed)
    assert len(subset) == count
    assert (np.diff(numbers(subset)) > 0).all()
    if labels is not None:
        assert subset.labels.tolist() == labels[numbers(subset)].tolist()


def test_a_subset_of_everything_is_everything():
    split = numbered(LABELS)
    assert draw_subset(split, len(split), seed=0) is split


@pytest.mark.parametrize("labels", (LABELS, None), ids=("labelled", "unlabelled"))
def test_the_seed_decides(labels):
    split = numbered(labels, count=400)
    for cut in (
        lambda seed: numbers(split_off(split, 0.25, seed)[1]).tolist(),
        lambda seed: numbers(draw_subset(split, 100, seed)).tolist(),
    ):
        assert cut(1) == cut(1)
        assert cut(1) != cut(2)


def test_a_class_of_one_image_is_drawn_without_strata():
    rest, part = split_off(numbered([0] * 9 + [1]), 0.2, seed=0)
    assert (len(rest), len(part)) == (8, 2)


def test_fewer_images_than_classes_are_drawn_without_strata():
    assert len(draw_subset(numbered(list(range(10)) * 4), 3, seed=0)) == 3


@pytest.mark.parametrize("fraction", (0, 1, -0.1, 1.5, float("nan")))
def test_a_fraction_out_of_range_is_named(fraction):
    with pytest.raises(ValueError, match=r"^validation_fraction must be above 0 and below 1; got"):
        split_off(numbered(LABELS), fraction, seed=0)


def test_no_images_at_all():
    with pytest.raises(ValueError, match="^The data set is empty: it holds no training images"):
        split_off(numbered(count=0), 0.1, seed=0)


@pytest.mark.parametrize("fraction", (0.01, 0.99))
def test_a_fraction_that_leaves_a_side_empty(fraction):
    message = rf"^validation_fraction = {fraction} of 10 images leaves no image on one side"
    with pytest.raises(ValueError, match=message):
        split_off(numbered(count=10), fraction, seed=0)


@pytest.mark.parametrize("count", (0, -1, 401))
def test_a_subset_out_of_range_is_named(count):
    message = rf"^train_subset must lie in 1 to 400, the number of training images; got {count}\.$"
    with pytest.raises(ValueError, match=message):
        draw_subset(numbered(LABELS), count, seed=0)


def test_take_keeps_factors():
    factors = np.arange(10).reshape(5, 2)
    split = Split(numbered(count=5).images, None, factors)
    taken = split.take(np.array([4, 1]))
    assert taken.factors.tolist() == [[8, 9], [2, 3]]
    assert taken.labels is None
    assert numbered(count=5).take(np.array([1])).factors is None


ATTRIBUTES = np.random.default_rng(1).integers(0, 2, (400, 3))


def test_attributes_are_cut_with_their_images():
    split = Split(numbered(count=400).images, ATTRIBUTES, ATTRIBUTES + 5)
    rest, part = split_off(split, 0.25, seed=0)
    subset = draw_subset(split, 100, seed=0)
    assert (len(rest), len(part), len(subset)) == (300, 100, 100)
    for piece in (rest, part, subset):
        assert (piece.labels == ATTRIBUTES[numbers(piece)]).all()
        assert (piece.factors == piece.labels + 5).all()


@pytest.mark.parametrize("labels", (LABELS, ATTRIBUTES), ids=("classes", "attributes"))
@pytest.mark.parametrize("count", (1, 40, 399))
def test_hidden_labels(labels, count):
    split = Split(numbered(count=400).images, labels, LABELS[:, None])
    hidden = hide_labels(split, count, seed=3)
    kept = (hidden.labels != -1).reshape(400, -1).all(axis=1)
    assert kept.sum() == count
    assert (hidden.labels[kept] == labels[kept]).all()
    assert (hidden.labels[~kept] == -1).all()
    assert hidden.labels.dtype == np.int64
    assert hidden.images is split.images
    assert hidden.factors is split.factors
    assert (labels >= 0).all()
    assert (hide_labels(split, count, seed=3).labels == hidden.labels).all()
    assert (hide_labels(split, count, seed=4).labels != hidden.labels).any()


def test_the_labels_that_stay_are_stratified():
    hidden = hide_labels(numbered(LABELS), 100, seed=3)
    counts = np.bincount(hidden.labels[hidden.labels >= 0])
    assert (abs(counts - np.bincount(LABELS) / 4) < 1).all()


def test_labels_are_hidden_among_those_that_are_known():
    labels = np.where(np.arange(400) % 2, LABELS, -1)
    hidden = hide_labels(numbered(labels), 50, seed=0)
    assert (hidden.labels >= 0).sum() == 50
    assert (hidden.labels[::2] == -1).all()
    with pytest.raises(ValueError, match="^labelled must lie in 1 to 200, .*; got 201"):
        hide_labels(numbered(labels), 201, seed=0)


def test_all_labels_stay():
    split = numbered(LABELS)
    assert hide_labels(split, 400, seed=0) is split


@pytest.mark.parametrize("count", (0, -1, 401))
def test_a_number_of_labels_out_of_range_is_named(count):
    message = rf"^labelled must lie in 1 to 400, the number of labelled .*; got {count}\.$"
    with pytest.raises(ValueError, match=message):
        hide_labels(numbered(LABELS), count, seed=0)


def test_no_labels_to_hide():
    with pytest.raises(ValueError, match="^labelled = 3 needs labels, but the data set has none"):
        hide_labels(numbered(count=5), 3, seed=0)
