"""Differentiable augmentation: each change by itself, gradients, groups, and its random state."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from amr_tf import DiffAugment
from amr_tf.augmentation import DISCRIMINATOR_AUGMENTATIONS

NOTHING = dict.fromkeys(("brightness", "saturation", "contrast", "translation", "cutout"), 0)
IMAGES = np.random.default_rng(0).uniform(-1, 1, (64, 8, 8, 3)).astype("float32")


def augmented(images=IMAGES, groups=1, seed=0, **settings):
    return np.asarray(DiffAugment(**{**NOTHING, **settings}, seed=seed)(images, groups=groups))


def test_nothing_is_changed_by_nothing():
    np.testing.assert_array_equal(augmented(), IMAGES)


def test_brightness_is_one_number_an_image():
    added = augmented(brightness=0.5) - IMAGES
    amounts = added.mean(axis=(1, 2, 3))
    np.testing.assert_allclose(
        added, np.broadcast_to(amounts[:, None, None, None], added.shape), atol=1e-6
    )
    assert np.abs(amounts).max() <= 0.5
    assert amounts.min() < -0.3 < 0.3 < amounts.max()


@pytest.mark.parametrize(("name", "axes"), [("saturation", -1), ("contrast", (1, 2, 3))])
def test_distances_from_the_mean_are_multiplied(name, axes):
    made = augmented(**{name: 0.5})
    means = IMAGES.mean(axis=axes, keepdims=True)
    np.testing.assert_allclose(made.mean(axis=axes, keepdims=True), means, atol=1e-6)
    factors = ((made - means) * (IMAGES - means)).sum(axis=(1, 2, 3))
    factors /= np.square(IMAGES - means).sum(axis=(1, 2, 3))
    expected = means + factors[:, None, None, None] * (IMAGES - means)
    np.testing.assert_allclose(made, expected, atol=1e-5)
    assert 0.5 <= factors.min() < 0.7 < 1.3 < factors.max() <= 1.5


def test_translation_moves_whole_pixels_and_lets_zeros_in():
    made = augmented(translation=0.25)
    shifts = set()
    for image, moved in zip(IMAGES, made):
        padded = np.pad(image, ((2, 2), (2, 2), (0, 0)))
        places = [
            (row, column)
            for row in range(5)
            for column in range(5)
            if np.allclose(padded[row : row + 8, column : column + 8], moved, atol=1e-6)
        ]
        assert len(places) == 1
        shifts.update(places)
    assert len(shifts) > 15


def test_cutout_is_a_square_of_zeros():
    made = augmented(np.ones_like(IMAGES), cutout=0.5)
    assert set(np.unique(made)) == {0.0, 1.0}
    holes = 1 - made[..., 0]
    assert np.ptp(made, axis=-1).max() == 0
    for hole in holes:
        rows, columns = np.flatnonzero(hole.any(axis=1)), np.flatnonzero(hole.any(axis=0))
        assert hole.sum() == len(rows) * len(columns)
        assert max(len(rows), len(columns)) <= 5
    assert {4} <= {int(hole.any(axis=1).sum()) for hole in holes}
    assert len({tuple(np.argwhere(hole)[0]) for hole in holes}) > 10


def test_groups_are_changed_alike_and_examples_are_not():
    settings = {"brightness": 0.5, "saturation": 1.0, "contrast": 0.5, "translation": 0.25}
    three = augmented(np.concatenate([IMAGES[:8]] * 3), 3, cutout=0.5, **settings)
    np.testing.assert_array_equal(three[:8], three[8:16])
    np.testing.assert_array_equal(three[:8], three[16:])
    alone = augmented(np.repeat(IMAGES[:1], 8, axis=0), cutout=0.5, **settings)
    assert len(np.unique(alone.reshape(8, -1), axis=0)) == 8


@pytest.mark.parametrize("name", NOTHING)
def test_gradients_are_those_of_the_linear_map(name):
    """Every change is affine in the image (for given draws), so differences follow the gradient."""
    images, weights = tf.constant(IMAGES[:4]), np.random.default_rng(1).normal(size=(4, 8, 8, 3))
    with tf.GradientTape() as tape:
        tape.watch(images)
        layer = DiffAugment(**{**NOTHING, name: 0.5}, seed=0)
        loss = tf.reduce_sum(layer(images) * weights.astype("float32"))
    gradient = np.asarray(tape.gradient(loss, images))
    step = np.random.default_rng(2).normal(size=images.shape).astype("float32")
    moved = augmented(IMAGES[:4] + step, **{name: 0.5}) - augmented(IMAGES[:4], **{name: 0.5})
    assert (moved * weights).sum() == pytest.approx((gradient * step).sum(), rel=1e-3, abs=1e-3)
    assert np.abs(gradient).max() > 0


def test_a_saved_layer_goes_on_with_its_draws(tmp_path):
    layer = DiffAugment(seed=5)
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, layer(inputs))
    model(IMAGES)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    first = np.asarray(model(IMAGES))
    np.testing.assert_array_equal(first, again(IMAGES))
    assert not np.array_equal(first, model(IMAGES))


def test_nothing_changes_outside_training():
    layer = DiffAugment(seed=0)
    np.testing.assert_array_equal(layer(IMAGES, training=False), IMAGES)
    inputs = keras.Input((8, 8, 3))
    predicted = keras.Model(inputs, layer(inputs)).predict(np.asarray(IMAGES), verbose=0)
    np.testing.assert_array_equal(predicted, IMAGES)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_dtypes_are_kept(dtype):
    assert DiffAugment(seed=0)(tf.cast(IMAGES, dtype)).dtype == dtype


def test_points_are_refused():
    with pytest.raises(ValueError, match=r"^Images of the shape \(N, H, W, C\) can be augmented"):
        DiffAugment().build((None, 2))


def test_by_name():
    layer = DISCRIMINATOR_AUGMENTATIONS.build("diff_augment(cutout=0)", seed=3)
    assert (layer.cutout, layer.translation, layer.seed) == (0, 0.125, 3)
    assert DiffAugment.from_config(layer.get_config()).get_config() == layer.get_config()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"brightness": -0.1}, r"^brightness must be a finite number of at least 0; got -0\.1"),
        ({"contrast": None}, "^contrast must be a finite number of at least 0; got None"),
        ({"translation": 1.5}, r"^translation must lie in 0 to 1; got 1\.5"),
        ({"cutout": 2}, "^cutout must lie in 0 to 1; got 2"),
    ],
)
def test_bad_values(settings, message):
    with pytest.raises(ValueError, match=message):
        DiffAugment(**settings)
