import itertools
import json
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from amr_tf import GaussianSampling, SpectralNormalization
from amr_tf.layers import Blur2D, DetailGain, ReplicationPadding2D, SpaceToDepth

RECORDED = pathlib.Path(__file__).parent / "oracles" / "tfa_spectral_normalization.npz"


def conv(**kwargs):
    return keras.layers.Conv2D(6, 3, padding="same", **kwargs)


def pair(layer_factory, x, power_iterations=1):
    """Our wrapper and Keras' with equal kernels and vectors."""
    ours = SpectralNormalization(layer_factory(), power_iterations)
    theirs = keras.layers.SpectralNormalization(layer_factory(), power_iterations)
    ours.build(x.shape)
    theirs.build(x.shape)
    theirs.layer.set_weights(ours.layer.get_weights())
    theirs.vector_u.assign(ours.vector_u)
    return ours, theirs


def largest_singular_value(kernel):
    kernel = np.asarray(kernel)
    return np.linalg.svd(kernel.reshape(-1, kernel.shape[-1]), compute_uv=False)[0]


X = np.random.default_rng(0).normal(size=(2, 7, 6, 4)).astype("float32")


@pytest.mark.parametrize("factory", [conv, lambda: keras.layers.Dense(5)])
@pytest.mark.parametrize("power_iterations", [1, 3])
def test_output_equals_keras(factory, power_iterations):
    """Two calls: after the first, Keras' kernel is the normalised one and ours still the raw."""
    ours, theirs = pair(factory, X, power_iterations)
    raw = np.asarray(ours.kernel)
    for _ in range(2):
        np.testing.assert_allclose(ours(X, training=True), theirs(X, training=True), atol=1e-5)
        np.testing.assert_allclose(ours.vector_u, theirs.vector_u, atol=1e-5)
    np.testing.assert_array_equal(ours.kernel, raw)
    assert not np.allclose(theirs.kernel, raw)


def test_sigma_converges_to_the_largest_singular_value():
    layer = SpectralNormalization(conv(), power_iterations=200)
    layer.build(X.shape)
    _, sigma = layer.spectral_norm()
    assert float(sigma) == pytest.approx(largest_singular_value(layer.kernel), rel=1e-5)


def test_repeated_steps_converge_too():
    layer = SpectralNormalization(conv())
    for _ in range(200):
        layer(X, training=True)
    _, sigma = layer.spectral_norm()
    assert float(sigma) == pytest.approx(largest_singular_value(layer.kernel), rel=1e-4)


def test_inference_changes_nothing():
    layer = SpectralNormalization(conv())
    layer(X, training=True)
    before = [np.asarray(weight) for weight in layer.weights]
    layer(X)
    layer(X, training=False)
    for weight, value in zip(layer.weights, before):
        np.testing.assert_array_equal(weight, value)


def test_gradient_flows_through_sigma():
    """Against Miyato's equation 12: (G - <G, W / sigma> u v') / sigma for a loss <G, W / sigma>."""
    layer = SpectralNormalization(keras.layers.Dense(5, use_bias=False), power_iterations=300)
    layer.build((None, 4))
    kernel = np.asarray(layer.kernel)
    left, singular, right = np.linalg.svd(kernel)
    x = np.random.default_rng(1).normal(size=(3, 4)).astype("float32")
    upstream = np.random.default_rng(2).normal(size=(3, 5)).astype("float32")
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(x) * upstream)
    gradient = tape.gradient(loss, layer.layer.trainable_variables[0])
    sigma, direction = singular[0], np.outer(left[:, 0], right[0])
    plain = x.T @ upstream
    expected = (plain - np.sum(plain * kernel / sigma) * direction) / sigma
    np.testing.assert_allclose(gradient, expected, atol=1e-4)


def test_works_in_a_graph_and_saves(tmp_path):
    inputs = keras.Input(X.shape[1:])
    model = keras.Model(inputs, SpectralNormalization(conv(), power_iterations=2)(inputs))
    model.compile("sgd", "mse")
    model.fit(X, np.zeros((2, 7, 6, 6)), verbose=0)
    model.save(tmp_path / "layer.keras")
    again = keras.saving.load_model(tmp_path / "layer.keras")
    assert again.layers[1].power_iterations == 2
    np.testing.assert_array_equal(model.predict(X, verbose=0), again.predict(X, verbose=0))


def test_mixed_precision_estimates_in_float32():
    policy = keras.DTypePolicy("mixed_bfloat16")
    layer = SpectralNormalization(conv(dtype=policy))
    plain = SpectralNormalization(conv())
    layer.build(X.shape)
    plain.build(X.shape)
    plain.set_weights(layer.get_weights())
    for _ in range(5):
        output = layer(X, training=True)
        expected = plain(X, training=True)
    assert output.dtype == "bfloat16"
    np.testing.assert_allclose(layer.vector_u, plain.vector_u, atol=1e-6)
    np.testing.assert_allclose(tf.cast(output, "float32"), expected, atol=0.05)


def test_zero_kernel_gives_zero_not_nan():
    layer = SpectralNormalization(conv(kernel_initializer="zeros"))
    np.testing.assert_array_equal(layer(X, training=True), np.zeros((2, 7, 6, 6)))
    assert np.isfinite(layer.vector_u).all()


def test_bad_arguments():
    with pytest.raises(ValueError, match="power_iterations=0"):
        SpectralNormalization(conv(), power_iterations=0)
    with pytest.raises(ValueError, match="ReLU object has no attribute 'kernel'"):
        SpectralNormalization(keras.layers.ReLU())(X)


def recorded_cases():
    with np.load(RECORDED, allow_pickle=False) as archive:
        return sorted({name.split("/")[0] for name in archive.files})


@pytest.mark.parametrize("case", recorded_cases())
def test_recorded_outputs_of_tensorflow_addons(case):
    """tensorflow-addons 0.23.0 (see oracles/): the same outputs, by another route.

    It assigns the normalised kernel back; we keep the raw one, so ours divided by the product of
    the sigmas so far must be its stored kernel.
    """
    with np.load(RECORDED, allow_pickle=False) as archive:
        prefix = f"{case}/"
        names = [name for name in archive.files if name.startswith(prefix)]
        recorded = {name.removeprefix(prefix): archive[name] for name in names}
    config = json.loads(str(recorded["config"]))
    wrapped = getattr(keras.layers, config["layer"])(**config["kwargs"])
    layer = SpectralNormalization(wrapped, config["power_iterations"])
    layer.build(recorded["x"].shape)
    wrapped.kernel.assign(recorded["kernel"])
    if "bias" in recorded:
        wrapped.bias.assign(recorded["bias"])
    layer.vector_u.assign(recorded["u"])
    for step in ("step0", "step1"):
        _, sigma = layer.spectral_norm()
        output = layer(recorded["x"], training=True)
        np.testing.assert_allclose(output, recorded[f"output_{step}"], atol=1e-5)
        np.testing.assert_allclose(layer.vector_u, recorded[f"u_{step}"], atol=1e-5)
        normalised = recorded["kernel"] / float(sigma)
        np.testing.assert_allclose(normalised, recorded[f"kernel_{step}"], atol=1e-5)
        np.testing.assert_array_equal(wrapped.kernel, recorded["kernel"])


# Sampling.

MEAN = np.array([[-1.0, 0.0, 2.0, 5.0]], "float32")
LOG_VARIANCE = np.array([[0.0, -2.0, 1.0, -20.0]], "float32")


def test_sampling_has_mean_and_variance():
    mean, log_variance = np.repeat(MEAN, 20_000, 0), np.repeat(LOG_VARIANCE, 20_000, 0)
    draws = np.asarray(GaussianSampling(seed=0)(mean, log_variance))
    deviation = np.exp(LOG_VARIANCE[0] / 2)
    np.testing.assert_allclose(draws.mean(axis=0), MEAN[0], atol=0.05)
    np.testing.assert_allclose(draws.std(axis=0), deviation, rtol=0.05)
    standard = (draws - MEAN) / deviation
    assert np.abs(np.corrcoef(standard.T) - np.eye(4)).max() < 0.05


def test_sampling_is_the_reparametrisation():
    noise = np.asarray(keras.random.normal(MEAN.shape, seed=3))
    draw = GaussianSampling()(MEAN, LOG_VARIANCE, seed=3)
    np.testing.assert_allclose(draw, MEAN + np.exp(LOG_VARIANCE / 2) * noise, rtol=1e-5)


def test_sampling_passes_gradients_to_both():
    mean, log_variance = tf.constant(MEAN), tf.constant(LOG_VARIANCE)
    with tf.GradientTape() as tape:
        tape.watch([mean, log_variance])
        draw = GaussianSampling()(mean, log_variance, seed=3)
    to_mean, to_log_variance = tape.gradient(draw, [mean, log_variance])
    np.testing.assert_allclose(to_mean, np.ones((1, 4)))
    np.testing.assert_allclose(to_log_variance, (np.asarray(draw) - MEAN) / 2, atol=1e-6)


def test_sampling_draws_anew_unless_told():
    layer = GaussianSampling(seed=1)
    one, two = (np.asarray(layer(MEAN, LOG_VARIANCE)) for _ in range(2))
    assert not np.array_equal(one, two)
    np.testing.assert_array_equal(GaussianSampling(seed=1)(MEAN, LOG_VARIANCE), one)
    state = np.asarray(layer.seed_generator.state)
    fixed = [np.asarray(layer(MEAN, LOG_VARIANCE, seed=5)) for _ in range(2)]
    np.testing.assert_array_equal(*fixed)
    np.testing.assert_array_equal(layer.seed_generator.state, state)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_sampling_computes_in_float32(dtype):
    layer = GaussianSampling(seed=1, dtype=keras.DTypePolicy(f"mixed_{dtype}"))
    # exp(24 / 2) is more than float16 can hold.
    draw = layer(tf.zeros((1, 2), dtype), tf.constant([[24.0, 0.0]], dtype), seed=0)
    assert draw.dtype == "float32"
    noise = np.asarray(keras.random.normal((1, 2), seed=0))
    np.testing.assert_allclose(draw, np.exp([[12.0, 0.0]]) * noise, rtol=1e-5)


def test_sampling_saves_its_state(tmp_path):
    mean, log_variance = keras.Input((4,)), keras.Input((4,))
    layer = GaussianSampling(seed=1, name="draw")
    model = keras.Model([mean, log_variance], layer(mean, log_variance))
    first = np.asarray(model([MEAN, LOG_VARIANCE]))
    model.save(tmp_path / "draw.keras")
    again = keras.saving.load_model(tmp_path / "draw.keras")
    assert again.get_layer("draw").seed == 1
    second, continued = (np.asarray(one([MEAN, LOG_VARIANCE])) for one in (model, again))
    np.testing.assert_array_equal(second, continued)
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("size", [1, 2, 4])
def test_space_to_depth_is_tensorflows(size):
    images = np.random.default_rng(0).normal(size=(2, 8, 4, 3)).astype("float32")
    ours = SpaceToDepth(size)(images)
    expected = images if size == 1 else tf.nn.space_to_depth(images, size)
    np.testing.assert_array_equal(ours, expected)
    layer = SpaceToDepth.from_config(SpaceToDepth(size).get_config())
    assert layer(keras.Input((8, 4, 3))).shape == (None, 8 // size, 4 // size, 3 * size**2)


def test_space_to_depth_needs_whole_squares():
    with pytest.raises(ValueError, match=r"Images of 6 x 8 are not made of squares of 4 x 4"):
        SpaceToDepth(4)(np.zeros((1, 6, 8, 1), "float32"))


@pytest.mark.parametrize("shape", [(2, 8, 4, 3), (1, 1, 1, 2), (2, 1, 2, 1), (1, 3, 2, 1)])
def test_replication_padding_and_its_gradient_are_tensorflows(shape):
    rng = np.random.default_rng(0)
    maps = tf.constant(rng.normal(size=shape), "float32")
    padded_shape = (shape[0], shape[1] + 2, shape[2] + 2, shape[3])
    upstream = tf.constant(rng.normal(size=padded_shape), "float32")
    layer = ReplicationPadding2D()

    def with_gradient(function):
        with tf.GradientTape() as tape:
            tape.watch(maps)
            padded = function(maps)
        return padded, tape.gradient(padded, maps, upstream)

    border = [[0, 0], [1, 1], [1, 1], [0, 0]]
    expected = with_gradient(lambda given: tf.pad(given, border, "SYMMETRIC"))
    for ours, theirs in zip(with_gradient(layer), expected):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)
    again = ReplicationPadding2D.from_config(layer.get_config())
    assert again(keras.Input(shape[1:])).shape == (None, *padded_shape[1:])


def test_replication_padding_needs_sizes():
    with pytest.raises(ValueError, match=r"maps of a known size; got \(None, None, 4, 1\)"):
        ReplicationPadding2D()(keras.Input((None, 4, 1)))


def test_blur_weighs_nine_pixels():
    maps = np.random.default_rng(0).normal(size=(2, 5, 4, 3)).astype("float32")
    layer = Blur2D.from_config(Blur2D().get_config())
    blurred = np.asarray(layer(maps))
    assert blurred.shape == (2, 3, 2, 3)
    for row, column in itertools.product(range(3), range(2)):
        square = maps[:, row : row + 3, column : column + 3]
        expected = np.einsum("nijc,i,j->nc", square, [0.25, 0.5, 0.25], [0.25, 0.5, 0.25])
        np.testing.assert_allclose(blurred[:, row, column], expected, rtol=1e-5, atol=1e-6)
    assert layer(keras.Input((None, 4, 3))).shape == (None, None, 2, 3)
    assert Blur2D(dtype="mixed_bfloat16")(maps).dtype == "bfloat16"


def test_blur_removes_what_repeats_every_two_pixels_and_makes_nearest_upsampling_bilinear():
    rows, columns = np.mgrid[:6, :6]
    for pattern in (rows % 2, columns % 2, (rows + columns) % 2):
        maps = np.float32(pattern)[None, ..., None]
        np.testing.assert_array_equal(Blur2D()(maps), np.full((1, 4, 4, 1), 0.5, "float32"))
    maps = np.random.default_rng(0).normal(size=(1, 4, 4, 2)).astype("float32")
    copied, bilinear = (
        keras.layers.UpSampling2D(2, interpolation=name)(maps) for name in ("nearest", "bilinear")
    )
    np.testing.assert_allclose(Blur2D()(copied), bilinear[:, 1:-1, 1:-1], rtol=1e-5, atol=1e-6)


def test_detail_gain_amplifies_the_differences_within_squares():
    images = np.random.default_rng(0).normal(size=(2, 4, 6, 3)).astype("float32")
    layer = DetailGain.from_config(DetailGain(3.0).get_config())
    amplified = np.asarray(layer(images))
    for rows, columns in itertools.product(range(0, 4, 2), range(0, 6, 2)):
        square = np.s_[:, rows : rows + 2, columns : columns + 2]
        mean = images[square].mean(axis=(1, 2), keepdims=True)
        expected = mean + 3.0 * (images[square] - mean)
        np.testing.assert_allclose(amplified[square], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(DetailGain(1.0)(images), images, rtol=1e-5, atol=1e-6)
    assert layer(keras.Input((4, 6, 3))).shape == (None, 4, 6, 3)


@pytest.mark.parametrize("gain", [0.0, -1.0, float("nan"), "4"])
def test_bad_gains(gain):
    with pytest.raises(ValueError, match=f"gain must be .*got {gain!r}"):
        DetailGain(gain)


def test_detail_gain_needs_even_sizes():
    with pytest.raises(ValueError, match="even height and width; got 3 x 4"):
        DetailGain(4.0)(np.zeros((1, 3, 4, 1), "float32"))
