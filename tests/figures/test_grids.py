"""Figures: what is drawn where."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amr_tf import AMR
from amr_tf.data import preprocess
from amr_tf.figures.grids import (
    figure_pixels,
    grid_figure,
    interpolation_figure,
    sample_figure,
)
from amr_tf.figures.sheet import label_inches, shortened, to_uint8

DPI, CELL, TITLE, MARGIN = 120, 0.75, 0.4, 0.05
HEADERS = ["original", "reconstruction", "reconstruction", "original"]
HEADER = 0.22  # Inches.


def size(rows, columns, captions, title=True):
    """Width and height in pixels of a grid."""
    top = TITLE if title else MARGIN
    return int(DPI * (label_inches(captions) + columns * CELL)), int(DPI * (top + rows * CELL))


def middle(pixels, row, column, captions, title=True):
    """The colour in the middle of a cell."""
    top = TITLE if title else MARGIN
    y = int(DPI * (top + (row + 0.5) * CELL))
    x = int(DPI * (label_inches(captions) + (column + 0.5 * 0.96) * CELL))
    return pixels[y, x].tolist()


def solid(value, channels=3):
    return np.full((4, 4, channels), value, dtype="float32")


def test_all_grey_levels_survive():
    images = np.arange(256, dtype="uint8").reshape(1, 16, 16, 1)
    np.testing.assert_array_equal(to_uint8(preprocess(images, 16)), images)


def test_values_outside_are_clipped():
    values = to_uint8(np.array([-9.0, -1.0, 0.0, 1.0, 9.0]))
    assert values.dtype == np.uint8
    assert values.tolist() == [0, 0, 128, 255, 255]


def test_names_are_cut_to_a_length():
    assert [shortened(name, 4) for name in ("", "four", "fives")] == ["", "four", "fiv…"]


@settings(deadline=None, max_examples=12)
@given(
    rows=st.integers(1, 4),
    columns=st.integers(1, 6),
    channels=st.sampled_from((1, 3)),
    title=st.sampled_from((None, "Title")),
    seed=st.integers(0, 99),
)
def test_grids_of_any_size(rows, columns, channels, title, seed):
    generator = np.random.default_rng(seed)
    colours = generator.integers(0, 256, (rows, columns, channels))
    images = np.broadcast_to(colours[:, :, None, None] / 127.5 - 1, (rows, columns, 4, 4, channels))
    labels = [f"row {number}" for number in range(rows)]
    figure = grid_figure(dict(zip(labels, images)), title)
    pixels = figure_pixels(figure)
    assert pixels.dtype == np.uint8
    assert pixels.shape[2] == 3
    width, height = size(rows, columns, labels, title)
    assert abs(pixels.shape[1] - width) <= 1
    assert abs(pixels.shape[0] - height) <= 1
    for row in range(rows):
        for column in range(columns):
            expected = np.broadcast_to(colours[row, column], 3)
            found = middle(pixels, row, column, labels, title)
            assert abs(np.array(found) - expected).max() <= 1


def test_empty_cells_stay_white():
    rows = {"one": [solid(-1), None, solid(-1)], "two": [solid(-1)]}
    figure = grid_figure(rows)
    pixels = figure_pixels(figure)
    black, white = [0, 0, 0], [255, 255, 255]
    found = [[middle(pixels, row, column, rows, False) for column in range(3)] for row in range(2)]
    assert found == [[black, white, black], [black, white, white]]


def test_captions_and_title_are_written():
    figure = grid_figure({"first": [solid(0)], "second": [solid(0)]}, "Title")
    assert sorted(text.get_text() for text in figure.texts) == ["Title", "first", "second"]
    heights = {text.get_text(): text.get_position()[1] for text in figure.texts}
    assert heights["Title"] > heights["first"] > heights["second"]


@pytest.mark.parametrize("caption", ("a", "mix of 3 neighbours", "W" * 40, "many words " * 9))
def test_captions_fit_before_the_images(caption):
    figure = grid_figure({caption: [solid(0)], "b": [solid(0)]})
    figure.canvas.draw()
    longest = figure.texts[0].get_window_extent()
    images = figure.axes[0].get_window_extent()
    assert 0 <= longest.x0 < 0.1 * DPI  # No room is wasted.
    assert 0 < images.x0 - longest.x1 < 0.2 * DPI


def test_captions_and_titles_are_no_formulas():
    figure = grid_figure({"$5 and $\\frac$": [solid(0)]}, "$\\frac$")
    figure.canvas.draw()
    assert not any(text.get_parse_math() for text in figure.texts)


def test_images_are_not_turned_or_mirrored():
    image = solid(-1, channels=1)
    image[0, 3] = 1.0  # White at the top right.
    pixels = figure_pixels(grid_figure({"": [image]}))
    left = label_inches([""])
    box = pixels[
        int(DPI * (MARGIN + 0.04 * CELL)) : int(DPI * (MARGIN + CELL)),
        int(DPI * left) : int(DPI * (left + 0.96 * CELL)),
        0,
    ]
    height, width = box.shape
    assert box[height // 8, width * 7 // 8] == 255
    assert box[height // 8, width // 8] == 0
    assert box[height * 7 // 8, width * 7 // 8] == 0


@pytest.fixture
def images():
    return np.random.default_rng(0).uniform(-1, 1, (5, 8, 8, 1)).astype("float32")


def shown(figure):
    """The images of a figure's cells, in the order drawn, as uint8."""
    return [axes.get_images()[0].get_array().data for axes in figure.axes]


def captions(figure):
    return [text.get_text() for text in figure.texts]


def test_samples(model, images):
    figure = sample_figure(model, images, "Title")
    assert captions(figure) == ["Title", "original", "reconstruction", "mix of 3 neighbours"]
    cells = shown(figure)
    assert len(cells) == 15
    np.testing.assert_array_equal(cells[:5], to_uint8(images)[..., 0])
    expected = to_uint8(model.reconstruct(images))[..., 0]
    np.testing.assert_allclose(np.array(cells[5:10], "int"), expected.astype("int"), atol=1)


def test_mixes_are_of_an_image_and_its_right_hand_neighbours(model, images):
    """Of five equal images but one, that one changes its own mix and those of two at its left."""
    equal = np.repeat(images[:1], 5, axis=0)
    other = equal.copy()
    other[3] = images[1]
    before, after = (shown(sample_figure(model, batch))[10:] for batch in (equal, other))
    changed = [bool((one != two).any()) for one, two in zip(before, after, strict=True)]
    assert changed == [False, True, True, True, False]


def test_samples_are_the_same_at_each_call(model, images):
    state = model.mixer.seed_generator.state.numpy().tolist()
    one, two = (figure_pixels(sample_figure(model, images)) for _ in range(2))
    np.testing.assert_array_equal(one, two)
    assert model.mixer.seed_generator.state.numpy().tolist() == state


def test_samples_without_a_mixer(images):
    model = AMR.convolutional((8, 8, 1), depth=2, mixer=None)
    figure = sample_figure(model, images)
    assert captions(figure) == ["original", "reconstruction"]
    assert len(shown(figure)) == 10


class Lines:
    """In place of a model: its lines are known."""

    def interpolate(self, images_a, images_b, steps, path="linear"):
        values = np.linspace(-0.5, 0.5, steps, dtype="float32")
        return np.stack(
            [[solid(value + 0.1 * n) for value in values] for n in range(len(images_a))]
        )


@pytest.mark.parametrize("pixels", (True, False))
@pytest.mark.parametrize("steps", (2, 5))
def test_interpolations(pixels, steps):
    left = np.stack([solid(-1.0), solid(-0.8)])
    right = np.stack([solid(1.0), solid(0.6)])
    figure = interpolation_figure(Lines(), left, right, steps, "Title", pixels)
    cells = [cell[0, 0, 0] for cell in shown(figure)]
    rows = []
    for number, (a, b) in enumerate(((-1.0, 1.0), (-0.8, 0.6))):
        line = np.linspace(-0.5, 0.5, steps) + 0.1 * number
        if pixels:
            blend = np.linspace(a, b, steps)[1:-1]  # Its ends, the originals, are not repeated.
            rows.append((f"{number + 1}: pixel space", [a, *blend, b]))
        rows.append((f"{number + 1}: latent space", [a, *line, b]))
    assert captions(figure) == ["Title", *HEADERS, *(caption for caption, _ in rows)]
    expected = to_uint8([value for _, values in rows for value in values])
    np.testing.assert_allclose(np.array(cells, "int"), expected.astype("int"), atol=1)
    width, height = size(len(rows) + HEADER / CELL, steps + 2, ["2: latent space"])
    found = figure_pixels(figure).shape
    assert abs(found[1] - width) <= 1
    assert abs(found[0] - height) <= 1


def test_interpolations_of_a_model_start_and_end_at_the_reconstructions(model, images):
    figure = interpolation_figure(model, images[:1], images[1:2], steps=3, pixels=False)
    assert captions(figure) == [*HEADERS, "1: latent space"]
    # Each header stands above the image that it names.
    middles = [axes.get_position().x0 + axes.get_position().width / 2 for axes in figure.axes]
    places = [text.get_position()[0] for text in figure.texts[:4]]
    np.testing.assert_allclose(places, [middles[column] for column in (0, 1, 3, 4)], atol=0.01)
    cells = np.array(shown(figure), "int")
    expected = to_uint8(np.concatenate([images[:2], model.reconstruct(images[:2])]))[..., 0]
    order = [expected[0], expected[2], expected[3], expected[1]]
    np.testing.assert_allclose(cells[[0, 1, 3, 4]], np.array(order, "int"), atol=1)
