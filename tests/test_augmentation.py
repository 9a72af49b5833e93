"""Augmentation: what each setting changes, and that it is a training's alone."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from amr_tf import AMR, ImageAugmentation


def pictures(count=64, size=12, channels=3, seed=0):
    generator = np.random.default_rng(seed)
    return generator.uniform(-0.5, 0.5, (count, size, size, channels)).astype("float32")


def augment(images, **settings):
    return np.asarray(
        ImageAugmentation(**{"flip": None, "seed": 0, **settings})(images, training=True)
    )


def test_nothing_changes_outside_training():
    images = pictures()
    layer = ImageAugmentation(shift=0.2, brightness=0.5, contrast=0.5, saturation=0.5, hue=0.5)
    np.testing.assert_array_equal(layer(images, training=False), images)
    assert not np.array_equal(layer(images), images)  # As with Keras' own layers.


@pytest.mark.parametrize(
    ("flip", "forms"),
    [
        ("horizontal", [lambda x: x, lambda x: x[:, ::-1]]),
        ("vertical", [lambda x: x, lambda x: x[::-1]]),
        (
            "horizontal_and_vertical",
            [lambda x: x, lambda x: x[:, ::-1], lambda x: x[::-1], lambda x: x[::-1, ::-1]],
        ),
    ],
)
def test_flips(flip, forms):
    images = pictures()
    seen = [
        [np.allclose(after, form(before), atol=1e-6) for form in forms]
        for before, after in zip(images, augment(images, flip=flip))
    ]
    assert np.sum(seen, axis=1).tolist() == [1] * len(images)
    assert np.any(seen, axis=0).all()


def test_shifts_are_whole_pixels_with_a_reflected_border():
    images = pictures(size=10)
    bordered = np.pad(images, [[0, 0], [2, 2], [2, 2], [0, 0]], "reflect")
    found = set()
    for before, after in zip(bordered, augment(images, shift=0.2)):
        matches = [
            (row, column)
            for row in range(5)
            for column in range(5)
            if np.allclose(before[row : row + 10, column : column + 10], after, atol=1e-6)
        ]
        assert len(matches) == 1
        found.add(matches[0])
    assert {row for row, _ in found} == {column for _, column in found} == {0, 1, 2, 3, 4}


def test_brightness_is_added():
    changed = augment(pictures(), brightness=0.1) - pictures()
    np.testing.assert_allclose(changed, changed[:, :1, :1, :1] + 0 * changed, atol=1e-5)
    assert changed.min() < -0.1 and changed.max() > 0.1  # 0.1 of a range of 2.
    assert abs(changed).max() <= 0.2 + 1e-5


def test_contrast_is_a_factor_about_the_mean():
    images = 0.5 * pictures()
    after = augment(images, contrast=0.5)
    means = images.mean(axis=(1, 2), keepdims=True)
    factors = (after - means) / (images - means)
    expected = np.median(factors, axis=(1, 2, 3))
    np.testing.assert_allclose(
        after, means + expected[:, None, None, None] * (images - means), atol=1e-4
    )
    assert 0.5 <= expected.min() < 0.7 and 1.3 < expected.max() <= 1.5


def test_saturation_and_hue_leave_grey_as_it_is_and_change_colours():
    grey = np.repeat(pictures(channels=1), 3, axis=-1)
    for setting in ("saturation", "hue"):
        np.testing.assert_allclose(augment(grey, **{setting: 0.5}), grey, atol=1e-5)
        assert abs(augment(pictures(), **{setting: 0.5}) - pictures()).max() > 0.1


def test_values_stay_in_range():
    images = np.sign(pictures())
    changed = augment(images, flip="horizontal", shift=0.1, brightness=1.0, contrast=1.0, hue=0.3)
    assert changed.shape == images.shape
    assert abs(changed).max() <= 1


def test_grey_images_and_half_precision():
    images = tf.cast(pictures(channels=1), "bfloat16")
    changed = ImageAugmentation(shift=0.1, brightness=0.2)(images, training=True)
    assert changed.dtype == tf.float32
    assert changed.shape == images.shape


@pytest.mark.parametrize("jit_compile", [False, True])
def test_in_a_graph(jit_compile):
    layer = ImageAugmentation(shift=0.1, brightness=0.2, contrast=0.2, saturation=0.2, hue=0.1)
    run = tf.function(lambda images: layer(images, training=True), jit_compile=jit_compile)
    first, second = run(pictures()), run(pictures())
    assert abs(np.asarray(first) - np.asarray(second)).max() > 0.01


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"flip": "sideways"},
            "flip must be horizontal, vertical, horizontal_and_vertical or None",
        ),
        ({"shift": 0.5}, "shift must be at least 0 and below 0.5; got 0.5"),
        ({"brightness": -0.1}, "brightness must lie in 0 to 1; got -0.1"),
        ({"hue": "red"}, "hue must lie in 0 to 1; got 'red'"),
        ({"contrast": True}, "contrast must lie in 0 to 1; got True"),
    ],
)
def test_values_that_are_not_allowed(settings, message):
    with pytest.raises(ValueError, match=message):
        ImageAugmentation(**settings)


def test_colours_need_three_channels():
    with pytest.raises(ValueError, match="saturation and hue need images of 3 channels; these"):
        augment(pictures(channels=1), hue=0.1)


def make(augmentation="standard(shift=0.2, brightness=0.2)"):
    keras.utils.set_random_seed(0)
    model = AMR.create((8, 8, 3), "convolutional(depth=2)", augmentation=augmentation, seed=0)
    model.compile()
    return model


def test_a_model_sees_changed_images_in_training_only():
    model = make()
    images = pictures(8, 8)
    seen = []
    model.encoder.call = lambda x, training=False, mask=None, call=model.encoder.call: (
        seen.append(np.asarray(x)),
        call(x, training=training),
    )[1]
    model.run_eagerly = True
    model.train_on(images)
    model.test_step(images)
    assert abs(seen[0] - images).max() > 0.1
    np.testing.assert_array_equal(seen[1], images)


def test_a_saved_model_goes_on_with_the_same_draws(tmp_path):
    model = make()
    images = pictures(8, 8)
    model.fit(images, batch_size=4, epochs=1, verbose=0, shuffle=False)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.augmentation.get_config() == model.augmentation.get_config()
    for one in (model, loaded):
        one.fit(images, batch_size=4, epochs=1, verbose=0, shuffle=False)
    for one, two in zip(model.get_weights(), loaded.get_weights()):
        np.testing.assert_array_equal(one, two)


def test_any_keras_layer_augments():
    noise = keras.layers.GaussianNoise(0.1)
    assert make(noise).augmentation is noise
    assert make(None).augmentation is None
    assert make("none").augmentation is None


@pytest.mark.parametrize(
    ("augmentation", "message"),
    [
        ("standart", "Unknown augmentation 'standart'. Did you mean 'standard'"),
        (
            keras.layers.RandomCrop(4, 4),
            r"What the augmentation makes must have .* \(N, 8, 8, 3\)",
        ),
        (5, "augmentation must be a Keras layer from images to images; got 5"),
    ],
)
def test_what_cannot_augment(augmentation, message):
    with pytest.raises(ValueError, match=message):
        make(augmentation)


def test_points_cannot_be_augmented():
    with pytest.raises(ValueError, match="points cannot be augmented"):
        AMR.create((2,), "mlp", augmentation="standard")
