"""Lazy images: views choose, and only what is asked for is made."""

import numpy as np
import pytest

from amr_tf.data import LazyImages


def numbered(numbers):
    """Image n is full of n."""
    return np.broadcast_to(numbers.astype("uint8").reshape(-1, 1, 1, 1), (len(numbers), 4, 4, 3))


@pytest.fixture
def rendered():
    """The numbers that were asked for, one array a call."""
    return []


@pytest.fixture
def lazy(rendered):
    def render(numbers):
        rendered.append(numbers)
        return numbered(numbers)

    return LazyImages(render, np.arange(100), (4, 4, 3))


def test_it_looks_like_an_array(lazy, rendered):
    assert len(lazy) == 100
    assert lazy.shape == (100, 4, 4, 3)
    assert lazy.ndim == 4
    assert lazy.dtype == np.uint8
    assert rendered == []


@pytest.mark.parametrize(
    "key",
    [
        slice(10, 20),
        slice(None, None, -7),
        np.array([5, 3, 3, 99]),
        [1, -1],
        np.arange(100) % 9 == 0,
        slice(0, 0),
    ],
)
def test_a_choice_is_a_view_until_it_is_looked_at(lazy, rendered, key):
    view = lazy[key]
    expected = np.arange(100)[key]
    assert isinstance(view, LazyImages)
    assert view.shape == (len(expected), 4, 4, 3)
    assert rendered == []
    np.testing.assert_array_equal(np.asarray(view), numbered(expected))
    assert [numbers.tolist() for numbers in rendered] == [expected.tolist()]


def test_a_view_of_a_view(lazy, rendered):
    view = lazy[50:][[4, 2]][::-1]
    assert rendered == []
    assert np.asarray(view)[:, 0, 0, 0].tolist() == [52, 54]


def test_a_single_image(lazy, rendered):
    image = lazy[7]
    assert isinstance(image, np.ndarray)
    assert image.shape == (4, 4, 3)
    assert (image == 7).all()
    assert [numbers.tolist() for numbers in rendered] == [[7]]


def test_it_can_be_gone_through(lazy):
    assert [int(image[0, 0, 0]) for image in lazy[95:]] == [95, 96, 97, 98, 99]


def test_another_type(lazy):
    assert np.asarray(lazy[:3], dtype="float32").dtype == np.float32


@pytest.mark.parametrize("key", (100, -101, [0, 100]))
def test_out_of_range(lazy, key):
    with pytest.raises(IndexError, match="out of bounds"):
        lazy[key]


def test_without_a_copy(lazy):
    with pytest.raises(ValueError, match="^Lazy images cannot be had without a copy"):
        np.asarray(lazy, copy=False)
