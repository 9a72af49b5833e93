"""A small model and small data for the tests of evaluation."""

import random

import keras
import numpy as np
import pytest
import tensorflow as tf

from amr_tf import AMR
from amr_tf.data import ImageData, Split, preprocess


@pytest.fixture(scope="package")
def model():
    """A compiled, untrained model of 8x8 images with three classes."""
    keras.utils.set_random_seed(0)
    model = AMR.convolutional((8, 8, 1), depth=2, num_classes=3, k=3, seed=0)
    model.compile(lambda_=10.0)
    return model


def float_images(split):
    """The images of `make_data` as a model sees them."""
    return preprocess(split.images, 8).numpy()


def random_states():
    """Python's, NumPy's and Keras' global state, and what TensorFlow draws next."""
    seeds = keras.src.random.seed_generator.draw_seed(None).numpy()
    return (random.random(), np.random.rand(), *seeds, float(tf.random.normal(())))


def make_data(labelled=True, test=True):
    """Noise, brighter for higher classes: 60, 21 and 17 images of three classes."""
    generator = np.random.default_rng(0)

    def split(count):
        labels = np.arange(count) % 3
        noise = generator.integers(0, 100, (count, 8, 8, 1))
        images = (noise + 75 * labels.reshape(-1, 1, 1, 1)).astype("uint8")
        return Split(images, labels if labelled else None)

    splits = {"train": split(60), "validation": split(21), "test": split(17) if test else None}
    names = ("dark", "grey", "bright") if labelled else None
    return ImageData(name="noise", class_names=names, image_size=8, **splits)
