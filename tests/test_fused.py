import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from amr_tf.fused import (
    ComposedConv2D,
    DeferredConv2D,
    InstanceNormalization,
    LeakyReLU,
    UpsampledConv2D,
)
from amr_tf.layers import SpectralNormalization
from tests.networks.common import policy


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def gradients(model, x, training=False):
    """The output, its gradient at the input, and those at the weights."""
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = model(x, training=training)
        # Weighs every output differently, or instance normalisation's gradient would vanish.
        loss = tf.reduce_sum(y * draw(*y.shape, seed=1))
    return [y, *tape.gradient(loss, [x, *model.trainable_variables])]


def check_same(model, plain, x, tolerance=1e-4):
    """Outputs and gradients agree once `plain` has the weights of `model`."""
    model(x), plain(x)
    plain.set_weights(model.get_weights())
    for ours, theirs in zip(gradients(model, x), gradients(plain, x), strict=True):
        assert ours.shape == theirs.shape
        scale = max(1.0, float(np.abs(theirs).max()))
        np.testing.assert_allclose(ours, theirs, atol=tolerance * scale)


@settings(max_examples=12, deadline=None)
@given(
    st.integers(1, 5), st.integers(1, 5), st.integers(1, 4), st.integers(1, 4), st.integers(0, 99)
)
def test_upsampled_convolution_is_both_layers(height, width, channels, filters, seed):
    layers = keras.layers
    plain = keras.Sequential([layers.UpSampling2D(2), layers.Conv2D(filters, 3, padding="same")])
    model = keras.Sequential([UpsampledConv2D(filters, bias_initializer="normal")])
    check_same(model, plain, draw(2, height, width, channels, seed=seed))


@pytest.mark.parametrize("padding", [0, 1, 2])
def test_composed_convolutions_are_three_layers(padding):
    x = draw(2, 5, 6, 3)
    inputs = keras.Input(x.shape[1:])
    deferred = DeferredConv2D(7, padding, bias_initializer="normal")(inputs)
    model = keras.Model(inputs, ComposedConv2D(4, 3, bias_initializer="normal")(deferred))
    layers = keras.layers
    plain = keras.Sequential(
        [layers.ZeroPadding2D(padding), layers.Conv2D(7, 1), layers.Conv2D(4, 3, padding="same")]
    )
    assert model.output_shape == plain.compute_output_shape((None, *x.shape[1:]))
    check_same(model, plain, x)


def test_spectral_normalisation_of_a_composed_convolution():
    x = draw(2, 6, 6, 3)
    outputs = []
    for fast in (True, False):
        keras.utils.set_random_seed(0)
        inputs = keras.Input(x.shape[1:])
        if fast:
            y = DeferredConv2D(7, 1)(inputs)
            kernel = ComposedConv2D(4, 3)
        else:
            y = keras.layers.Conv2D(7, 1)(keras.layers.ZeroPadding2D(1)(inputs))
            kernel = keras.layers.Conv2D(4, 3, padding="same")
        model = keras.Model(inputs, SpectralNormalization(kernel)(y))
        outputs.append([model(x, training=True), model(x), *model.get_weights()])
    for ours, plain in zip(*outputs, strict=True):
        np.testing.assert_allclose(ours, plain, atol=1e-5)


@pytest.mark.parametrize("offset", [0.0, 30.0])
def test_instance_normalisation_is_keras_own(offset):
    x = draw(3, 5, 4, 2) + offset  # A large mean would cancel digits in E[x^2] - E[x]^2.
    plain = keras.Sequential([keras.layers.GroupNormalization(groups=-1, epsilon=1e-5)])
    model = keras.Sequential([InstanceNormalization(gamma_initializer="normal")])
    check_same(model, plain, x)


@pytest.mark.parametrize("slope", [0.0, 0.01, 0.2])
def test_leaky_relu_is_keras_own_with_a_gradient_by_hand(slope):
    x = draw(4, 5, 6, 7)
    ours, theirs = (
        keras.Sequential([keras.Input((5, 6, 7)), kind(slope)])
        for kind in (LeakyReLU, keras.layers.LeakyReLU)
    )
    for training in (False, True):
        pairs = zip(gradients(ours, x, training), gradients(theirs, x), strict=True)
        for one, two in pairs:
            np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("offset", [0.0, 30.0])
def test_the_normalisation_gradient_by_hand(offset):
    model = keras.Sequential([keras.Input((6, 5, 3)), InstanceNormalization()])
    model.set_weights([draw(3, seed=2), draw(3, seed=3)])
    x = draw(4, 6, 5, 3) + np.float32(offset)
    for ours, theirs in zip(gradients(model, x, True), gradients(model, x, False), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-5 * max(1, abs(np.asarray(theirs)).max()))


def test_gradients_of_gradients_by_hand():
    """A gradient penalty (R1) differentiates the gradient."""
    model = keras.Sequential([keras.Input((6, 5, 3)), InstanceNormalization(), LeakyReLU(0.2)])
    x = tf.constant(draw(4, 6, 5, 3))
    weights = draw(4, 6, 5, 3, seed=1)
    found = []
    for training in (True, False):
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                y = tf.reduce_sum(model(x, training=training) * weights)
            penalty = tf.reduce_sum(tf.square(inner.gradient(y, x)))
        found.append(outer.gradient(penalty, x))
    np.testing.assert_allclose(*found, atol=1e-4 * abs(np.asarray(found[1])).max())


def test_instance_normalisation_of_constant_maps():
    outputs = InstanceNormalization(beta_initializer="ones")(np.full((1, 4, 4, 1), 7.0))
    np.testing.assert_array_equal(outputs, 1.0)


def small_model():
    inputs = keras.Input((6, 6, 2))
    x = ComposedConv2D(4, 3, name="composed")(DeferredConv2D(3, 1, name="deferred")(inputs))
    return keras.Model(inputs, UpsampledConv2D(2)(InstanceNormalization()(x)))


def test_keras_files(tmp_path):
    model, x = small_model(), draw(2, 6, 6, 2)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(x), model(x))
    for layer, other in zip(model.layers, loaded.layers, strict=True):
        assert layer.get_config() == other.get_config()


@pytest.mark.parametrize("name", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision(name):
    x = draw(2, 6, 6, 2)
    with policy("float32"):
        exact = small_model()
    with policy(name):
        model = small_model()
    model.set_weights(exact.get_weights())
    outputs = model(x)
    assert outputs.dtype == name.removeprefix("mixed_")
    np.testing.assert_allclose(np.float32(outputs), exact(x), atol=0.1)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: UpsampledConv2D(2, 5), r"kernel_size .* must be \(3, 3\); got \(5, 5\)"),
        (lambda: UpsampledConv2D(2, padding="valid"), "padding .* must be 'same'; got 'valid'"),
        (lambda: ComposedConv2D(2, 3, strides=2), r"strides .* must be \(1, 1\); got \(2, 2\)"),
    ],
)
def test_geometry_that_the_algebra_does_not_cover(build, message):
    with pytest.raises(ValueError, match=message):
        build()
