"""A reconstruction loss on the features of a network that was trained for another task."""

import functools
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent import futures
from typing import Any

import keras
from keras import ops

from amr_tf import checks
from amr_tf.downloads import impatient
from amr_tf.files import user_path
from amr_tf.losses import RECONSTRUCTION_LOSSES, mean_absolute_error
from amr_tf.registry import unknown_name
from amr_tf.types import Tensor

_OF_VGG = ("block1_conv2", "block2_conv2", "block3_conv3", "block4_conv3")
_EPSILON = 1e-8
_LISTED = 40  # At most this many names of layers in a message.


@RECONSTRUCTION_LOSSES.register("perceptual")
@keras.saving.register_keras_serializable(package="amr_tf")
class PerceptualLoss(keras.losses.Loss):
    """Mean absolute error of the pixels plus a distance between features of a fixed network.

    `mean |x - y| + feature_weight * mean over layers of d(x, y)`. In d, the features of each
    position are scaled to length 1, and d is the mean over positions of the squared distance
    between those of x and of y (Zhang et al. 2018, "The unreasonable effectiveness of deep features
    as a perceptual metric", equation 1 without learned weights; Johnson et al. 2016 proposed such
    losses for training).

    The network is loaded when the loss is first computed, or by `prepare`. It is neither trained
    nor saved with the model. A trained model can encode, decode and mix without the network, but
    `fit` and `evaluate` need it.

    Args:
        network: name of a Keras application, such as "VGG16"; or a `.keras` file of a functional or
            sequential model of images (N, H, W, C) in [-1, 1].
        layers: name or names of the layers whose outputs are compared. By default, those that
            Johnson et al. chose for VGG16, which VGG19 also has; required for other networks.
        feature_weight: weight of the distance between features.
        weights: of a Keras application: "imagenet", which Keras downloads once, or a weights file.

    Call arguments:
        images: (N, H, W, C) in [-1, 1]. Applications get three copies of a single channel.
        reconstructions: the same shape.

    Returns:
        A float32 scalar, the mean over the batch.

    Raises:
        ValueError: a value is of the wrong kind; or, when the network is loaded, it cannot be read
            or downloaded, has no such layers or does not take such images.

    Example:

    >>> network = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3, name="conv")])
    >>> network.save("network.keras")
    >>> loss = PerceptualLoss("network.keras", layers="conv")
    >>> images = keras.ops.zeros((2, 8, 8, 3))
    >>> float(loss(images, images))
    0.0
    """

    only_images = True

    def __init__(
        self,
        network: str,
        layers: str | Sequence[str] | None = None,
        feature_weight: float = 1.0,
        weights: str = "imagenet",
    ) -> None:
        # Without Keras' reduction, which divides some losses by the number of replicas.
        super().__init__(name="perceptual", reduction=None, dtype="float32")
        checks.check_not_negative("feature_weight", feature_weight)
        layers = (layers,) if isinstance(layers, str) else layers
        if layers is not None and not _are_names(layers):
            raise ValueError(f"layers must be names of layers; got {layers!r}.")
        if not isinstance(weights, str):
            raise ValueError(f"weights must be 'imagenet' or a weights file; got {weights!r}.")
        if not _is_file(network) and network not in _applications():
            raise unknown_name(
                "network (a Keras application, or a .keras file)", network, _applications()
            )
        if _is_file(network) and weights != "imagenet":
            raise ValueError("weights are for a Keras application; a .keras file has its own.")
        self.network = network
        self.layers = None if layers is None else tuple(layers)
        self.feature_weight = feature_weight
        self.weights = weights
        self._features: Callable | None = None

    def call(self, images: Tensor, reconstructions: Tensor) -> Tensor:
        pixels = mean_absolute_error(images, reconstructions)
        features = self.prepare(tuple(images.shape[1:]))
        both = ops.concatenate([images, reconstructions], axis=0)
        distances = [_distance(each) for each in features(both)]
        return pixels + self.feature_weight * sum(distances) / len(distances)

    def prepare(self, image_shape: tuple[int | None, ...]) -> Callable:
        """Loads the network if it is not loaded yet, so that errors occur before any training.

        A training run calls it before it writes anything.

        Args:
            image_shape: (H, W, C), in which None stands for an unknown size.

        Returns:
            A function from images (N, H, W, C) to a list of features.

        Raises:
            ValueError: the network cannot be read or downloaded, has no such layers, or does not
                take such images.
        """
        if self._features is None:
            # A separate thread is outside the graph that is being traced, and outside a strategy.
            with futures.ThreadPoolExecutor(1) as thread:
                self._features = thread.submit(self._load, image_shape).result()
        return self._features

    def get_config(self) -> dict[str, Any]:
        return {
            "network": self.network,
            "layers": self.layers,
            "feature_weight": self.feature_weight,
            "weights": self.weights,
        }

    def _load(self, image_shape: tuple[int | None, ...]) -> Callable:
        """Returns a function from images to the list of features."""
        prepare = None
        if _is_file(self.network):
            path = user_path(self.network)
            network = self._read(
                lambda: keras.saving.load_model(path, compile=False, safe_mode=True)
            )
        else:
            application = _applications()[self.network]
            weights = self.weights
            weights = weights if weights == "imagenet" else str(user_path(weights))
            with impatient():
                network = self._read(lambda: application(include_top=False, weights=weights))
            prepare = sys.modules[application.__module__].preprocess_input
        expected = self._image_shape(network)
        given = (*image_shape[:-1], 3) if prepare and image_shape[-1] == 1 else image_shape
        if len(given) != len(expected) or any(
            None not in (ours, theirs) and ours != theirs for ours, theirs in zip(given, expected)
        ):
            raise ValueError(
                f"The network {self.network} of the perceptual loss takes images of shape "
                f"{expected}; got {image_shape}."
            )
        network = keras.Model(network.inputs, self._outputs(network))
        # Wrapped, since Keras would save a network in an attribute with the model.
        return functools.partial(_features_of, network, prepare)

    def _read(self, load: Callable[[], Any]) -> Any:
        try:
            return load()
        except Exception as error:  # Keras, h5py and urllib raise various exceptions.
            file = self.network if _is_file(self.network) else f"weights {self.weights}"
            raise ValueError(
                f"The network of the perceptual loss cannot be loaded: {file} could not be read or "
                f"downloaded ({type(error).__name__})."
            ) from error

    def _image_shape(self, network: keras.Model) -> tuple[int | None, ...]:
        """Returns (H, W, C), in which None stands for any size."""
        inputs: Any = getattr(network, "inputs", None) or ()
        if len(inputs) != 1 or len(inputs[0].shape) != 4:
            raise ValueError(
                f"The network {self.network} of the perceptual loss must be a functional or "
                "sequential model with one input, images (N, H, W, C)."
            )
        return tuple(inputs[0].shape[1:])

    def _outputs(self, network: keras.Model) -> list[Any]:
        # The outputs of a model within the model belong to another graph.
        known = {
            layer.name: layer.output
            for layer in network.layers
            if not isinstance(layer, (keras.Model, keras.layers.InputLayer))
        }
        names = _OF_VGG if self.layers is None else self.layers
        missing = [name for name in names if name not in known]
        if missing and self.layers is None:
            raise ValueError(f"layers must be given for {self.network}: {_some(known)}.")
        if missing:
            raise ValueError(
                f"layers must be names of layers of {self.network}: {_some(known)}; "
                f"got {missing[0]!r}."
            )
        return [known[name] for name in names]


def _are_names(layers: Any) -> bool:
    listed = isinstance(layers, Sequence) and len(layers) > 0
    return listed and all(isinstance(name, str) for name in layers)


def _is_file(network: Any) -> bool:
    return isinstance(network, str) and network.endswith(".keras")


@functools.cache
def _applications() -> dict[str, Callable]:
    """Returns the functions that make Keras' applications, by name."""
    found = vars(keras.applications).items()
    return {name: value for name, value in found if name[0].isupper() and callable(value)}


def _some(names: Iterable[str]) -> str:
    """Returns names as a text of moderate length."""
    names = list(names)
    return ", ".join(names if len(names) <= _LISTED else [*names[:_LISTED], "..."])


def _features_of(network: keras.Model, prepare: Callable | None, images: Tensor) -> list[Any]:
    """Returns a network's features of images in [-1, 1], a list."""
    if prepare is not None:  # Of a Keras application: from RGB values in [0, 255].
        images = ops.repeat(images, 3, axis=-1) if images.shape[-1] == 1 else images
        images = prepare((images + 1.0) * 127.5)
    features = network(images, training=False)
    return list(features) if isinstance(features, (list, tuple)) else [features]


def _distance(features: Tensor) -> Any:
    """Returns the squared distance between the normalised halves of a batch, a mean."""
    features = ops.cast(features, "float32")
    length = ops.sqrt(ops.sum(ops.square(features), axis=-1, keepdims=True) + _EPSILON)
    one, other = ops.split(features / length, 2, axis=0)
    return ops.mean(ops.sum(ops.square(one - other), axis=-1))
