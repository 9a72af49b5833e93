"""Faster equivalents of Keras layers: fused layers, and hand-written gradients."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from amr_tf.types import Shape, Tensor

# Along one axis, a copied pixel is multiplied by the weights 2; 1 and 2; 0 and 1; 0 of a 3-tap
# kernel, in the order of a transposed convolution, which flips its kernel. Rows times columns.
_AXIS_SUMS = np.array([[0, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0]], dtype="float32")
_KERNEL_SUMS = np.kron(_AXIS_SUMS, _AXIS_SUMS)


@keras.saving.register_keras_serializable(package="amr_tf")
class UpsampledConv2D(keras.layers.Conv2D):
    """Nearest-neighbour upsampling by 2 followed by a 3x3 "same" convolution.

    The upsampled image repeats each pixel, so the nine products of the convolution involve at most
    four different pixels. Both operations together are one transposed convolution of stride 2,
    whose 4x4 kernel holds sums of this layer's weights. This takes 4/9 of the multiplications and
    never stores the upsampled image.

    Args:
        filters: number of output channels.
        kernel_size: must be 3.
        padding: must be "same".
        **kwargs: see `keras.layers.Conv2D`; strides must be 1.

    Call arguments:
        inputs: (N, H, W, C).

    Returns:
        (N, 2H, 2W, filters), equal to `Conv2D(filters, 3, padding="same")(UpSampling2D(2)(inputs))`
        with the same weights, up to rounding.

    Raises:
        ValueError: the kernel size, padding, stride, dilation rate or number of groups differs.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int, int] = 3,
        padding: str = "same",
        **kwargs: Any,
    ) -> None:
        super().__init__(filters, kernel_size, padding=padding, **kwargs)
        _check_geometry(self, (3, 3))

    def convolution_op(self, inputs: Tensor, kernel: Tensor) -> Tensor:
        """Convolves the upsampled `inputs`; Keras adds bias and activation."""
        return ops.conv_transpose(
            inputs,
            _transposed_kernel(ops.convert_to_tensor(kernel)),
            strides=2,
            padding="same",
            data_format="channels_last",
        )

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        batch, height, width, _ = input_shape
        double = [None if size is None else 2 * size for size in (height, width)]
        return (batch, *double, self.filters)


@keras.saving.register_keras_serializable(package="amr_tf")
class DeferredConv2D(keras.layers.Conv2D):
    """A 1x1 convolution that defers the multiplication to the next layer.

    The next layer must be a `ComposedConv2D`. The image is padded with `padding` zeros on each side
    *before* the convolution, so the border of the output is its bias, as in the published networks.

    Args:
        filters: number of output channels.
        padding: number of zeros on each side.
        **kwargs: arguments of `keras.layers.Conv2D` about weights, such as `kernel_initializer`.

    Call arguments:
        inputs: (N, H, W, C).

    Returns:
        The padded pixels with a channel of ones, (N, H + 2 padding, W + 2 padding, C + 1), and
        the affine map of each pixel, kernel over bias, (C + 1, filters).
    """

    def __init__(self, filters: int, padding: int = 0, **kwargs: Any) -> None:
        super().__init__(filters, 1, **kwargs)
        self.zeros = padding

    def call(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        border = (self.zeros, self.zeros)
        pixels = ops.pad(inputs, ((0, 0), border, border, (0, 0)))
        pixels = ops.concatenate([pixels, ops.ones_like(pixels[..., :1])], axis=-1)
        return pixels, ops.concatenate([self.kernel[0, 0], self.bias[None]], axis=0)

    def compute_output_spec(
        self, inputs: keras.KerasTensor
    ) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        batch, height, width, channels = inputs.shape
        padded = [None if size is None else size + 2 * self.zeros for size in (height, width)]
        return (
            keras.KerasTensor((batch, *padded, channels + 1), self.compute_dtype),
            keras.KerasTensor((channels + 1, self.filters), self.compute_dtype),
        )

    def get_config(self) -> dict[str, Any]:
        config = _without(super().get_config(), "kernel_size")
        return {**config, "padding": self.zeros}


@keras.saving.register_keras_serializable(package="amr_tf")
class ComposedConv2D(keras.layers.Conv2D):
    """A "same" convolution that also computes the preceding `DeferredConv2D`.

    Two convolutions without an activation between them are equivalent to one, whose kernel is their
    product. It has C + 1 input channels instead of the many outputs of the first convolution.

    See `keras.layers.Conv2D` for the arguments. Strides must be 1 and padding "same".

    Call arguments:
        inputs: the pair that `DeferredConv2D` returns.

    Returns:
        (N, H, W, filters), equal to applying both convolutions in turn, up to rounding.
    """

    def __init__(
        self, filters: int, kernel_size: int | tuple[int, int], padding: str = "same", **kwargs: Any
    ) -> None:
        super().__init__(filters, kernel_size, padding=padding, **kwargs)
        _check_geometry(self)
        self.input_spec = None  # Keras expects a single input.

    def build(self, input_shape: tuple[Shape, Shape]) -> None:
        pixels, affine = input_shape
        super().build((*pixels[:-1], affine[-1]))
        self.input_spec = None

    def convolution_op(self, inputs: tuple[Tensor, Tensor], kernel: Tensor) -> Tensor:
        """Applies both convolutions; Keras adds bias and activation."""
        pixels, affine = inputs
        kernel = ops.convert_to_tensor(kernel)
        composed = ops.einsum("io,hwof->hwif", ops.cast(affine, kernel.dtype), kernel)
        return super().convolution_op(pixels, composed)

    def compute_output_spec(
        self, inputs: tuple[keras.KerasTensor, keras.KerasTensor]
    ) -> keras.KerasTensor:
        shape = (*inputs[0].shape[:-1], self.filters)
        return keras.KerasTensor(shape, self.compute_dtype)


@keras.saving.register_keras_serializable(package="amr_tf")
class LeakyReLU(keras.layers.LeakyReLU):
    """`keras.layers.LeakyReLU` with a gradient computed from its output, whose sign suffices.

    TensorFlow computes the gradient from the input. This keeps a second tensor in memory. It also
    uses a convolution's output twice, which prevents TensorFlow's graph optimizer (the remapper)
    from fusing operations of the training step.

    Args:
        negative_slope: slope below zero, at least 0.
        **kwargs: passed on to `keras.layers.Layer`.

    Call arguments:
        inputs: any shape.
        training: whether to use the hand-written gradient, which exported graphs do not need.
    """

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        if not training:
            return super().call(inputs)
        return _leaky_relu(inputs, float(self.negative_slope))


def _leaky_relu(inputs: tf.Tensor, slope: float) -> tf.Tensor:
    @tf.custom_gradient
    def function(inputs: tf.Tensor) -> tuple[tf.Tensor, Callable]:
        outputs = tf.nn.leaky_relu(inputs, slope)
        return outputs, lambda upstream: tf.raw_ops.LeakyReluGrad(
            gradients=upstream, features=outputs, alpha=slope
        )

    return function(inputs)


@keras.saving.register_keras_serializable(package="amr_tf")
class InstanceNormalization(keras.layers.GroupNormalization):
    """Normalises each feature map of each example by its own mean and variance.

    Equivalent to `keras.layers.GroupNormalization(groups=-1)`, with the same weights, but faster on
    a CPU: means over pixels are computed as matrix products, which read memory in order, and the
    hand-written gradient needs only two such means. Statistics are always float32.

    Args:
        epsilon: constant added to the variance.
        **kwargs: passed on to `keras.layers.GroupNormalization`, except `groups`.

    Call arguments:
        inputs: (N, H, W, C).
        training: whether to use the hand-written gradient.

    Returns:
        Normalised maps with the shape of `inputs`.

    Reference: [Instance normalization](https://arxiv.org/abs/1607.08022).
    """

    def __init__(self, epsilon: float = 1e-5, **kwargs: Any) -> None:
        super().__init__(groups=-1, epsilon=epsilon, **kwargs)

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        shape = ops.shape(inputs)
        maps = ops.reshape(ops.cast(inputs, "float32"), (-1, shape[1] * shape[2], shape[3]))
        gamma, beta = (ops.convert_to_tensor(weights) for weights in (self.gamma, self.beta))
        given = (maps, ops.cast(gamma, "float32"), ops.cast(beta, "float32"), self.epsilon)
        outputs = _normalize(*given) if training else _normalized(*given)[0]
        return ops.reshape(ops.cast(outputs, self.compute_dtype), shape)

    def get_config(self) -> dict[str, Any]:
        return _without(super().get_config(), "groups")


def _normalized(
    maps: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, epsilon: float
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns normalised maps (N, pixels, C), and the tensors that their gradient needs."""
    centred = maps - _mean(maps)
    scale = tf.math.rsqrt(_mean(tf.square(centred)) + epsilon)
    return centred * (gamma * scale) + beta, centred, scale


def _mean(maps: tf.Tensor) -> tf.Tensor:
    """Returns the mean over pixels, (N, 1, C), of maps (N, pixels, C)."""
    if tf.config.list_physical_devices("GPU"):  # Matrix products may round to 10 bits (TF32).
        return tf.reduce_mean(maps, axis=1, keepdims=True)
    pixels = tf.shape(maps)[1] if maps.shape[1] is None else maps.shape[1]
    return tf.matmul(tf.fill((1, 1, pixels), 1.0 / tf.cast(pixels, "float32")), maps)


def _normalize(maps: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, epsilon: float) -> tf.Tensor:
    """Returns normalised maps (N, pixels, C), with a hand-written gradient.

    With x' = centred * scale, dx = gamma * scale * (dy - mean(dy) - x' * mean(dy * x')).
    """

    @tf.custom_gradient
    def function(maps: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor) -> tuple[tf.Tensor, Callable]:
        outputs, centred, scale = _normalized(maps, gamma, beta, epsilon)

        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            mean, product = _mean(upstream), _mean(upstream * centred)
            pixels = tf.cast(tf.shape(maps)[1], "float32")
            return (
                (gamma * scale) * (upstream - mean - centred * (tf.square(scale) * product)),
                pixels * tf.reduce_sum(scale * product, axis=(0, 1)),
                pixels * tf.reduce_sum(mean, axis=(0, 1)),
            )

        return outputs, gradient

    return function(maps, gamma, beta)


def _transposed_kernel(kernel: Tensor) -> Tensor:
    """Converts a kernel (3, 3, C, filters) to that of the transposed convolution."""
    weights = ops.reshape(kernel, (9, -1))
    sums = ops.matmul(ops.cast(_KERNEL_SUMS, kernel.dtype), weights)
    return ops.transpose(ops.reshape(sums, (4, 4, *kernel.shape[2:])), (0, 1, 3, 2))


def _check_geometry(layer: keras.layers.Layer, kernel_size: tuple[int, int] | None = None) -> None:
    """Raises a ValueError unless a convolution is "same", with stride 1 and the kernel size."""
    allowed = (kernel_size or layer.kernel_size, (1, 1), (1, 1), "same", 1)
    names = ("kernel_size", "strides", "dilation_rate", "padding", "groups")
    for name, expected in zip(names, allowed):
        value = getattr(layer, name)
        if value != expected:
            kind = type(layer).__name__
            raise ValueError(f"{name} of {kind} must be {expected!r}; got {value!r}.")


def _without(config: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in config.items() if name not in names}
