"""The digits of scikit-learn."""

import numpy as np

from amr_tf.data import ImageData, load
from tests.data.common import rows


def test_digits():
    data = load("digits")
    assert isinstance(data, ImageData)
    assert (len(data.train), len(data.validation), len(data.test)) == (1294, 144, 359)
    assert data.image_shape == (16, 16, 1)
    assert data.class_names == tuple("0123456789")
    assert data.num_classes == 10
    for split in (data.train, data.validation, data.test):
        assert split.images.shape == (len(split), 8, 8, 1)
        assert split.images.dtype == np.uint8
        assert split.labels.dtype == np.int64
        assert (split.images.min(), split.images.max()) == (0, 255)
        # All classes are about as frequent: 174 to 183 of 1797.
        shares = np.bincount(split.labels, minlength=10) / len(split)
        assert (abs(shares - 0.1) < 0.015).all()


def test_digits_are_those_of_scikit_learn():
    from sklearn.datasets import load_digits

    data, digits = load("digits"), load_digits()
    splits = (data.train, data.validation, data.test)
    ours = sorted(row for split in splits for row in rows(split))
    images = np.round(digits.images / 16 * 255).astype("uint8")
    theirs = [bytes(image) + bytes([label]) for image, label in zip(images, digits.target)]
    assert ours == sorted(theirs)


def test_the_digits_of_the_test_split_do_not_depend_on_the_seed():
    one, two = load("digits", seed=1), load("digits", seed=2)
    np.testing.assert_array_equal(one.test.images, two.test.images)
    np.testing.assert_array_equal(one.test.labels, two.test.labels)
    assert rows(one.validation) != rows(two.validation)
    # No two digits of the data set are alike, so a row in two splits would be a leak.
    test = set(rows(one.test))
    for data in (one, two):
        train, validation = set(rows(data.train)), set(rows(data.validation))
        assert not train & validation
        assert not train & test
        assert not validation & test
