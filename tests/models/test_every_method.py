"""What must hold for each method: vector codes, graphs, mixed precision, the registry."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from amr_tf import ACAI, AMR, GAIA, VAE, SupervisedAMR
from amr_tf.models import METHODS
from tests.models.helpers import SHAPE, X, Y, make, same, values

NAMES = METHODS.names()


def test_the_methods():
    assert sorted(NAMES) == sorted(
        [
            "amr",
            "ae_gan",
            "pixel_mixup",
            "supervised_amr",
            "acai",
            "acai_original",
            "gaia",
            "vae",
            "beta_vae",
        ]
    )


@pytest.mark.parametrize("name", NAMES)
def test_vector_codes(name):
    method = METHODS.get(name)
    model = make(
        method,
        latent_dim=5,
        compile_kwargs={"autoencoder_optimizer": keras.optimizers.SGD(0.1)},
    )
    assert model.latent_shape == (5,)
    before = values(model.encoder.trainable_variables), values(model.decoder.trainable_variables)
    results = model.train_on(X, Y)
    assert all(np.isfinite(float(value)) for value in results.values())
    assert not same(before[0], values(model.encoder.trainable_variables))
    assert not same(before[1], values(model.decoder.trainable_variables))
    assert model.encode(X).shape == (12, 5)
    assert model.interpolate(X[:2], X[2:4], steps=3).shape == (2, 3, *SHAPE)
    if method.takes_mixer:
        assert model.mix(X).shape == X.shape


@pytest.mark.parametrize("name", NAMES)
def test_generator_update_every_in_a_graph(name):
    method = METHODS.get(name)
    model = make(method, compile_kwargs={"generator_update_every": 2})
    step = tf.function(model.train_on)
    moved = []
    for _ in range(3):
        before = values(model.autoencoder_variables), values(model.probe.weights)
        results = step(X, Y)
        moved.append(not same(before[0], values(model.autoencoder_variables)))
        assert not same(before[1], values(model.probe.weights))
    assert moved == [True, False, True]
    assert int(model.autoencoder_optimizer.iterations) == 2
    if model.discriminator is not None:
        assert int(model.discriminator_optimizer.iterations) == 3
    assert int(model.step_counter) == 3
    assert all(np.isfinite(float(value)) for value in results.values())
    assert set(results) <= set(method.METRICS)


@pytest.fixture
def half_precision():
    keras.config.set_dtype_policy("mixed_float16")
    yield
    keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize("method", [ACAI, VAE, GAIA, SupervisedAMR])
def test_mixed_precision_trains(method, half_precision):
    # So small a loss that none of its gradients overflows: such an update would be left out.
    settings = {"lambda_": 0.01, "kl_weight": 0.01} if method is VAE else {}
    model = make(method, compile_kwargs=settings)
    assert model.encoder.layers[3].compute_dtype == "float16"
    for optimizer in (model.autoencoder_optimizer, model.probe_optimizer):
        assert isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    networks = [model.encoder, model.decoder, model.probe]
    if model.discriminator is not None:
        networks.append(model.discriminator)
        assert isinstance(model.discriminator_optimizer, keras.optimizers.LossScaleOptimizer)
    before = [values(network.trainable_variables) for network in networks]
    for _ in range(2):
        results = model.train_on(X, Y)
    assert all(np.isfinite(float(value)) for value in results.values())
    assert all(np.isfinite(value).all() for value in values(model.weights))
    for network, old in zip(networks, before):
        assert not same(old, values(network.trainable_variables)), network.name
    assert all(result.dtype == "float32" for result in results.values())
    assert model.encode(X).dtype == "float32"


def test_a_metric_that_is_not_declared():
    class Own(AMR):
        def autoencoder_losses(self, step):
            loss, terms = super().autoencoder_losses(step)
            return loss, {**terms, "mine": loss}

    with pytest.raises(ValueError, match="^The losses of Own return mine, which its METRICS do no"):
        make(Own).fit(X, Y, verbose=0)
    Own.METRICS = (*AMR.METRICS, "mine")
    history = make(Own).fit(X, Y, verbose=0).history
    assert history["mine"][0] < history["loss"][0] + 1e-6


def test_a_model_that_is_not_compiled():
    model = AMR.convolutional(SHAPE, depth=2)
    for train in (model.fit, model.evaluate, model.train_on_batch, model.train_on):
        with pytest.raises(ValueError, match=r"You must call `compile\(\)` before using the model"):
            train(X, Y)
    assert model.mix(model.reconstruct(X)).shape == X.shape
