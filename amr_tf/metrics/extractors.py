"""Extractors: named functions from images to features, for comparing images."""

import pathlib
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from amr_tf import checks
from amr_tf.downloads import impatient


def extract_features(images: np.ndarray, extractor: Any, batch_size: int = 64) -> np.ndarray:
    """Extracts features of images.

    Args:
        images: float (N, H, W, C) in [-1, 1].
        extractor: see `image_quality`.
        batch_size: number of images at a time.

    Returns:
        float64 array (N, D).

    Raises:
        ValueError: see `image_quality`.
    """
    checks.check_positive_integer("batch_size", batch_size)
    if not isinstance(getattr(extractor, "name", None), str):
        raise ValueError(
            f"The extractor {extractor!r} must have a name: without it its figures mean nothing."
        )
    images = np.asarray(images)
    if images.ndim != 4:
        raise ValueError(f"images must have the shape (N, H, W, C); got {images.shape}.")
    checks.check_images(images, images.shape[1:])
    if isinstance(extractor, keras.Model):
        features = extractor.predict(images, batch_size=batch_size, verbose=0)
    else:
        starts = range(0, len(images), batch_size)
        batches = [np.asarray(extractor(images[start : start + batch_size])) for start in starts]
        features = np.concatenate(batches)
    if features.ndim != 2 or len(features) != len(images):
        raise ValueError(
            f"The extractor '{extractor.name}' must give features of the shape "
            f"({len(images)}, D); got {features.shape}."
        )
    return features.astype("float64")


def classifier_extractor(classifier: keras.Sequential) -> keras.Model:
    """Creates an extractor of a classifier's last feature maps, averaged over positions.

    There is one feature per map: 128 for `train_classifier`, whatever the size of the images. For a
    classifier without feature maps, the features are the inputs of its last layer.

    Args:
        classifier: a built `keras.Sequential` with at least two layers, such as that of
            `amr_tf.metrics.label_mixing.train_classifier`. Train one per data set and keep it,
            since results of different classifiers are not comparable.

    Returns:
        A `keras.Model` from images to features (N, D), named after the classifier.

    Raises:
        ValueError: the classifier has a single layer, or is not built.
    """
    if len(classifier.layers) < 2 or not classifier.built:
        raise ValueError(
            f"The classifier '{classifier.name}' must be built and have at least two layers: "
            "the features are what its last layer sees."
        )
    outputs = [layer.output for layer in classifier.layers[:-1]]
    maps = [output for output in outputs if len(output.shape) == 4]
    if not maps:
        name = f"{classifier.name}_penultimate"
        return keras.Model(classifier.inputs, outputs[-1], name=name)
    pooled = keras.layers.GlobalAveragePooling2D()(maps[-1])
    return keras.Model(classifier.inputs, pooled, name=f"{classifier.name}_pooled")


def inception_extractor(weights: str | None = "imagenet") -> Callable[[np.ndarray], np.ndarray]:
    """Creates an extractor of the 2,048 pooled features of Keras' InceptionV3.

    Images are resized to 299x299 (bilinear), and grey ones are repeated over three channels. The
    Inception network of FID has other weights and resizing, so results are close to published
    ones, but not exactly comparable.

    Args:
        weights: "imagenet", which Keras downloads once; the path of Keras' weights file for the
            network without its top; or None for random weights, for tests.

    Returns:
        A function, named after the weights, from images (N, H, W, C) in [-1, 1], with C 1 or 3, to
        features (N, 2048).

    Raises:
        FileNotFoundError: the weights do not exist and cannot be downloaded.
    """
    return _Inception(_load_inception(weights), _name_of_weights(weights))


class _Inception:
    """A named function from images to InceptionV3's features."""

    def __init__(self, network: keras.Model, name: str) -> None:
        self.network = network
        self.name = name

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Returns features (N, 2048) of images (N, H, W, C) in [-1, 1], the range Keras expects."""
        channels = images.shape[-1]
        if channels not in (1, 3):
            raise ValueError(f"InceptionV3 sees images of 1 or 3 channels; got {channels}.")
        images = np.repeat(images, 3 // channels, axis=-1)
        size = self.network.input_shape[1:3]
        shrinks = images.shape[1] > size[0] or images.shape[2] > size[1]
        resized = keras.ops.image.resize(images, size, antialias=shrinks)
        return self.network.predict_on_batch(resized)


def _name_of_weights(weights: str | None) -> str:
    return f"inception_v3_{'random' if weights is None else pathlib.Path(weights).stem}"


def _load_inception(weights: str | None) -> keras.Model:
    try:
        with impatient():
            return keras.applications.InceptionV3(
                include_top=False, weights=weights, pooling="avg", input_shape=(299, 299, 3)
            )
    except Exception as error:  # Keras, h5py and urllib raise various exceptions.
        raise FileNotFoundError(
            f"InceptionV3's weights '{weights}' could not be read or downloaded "
            f"({type(error).__name__}): pass weights=PATH of a copy of Keras' "
            "inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5, or use "
            "classifier_extractor, which needs no download."
        ) from error
