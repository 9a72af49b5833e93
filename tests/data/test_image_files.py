"""Fitting images to squares, and reading many; kinds of files are in test_image_folder."""

import numpy as np
import pytest
from PIL import Image

from amr_tf.data.image_store import read_files
from amr_tf.data.preprocessing import ImagePreprocessor


def gradient(width, height):
    """Red grows to the right and green downwards, a level a pixel."""
    pixels = np.zeros((height, width, 3), dtype="uint8")
    pixels[..., 0] = np.arange(width)
    pixels[..., 1] = np.arange(height)[:, None]
    return Image.fromarray(pixels)


@pytest.mark.parametrize(
    ("size", "crop", "left", "top"),
    [((30, 40), 20, 5, 10), ((31, 40), 20, 5, 10), ((20, 20), 20, 0, 0), ((178, 218), 140, 19, 39)],
)
def test_a_crop_is_the_central_square(size, crop, left, top):
    square = ImagePreprocessor(crop, crop=crop).pixels(gradient(*size))
    assert square.dtype == np.uint8
    assert square.shape == (crop, crop, 3)
    assert square[0, 0].tolist() == [left, top, 0]
    assert square[-1, -1].tolist() == [left + crop - 1, top + crop - 1, 0]


@pytest.mark.parametrize("fit", ("crop", "pad", "stretch"))
def test_a_crop_is_resized(fit):
    square = ImagePreprocessor(10, fit=fit, crop=20).pixels(gradient(40, 60))
    assert square.shape == (10, 10, 3)
    assert abs(square[5, 5].astype(int) - [20, 30, 0]).max() <= 1


def test_a_crop_larger_than_the_image():
    with pytest.raises(ValueError, match="^crop = 31 is more than the 30 x 40 pixels of 'mine'"):
        ImagePreprocessor(8, crop=31).pixels(gradient(30, 40), "mine")


@pytest.mark.parametrize(("size", "axis"), [((40, 20), 0), ((20, 40), 1)])
def test_padding_keeps_the_whole_image_on_white(size, axis):
    square = ImagePreprocessor(40, fit="pad").pixels(Image.new("RGB", size, (9, 9, 9)))
    assert square.shape == (40, 40, 3)
    dark = (square == 9).all(axis=-1).any(axis=1 - axis)
    assert dark.tolist() == [10 <= place < 30 for place in range(40)]
    assert set(np.unique(square)) == {9, 255}


def test_many_files_keep_their_order(tmp_path):
    paths = []
    for number in range(100):
        paths.append(tmp_path / f"{number}.png")
        Image.new("RGB", (6, 4), (number, 0, 0)).save(paths[-1])
    images = ImagePreprocessor(4).batch(paths)
    assert images.shape == (100, 4, 4, 3)
    assert images[:, 2, 2, 0].tolist() == list(range(100))


def some_damaged(tmp_path, count, damaged):
    """Paths of images, of which the first `damaged` are empty; the others are of grey `number`."""
    paths = [tmp_path / f"{number:02d}.png" for number in range(count)]
    for number, path in enumerate(paths):
        Image.new("RGB", (6, 4), (number,) * 3).save(path)
    for path in paths[:damaged]:
        path.write_bytes(b"")
    return paths


@pytest.mark.parametrize("damaged", (2, 10, 12))
def test_bad_files_are_all_named_at_once(tmp_path, damaged):
    paths = some_damaged(tmp_path, 14, damaged)
    with pytest.raises(ValueError) as caught:
        ImagePreprocessor(4).batch(paths)
    message = str(caught.value)
    named = ", ".join(f"'{path}'" for path in paths[: min(damaged, 10)])
    more = " and 2 more" if damaged == 12 else ""
    assert message.startswith(
        f"{damaged} of 14 files cannot be read as images: {named}{more}; the first because "
    )
    assert "\n" not in message
    assert ("10.png" in message) == ("11.png" in message) == False  # noqa: E712


def test_bad_files_can_be_skipped(tmp_path, caplog):
    paths = some_damaged(tmp_path, 14, 12)
    with caplog.at_level("WARNING"):
        images, readable = read_files(paths, tmp_path, ImagePreprocessor(4), "skip")
    assert np.asarray(images)[:, 0, 0, 0].tolist() == [12, 13]
    assert readable.tolist() == [False] * 12 + [True] * 2
    assert "12 of 14 files cannot be read as images" in caplog.text
    assert "They are left out." in caplog.text
    with pytest.raises(ValueError, match="^12 of 12 files cannot be read as images"):
        read_files(paths[:12], tmp_path, ImagePreprocessor(4), "skip")
    with pytest.raises(ValueError, match="^on_error must be 'raise' or 'skip'; got 'ignore'"):
        read_files(paths, tmp_path, ImagePreprocessor(4), "ignore")
