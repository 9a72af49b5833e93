"""The step in one pass and in two: the same updates, for every method."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from amr_tf.models.training_step import STEPS

from amr_tf import AEGAN, AMR
from amr_tf.models import METHODS
from amr_tf.networks import build_decoder, build_encoder
from tests.models.helpers import SHAPE, X, Y, make, values

STEP_COUNT = 3


def trained(method, step, mixer="mixup", **compile_kwargs):
    """A model after some steps of plain gradient descent, which keeps differences in proportion."""
    optimizers = {
        f"{player}_optimizer": keras.optimizers.SGD(0.05)
        for player in ("autoencoder", "discriminator", "probe")
    }
    model = make(method, mixer, compile_kwargs={**optimizers, "step": step, **compile_kwargs})
    results = [model.train_on(X, Y) for _ in range(STEP_COUNT)]
    return model, [{name: float(value) for name, value in one.items()} for one in results]


def check_agree(method, mixer="mixup", tolerance=2e-5, **compile_kwargs):
    (first, ours), (second, theirs) = (
        trained(method, step, mixer, **compile_kwargs) for step in STEPS
    )
    for one, other in zip(first.weights, second.weights, strict=True):
        np.testing.assert_allclose(one, other, atol=tolerance, err_msg=one.path)
    fresh = make(method, mixer)
    for name in ("encoder", "decoder", "discriminator", "probe"):
        # Updates as small as the tolerance would hide a missing gradient.
        network, before = getattr(first, name), getattr(fresh, name)
        if network is not None:
            pairs = zip(network.trainable_weights, before.trainable_weights)
            assert max(np.abs(one - other).max() for one, other in pairs) > 20 * tolerance
    for one, other in zip(ours, theirs, strict=True):
        assert one.keys() == other.keys()
        for name, value in one.items():
            assert other[name] == pytest.approx(value, rel=1e-4, abs=1e-5), name


@pytest.mark.parametrize("name", METHODS.names())
def test_both_steps_agree(name):
    method = METHODS.get(name)
    check_agree(method, "mixup" if method.MIXES else None)


@pytest.mark.parametrize(
    "settings",
    [
        {"gan_loss": "least_squares"},
        {"beta": 0.5},
        {"generator_update_every": 2},
        {"supervision": 0.3},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_both_steps_agree_on_settings(settings):
    check_agree(AMR, **settings)


def logits_of(gan_loss):
    """An AE+GAN's step whose discriminator is a dense layer, and that layer."""
    inputs = keras.Input(SHAPE)
    dense = keras.layers.Dense(1, kernel_initializer="zeros")
    flat = keras.layers.Flatten()(inputs)
    discriminator = keras.Model(inputs, keras.layers.Reshape(())(dense(flat)))
    keras.utils.set_random_seed(0)
    model = AEGAN(build_encoder(SHAPE, depth=2), build_decoder(SHAPE, depth=2), discriminator)
    return model, dense, gan_loss


@pytest.mark.parametrize("bias", [0.0, -30.0, 30.0])
@pytest.mark.parametrize("gan_loss", ["binary_crossentropy", "least_squares"])
def test_scaling_is_safe_where_the_discriminator_does_not_pull(gan_loss, bias):
    """A logit of exactly 0 under least squares, and a discriminator that is as sure as can be."""
    kernel = np.random.default_rng(0).normal(size=(64, 1)).astype("float32") * 1e-3
    weights = []
    for step in STEPS:
        model, dense, _ = logits_of(gan_loss)
        dense.set_weights([kernel * (bias != 0), np.full(1, bias, "float32")])
        sgd = keras.optimizers.SGD
        model.compile(sgd(0.1), sgd(0.1), gan_loss=gan_loss, step=step, run_eagerly=True)
        model.train_on(X)
        weights.append(values(model.trainable_variables))
    for one, other in zip(*weights, strict=True):
        assert np.all(np.isfinite(one))
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_one_pass_asks_the_discriminator_once(monkeypatch):
    calls = {}
    for step in STEPS:
        model = make(AMR, compile_kwargs={"step": step})
        seen = calls[step] = []
        network = type(model.discriminator)
        call = network.call

        def counted(
            self, inputs, *args, _call=call, _seen=seen, _name=model.discriminator.name, **kw
        ):
            if self.name == _name:
                _seen.append(len(inputs))
            return _call(self, inputs, *args, **kw)

        with monkeypatch.context() as patch:
            patch.setattr(network, "call", counted)
            model.train_on(X, Y)
    assert calls == {"one_pass": [36], "two_pass": [36, 36]}


def test_float16_makes_a_second_backward_pass():
    with_half = make(AMR)
    assert with_half._one_logit_each()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        with_half = make(AMR)
    finally:
        keras.config.set_dtype_policy("float32")
    assert not with_half._one_logit_each()


def test_vectors_of_spectral_normalisation_move_once_a_step():
    first, second = (trained(AMR, step)[0].discriminator for step in STEPS)
    vectors = [
        [np.asarray(w) for w in network.weights if "vector_u" in w.path]
        for network in (first, second)
    ]
    assert len(vectors[0]) > 3
    for one, other in zip(*vectors, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


def test_unknown_step():
    with pytest.raises(ValueError, match="step must be 'one_pass' or 'two_pass'; got 'three'"):
        make(AMR, compile_kwargs={"step": "three"})


def test_batch_normalisation_needs_two_passes():
    inputs = keras.Input(SHAPE)
    inner = keras.Sequential(
        [keras.layers.BatchNormalization(name="inner"), keras.layers.Flatten()]
    )
    outputs = keras.layers.Reshape(())(keras.layers.Dense(1)(inner(inputs)))
    networks = build_encoder(SHAPE, depth=2), build_decoder(SHAPE, depth=2)
    model = AEGAN(*networks, keras.Model(inputs, outputs, name="critic"))
    with pytest.raises(ValueError, match="'critic' has the batch normalisation 'inner': use step"):
        model.compile()
    model.compile(step="two_pass")
    assert np.isfinite(float(model.train_on(X)["loss"]))


def test_the_step_is_saved(tmp_path):
    make(AMR, compile_kwargs={"step": "two_pass"}).save(tmp_path / "model.keras")
    assert keras.saving.load_model(tmp_path / "model.keras").step == "two_pass"


def test_two_passes_in_a_graph():
    model = make(AMR, compile_kwargs={"step": "two_pass", "run_eagerly": False})
    results = tf.function(model.train_on)(X, Y)
    assert all(np.isfinite(float(value)) for value in results.values())
