"""What the builders of networks share: the initialiser, layers with options, and checks."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras
from keras import ops

from amr_tf import checks
from amr_tf.fused import InstanceNormalization, LeakyReLU
from amr_tf.layers import SpectralNormalization
from amr_tf.registry import unknown_name
from amr_tf.types import Activation, Initializer, Shape, Tensor

LEAKY_RELU_SLOPE = 0.01
INSTANCE_NORM_EPSILON = 1e-5


# Registered under an earlier name of the class, which `.keras` files hold.
@keras.saving.register_keras_serializable(package="amr_tf", name="ACAINormal")
class PortNormal(keras.initializers.Initializer):
    """The initialiser of the AMR authors' PyTorch port of ACAI.

    Normal with standard deviation `1 / sqrt((1 + 0.2^2) * out * in * kernel_height)`: He's with a
    slope of 0.2, but over all of a PyTorch kernel's axes but the last, (out, in, height), where
    ACAI's own code has (height, width, in).

    Args:
        seed: an integer for values that are the same at each call, or None.

    Call arguments:
        shape: of a convolution's kernel, (height, width, in, out).
        dtype: of the values; None for Keras' default.
    """

    def __init__(self, seed: int | None = None) -> None:
        self.seed = seed
        # A generator, so that an initialiser without a seed draws anew at each call.
        self._draws = keras.random.SeedGenerator() if seed is None else seed

    def __call__(self, shape: Shape, dtype: Any = None) -> Tensor:
        height, _, inputs, outputs = shape
        stddev = 1.0 / math.sqrt((1.0 + 0.2**2) * outputs * inputs * height)
        return keras.random.normal(shape, stddev=stddev, dtype=dtype, seed=self._draws)

    def get_config(self) -> dict[str, Any]:
        return {"seed": self.seed}


def make_initializer(initializer: Initializer) -> keras.Initializer:
    """A new Keras initializer, for one layer alone.

    Keras' own draw the same values at each call, even without a seed: layers of one shape that
    shared an initializer would start with equal kernels.

    Args:
        initializer: what `keras.initializers.get` takes: a name, a class, an instance, ...

    Raises:
        ValueError: the initializer has a seed, or Keras does not know it.
    """
    made = keras.initializers.get(initializer)
    if not isinstance(made, keras.initializers.Initializer):
        return made  # A function.
    if made.get_config().get("seed") is not None:
        raise ValueError(
            "kernel_initializer must not have a seed, with which layers of one shape would start "
            "with equal kernels; call keras.utils.set_random_seed instead."
        )
    given_as_is = made is initializer
    return made.clone() if given_as_is else made


def convolution(
    channels: int,
    name: str,
    dtype: Any = None,
    kind: Callable[..., keras.Layer] = keras.layers.Conv2D,
    kernel_initializer: Initializer = PortNormal,
) -> keras.Layer:
    """A 3x3 "same" convolution, of any kind, with an initializer of its own."""
    return kind(
        channels,
        kernel_size=3,
        padding="same",
        kernel_initializer=make_initializer(kernel_initializer),
        name=name,
        dtype=dtype,
    )


class ConvolutionBlock:
    """3x3 convolution, normalisation, LeakyReLU.

    Args:
        normalization: "instance", "spectral" or None.
        slope: of LeakyReLU below zero.
        epsilon: added to the variance by instance normalisation.
        kernel_initializer: of the convolution.

    Call arguments:
        x: feature maps, symbolic.
        channels: of the convolution.
        name: what the layers' names start with.
        kind: the convolution's class, `Conv2D` or one that takes in the linear layer before it.
    """

    def __init__(
        self,
        normalization: str | None,
        slope: float,
        epsilon: float | None = None,
        kernel_initializer: Initializer = PortNormal,
    ) -> None:
        self.normalization = normalization
        self.slope = slope
        self.epsilon: Any = epsilon
        self.kernel_initializer = kernel_initializer

    def __call__(
        self,
        x: Tensor,
        channels: int,
        name: str,
        kind: Callable[..., keras.Layer] = keras.layers.Conv2D,
    ) -> Tensor:
        options: dict[str, Any] = {"kind": kind, "kernel_initializer": self.kernel_initializer}
        if self.normalization == "spectral":
            kernel = convolution(channels, f"{name}_kernel", **options)
            x = SpectralNormalization(kernel, name=f"{name}_conv")(x)
        else:
            x = convolution(channels, f"{name}_conv", **options)(x)
        if self.normalization == "instance":
            x = InstanceNormalization(self.epsilon, name=f"{name}_norm")(x)
        return LeakyReLU(self.slope, name=f"{name}_relu")(x)


def spectral_dense(units: int, name: str, dtype: Any = None) -> keras.Layer:
    """A spectrally normalised dense layer."""
    dense = keras.layers.Dense(units, name=f"{name}_kernel", dtype=dtype)
    return SpectralNormalization(dense, name=name)


def activate(x: Tensor, activation: Activation) -> Tensor:
    """The layer "out", float32, that applies an activation to a decoder's output `x`.

    Args:
        x: symbolic.
        activation: None to leave `x` as it is, or a Keras activation: its name or the function.

    Raises:
        ValueError: Keras has no activation of this name.
    """
    if activation is None:
        return x
    try:
        keras.activations.get(activation)
    except ValueError:
        names = set(dir(keras.activations)) - {"deserialize", "get", "serialize"}
        known = [name for name in names if not name.startswith("_")]
        raise unknown_name("output_activation", activation, known) from None
    return keras.layers.Activation(activation, name="out", dtype="float32")(x)


def critic(
    inputs: Tensor, logits: Tensor, features: Tensor, num_classes: int | None, name: str
) -> keras.Model:
    """A discriminator, with a classifier branch where `num_classes` is given (Odena et al. 2017).

    The branch is not spectrally normalised: with a norm of 1 its logits could not grow beyond the
    features' norm, whereas a classifier must be free to be sure. The limit is for the critic, whose
    gradient the auto-encoder follows far from the data.

    Args:
        inputs: the network's symbolic input.
        logits: (N,), float32.
        features: what the branch starts from, (N, ...).
        num_classes: columns of the branch's output, or None for no branch.
        name: the model's name.

    Returns:
        A `keras.Model` from `inputs` to `logits`, or to [`logits`, float32 class logits
        (N, num_classes)].
    """
    if num_classes is None:
        return keras.Model(inputs, logits, name=name)
    checks.check_positive_integer("num_classes", num_classes)
    flat = keras.layers.Flatten(name="class_features", dtype="float32")(features)
    classes = keras.layers.Dense(num_classes, name="class_logits", dtype="float32")(flat)
    return keras.Model(inputs, [logits, classes], name=name)


def dense_logits(features: Tensor) -> Tensor:
    """One spectrally normalised float32 logit an example, (N,), of features (N, D)."""
    return ops.squeeze(spectral_dense(1, "logits", dtype="float32")(features), axis=-1)


def check_image_shape(image_shape: tuple[int, ...], code_width: int) -> int:
    """The number of halvings that lead from an image's width to `code_width`.

    Raises:
        ValueError: images are not square, or not `code_width` times a power of two of at least 2.
    """
    if len(image_shape) != 3:
        raise ValueError(f"image_shape must be (height, width, channels); got {image_shape}.")
    height, width, channels = image_shape
    checks.check_positive_integer("channels", channels)
    scales = round(math.log2(width / code_width)) if width >= code_width else 0
    if height != width or scales < 1 or code_width << scales != width:
        raise ValueError(
            f"Images must be square, with a width that is {code_width} (the smallest feature maps' "
            f"width) times 2, 4, 8, ...; got {height} x {width}."
        )
    return scales


def check_choice(name: str, value: Any, allowed: Iterable[Any]) -> None:
    """Raises a ValueError unless `value` is among the `allowed`."""
    if value not in allowed:
        raise ValueError(f"{name} must be {' or '.join(map(repr, allowed))}; got {value!r}.")


def check_widths(name: str, widths: Sequence[int]) -> None:
    """Raises a ValueError unless `widths` is a list or tuple of at least one positive integer."""
    if not isinstance(widths, (list, tuple)) or not widths:
        raise ValueError(f"{name} must list the width of at least one layer; got {widths!r}.")
    for width in widths:
        checks.check_positive_integer(f"Each width in {name}", width)
