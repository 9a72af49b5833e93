"""Losses and metrics as pure functions of tensors.

They compute in float32 whatever the precision of their inputs, and return a float32 scalar, the
mean over the batch.
"""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
from keras import ops

from amr_tf import replicas
from amr_tf.registry import Registry
from amr_tf.types import Array, Tensor

RECONSTRUCTION_LOSSES = Registry(
    "reconstruction loss",
    skip=2,
    aliases={"mae": "mean_absolute_error", "mse": "mean_squared_error"},  # Keras' short names.
)
"""Functions of images and reconstructions, by the names that `--reconstruction_loss` takes."""
GAN_LOSSES = Registry("GAN loss", skip=2)
"""Functions of logits and targets, by the names that `--gan_loss` takes."""

_LEAST_VARIANCE = 1e-4  # Of images in [-1, 1].
_TARGETS = ("y_true", "target", "targets")  # First parameters of functions in Keras' order.


def reconstruction_loss(loss: str | Callable) -> Callable:
    """Returns a reconstruction loss, a function of (images, reconstructions) to a scalar.

    Args:
        loss: a call string of `RECONSTRUCTION_LOSSES`, "mae" or "mse", a function, or a
            `keras.losses.Loss`.

    Raises:
        ValueError: a name or parameter is unknown, or the loss is a Keras cross-entropy, whose
            targets are probabilities.
    """
    function = _loss(RECONSTRUCTION_LOSSES, loss)
    if _keras_from_logits(function) is not None:
        raise ValueError(
            "reconstruction_loss compares images in [-1, 1], but a cross-entropy of Keras takes "
            "probabilities: use 'binary_crossentropy'."
        )
    return _replica_mean(function)


def gan_loss(loss: str | Callable) -> Callable:
    """Returns a GAN loss, a function of (logits, target) to a scalar.

    Args:
        loss: a call string of `GAN_LOSSES`, a function of (logits, target), or a Keras loss, with
            arguments in Keras' order (y_true, y_pred). A function whose first parameter is named
            `y_true`, `target` or `targets` is called in that order, too.

    Raises:
        ValueError: a name or parameter is unknown, or a Keras loss expects probabilities.
    """
    function = _loss(GAN_LOSSES, loss)
    if not isinstance(function, keras.losses.Loss) and _first_parameter(function) not in _TARGETS:
        return function
    if _keras_from_logits(function) is False:
        raise ValueError(
            "gan_loss must take logits, which is what a discriminator returns: use "
            "keras.losses.BinaryCrossentropy(from_logits=True)."
        )

    function = _replica_mean(function)

    def in_keras_order(logits: Tensor, target: Tensor | float) -> Tensor:
        logits, target = _float32(logits, target)
        return ops.mean(function(ops.broadcast_to(target, ops.shape(logits)), logits))

    return in_keras_order


def generator_loss(loss: Callable) -> Callable:
    """Returns the generator's version of a GAN loss, which the auto-encoder minimises.

    This is the loss's attribute `generator` if it has one, else the loss itself.
    """
    return getattr(getattr(loss, "func", loss), "generator", loss)


def takes_logits(loss: Callable) -> bool:
    """Returns whether a reconstruction loss takes the decoder's logits instead of its images.

    Such a function has an attribute `from_logits = True`. It cannot compare codes.
    """
    return getattr(getattr(loss, "func", loss), "from_logits", False) is True


def compares_codes(loss: Callable) -> bool:
    """Returns whether a reconstruction loss can also compare codes.

    It cannot if it takes logits or has an attribute `only_images = True`.
    """
    only_images = getattr(getattr(loss, "func", loss), "only_images", False)
    return not takes_logits(loss) and only_images is not True


def _loss(registry: Registry, loss: str | Callable) -> Callable:
    if not isinstance(loss, str):
        if not callable(loss) or isinstance(loss, type):
            raise ValueError(
                f"A {registry.kind} must be a name ({', '.join(registry.names())}) or a function; "
                f"got {loss!r}."
            )
        return loss
    name, arguments = registry.parse(loss)
    entry = registry.get(name)
    if isinstance(entry, type):
        return entry(**arguments)
    return functools.partial(entry, **arguments) if arguments else entry


def _replica_mean(loss: Callable) -> Callable:
    """Returns a Keras loss as a function of a replica's images, to be averaged over replicas.

    Keras divides most means by the number of replicas, because gradients are summed. Here, the
    training step divides every loss, so a replica's sum is first multiplied by that number.
    """
    if not isinstance(loss, keras.losses.Loss) or loss.reduction in (None, "none"):
        return loss

    def reduced(target: Tensor, value: Tensor) -> Tensor:
        values = loss.call(*_float32(target, value))
        # Without sample weights, Keras' other reductions are the same mean.
        return replicas.count() * ops.sum(values) if loss.reduction == "sum" else ops.mean(values)

    reduced.only_images = getattr(loss, "only_images", False)  # type: ignore[attr-defined]
    return reduced


def _first_parameter(function: Callable) -> str | None:
    return next(iter(_parameters(function)), None)


def _keras_from_logits(function: Callable) -> bool | None:
    """Returns `from_logits` of a Keras cross-entropy (object or function), else None."""
    if isinstance(function, keras.losses.Loss):
        return getattr(function, "from_logits", None)
    parameter = _parameters(function).get("from_logits")
    if parameter is None or _first_parameter(function) != "y_true":
        return None
    return parameter.default


def _parameters(function: Callable) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):  # Some built-in functions have no signature.
        return {}


def _float32(*tensors: Any) -> tuple:
    return tuple(ops.cast(tensor, "float32") for tensor in tensors)


@RECONSTRUCTION_LOSSES.register("mean_absolute_error")
@keras.saving.register_keras_serializable(package="amr_tf")
def mean_absolute_error(images: Tensor, reconstructions: Tensor) -> Tensor:
    """Mean of `|x - g(f(x))|` over all elements, used for the paper's published tables."""
    images, reconstructions = _float32(images, reconstructions)
    return ops.mean(ops.abs(images - reconstructions))


@RECONSTRUCTION_LOSSES.register("mean_squared_error")
@keras.saving.register_keras_serializable(package="amr_tf")
def mean_squared_error(images: Tensor, reconstructions: Tensor) -> Tensor:
    """Mean of `(x - g(f(x)))^2` over all elements, as in Berthelot et al. (2019)."""
    images, reconstructions = _float32(images, reconstructions)
    return ops.mean(ops.square(images - reconstructions))


@RECONSTRUCTION_LOSSES.register("binary_crossentropy")
@keras.saving.register_keras_serializable(package="amr_tf")
def binary_crossentropy(images: Tensor, logits: Tensor) -> Tensor:
    """Cross-entropy of Bernoulli pixels, summed over pixels (used for dSprites).

    It is computed from the decoder's logits l, the inputs of its tanh. The decoded image is
    `tanh(l) = 2 sigmoid(2 l) - 1`, so a pixel is on with probability `sigmoid(2 l)`. If it were
    computed from the images, the gradient would vanish once tanh rounds to 1.

    Args:
        images: values in [-1, 1], mapped to probabilities by (x + 1) / 2.
        logits: the same shape as `images`.
    """
    images, logits = _float32(images, logits)
    target = (images + 1.0) / 2.0
    entropy = ops.softplus(2.0 * logits) - target * 2.0 * logits
    return ops.mean(ops.sum(entropy, axis=tuple(range(1, entropy.ndim))))


binary_crossentropy.from_logits = True  # type: ignore[attr-defined]


@GAN_LOSSES.register("binary_crossentropy")
@keras.saving.register_keras_serializable(package="amr_tf")
def gan_binary_crossentropy(logits: Tensor, target: Tensor | float) -> Tensor:
    """Mean cross-entropy of the discriminator's logits against `target` (paper, equation 2).

    With target 1 for the auto-encoder, it is the non-saturating generator loss.

    Args:
        logits: shape (N,).
        target: 1 for real, 0 for fake; a number or a tensor of shape (N,) with values in [0, 1].
    """
    logits, target = _float32(logits, target)
    # softplus(l) - t l = -t log s(l) - (1 - t) log(1 - s(l)), without overflow.
    return ops.mean(ops.softplus(logits) - target * logits)


@GAN_LOSSES.register("least_squares")
@keras.saving.register_keras_serializable(package="amr_tf")
def gan_least_squares(logits: Tensor, target: Tensor | float) -> Tensor:
    """Mean of `(D - target)^2` (Mao et al. 2017); see `gan_binary_crossentropy` for arguments."""
    logits, target = _float32(logits, target)
    return ops.mean(ops.square(logits - target))


@GAN_LOSSES.register("hinge")
@keras.saving.register_keras_serializable(package="amr_tf")
def gan_hinge(logits: Tensor, target: Tensor | float) -> Tensor:
    """Mean of `max(0, 1 - s D)`, with s = 1 for real and -1 for fake (Lim & Ye 2017).

    The auto-encoder minimises `-s D` instead, which has no margin. See `gan_binary_crossentropy`
    for the arguments.
    """
    logits, target = _float32(logits, target)
    return ops.mean(ops.relu(1.0 - (2.0 * target - 1.0) * logits))


def _signed_logits(logits: Tensor, target: Tensor | float) -> Tensor:
    """Computes the mean of `-s D`, with s as in `gan_hinge`."""
    logits, target = _float32(logits, target)
    return ops.mean((1.0 - 2.0 * target) * logits)


gan_hinge.generator = _signed_logits  # type: ignore[attr-defined]


def feature_distance(features: Sequence[Tensor], others: Sequence[Tensor]) -> Tensor:
    """Computes the mean absolute difference between lists of feature maps, averaged over the list.

    It compares the discriminator's features of real images and their reconstructions (Larsen et
    al. 2016, "Autoencoding beyond pixels using a learned similarity metric").

    Args:
        features: a list of tensors (N, ...).
        others: a list of tensors with the same shapes.
    """
    distances = [mean_absolute_error(one, other) for one, other in zip(features, others)]
    return sum(distances) / len(distances)


def look_distance(mixes: Tensor, images: Tensor, permutations: Tensor, shares: Tensor) -> Tensor:
    """Computes the mean absolute difference between the actual and the desired looks of mixes.

    Here, the look of an image is the mean and standard deviation of each channel: its colours and
    contrast. A mix should have the average of its parents' looks. Huang & Belongie 2017
    (equation 13) compare such statistics in the features of a trained network. Images are first
    averaged over squares of 4x4 pixels, since noise would otherwise count as contrast.

    Args:
        mixes: (N, H, W, C).
        images: the images that are mixed, (N, H, W, C).
        permutations: indices of the images in each mix, (k, N).
        shares: share of each parent in the look, (N, k).

    Returns:
        A float32 scalar.

    Example:

    >>> images = keras.random.normal((2, 8, 8, 3))
    >>> float(look_distance(images, images, permutations=[[0, 1]], shares=[[1.0], [1.0]]))
    0.0
    """
    parents = ops.take(_look(images), ops.transpose(permutations), axis=0)
    shares = ops.cast(shares, "float32")[..., None]
    return mean_absolute_error(ops.sum(shares * parents, axis=1), _look(mixes))


def _look(images: Tensor) -> Any:
    """Returns the means and standard deviations of the channels, (N, 2C)."""
    images = ops.average_pool(ops.cast(images, "float32"), 4, padding="same")
    mean = ops.mean(images, axis=(1, 2), keepdims=True)
    variance = ops.mean(ops.square(images - mean), axis=(1, 2))
    # The root of 0 has no gradient.
    deviation = ops.sqrt(variance + _LEAST_VARIANCE)
    return ops.concatenate([ops.squeeze(mean, axis=(1, 2)), deviation], axis=-1)


def gaussian_kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Computes KL(N(mean, variance) || N(0, 1)), summed over codes and averaged over the batch.

    See Kingma & Welling (2013), appendix B.

    Args:
        mean: (N, ...).
        log_variance: the same shape as `mean`.
    """
    mean, log_variance = _float32(mean, log_variance)
    divergence = 0.5 * (ops.square(mean) + ops.exp(log_variance) - 1.0 - log_variance)
    return ops.mean(ops.sum(divergence, axis=tuple(range(1, divergence.ndim))))


def label_crossentropy(
    targets: Tensor, logits: Tensor, weights: Tensor, multi_label: bool = False
) -> Tensor:
    """Computes the mean cross-entropy over the known labels, or 0 if there are none.

    Args:
        targets: (N, classes) probabilities: one-hot or mixed classes, or attributes in [0, 1].
        logits: (N, classes).
        weights: 1 for known labels and 0 for unknown ones, (N,) for classes and (N, classes) for
            attributes.
        multi_label: whether the columns are attributes, each with its own binary cross-entropy.
    """
    targets, logits = _float32(targets, logits)
    if multi_label:
        entropy = ops.softplus(logits) - targets * logits
    else:
        entropy = -ops.sum(targets * ops.log_softmax(logits, axis=-1), axis=-1)
    return masked_mean(entropy, weights)


def label_accuracy(
    targets: Tensor, logits: Tensor, weights: Tensor, multi_label: bool = False
) -> Tensor:
    """Computes the accuracy of the largest logit (or each logit's sign) over the known labels.

    See `label_crossentropy` for the arguments.
    """
    targets, logits = _float32(targets, logits)
    if multi_label:
        hits = ops.equal(logits > 0, targets > 0.5)
    else:
        hits = ops.equal(ops.argmax(logits, axis=-1), ops.argmax(targets, axis=-1))
    return masked_mean(hits, weights)


def masked_mean(values: Tensor, weights: Tensor) -> Tensor:
    """Computes the mean of `values` where `weights`, of the same shape, is 1; 0 if all are 0.

    With several replicas, the divisor is the mean over replicas of the sum of weights, so that the
    mean of the replicas' results is the mean over the global batch.
    """
    values, weights = _float32(values, weights)
    known = replicas.mean(ops.sum(weights))
    return ops.sum(values * weights) / ops.maximum(known, 1.0 / replicas.count())


def label_targets(
    labels: Array, num_classes: int, multi_label: bool = False
) -> tuple[Tensor, Tensor]:
    """Converts labels as `fit` takes them to targets and weights for `label_crossentropy`.

    Args:
        labels: class numbers (N,) or (N, 1), with -1 for unlabelled; one-hot rows (N, classes),
            all zero for unlabelled; or attributes (N, attributes) in {0, 1}, with -1 for unknown.
        num_classes: number of classes or attributes.
        multi_label: whether the columns are attributes.

    Returns:
        Targets, float32 (N, num_classes), and weights, float32, (N,) for classes or
        (N, num_classes) for attributes. Unknown entries have weight 0 and an uninformative target:
        0.5 for an attribute, 1 / num_classes for a class.
    """
    labels = ops.convert_to_tensor(labels)
    if labels.dtype == "bool":
        labels = ops.cast(labels, "int32")
    if multi_label:
        known = labels >= 0
        return ops.where(known, ops.cast(labels, "float32"), 0.5), ops.cast(known, "float32")
    if len(labels.shape) == 2 and labels.shape[1] != 1:
        targets = ops.cast(labels, "float32")
        known = ops.max(targets, axis=-1) > 0
    else:
        labels = ops.reshape(labels, (-1,))
        known = labels >= 0
        targets = ops.one_hot(ops.maximum(ops.cast(labels, "int32"), 0), num_classes)
    targets = ops.where(known[:, None], targets, 1.0 / num_classes)
    return targets, ops.cast(known, "float32")
