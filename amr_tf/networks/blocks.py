"""Building blocks of the networks: the initialiser, configurable layers, and checks."""

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


# Registered under an earlier name of the class, which existing `.keras` files contain.
@keras.saving.register_keras_serializable(package="amr_tf", name="ACAINormal")
class PortNormal(keras.initializers.Initializer):
    """The initialiser of the AMR authors' PyTorch port of ACAI.

    Draws from a normal distribution with standard deviation
    `1 / sqrt((1 + 0.2^2) * out * in * kernel_height)`. This is He's initialiser for a slope of 0.2,
    but its fan is the product of all axes of a PyTorch kernel except the last, (out, in, height).
    ACAI's own code uses (height, width, in).

    Args:
        seed: an integer for the same values in every call, or None.

    Call arguments:
        shape: shape of a convolution's kernel, (height, width, in, out).
        dtype: dtype of the values; None for Keras' default.
    """

    def __init__(self, seed: int | None = None) -> None:
        self.seed = seed
        # Without a seed, a generator makes every call draw new values.
        self._draws = keras.random.SeedGenerator() if seed is None else seed

    def __call__(self, shape: Shape, dtype: Any = None) -> Tensor:
        height, _, inputs, outputs = shape
        stddev = 1.0 / math.sqrt((1.0 + 0.2**2) * outputs * inputs * height)
        return keras.random.normal(shape, stddev=stddev, dtype=dtype, seed=self._draws)

    def get_config(self) -> dict[str, Any]:
        return {"seed": self.seed}


def make_initializer(initializer: Initializer) -> keras.Initializer:
    """Returns a new Keras initializer, to be used by a single layer.

    A Keras initializer returns the same values in every call, even without a seed. Layers of the
    same shape that shared an initializer would start with equal kernels.

    Args:
        initializer: any argument of `keras.initializers.get`: a name, a class, an instance, ...

    Raises:
        ValueError: the initializer has a seed, or is unknown to Keras.
    """
    made = keras.initializers.get(initializer)
    if not isinstance(made, keras.initializers.Initializer):
        return made  # A plain function.
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
    padding: str = "same",
) -> keras.Layer:
    """Creates a 3x3 convolution of the class `kind`, with its own initializer."""
    return kind(
        channels,
        kernel_size=3,
        padding=padding,
        kernel_initializer=make_initializer(kernel_initializer),
        name=name,
        dtype=dtype,
    )


class ConvolutionBlock:
    """A block of 3x3 convolution, normalisation and LeakyReLU.

    Args:
        normalization: "instance", "spectral" or None.
        slope: slope of LeakyReLU below zero.
        epsilon: constant added to the variance by instance normalisation.
        kernel_initializer: initializer of the convolution.

    Call arguments:
        x: symbolic feature maps.
        channels: number of output channels.
        name: prefix of the layers' names.
        kind: the convolution's class, `Conv2D` or one fused with the preceding linear layer.
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
    """Creates a spectrally normalised dense layer."""
    dense = keras.layers.Dense(units, name=f"{name}_kernel", dtype=dtype)
    return SpectralNormalization(dense, name=name)


def spectral_convolution(channels: int, kernel_size: int, name: str) -> keras.Layer:
    """Creates a spectrally normalised convolution with zeros beyond the border."""
    kernel = keras.layers.Conv2D(channels, kernel_size, padding="same", name=f"{name}_kernel")
    return SpectralNormalization(kernel, name=name)


def activate(x: Tensor, activation: Activation) -> Tensor:
    """Applies an activation to a decoder's output `x`, in a float32 layer named "out".

    Args:
        x: a symbolic tensor.
        activation: name or function of a Keras activation, or None to return `x` unchanged.

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
    """Creates a discriminator, with a classifier branch if `num_classes` is given.

    The branch (Odena et al. 2017) is not spectrally normalised. With a spectral norm of 1, its
    logits could not exceed the features' norm, and the classifier could not make confident
    predictions. Only the critic's logit needs the limit, since the auto-encoder follows its
    gradient far from the data.

    Args:
        inputs: the network's symbolic input.
        logits: (N,), float32.
        features: inputs of the branch, (N, ...).
        num_classes: number of outputs of the branch, or None for no branch.
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
    """Maps features (N, D) to one spectrally normalised float32 logit per example, (N,)."""
    return ops.squeeze(spectral_dense(1, "logits", dtype="float32")(features), axis=-1)


def check_image_shape(image_shape: tuple[int, ...], code_width: int) -> int:
    """Returns the number of halvings from an image's width to `code_width`.

    Raises:
        ValueError: Keras' image data format is not "channels_last", images are not square, or their
            width is not `code_width` times a power of two, at least 2.
    """
    if keras.config.image_data_format() != "channels_last":
        raise ValueError(
            "Images are (height, width, channels): call "
            "keras.config.set_image_data_format('channels_last')."
        )
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
    """Raises a ValueError unless `value` is one of `allowed`."""
    if value not in allowed:
        raise ValueError(f"{name} must be {' or '.join(map(repr, allowed))}; got {value!r}.")


def check_widths(name: str, widths: Sequence[int]) -> None:
    """Raises a ValueError unless `widths` is a list or tuple of at least one positive integer."""
    if not isinstance(widths, (list, tuple)) or not widths:
        raise ValueError(f"{name} must list the width of at least one layer; got {widths!r}.")
    for width in widths:
        checks.check_positive_integer(f"Each width in {name}", width)
