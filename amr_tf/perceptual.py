"""A reconstruction loss in the features of a network that was trained for something else."""

import functools
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent import futures
from typing import Any

import keras
from keras import ops

from amr_tf import checks
from amr_tf.files import user_path
from amr_tf.losses import RECONSTRUCTION_LOSSES
from amr_tf.types import Tensor

_OF_VGG = ("block1_conv2", "block2_conv2", "block3_conv3", "block4_conv3")
_EPSILON = 1e-8
_LISTED = 40  # So many names of layers in a message.


@RECONSTRUCTION_LOSSES.register("perceptual")
@keras.saving.register_keras_serializable(package="amr_tf")
class PerceptualLoss(keras.losses.Loss):
    """Mean absolute error of the pixels plus a distance between features of a fixed network.

    `mean |x - y| + feature_weight * mean over layers of d(x, y)`. In d, the features of each
    position are scaled to length 1, and d is the mean over positions of the squared distance
    between those of x and of y (Zhang et al. 2018, "The unreasonable effectiveness of deep features
    as a perceptual metric", equation 1 without learned weights; Johnson et al. 2016 proposed such
    losses for training).

    The network is loaded when the loss is first computed, so that a trained model can be used
    where the network is not at hand. It is not trained and not saved with the model.

    Args:
        network: name of a Keras application, such as "VGG16"; or a `.keras` file of a functional
            model whose input is images (N, H, W, C) in [-1, 1].
        layers: name or names of the layers whose outputs are compared. By default those of VGG16
            and VGG19 that Johnson et al. chose ("block1_conv2", "block2_conv2", "block3_conv3",
            "block4_conv3"); needed for other networks.
        feature_weight: weight of the distance between features.
        weights: of a Keras application: "imagenet", which Keras downloads once, or a weights file.
        name: the loss's name.

    Call arguments:
        images: (N, H, W, C) in [-1, 1]. Applications get three copies of a single channel.
        reconstructions: the same shape.

    Returns:
        A float32 scalar, the mean over the batch.

    Raises:
        ValueError: a value is of the wrong kind, or a name is unknown.

    Example:

    >>> loss = amr_tf.PerceptualLoss("VGG16", weights=None)  # Random weights.
    >>> images = np.zeros((2, 32, 32, 3), "float32")
    >>> float(loss(images, images))
    0.0
    """

    only_images = True

    def __init__(
        self,
        network: str,
        layers: str | Sequence[str] | None = None,
        feature_weight: float = 1.0,
        weights: str | None = "imagenet",
        name: str = "perceptual",
    ) -> None:
        # Each replica's mean, as the other losses of this package: the step averages over them.
        super().__init__(name=name, reduction=None)
        checks.check_not_negative("feature_weight", feature_weight)
        if not _is_file(network) and _application(network) is None:
            raise ValueError(
                "network must be the name of a Keras application, such as VGG16, or a .keras file; "
                f"got {network!r}."
            )
        self.network = network
        self.layers = (layers,) if isinstance(layers, str) else layers and tuple(layers)
        self.feature_weight = feature_weight
        self.weights = weights
        self._features: Callable | None = None

    def call(self, images: Tensor, reconstructions: Tensor) -> Tensor:
        pixels = ops.mean(ops.abs(images - reconstructions))
        if self._features is None:
            # A thread of its own is outside of the graph that is being traced and of a strategy.
            with futures.ThreadPoolExecutor(1) as thread:
                self._features = thread.submit(self._load, tuple(images.shape[1:])).result()
        both = ops.concatenate([images, reconstructions], axis=0)
        distances = [_distance(features) for features in self._features(both)]
        return pixels + self.feature_weight * sum(distances) / len(distances)

    def _load(self, image_shape: tuple[int, ...]) -> Callable:
        """Returns a function from images to the list of features."""
        prepare = None
        if _is_file(self.network):
            network = keras.saving.load_model(
                user_path(self.network), compile=False, safe_mode=True
            )
            expected = tuple(network.input_shape[1:])
        else:
            application = _application(self.network)
            network = application(include_top=False, weights=self.weights)
            prepare = sys.modules[application.__module__].preprocess_input
            expected = (*image_shape[:-1], 1 if image_shape[-1] == 1 else 3)
        if expected != image_shape:
            raise ValueError(
                f"The perceptual loss's network {self.network} takes images of shape {expected}; "
                f"got {image_shape}."
            )
        network = keras.Model(network.inputs, self._outputs(network))
        network.trainable = False
        # Wrapped, since Keras would save a network in an attribute with the model.
        return functools.partial(_features_of, network, prepare)

    def _outputs(self, network: keras.Model) -> list[Any]:
        known = {layer.name: layer.output for layer in network.layers}
        names = _OF_VGG if self.layers is None else self.layers
        missing = [name for name in names if name not in known]
        if missing and self.layers is None:
            raise ValueError(f"layers must be given for {self.network}: {_some(known)}.")
        if missing or not names:
            raise ValueError(
                f"layers must be names of layers of {self.network}: {_some(known)}; "
                f"got {self.layers!r}."
            )
        return [known[name] for name in names]

    def get_config(self) -> dict[str, Any]:
        return {
            "network": self.network,
            "layers": self.layers,
            "feature_weight": self.feature_weight,
            "weights": self.weights,
            "name": self.name,
        }


def _is_file(network: Any) -> bool:
    return isinstance(network, str) and network.endswith(".keras")


def _application(name: Any) -> Any:
    """Returns the function that makes a Keras application, or None if there is none."""
    found = getattr(keras.applications, name, None) if isinstance(name, str) else None
    return found if callable(found) else None


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
