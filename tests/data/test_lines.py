"""ACAI's lines: where they lie, how long and wide they are."""

import numpy as np
import pytest

from amr_tf.data import load
from amr_tf.data.lines import draw_lines

ANGLES = np.linspace(0, 2 * np.pi, 73)


def coordinates(size=32):
    """Of pixel centres from the middle of the image: to the right, and up."""
    offsets = np.arange(size) + 0.5 - size / 2
    return np.meshgrid(offsets, -offsets)


def test_the_array():
    images = draw_lines(ANGLES)
    assert images.shape == (73, 32, 32, 1)
    assert images.dtype == np.uint8
    assert (images.max(axis=(1, 2, 3)) >= 190).all()
    assert (images == 0).mean() > 0.9


def test_no_lines():
    assert draw_lines([]).shape == (0, 32, 32, 1)


@pytest.mark.parametrize(
    ("angle", "rows", "columns"),
    [
        (0, slice(15, 17), slice(16, 32)),
        (np.pi / 2, slice(0, 16), slice(15, 17)),
        (np.pi, slice(15, 17), slice(0, 16)),
        (3 * np.pi / 2, slice(16, 32), slice(15, 17)),
    ],
)
def test_lines_along_the_grid_are_exact(angle, rows, columns):
    expected = np.zeros((32, 32), dtype="uint8")
    expected[rows, columns] = 255
    np.testing.assert_array_equal(draw_lines([angle])[0, ..., 0], expected)


def test_length_and_width():
    """The ink is that of a rectangle of 16 x 2 pixels, centred half its length away."""
    right, up = coordinates()
    for angle, image in zip(ANGLES, draw_lines(ANGLES)[..., 0] / 255):
        ink = image.sum()
        assert ink == pytest.approx(32, rel=0.03)  # The border cuts off a bit of the soft end.
        along = np.cos(angle) * right + np.sin(angle) * up
        across = np.cos(angle) * up - np.sin(angle) * right
        assert (image * along).sum() / ink == pytest.approx(8, abs=0.15)
        assert (image * across).sum() / ink == pytest.approx(0, abs=0.05)
        # The standard deviation of a uniform distribution is its width over the root of twelve.
        spread = np.sqrt((image * along**2).sum() / ink - 8**2)
        assert spread * np.sqrt(12) == pytest.approx(16, abs=0.5)
        assert along[image > 0].min() > -1
        assert along[image > 0].max() < 17
        assert abs(across[image > 0]).max() < 1.5


def test_the_angle_can_be_read_off():
    right, up = coordinates()
    for angle, image in zip(ANGLES[:-1], draw_lines(ANGLES[:-1])[..., 0] / 255):
        read = np.arctan2((image * up).sum(), (image * right).sum()) % (2 * np.pi)
        assert abs((read - angle + np.pi) % (2 * np.pi) - np.pi) < 0.01


def test_a_quarter_turn():
    images = draw_lines(ANGLES)
    turned = draw_lines(ANGLES + np.pi / 2)
    difference = turned.astype(int) - np.rot90(images, axes=(1, 2))
    assert abs(difference).max() <= 1  # Rounding.


def test_an_angle_always_gives_the_same_image():
    many = np.random.default_rng(0).uniform(0, 2 * np.pi, 2500)
    images = draw_lines(many)
    for number in (0, 1023, 1024, 2499):
        np.testing.assert_array_equal(draw_lines(many[number : number + 1])[0], images[number])


def test_close_angles_give_close_images():
    images = draw_lines(np.linspace(0, 2 * np.pi, 1001)).astype(float) / 255
    steps = np.sqrt((np.diff(images, axis=0) ** 2).sum(axis=(1, 2, 3)))
    assert steps.min() > 0
    assert steps.max() < 0.6


@pytest.mark.parametrize("size", (16, 64))
def test_another_size(size):
    image = draw_lines([0.7], size=size)[0, ..., 0] / 255
    assert image.shape == (size, size)
    assert image.sum() == pytest.approx(size, rel=0.05)


def test_the_data_set():
    data = load("lines")
    assert (len(data.train), len(data.validation), len(data.test)) == (9_000, 1_000, 2_000)
    assert data.image_shape == (32, 32, 1)
    assert data.class_names is None
    assert data.train.labels is None
    again = load("lines")
    assert data.train.images.tobytes() == again.train.images.tobytes()
    # Few angles are so close that rounding makes their images the same.
    train = {image.tobytes() for image in data.train.images}
    shared = sum(image.tobytes() in train for image in data.test.images)
    assert shared < 0.05 * len(data.test)


def test_all_directions_are_as_frequent():
    right, up = coordinates()
    images = load("lines").train.images[..., 0].astype(float)
    angles = np.arctan2((images * up).sum(axis=(1, 2)), (images * right).sum(axis=(1, 2)))
    counts = np.histogram(angles, bins=10, range=(-np.pi, np.pi))[0]
    assert (abs(counts / 900 - 1) < 0.15).all()
