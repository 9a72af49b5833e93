"""The losses of the method: functions of tensors, nothing else.

Every function returns a float32 scalar, the mean over the batch, and computes in float32
whatever the precision of its inputs.
"""

import keras
from keras import ops

from amr_tf.registry import Registry

RECONSTRUCTION_LOSSES = Registry("reconstruction loss")
GAN_LOSSES = Registry("GAN loss")


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


def probe_crossentropy(labels, logits):
    """Mean cross-entropy of the probe's `logits` (N, classes) against integer `labels` (N,)."""
    (logits,) = _float32(logits)
    return ops.mean(keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True))
