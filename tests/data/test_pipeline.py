"""The pipeline: values, order, and streams that go on where they were left."""

import numpy as np
import pytest
import tensorflow as tf

from amr_tf.data.lazy import LazyImages
from amr_tf.data.pipeline import (
    evaluation_batches,
    preprocess,
    steps_per_epoch,
    training_batches,
)
from amr_tf.data.splits import Split


def numbered(count, labelled=True):
    """A split whose image and label number n are n."""
    images = np.full((count, 4, 4, 1), 0, dtype="uint8")
    images += np.arange(count, dtype="uint8").reshape(-1, 1, 1, 1)
    return Split(images, np.arange(count) if labelled else None)


def take(split, count, **kwargs):
    """The labels of the first batches of a stream, (count, batch_size)."""
    batches = training_batches(split, 4, 4, **kwargs).take(count)
    return np.stack([labels.numpy() for _, labels in batches])


def test_all_values_are_scaled_to_minus_one_to_one():
    images = np.arange(256, dtype="uint8").reshape(1, 16, 16, 1)
    scaled = preprocess(images, 16)
    assert scaled.dtype == tf.float32
    assert scaled.numpy().min() == -1.0
    assert scaled.numpy().max() == 1.0
    np.testing.assert_allclose(scaled.numpy().ravel(), np.linspace(-1, 1, 256), atol=1e-6)


def test_images_of_another_size_are_resized():
    images = np.random.default_rng(0).integers(0, 256, (3, 28, 28, 1), dtype="uint8")
    resized = preprocess(images, 32)
    assert resized.shape == (3, 32, 32, 1)
    assert resized.dtype == tf.float32
    expected = tf.image.resize(images, (32, 32), method="bilinear").numpy() / 127.5 - 1
    np.testing.assert_allclose(resized, expected, atol=1e-5)


@pytest.mark.parametrize("size", (8, 32))
def test_resizing_keeps_the_range(size):
    images = np.random.default_rng(0).choice([0, 255], (4, 28, 28, 3)).astype("uint8")
    resized = preprocess(images, size).numpy()
    assert resized.shape == (4, size, size, 3)
    assert abs(resized).max() <= 1.0


def test_labels_follow_their_images():
    split = numbered(40)
    for images, labels in training_batches(split, 8, 8, seed=1).take(10):
        assert images.shape == (8, 8, 8, 1)
        shown = np.round((images[:, 0, 0, 0].numpy() + 1) * 127.5)
        assert shown.tolist() == labels.numpy().tolist()


def test_an_epoch_is_a_permutation_and_each_is_another():
    epochs = take(numbered(40), 30).reshape(3, 40)
    for epoch in epochs:
        assert sorted(epoch) == list(range(40))
        assert epoch.tolist() != list(range(40))
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_the_images_left_over_differ_between_epochs():
    split = numbered(42)
    assert steps_per_epoch(split, 4) == 10
    epochs = take(split, 100).reshape(10, 40)
    left_over = {frozenset(range(42)) - frozenset(epoch.tolist()) for epoch in epochs}
    assert all(len(numbers) == 2 for numbers in left_over)
    assert len(left_over) > 1


def test_the_seed_decides():
    split = numbered(40)
    assert (take(split, 20, seed=1) == take(split, 20, seed=1)).all()
    assert (take(split, 20, seed=1) != take(split, 20, seed=2)).any()


def test_the_largest_seed_is_fine():
    assert sorted(take(numbered(40), 10, seed=2**32 - 1).ravel()) == list(range(40))


@pytest.mark.parametrize("first_step", (1, 9, 10, 11, 25, 1000))
def test_a_stream_goes_on_where_it_was_left(first_step):
    split = numbered(42)
    whole = take(split, first_step + 15, seed=5)
    assert (take(split, 15, seed=5, first_step=first_step) == whole[first_step:]).all()


def test_a_stream_does_not_end():
    assert len(take(numbered(8), 50)) == 50


def test_images_without_labels():
    batches = list(training_batches(numbered(10, labelled=False), 4, 4).take(2))
    assert all(isinstance(images, tf.Tensor) and images.shape == (4, 4, 4, 1) for images in batches)
    labelled = take(numbered(10), 2)
    shown = [np.round((images[:, 0, 0, 0].numpy() + 1) * 127.5) for images in batches]
    assert (np.stack(shown) == labelled).all()


@pytest.mark.parametrize("make", (steps_per_epoch, lambda *args: training_batches(*args, 4)))
def test_a_batch_larger_than_the_data_is_named(make):
    with pytest.raises(ValueError, match=r"^batch_size = 11 is more than the 10 training images"):
        make(numbered(10), 11)


def test_a_batch_as_large_as_the_data():
    split = numbered(10)
    assert steps_per_epoch(split, 10) == 1
    images, labels = next(iter(training_batches(split, 10, 4)))
    assert len(images) == 10
    assert sorted(labels.numpy()) == list(range(10))


@pytest.mark.parametrize("batch_size", (1, 4, 5, 10, 64))
def test_evaluation_covers_everything_once_in_order(batch_size):
    split = numbered(10)
    batches = list(evaluation_batches(split, batch_size, 4))
    sizes = [len(images) for images, _ in batches]
    assert sum(sizes) == 10
    assert set(sizes[:-1]) <= {batch_size}
    assert np.concatenate([labels for _, labels in batches]).tolist() == list(range(10))
    images = np.concatenate([images for images, _ in batches])
    np.testing.assert_array_equal(images, preprocess(split.images, 4))


def test_evaluation_without_labels():
    batches = list(evaluation_batches(numbered(10, labelled=False), 4, 8))
    assert [images.shape for images in batches] == [(4, 8, 8, 1), (4, 8, 8, 1), (2, 8, 8, 1)]


def test_points_pass_through():
    points = np.random.default_rng(0).uniform(-1, 1, (10, 2))
    passed = preprocess(points, None)
    assert passed.dtype == tf.float32
    np.testing.assert_array_equal(passed, points.astype("float32"))
    split = Split(points.astype("float32"), None)
    batches = list(evaluation_batches(split, 4, None))
    assert [batch.shape for batch in batches] == [(4, 2), (4, 2), (2, 2)]
    np.testing.assert_array_equal(np.concatenate(batches), split.images)
    batch = next(iter(training_batches(split, 4, None)))
    assert batch.shape == (4, 2)
    assert {tuple(point) for point in batch.numpy()} < {tuple(point) for point in split.images}


@pytest.mark.parametrize("dtype", ["int32", "uint8", "bool"])
def test_labels_of_other_integers(dtype):
    split = Split(numbered(10).images, (np.arange(10) % 2).astype(dtype))
    _, labels = next(iter(evaluation_batches(split, 10, 4)))
    assert (labels.dtype, labels.numpy().tolist()) == ("int64", [0, 1] * 5)


def test_attributes_come_as_they_are():
    labels = np.stack([np.arange(10) % 2, np.full(10, -1)], axis=1)
    split = Split(numbered(10).images, labels)
    for images, attributes in training_batches(split, 5, 4).take(4):
        shown = np.round((images[:, 0, 0, 0].numpy() + 1) * 127.5).astype(int)
        assert (attributes.numpy() == labels[shown]).all()


def lazily(split, rendered):
    """The same images, made when they are asked for; how many is appended to `rendered`."""

    def render(numbers):
        rendered.append(len(numbers))
        return split.images[numbers]

    lazy = LazyImages(render, np.arange(len(split)), split.images.shape[1:])
    return Split(lazy, split.labels)


def test_lazy_images_are_trained_on_in_the_same_order():
    whole, rendered = numbered(42), []
    lazy = lazily(whole, rendered)
    batches = training_batches(lazy, 4, 8, seed=3, first_step=7)
    spec = batches.element_spec[0]
    assert spec.shape == (4, 8, 8, 1)
    assert rendered == []
    expected = training_batches(whole, 4, 8, seed=3, first_step=7).take(25)
    for (images, labels), (wanted, wanted_labels) in zip(batches.take(25), expected, strict=True):
        np.testing.assert_array_equal(images, wanted)
        np.testing.assert_array_equal(labels, wanted_labels)
    assert set(rendered) == {4}


def test_lazy_images_are_evaluated_in_the_same_order():
    whole, rendered = numbered(10), []
    batches = evaluation_batches(lazily(whole, rendered), 4, 4)
    assert batches.element_spec[0].shape == (None, 4, 4, 1)
    images = np.concatenate([images for images, _ in batches])
    np.testing.assert_array_equal(images, preprocess(whole.images, 4))
    assert sorted(rendered) == [2, 4, 4]


def test_lazy_images_are_made_for_the_batches_that_are_read_alone():
    rendered = []
    lazy = lazily(numbered(200), rendered)
    assert len(next(iter(training_batches(lazy, 2, 4)))[0]) == 2
    # What is fetched ahead is a few batches.
    assert sum(rendered) < 200


def test_lazy_images_are_preprocessed_like_others():
    whole, rendered = numbered(10), []
    lazy = lazily(whole, rendered)
    np.testing.assert_array_equal(preprocess(lazy.images[:3], 8), preprocess(whole.images[:3], 8))
    assert rendered == [3]


def sprites():
    """A square of 8 pixels at each of 16 x 16 positions, a pixel apart, on 64 x 64 pixels."""
    images = np.zeros((256, 64, 64, 1), dtype="uint8")
    for number in range(256):
        top, left = 20 + number // 16, 20 + number % 16
        images[number, top : top + 8, left : left + 8] = 255
    return images


def test_sprites_at_other_positions_stay_other_images():
    """Without antialiasing, pixels between those that are looked at would be lost."""
    images = sprites()
    small = preprocess(images, 16).numpy()
    # So many levels apart that 8 bits would keep them apart as well.
    levels = np.round((small.reshape(256, -1) + 1) * 127.5)
    assert len(np.unique(levels, axis=0)) == 256
    aliased = tf.image.resize(images.astype("float32"), (16, 16)).numpy()
    assert len(np.unique(aliased.reshape(256, -1), axis=0)) < 200


@pytest.mark.parametrize(("size", "target"), [(28, 32), (8, 16), (8, 8), (5, 7)])
def test_enlarging_is_what_it_was(size, target):
    shape = (4, size, size, 3)
    images = np.random.default_rng(0).integers(0, 256, shape, dtype="uint8")
    expected = tf.image.resize(images.astype("float32") / 127.5 - 1.0, (target, target))
    np.testing.assert_array_equal(preprocess(images, target), expected)


def test_shrinking_is_antialiased():
    """Lines of one pixel become grey, and neither black nor white."""
    lines = np.zeros((1, 64, 64, 1), dtype="uint8")
    lines[:, ::2] = 255
    small = preprocess(lines, 16).numpy()
    assert abs(small[:, 1:-1]).max() < 0.01
