import numpy as np
import pytest
import tensorflow as tf
from sklearn.metrics import log_loss

from amr_tf import losses

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.uniform(-1, 1, (4, 3, 3, 2)).astype("float32")
OTHERS = RANDOM.uniform(-1, 1, (4, 3, 3, 2)).astype("float32")
LOGITS = RANDOM.normal(size=7).astype("float32")


def test_reconstruction_losses_against_numpy():
    assert float(losses.mean_absolute_error(IMAGES, OTHERS)) == pytest.approx(
        np.abs(IMAGES - OTHERS).mean(), rel=1e-6
    )
    assert float(losses.mean_squared_error(IMAGES, OTHERS)) == pytest.approx(
        ((IMAGES - OTHERS) ** 2).mean(), rel=1e-6
    )


def test_binary_crossentropy_is_summed_over_pixels():
    """On black and white images it is scikit-learn's log loss times the number of pixels."""
    images = np.sign(IMAGES)
    expected = 18 * log_loss((images.ravel() + 1) / 2, (OTHERS.ravel() + 1) / 2)
    assert float(losses.binary_crossentropy(images, OTHERS)) == pytest.approx(expected, rel=1e-5)


def test_binary_crossentropy_is_least_at_the_target_and_finite_at_the_ends():
    at_target = losses.binary_crossentropy(IMAGES, IMAGES)
    assert at_target < losses.binary_crossentropy(IMAGES, OTHERS)
    assert np.isfinite(losses.binary_crossentropy(np.ones((1, 1)), -np.ones((1, 1))))


@pytest.mark.parametrize("target", [0, 1])
def test_gan_crossentropy_against_scikit_learn(target):
    probability = 1 / (1 + np.exp(-LOGITS.astype("float64")))
    expected = log_loss([target] * 7, probability, labels=[0, 1])
    assert float(losses.gan_binary_crossentropy(LOGITS, target)) == pytest.approx(
        expected, rel=1e-5
    )


def test_gan_crossentropy_does_not_overflow():
    extreme = np.array([-1e4, 1e4], "float32")
    assert float(losses.gan_binary_crossentropy(extreme, 1.0)) == pytest.approx(5e3)
    assert float(losses.gan_binary_crossentropy(extreme, 0.0)) == pytest.approx(5e3)


def test_gan_crossentropy_does_not_saturate():
    """For the generator: the better the discriminator (low logits), the stronger the gradient."""
    logit = tf.constant([-8.0])
    with tf.GradientTape() as tape:
        tape.watch(logit)
        loss = losses.gan_binary_crossentropy(logit, 1.0)
    assert float(tape.gradient(loss, logit)[0]) == pytest.approx(-1, abs=1e-3)


def test_gan_losses_with_one_target_each():
    targets = RANDOM.uniform(size=7).astype("float32")
    assert float(losses.gan_least_squares(LOGITS, targets)) == pytest.approx(
        ((LOGITS - targets) ** 2).mean(), rel=1e-6
    )
    single = [
        float(losses.gan_binary_crossentropy(LOGITS[i : i + 1], targets[i])) for i in range(7)
    ]
    assert float(losses.gan_binary_crossentropy(LOGITS, targets)) == pytest.approx(np.mean(single))


def test_consistency():
    assert float(losses.consistency(IMAGES, OTHERS)) == pytest.approx(
        np.abs(IMAGES - OTHERS).mean(), rel=1e-6
    )
    assert float(losses.consistency(IMAGES, IMAGES)) == 0


def test_probe_crossentropy_against_scikit_learn():
    logits = RANDOM.normal(size=(6, 3)).astype("float32")
    probability = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = np.array([0, 1, 2, 2, 1, 0])
    assert float(losses.probe_crossentropy(labels, logits)) == pytest.approx(
        log_loss(labels, probability), rel=1e-5
    )


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_computed_in_float32(dtype):
    half = tf.cast(IMAGES, dtype), tf.cast(OTHERS, dtype)
    for name in losses.RECONSTRUCTION_LOSSES.names():
        assert losses.RECONSTRUCTION_LOSSES.get(name)(*half).dtype == "float32"
    for name in losses.GAN_LOSSES.names():
        assert losses.GAN_LOSSES.get(name)(tf.cast(LOGITS, dtype), 1.0).dtype == "float32"


def test_unknown_names():
    with pytest.raises(ValueError, match="Did you mean 'mean_absolute_error'"):
        losses.RECONSTRUCTION_LOSSES.get("mean_abs_error")
    with pytest.raises(ValueError, match="Unknown GAN loss 'hinge'"):
        losses.GAN_LOSSES.get("hinge")
