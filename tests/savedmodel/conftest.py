"""What the tests of exports share: small models of every kind, and images for them."""

import keras
import numpy as np
import pytest

from amr_tf import AMR, SupervisedAMR, SupervisedBernoulliMixup
from amr_tf.models import METHODS


def make_model(method, policy="float32", **arguments):
    """An untrained model of a method, a name or a class, drawn from a fixed seed."""
    keras.utils.set_random_seed(0)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        method = METHODS.get(method) if isinstance(method, str) else method
        return method.create(**arguments)
    finally:
        keras.config.set_dtype_policy(before)


def make_images(model, count, seed=0):
    """Float32 images, or points, in [-1, 1]."""
    draws = np.random.default_rng(seed)
    return draws.uniform(-1, 1, (count, *model.image_shape)).astype("float32")


@pytest.fixture(scope="session")
def model():
    """AMR of 8x8 colour images, three classes."""
    keras.utils.set_random_seed(0)
    return AMR.convolutional((8, 8, 3), depth=2, latent_channels=5, num_classes=3, k=3)


@pytest.fixture(scope="session")
def labels_model():
    """Supervised AMR of three attributes, whose label mixer sees the parents."""
    keras.utils.set_random_seed(0)
    mixer = SupervisedBernoulliMixup(3, hidden_units=(8,), condition="parents")
    return SupervisedAMR.convolutional(
        (8, 8, 1), depth=2, num_classes=3, multi_label=True, label_mixer=mixer
    )
