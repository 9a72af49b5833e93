"""Generated dSprites: the order of the factors, the drawn shapes, the splits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amr_tf.data import LazyImages, dsprites, load
from amr_tf.data.dsprites import (
    COUNT,
    FACTOR_SIZES,
    SHAPES,
    attributes_of,
    draw_sprite,
    factors_of,
    index_of,
    render,
)

factor_lists = st.lists(
    st.tuples(*(st.integers(0, size - 1) for size in FACTOR_SIZES)), min_size=1, max_size=20
)


def one(shape=0, scale=5, orientation=0, x=16, y=16):
    """One image, bool (64, 64)."""
    return render([[shape, scale, orientation, x, y]])[0, ..., 0] > 0


def centroid(image):
    """Row and column of the middle of the white pixels."""
    return np.argwhere(image).mean(axis=0)


def all_sprites():
    """Each shape, scale and orientation in the middle: bool (3, 6, 40, 64, 64)."""
    factors = np.stack(np.unravel_index(np.arange(720), FACTOR_SIZES[:3]), axis=1)
    middle = np.full((720, 2), 16)
    return render(np.hstack([factors, middle])).reshape(3, 6, 40, 64, 64) > 0


def test_the_number_of_images():
    assert COUNT == 3 * 6 * 40 * 32 * 32 == 737_280
    np.testing.assert_allclose(dsprites.SCALES, [0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
    assert dsprites.ORIENTATIONS[[0, -1]].tolist() == [0.0, 2 * np.pi]
    assert len(dsprites.ORIENTATIONS) == 40


def test_the_order_of_the_original():
    """Shape is slowest, the y position fastest."""
    assert factors_of([0, 1, 32, 1024, 40_960, 245_760, COUNT - 1]).tolist() == [
        [0, 0, 0, 0, 0],
        [0, 0, 0, 0, 1],
        [0, 0, 0, 1, 0],
        [0, 0, 1, 0, 0],
        [0, 1, 0, 0, 0],
        [1, 0, 0, 0, 0],
        [2, 5, 39, 31, 31],
    ]


def test_every_combination_comes_once():
    factors = factors_of(np.arange(COUNT))
    assert factors.dtype == np.int64
    assert factors.shape == (COUNT, 5)
    assert (index_of(factors) == np.arange(COUNT)).all()
    for column, size in zip(factors.T, FACTOR_SIZES):
        assert (np.bincount(column) == COUNT // size).all()


@given(factor_lists)
def test_factors_and_indices_there_and_back(factors):
    indices = index_of(factors)
    assert indices.dtype == np.int64
    assert factors_of(indices).tolist() == [list(row) for row in factors]


@given(st.lists(st.integers(0, COUNT - 1), min_size=1, max_size=20))
def test_indices_and_factors_there_and_back(indices):
    assert index_of(factors_of(indices)).tolist() == indices


@settings(deadline=None, max_examples=50)
@given(factor_lists)
def test_images_are_binary_and_the_sprite_lies_inside(factors):
    images = render(factors)
    assert images.shape == (len(factors), 64, 64, 1)
    assert images.dtype == np.uint8
    for image in images[..., 0]:
        assert set(np.unique(image)) == {0, 255}
        for border in (image[:4], image[-4:], image[:, :4], image[:, -4:]):
            assert not border.any()


@settings(deadline=None, max_examples=50)
@given(factor_lists)
def test_images_do_not_depend_on_their_company(factors):
    alone = np.concatenate([render([row]) for row in factors])
    np.testing.assert_array_equal(render(factors), alone)


def test_no_images():
    assert render(np.zeros((0, 5), dtype="int64")).shape == (0, 64, 64, 1)
    assert factors_of(np.zeros(0, dtype="int64")).shape == (0, 5)


def test_areas_grow_with_scale_and_are_alike_for_all_shapes():
    areas = all_sprites().sum(axis=(-2, -1)).mean(axis=2)
    expected = 17.2**2 * dsprites.SCALES**2
    assert (np.diff(areas, axis=1) > 25).all()
    np.testing.assert_allclose(areas, np.broadcast_to(expected, (3, 6)), rtol=0.03)
    # At each orientation too.
    every = all_sprites().sum(axis=(-2, -1))
    assert (np.diff(every, axis=1) > 0).all()
    assert (abs(every / expected[:, None] - 1) < 0.14).all()


def test_the_mean_ink_is_the_originals():
    """The original's mean pixel is 0.0425."""
    assert abs(all_sprites().mean() - 0.0425) < 0.0005


@pytest.mark.parametrize("shape", range(3))
@pytest.mark.parametrize(("scale", "orientation"), [(5, 0), (3, 7), (0, 25)])
def test_positions_move_the_sprite_a_pixel_at_a_time(shape, scale, orientation):
    start = one(shape, scale, orientation, 0, 0)
    for x, y in ((1, 0), (0, 1), (31, 0), (0, 31), (17, 9)):
        moved = one(shape, scale, orientation, x, y)
        np.testing.assert_allclose(centroid(moved) - centroid(start), [y, x], atol=1e-9)
        np.testing.assert_array_equal(moved, np.roll(start, (y, x), axis=(0, 1)))


def test_positions_lie_about_the_middle_of_the_image():
    first, last = centroid(one(x=0, y=0)), centroid(one(x=31, y=31))
    # Pixel centres are half a pixel from the corner that a sprite is centred on.
    np.testing.assert_allclose(first + 0.5, [16, 16])
    np.testing.assert_allclose(last + 0.5, [47, 47])


def test_the_centroid_stays_where_scale_and_orientation_change():
    for image in all_sprites().reshape(-1, 64, 64):
        assert abs(centroid(image) + 0.5 - 32).max() < 0.5


@pytest.mark.parametrize("scale", dsprites.SCALES)
@pytest.mark.parametrize("angle", (0.0, 0.3, 1.0))
def test_a_quarter_turn(scale, angle):
    square = draw_sprite("square", scale, angle)
    np.testing.assert_array_equal(square, draw_sprite("square", scale, angle + np.pi / 2))
    for shape in ("ellipse", "heart"):
        turned = draw_sprite(shape, scale, angle + np.pi / 2)
        sprite = draw_sprite(shape, scale, angle)
        assert (turned != sprite).mean() > 0.001
        # Anticlockwise, about the corner that the canvas lacks one row and column to centre.
        np.testing.assert_array_equal(np.rot90(sprite[:-1, :-1]), turned[:-1, :-1])


def test_a_half_turn_changes_the_heart_only():
    for shape, same in (("square", True), ("ellipse", True), ("heart", False)):
        turned = draw_sprite(shape, 1.0, 0.4 + np.pi)
        assert (turned == draw_sprite(shape, 1.0, 0.4)).all() == same


def test_a_whole_turn_is_no_turn():
    np.testing.assert_array_equal(all_sprites()[:, :, 0], all_sprites()[:, :, 39])


def test_the_square_upright():
    rows, columns = np.nonzero(one(shape=0))
    assert np.ptp(rows) + 1 == np.ptp(columns) + 1 == 18
    assert one(shape=0).sum() == 18 * 18


def test_the_ellipse_is_wider_than_high():
    rows, columns = np.nonzero(one(shape=1))
    ratio = (np.ptp(columns) + 1) / (np.ptp(rows) + 1)
    assert 1.4 < ratio < 1.75


def test_the_heart_has_a_tip_below_and_a_notch_above():
    rows, columns = np.nonzero(one(shape=2))
    heart = one(shape=2)[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    np.testing.assert_array_equal(heart, heart[:, ::-1])
    assert (heart != heart[::-1]).mean() > 0.1
    assert heart[-1].sum() <= 4 < heart[len(heart) // 2].sum()
    middle = heart.shape[1] // 2
    assert not heart[0, middle]
    assert heart[0, :middle].any()
    assert heart[0, middle:].any()


def test_attributes_follow_from_the_factors():
    factors = [[0, 2, 0, 15, 16], [1, 3, 39, 16, 15], [2, 5, 4, 31, 31]]
    assert attributes_of(factors).tolist() == [[1, 0, 0, 0, 1], [0, 1, 1, 1, 0], [0, 0, 1, 1, 1]]
    assert dsprites.ATTRIBUTE_NAMES == ("square", "ellipse", "large", "right", "low")


def test_attributes_are_seen_in_the_images():
    factors = factors_of(np.random.default_rng(0).integers(0, COUNT, 300))
    images = render(factors)[..., 0] > 0
    large, right, low = attributes_of(factors).T[2:]
    rows, columns = np.array([centroid(image) for image in images]).T
    assert ((images.sum(axis=(1, 2)) > 165) == large).all()
    assert ((columns > 31) == right).all()
    assert ((rows > 31) == low).all()


@pytest.mark.parametrize("index", (-1, COUNT))
def test_an_index_out_of_range(index):
    with pytest.raises(ValueError, match="^indices must lie in 0 to 737279; got "):
        factors_of([0, index])


@pytest.mark.parametrize("function", (render, index_of, attributes_of))
@pytest.mark.parametrize(
    ("factors", "message"),
    [
        ([[0, 0, 0, 0, 32]], "^y_position must lie in 0 to 31; got 32 to 32"),
        ([[0, 0, 0, 0, 0], [3, 0, 0, 0, 0]], "^shape must lie in 0 to 2; got 0 to 3"),
        ([[0, -1, 0, 0, 0]], "^scale must lie in 0 to 5; got -1 to -1"),
        ([[0, 0, 0, 0]], r"^factors must have the shape \(N, 5\); got \(1, 4\)"),
        ([0, 0, 0, 0, 0], r"^factors must have the shape \(N, 5\); got \(5,\)"),
    ],
)
def test_factors_that_are_none(function, factors, message):
    with pytest.raises(ValueError, match=message):
        function(factors)


@pytest.fixture
def rendered(monkeypatch):
    """How many images each call of `render` was asked for."""
    counts = []

    def counting(factors):
        counts.append(len(factors))
        return render(factors)

    monkeypatch.setattr(dsprites, "render", counting)
    return counts


def test_the_data_set(rendered):
    data = load("dsprites", seed=1)
    assert (len(data.train), len(data.validation), len(data.test)) == (597_197, 66_355, 73_728)
    assert data.class_names == SHAPES
    assert data.image_shape == (64, 64, 1)
    assert data.factor_names == dsprites.FACTOR_NAMES
    assert data.factor_sizes == FACTOR_SIZES
    assert not data.multi_label
    indices = []
    for split in (data.train, data.validation, data.test):
        assert isinstance(split.images, LazyImages)
        assert split.factors.dtype == np.int64
        assert (split.labels == split.factors[:, 0]).all()
        indices.append(index_of(split.factors))
    assert (np.sort(np.concatenate(indices)) == np.arange(COUNT)).all()
    assert rendered == []


def test_images_and_factors_stay_together(rendered):
    data = load("dsprites", train_subset=50, labelled=10)
    assert len(data.train) == 50
    assert (data.train.labels >= 0).sum() == 10
    assert rendered == []
    images = np.asarray(data.train.images)
    assert rendered == [50]
    np.testing.assert_array_equal(images, render(data.train.factors))
    chosen = data.test.take(np.array([5, 70_000]))
    np.testing.assert_array_equal(np.asarray(chosen.images), render(chosen.factors))


def test_the_test_split_does_not_depend_on_the_seed():
    one_seed, other = load("dsprites", seed=1), load("dsprites", seed=2)
    assert (one_seed.test.factors == other.test.factors).all()
    assert (one_seed.validation.factors != other.validation.factors).any()


def test_another_width():
    assert load("dsprites", image_size=32).image_shape == (32, 32, 1)


def test_the_data_set_with_attributes():
    data = load("dsprites_attributes")
    assert data.multi_label
    assert data.class_names == dsprites.ATTRIBUTE_NAMES
    assert data.num_classes == 5
    for split in (data.train, data.validation, data.test):
        assert split.labels.dtype == np.int64
        assert (split.labels == attributes_of(split.factors)).all()
    assert data.train.labels.mean(axis=0) == pytest.approx([1 / 3, 1 / 3, 0.5, 0.5, 0.5], abs=0.01)
    assert (data.test.factors == load("dsprites").test.factors).all()


def test_chosen_attributes():
    data = load("dsprites_attributes", attributes="low,square", labelled=100)
    assert data.class_names == ("low", "square")
    kept = (data.train.labels != -1).all(axis=1)
    assert kept.sum() == 100
    assert (data.train.labels[~kept] == -1).all()
    expected = attributes_of(data.train.factors)[:, [4, 0]]
    assert (data.train.labels[kept] == expected[kept]).all()
    in_call = load("dsprites_attributes(attributes=('low', 'square'))")
    assert in_call.class_names == ("low", "square")
    with pytest.raises(ValueError, match="^Unknown attribute 'huge'.*Allowed: ellipse, large"):
        load("dsprites_attributes", attributes="huge")
