"""Lines of several methods, triangles, crossover: what is drawn where."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amr_tf import AMR
from amr_tf.figures.grids import interpolation_figure, interpolation_rows
from amr_tf.figures.mixes import (
    barycentric_weights,
    crossover_counts,
    crossover_figure,
    crossover_rows,
    triangle_figure,
    triangle_images,
)
from amr_tf.figures.sheet import to_uint8
from tests.figures.test_grids import HEADERS, captions, shown


class Identity:
    """In place of a model: a code is its image, so that what is decoded is known."""

    image_shape = latent_shape = (2, 2, 3)
    mixer = None

    def encode(self, images):
        return np.asarray(images, "float32")

    def decode(self, codes):
        assert codes.dtype == np.float32
        return codes

    def interpolate(self, images_a, images_b, steps, path="linear"):
        weights = np.linspace(0, 1, steps).reshape(1, -1, 1, 1, 1)
        return (1 - weights) * images_a[:, None] + weights * images_b[:, None]


def solid(*values):
    """An image of a single colour for each value."""
    return np.stack([np.full((2, 2, 3), value, "float32") for value in values])


@pytest.fixture(scope="module")
def second():
    return AMR.convolutional((8, 8, 1), depth=2, mixer=None, seed=5)


@pytest.fixture
def images():
    return np.random.default_rng(0).uniform(-1, 1, (6, 8, 8, 1)).astype("float32")


def test_a_row_for_each_method(model, second, images):
    models = {"AMR": model, "AE+GAN": second}
    figure = interpolation_figure(models, images[:2], images[2:4], steps=3)
    methods = ("pixel space", "AMR", "AE+GAN")
    rows = [f"{number}: {name}" for number in (1, 2) for name in methods]
    assert captions(figure) == [*HEADERS, *rows]
    drawn = np.array(shown(figure)).reshape(2, 13, 8, 8)
    # A blend has no reconstructions: three cells, and five for each model.
    cells = np.zeros((2, 3, 5, 8, 8), "uint8")
    cells[:, 0, [0, 2, 4]] = drawn[:, :3]
    cells[:, 1:] = drawn[:, 3:].reshape(2, 2, 5, 8, 8)
    originals = to_uint8(images)[..., 0]
    for pair in range(2):
        for method in range(3):
            np.testing.assert_array_equal(cells[pair, method, 0], originals[pair])
            np.testing.assert_array_equal(cells[pair, method, 4], originals[2 + pair])
        halfway = to_uint8((images[pair] + images[2 + pair]) / 2)[..., 0]
        np.testing.assert_allclose(cells[pair, 0, 2].astype("int"), halfway, atol=1)
        for method, one in enumerate((model, second), start=1):
            line = one.interpolate(images[pair : pair + 1], images[2 + pair : 3 + pair], 3)[0]
            expected = to_uint8(line)[..., 0].astype("int")
            np.testing.assert_allclose(cells[pair, method, 1:4].astype("int"), expected, atol=1)


def test_rows_without_pixel_space(model, images):
    rows = interpolation_rows(model, images[:2], images[2:4], steps=4, pixels=False)
    assert list(rows) == ["latent space"]
    assert rows["latent space"].shape == (2, 4, 8, 8, 1)


@given(steps=st.integers(2, 12))
def test_barycentric_weights(steps):
    weights = barycentric_weights(steps)
    assert weights.shape == (steps * (steps + 1) // 2, 3)
    assert (weights >= 0).all()
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-6)
    assert len(np.unique(weights, axis=0)) == len(weights)
    corners = weights[[0, -steps, -1]]
    np.testing.assert_array_equal(corners, np.eye(3))
    # The right side has nothing of the second corner, the left nothing of the third.
    ends = np.cumsum(np.arange(1, steps + 1)) - 1
    assert (weights[ends, 1] == 0).all()
    assert (weights[ends - np.arange(steps), 2] == 0).all()


def test_triangles_of_known_mixes():
    figure = triangle_figure(
        {"one": Identity(), "two": Identity()}, solid(-1, 0), solid(0, 1), solid(1, -1), 3, "Title"
    )
    words = ["original"] * 3
    expected = ["Title", "1: one", *words, "1: two", *words, "2: one", *words, "2: two", *words]
    assert captions(figure) == expected
    cells = np.array([cell[0, 0, 0] for cell in shown(figure)], "int").reshape(2, 2, 9)
    first = [-1, -0.5, 0, 0, 0.5, 1, -1, 0, 1]
    other = [0, 0.5, -0.5, 1, 0, -1, 0, 1, -1]
    for number, values in enumerate((first, other)):
        for panel in cells[number]:
            np.testing.assert_allclose(panel, to_uint8(values).astype("int"), atol=1)


def test_a_triangle_lies_as_its_corners_say():
    figure = triangle_figure(Identity(), solid(-1), solid(0), solid(1), steps=4)
    places = [axes.get_position() for axes in figure.axes]
    middle = [place.x0 + place.width / 2 for place in places]
    top, left, right = 0, 6, 9
    assert places[top].y0 > places[1].y0 > places[3].y0 > places[left].y0
    np.testing.assert_allclose(places[left].y0, places[right].y0)
    assert middle[left] < middle[top] < middle[right]
    np.testing.assert_allclose(middle[top], (middle[left] + middle[right]) / 2)
    for corner, original in ((top, 10), (left, 11), (right, 12)):
        np.testing.assert_allclose(places[corner].y0, places[original].y0)
    assert middle[10] < middle[top]
    assert middle[11] < middle[left]
    assert middle[12] > middle[right]
    for one, place in enumerate(places):
        assert 0 <= place.x0 < place.x1 <= 1
        assert 0 <= place.y0 < place.y1 <= 1
        for other in places[:one]:
            apart_x = place.x1 <= other.x0 or other.x1 <= place.x0
            assert apart_x or place.y1 <= other.y0 or other.y1 <= place.y0


def test_a_triangle_of_a_model(model, images):
    mixes = triangle_images(model, images[:3], steps=3)
    assert mixes.shape == (6, 8, 8, 1)
    reconstructions = model.reconstruct(images[:3])
    np.testing.assert_allclose(mixes[[0, 3, 5]], reconstructions, atol=1e-5)
    line = model.interpolate(images[:1], images[1:2], 3)[0]
    np.testing.assert_allclose(mixes[[0, 1, 3]], line, atol=1e-5)


@pytest.mark.parametrize("mixer", ["spherical", "style"])
def test_a_triangle_is_mixed_by_the_mixer(mixer):
    # Decoders that begin with a normalisation hardly see how long a code is.
    model = AMR.create((16, 16, 3), "residual(width=4, latent_width=4)", mixer=mixer, seed=5)
    corners = np.random.default_rng(0).uniform(-1, 1, (3, 16, 16, 3)).astype("float32")
    mixes = triangle_images(model, corners, steps=3)
    line = model.interpolate(corners[:1], corners[1:2], 3)[0]
    np.testing.assert_allclose(mixes[[0, 1, 3]], line, atol=1e-5)
    plain = model.interpolate(corners[:1], corners[1:2], 3, path="linear")[0]
    assert np.abs(line[1] - plain[1]).max() > 1e-3


def test_a_triangle_of_a_learned_mixer(images):
    model = AMR.convolutional((8, 8, 1), depth=2, mixer="learned", seed=5)
    # Untrained, its parts are the coefficients: convex combinations.
    mean = model.decode(model.encode(images[:3]).mean(axis=0, keepdims=True))[0]
    mixes = triangle_images(model, images[:3], steps=4)
    np.testing.assert_allclose(mixes[4], mean, atol=1e-5)


@pytest.mark.parametrize("steps", (1, 0, 2.0, True, "3"))
def test_wrong_steps(model, images, steps):
    message = "steps must be an integer of at least 2; got"
    for draw in (interpolation_figure, crossover_figure):
        with pytest.raises(ValueError, match=message):
            draw(model, images[:1], images[1:2], steps)
    with pytest.raises(ValueError, match=message):
        triangle_figure(model, images[:1], images[1:2], images[2:3], steps)


def test_numbers_of_images_that_differ(model, images):
    with pytest.raises(ValueError, match="must have the same length; got 2, 1 and 2"):
        triangle_figure(model, images[:2], images[2:3], images[3:5])
    with pytest.raises(ValueError, match="must have the same length; got 2 and 1"):
        crossover_rows(model, images[:2], images[2:3])
    with pytest.raises(ValueError, match="3 corners; got 2 images"):
        triangle_images(model, images[:2])


@given(maps=st.integers(1, 70), data=st.data())
def test_crossover_counts(maps, data):
    stages = data.draw(st.integers(2, maps + 1))
    counts = crossover_counts(maps, stages)
    assert (counts[0], counts[-1], len(counts)) == (0, maps, stages)
    # At each stage there is something new.
    assert (np.diff(counts) >= 1).all()
    assert np.ptp(np.diff(counts)) <= 1


def test_crossover_replaces_whole_maps_one_by_one():
    a, b = solid(-1, -0.5), solid(1, 0.5)
    (images,) = crossover_rows(Identity(), a, b, steps=9).values()
    assert images.shape == (2, 4, 2, 2, 3)  # Three maps have four stages.
    for pair in range(2):
        is_b = images[pair] == b[pair]
        assert (is_b | (images[pair] == a[pair])).all()
        maps = is_b.all(axis=(1, 2))
        np.testing.assert_array_equal(maps, is_b.any(axis=(1, 2)))
        assert maps.sum(axis=1).tolist() == [0, 1, 2, 3]
        assert (maps[:-1] <= maps[1:]).all()  # What is B's stays B's.


def test_the_order_of_a_crossover_depends_on_the_seed_and_the_pair():
    a, b = (np.repeat(solid(value), 8, axis=0) for value in (-1, 1))

    def orders(seed):
        (images,) = crossover_rows({"": Identity()}, a, b, 4, seed).values()
        return (images > 0).sum(axis=1)[:, 0, 0].tolist()

    assert orders(0) == orders(0)
    assert orders(0) != orders(1)
    assert len({tuple(order) for order in orders(0)}) > 1


def test_a_crossover_of_vector_codes(images):
    model = AMR.convolutional((8, 8, 1), depth=2, latent_dim=6, mixer=None, seed=0)
    (rows,) = crossover_rows(model, images[:2], images[2:4], steps=4).values()
    assert rows.shape == (2, 4, 8, 8, 1)
    np.testing.assert_allclose(rows[:, 0], model.reconstruct(images[:2]), atol=1e-5)
    np.testing.assert_allclose(rows[:, -1], model.reconstruct(images[2:4]), atol=1e-5)
    assert abs(rows[:, 1] - rows[:, 0]).max() > 1e-4


def test_a_figure_of_crossovers(model, images):
    figure = crossover_figure(model, images[:2], images[2:4], 9, "Title")
    headers = ["original", "0/2", "1/2", "2/2", "original"]  # A code has two feature maps.
    assert captions(figure) == ["Title", *headers, "1: latent space", "2: latent space"]
    cells = np.array(shown(figure), "int").reshape(2, 5, 8, 8)
    originals = to_uint8(images)[..., 0]
    np.testing.assert_array_equal(cells[:, 0], originals[:2])
    np.testing.assert_array_equal(cells[:, 4], originals[2:4])
    reconstructions = to_uint8(model.reconstruct(images[:4]))[..., 0].astype("int")
    np.testing.assert_allclose(cells[:, 1], reconstructions[:2], atol=1)
    np.testing.assert_allclose(cells[:, 3], reconstructions[2:], atol=1)


def test_crossovers_of_codes_with_different_numbers_of_maps(model, images):
    other = AMR.convolutional((8, 8, 1), depth=2, latent_channels=5, mixer=None, seed=0)
    figure = crossover_figure({"two": model, "five": other}, images[:1], images[1:2], 4)
    assert captions(figure) == ["1: two", "1: five"]
    assert len(shown(figure)) == 2 * 6
