"""Sequences of pictures of other libraries as a data set's images."""

import io

import numpy as np
import pytest
from PIL import Image

from amr_tf.data import ImagePreprocessor, Split, images_of, training_batches

COLOURS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)]


def picture(number):
    return Image.new("RGB", (12, 8), COLOURS[number])


def as_bytes(image):
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


class Dataset:
    """What Hugging Face's and PyTorch's data sets have in common: a length and items."""

    def __init__(self, item):
        self.item = item

    def __len__(self):
        return len(COLOURS)

    def __getitem__(self, number):
        assert type(number) is int  # Those of Hugging Face take no NumPy integers.
        return self.item(number)


@pytest.mark.parametrize(
    ("item", "image"),
    [
        (picture, None),
        (lambda number: {"image": picture(number), "label": number}, "image"),
        (lambda number: {"image": {"bytes": as_bytes(picture(number)), "path": None}}, "image"),
        (lambda number: (number, as_bytes(picture(number))), 1),
        (lambda number: np.asarray(picture(number)), None),
        (lambda number: {"picture": np.asarray(picture(number))}, lambda item: item["picture"]),
    ],
    ids=["itself", "key", "encoded", "position", "array", "function"],
)
def test_the_pictures_of_a_sequence(item, image):
    images = images_of(Dataset(item), ImagePreprocessor(4), image)
    assert images.shape == (4, 4, 4, 3)
    np.testing.assert_array_equal(np.asarray(images)[:, 2, 2], COLOURS)
    np.testing.assert_array_equal(images[3], np.full((4, 4, 3), 255))


def test_files_of_a_data_set_that_is_not_decoded(tmp_path):
    picture(2).save(tmp_path / "blue.png")
    item = {"image": {"bytes": None, "path": str(tmp_path / "blue.png")}}
    images = images_of([item], ImagePreprocessor(4), "image")
    np.testing.assert_array_equal(images[0][0, 0], COLOURS[2])


def test_grey_arrays():
    grey = [np.full((6, 6, 1), 7, "uint8"), np.full((6, 6), 9, "uint8")]
    images = np.asarray(images_of(grey, ImagePreprocessor(4, channels=1)))
    np.testing.assert_array_equal(images[:, 0, 0, 0], [7, 9])


def test_a_split_of_them_is_trained_on():
    images = images_of([picture(number % 4) for number in range(8)], ImagePreprocessor(4))
    batch, labels = next(iter(training_batches(Split(images, np.arange(8) % 4), 4, 4)))
    shown = np.asarray(COLOURS)[labels.numpy()] / 127.5 - 1
    np.testing.assert_allclose(batch[:, 1, 1], shown, atol=1e-6)


@pytest.mark.parametrize(
    ("items", "image", "message"),
    [
        ([], None, "items is empty"),
        ([{"img": 1}], "image", "Unknown part of an item 'image'. Did you mean 'img'"),
        ([(1, 2)], 5, "image = 5 is not a part of an item, which is a tuple of 2 parts"),
        ([{"image": 3.5}], "image", "A picture must be a PIL.Image, .* of a file; got float."),
        ([{"image": {"path": None}}], "image", "A picture must be .*; got NoneType."),
        ([np.zeros((4, 4, 3))], None, "Pictures must be arrays of uint8; got float64"),
    ],
)
def test_what_holds_no_pictures(items, image, message):
    with pytest.raises(ValueError, match=message):
        images_of(items, ImagePreprocessor(4), image)
