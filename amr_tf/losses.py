"""The losses of the method: functions of tensors, nothing else.

Every function returns a float32 scalar, the mean over the batch, and computes in float32
whatever the precision of its inputs.
"""

from keras import ops

from amr_tf import replicas
from amr_tf.registry import Registry

RECONSTRUCTION_LOSSES = Registry("reconstruction loss")
"""Functions of images and reconstructions, by the names that `--reconstruction_loss` takes."""
GAN_LOSSES = Registry("GAN loss")
"""Functions of logits and targets, by the names that `--gan_loss` takes."""


def _float32(*tensors):
    return tuple(ops.cast(tensor, "float32") for tensor in tensors)


@RECONSTRUCTION_LOSSES.register("mean_absolute_error")
def mean_absolute_error(images, reconstructions):
    """Mean over all elements of `|x - g(f(x))|`, the loss of the published tables' runs."""
    images, reconstructions = _float32(images, reconstructions)
    return ops.mean(ops.abs(images - reconstructions))


@RECONSTRUCTION_LOSSES.register("mean_squared_error")
def mean_squared_error(images, reconstructions):
    """Mean over all elements of `(x - g(f(x)))^2`, as in Berthelot et al. (2019)."""
    images, reconstructions = _float32(images, reconstructions)
    return ops.mean(ops.square(images - reconstructions))


@RECONSTRUCTION_LOSSES.register("binary_crossentropy")
def binary_crossentropy(images, reconstructions):
    """Cross-entropy of pixels as Bernoulli variables, summed over pixels (for dSprites).

    Args:
        images: values in [-1, 1], mapped to probabilities by (x + 1) / 2.
        reconstructions: as `images`; use a decoder with `output_activation="tanh"`, since the
            loss has no gradient outside of [-1, 1].
    """
    images, reconstructions = _float32(images, reconstructions)
    target = (images + 1.0) / 2.0
    probability = ops.clip((reconstructions + 1.0) / 2.0, 1e-6, 1.0 - 1e-6)
    entropy = target * ops.log(probability) + (1.0 - target) * ops.log(1.0 - probability)
    return -ops.mean(ops.sum(entropy, axis=tuple(range(1, entropy.ndim))))


@GAN_LOSSES.register("binary_crossentropy")
def gan_binary_crossentropy(logits, target):
    """Mean cross-entropy of the discriminator's logits against `target` (paper, equation 2).

    Used with target 1 for the auto-encoder it is the non-saturating generator loss.

    Args:
        logits: shape (N,).
        target: 1 for real, 0 for fake; a number or a tensor of shape (N,) with values in [0, 1].
    """
    logits, target = _float32(logits, target)
    # softplus(l) - t l = -t log s(l) - (1 - t) log(1 - s(l)), without overflow.
    return ops.mean(ops.softplus(logits) - target * logits)


@GAN_LOSSES.register("least_squares")
def gan_least_squares(logits, target):
    """Mean of `(D - target)^2` (Mao et al. 2017). Arguments as of `gan_binary_crossentropy`."""
    logits, target = _float32(logits, target)
    return ops.mean(ops.square(logits - target))


def consistency(mixed_codes, reencoded_codes):
    """Mean of `|mix - f(g(mix))|` over all elements (paper's supplement, section 7.3)."""
    mixed_codes, reencoded_codes = _float32(mixed_codes, reencoded_codes)
    return ops.mean(ops.abs(mixed_codes - reencoded_codes))


def gaussian_kl(mean, log_variance):
    """KL(N(mean, variance) || N(0, 1)), summed over a code, mean over the batch.

    Kingma & Welling (2013), appendix B.

    Args:
        mean: (N, ...).
        log_variance: shaped as `mean`.
    """
    mean, log_variance = _float32(mean, log_variance)
    divergence = 0.5 * (ops.square(mean) + ops.exp(log_variance) - 1.0 - log_variance)
    return ops.mean(ops.sum(divergence, axis=tuple(range(1, divergence.ndim))))


def label_crossentropy(targets, logits, weights, multi_label=False):
    """Mean cross-entropy over what is known of the labels; 0 where nothing is.

    Args:
        targets: (N, classes) probabilities: one-hot or mixed classes, or attributes in [0, 1].
        logits: (N, classes).
        weights: what counts: (N,) for classes and (N, classes) for attributes, 0 or 1.
        multi_label: whether the columns are attributes, each with a cross-entropy of its own.
    """
    targets, logits = _float32(targets, logits)
    if multi_label:
        entropy = ops.softplus(logits) - targets * logits
    else:
        entropy = -ops.sum(targets * ops.log_softmax(logits, axis=-1), axis=-1)
    return masked_mean(entropy, weights)


def label_accuracy(targets, logits, weights, multi_label=False):
    """The share of known labels that the largest logit (or each attribute's sign) gets right.

    Arguments as of `label_crossentropy`.
    """
    targets, logits = _float32(targets, logits)
    if multi_label:
        hits = ops.equal(logits > 0, targets > 0.5)
    else:
        hits = ops.equal(ops.argmax(logits, axis=-1), ops.argmax(targets, axis=-1))
    return masked_mean(hits, weights)


def masked_mean(values, weights):
    """Mean of `values` where `weights`, of the same shape, is 1; 0 where it is 0 everywhere.

    On one of several replicas the divisor is their mean weight: then the replicas' results have
    the mean over the global batch as their mean.
    """
    values, weights = _float32(values, weights)
    known = replicas.mean(ops.sum(weights))
    return ops.sum(values * weights) / ops.maximum(known, 1.0 / replicas.count())


def label_targets(labels, num_classes, multi_label=False):
    """Labels as `fit` takes them, as targets and weights for `label_crossentropy`.

    Args:
        labels: class numbers (N,) or (N, 1), -1 for unlabelled, or one-hot rows (N, classes), or
            attributes (N, attributes) in {0, 1}, -1 for unknown.
        num_classes: number of classes or attributes.
        multi_label: whether the columns are attributes.

    Returns:
        Targets, float32 (N, num_classes); weights, float32, (N,) for classes and
        (N, num_classes) for attributes. Unknown entries have weight 0, and a target that favours
        nothing: 0.5 for an attribute, 1 / num_classes for a class.
    """
    labels = ops.convert_to_tensor(labels)
    if multi_label:
        known = labels >= 0
        return ops.where(known, ops.cast(labels, "float32"), 0.5), ops.cast(known, "float32")
    if len(labels.shape) == 2 and labels.shape[1] == num_classes and num_classes > 1:
        targets = ops.cast(labels, "float32")
        known = ops.max(targets, axis=-1) > 0
    else:
        labels = ops.reshape(labels, (-1,))
        known = labels >= 0
        targets = ops.one_hot(ops.maximum(ops.cast(labels, "int32"), 0), num_classes)
    targets = ops.where(known[:, None], targets, 1.0 / num_classes)
    return targets, ops.cast(known, "float32")
