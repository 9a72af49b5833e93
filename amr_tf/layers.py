"""Layers that Keras lacks in the form this library needs."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from amr_tf import checks, replicas
from amr_tf.types import Seed, Shape, Tensor

_EPSILON = 1e-12
_SEED_STATE = "seed_generator_state"
# Odd and large, so that replicas' seeds do not collide with nearby seeds.
_SEEDS_BETWEEN_REPLICAS = 1_640_531_527


class ReplicaSeedGenerator(keras.random.SeedGenerator):
    """A `keras.random.SeedGenerator` that draws differently on each replica of a strategy.

    Its state is the same on all replicas. The first replica draws as it would without a strategy.
    """

    def next(self, ordered: bool = True) -> Tensor:
        seed = super().next(ordered)
        if replicas.count() == 1:
            return seed
        offset = ops.cast(replicas.index(), seed.dtype) * _SEEDS_BETWEEN_REPLICAS
        return seed + ops.stack([offset, ops.zeros_like(offset)])


class SeedStateSaving(keras.layers.Layer):
    """Base class for layers with a `seed_generator`: saves the generator's state with the layer.

    Keras does not save this state, but a resumed run must continue the same random sequence.
    """

    def save_own_variables(self, store: Any) -> None:
        super().save_own_variables(store)
        store[_SEED_STATE] = ops.convert_to_numpy(self.seed_generator.state)

    def load_own_variables(self, store: Any) -> None:
        values = {key: store[key] for key in store.keys()}  # noqa: SIM118, it is not a dictionary
        self.seed_generator.state.assign(values.pop(_SEED_STATE))
        super().load_own_variables(values)


@keras.saving.register_keras_serializable(package="amr_tf")
class GaussianSampling(SeedStateSaving, keras.layers.Layer):
    """Samples a diagonal Gaussian with the reparametrisation trick (Kingma & Welling 2013).

    Args:
        seed: an integer, or None to draw one from Keras' global seed.
        **kwargs: passed on to `keras.layers.Layer`.

    Call arguments:
        mean: any shape.
        log_variance: the same shape as `mean`.
        seed: an integer for reproducible draws, or None.

    Returns:
        `mean + exp(log_variance / 2) * epsilon`, float32, with epsilon ~ N(0, 1).
    """

    def __init__(self, seed: int | None = None, **kwargs: Any) -> None:
        # Always float32, which exp and the small variances of a trained encoder need.
        super().__init__(**{**kwargs, "dtype": "float32", "autocast": False})
        self.seed = seed
        self.seed_generator = ReplicaSeedGenerator(seed)

    def call(self, mean: Tensor, log_variance: Tensor, seed: Seed = None) -> Tensor:
        mean, log_variance = ops.cast(mean, "float32"), ops.cast(log_variance, "float32")
        seed = self.seed_generator if seed is None else seed
        noise = keras.random.normal(ops.shape(mean), seed=seed)
        return mean + ops.exp(0.5 * log_variance) * noise

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "seed": self.seed}


@keras.saving.register_keras_serializable(package="amr_tf")
class SpaceToDepth(keras.layers.Layer):
    """Rearranges each square of `size` x `size` pixels into the channels of one position.

    Args:
        size: width of the squares in pixels, at least 1.
        **kwargs: passed on to `keras.layers.Layer`.

    Call arguments:
        inputs: (N, H, W, C), with H and W multiples of `size`.

    Returns:
        (N, H / size, W / size, size^2 C), with the dtype of `inputs`.

    Example:

    >>> SpaceToDepth(2)(keras.ops.zeros((1, 8, 8, 3))).shape
    TensorShape([1, 4, 4, 12])
    """

    def __init__(self, size: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size = size

    def call(self, inputs: Tensor) -> Tensor:
        _, rows, columns, channels = self.compute_output_shape(inputs.shape)
        shape = (-1, rows, self.size, columns, self.size, inputs.shape[-1])
        squares = ops.transpose(ops.reshape(inputs, shape), (0, 1, 3, 2, 4, 5))
        return ops.reshape(squares, (-1, rows, columns, channels))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        batch, height, width, channels = input_shape
        if height % self.size or width % self.size:
            raise ValueError(
                f"Images of {height} x {width} are not made of squares of {self.size} x "
                f"{self.size} pixels."
            )
        return (batch, height // self.size, width // self.size, self.size**2 * channels)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "size": self.size}


@keras.saving.register_keras_serializable(package="amr_tf")
class ReplicationPadding2D(keras.layers.Layer):
    """Pads maps by one pixel on each side with copies of their border pixels.

    `keras.layers.ZeroPadding2D` pads with zeros, as a "same" convolution does. Zeros contrast with
    most maps, so that uniform maps get a border. The gradient is written by hand, since that of
    TensorFlow's `MirrorPad` takes more than twice as long on a CPU.

    Call arguments:
        inputs: (N, H, W, C), with H and W known.

    Returns:
        (N, H + 2, W + 2, C), with the dtype of `inputs`.

    Example:

    >>> ReplicationPadding2D()(keras.ops.reshape([1.0, 2.0], (1, 1, 2, 1)))[0, ..., 0].numpy()
    array([[1., 1., 2., 2.],
           [1., 1., 2., 2.],
           [1., 1., 2., 2.]], dtype=float32)
    """

    def build(self, input_shape: Shape) -> None:
        if None in input_shape[1:]:
            raise ValueError(
                f"ReplicationPadding2D needs maps of a known size; got {tuple(input_shape)}."
            )

    def call(self, inputs: Tensor) -> Tensor:
        return _replicate(inputs)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        batch, height, width, channels = input_shape
        return (batch, height + 2, width + 2, channels)


@tf.custom_gradient
def _replicate(maps: tf.Tensor) -> tuple[tf.Tensor, Callable]:
    _, height, width, channels = maps.shape
    pixels = np.pad(np.arange(height * width).reshape(height, width), 1, mode="edge")
    padded = tf.gather(tf.reshape(maps, (-1, height * width, channels)), pixels.ravel(), axis=1)

    def gradient(upstream: tf.Tensor) -> tf.Tensor:
        return _fold(_fold(upstream, axis=1), axis=2)

    return tf.reshape(padded, (-1, height + 2, width + 2, channels)), gradient


def _fold(upstream: tf.Tensor, axis: int) -> tf.Tensor:
    """Adds the first and last slices along an axis to their neighbours."""
    size = upstream.shape[axis]
    if size == 3:  # Both have the same neighbour.
        return tf.reduce_sum(upstream, axis, keepdims=True)
    parts = tf.split(upstream, [1, 1, size - 4, 1, 1], axis)
    return tf.concat([parts[0] + parts[1], parts[2], parts[3] + parts[4]], axis)


@keras.saving.register_keras_serializable(package="amr_tf")
class Blur2D(keras.layers.Layer):
    """Blurs maps with the binomial filter [1, 2, 1] / 4 along both axes.

    After nearest-neighbour upsampling, a convolution can produce a pattern that repeats every two
    pixels. The filter removes it, and makes the upsampling bilinear (Karras et al. 2020, "Analyzing
    and improving the image quality of StyleGAN").

    Call arguments:
        inputs: (N, H, W, C), with H and W at least 3.

    Returns:
        (N, H - 2, W - 2, C), with the layer's compute dtype; the maps are not padded.

    Example:

    >>> stripes = keras.ops.tile(keras.ops.reshape([0.0, 4.0], (1, 1, 2, 1)), (1, 4, 3, 1))
    >>> Blur2D()(stripes)[0, ..., 0].numpy()
    array([[2., 2., 2., 2.],
           [2., 2., 2., 2.]], dtype=float32)
    """

    def call(self, inputs: Tensor) -> Tensor:
        row = np.array([1, 2, 1], "float32") / 4
        kernel = np.tile(np.outer(row, row)[..., None, None], (1, 1, inputs.shape[-1], 1))
        kernel = ops.convert_to_tensor(kernel, inputs.dtype)
        # On a CPU, sums of slices take far longer.
        return ops.depthwise_conv(inputs, kernel, padding="valid", data_format="channels_last")

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        batch, height, width, channels = input_shape
        sizes = [None if size is None else size - 2 for size in (height, width)]
        return (batch, *sizes, channels)


@keras.saving.register_keras_serializable(package="amr_tf")
class DetailGain(keras.layers.Layer):
    """Amplifies how much pixels differ from the mean of their square of 2 x 2 pixels.

    The finest details of photographs are weak. At 64 pixels, their standard deviation is a ninth of
    that of the means. A spectrally normalised discriminator cannot amplify them, and overlooks
    textures that no photograph has.

    Args:
        gain: factor of the differences, positive; with 1 the images stay as they are.
        **kwargs: passed on to `keras.layers.Layer`.

    Call arguments:
        inputs: (N, H, W, C), with even H and W.

    Returns:
        `mean + gain * (inputs - mean)`, with the shape of `inputs`.

    Example:

    >>> DetailGain(4.0)(keras.ops.reshape([1.0, 2.0, 1.0, 2.0], (1, 2, 2, 1)))[0, ..., 0].numpy()
    array([[-0.5,  3.5],
           [-0.5,  3.5]], dtype=float32)
    """

    def __init__(self, gain: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        checks.check_positive("gain", gain)
        self.gain = gain

    def build(self, input_shape: Shape) -> None:
        _, height, width, _ = input_shape
        if height % 2 or width % 2:
            raise ValueError(
                f"DetailGain needs images of even height and width; got {height} x {width}."
            )

    def call(self, inputs: Tensor) -> Tensor:
        _, height, width, channels = inputs.shape
        squares = ops.reshape(inputs, (-1, height // 2, 2, width // 2, 2, channels))
        mean = ops.mean(squares, axis=(2, 4), keepdims=True)
        amplified = mean + self.gain * (squares - mean)
        return ops.reshape(amplified, (-1, height, width, channels))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "gain": self.gain}


@keras.saving.register_keras_serializable(package="amr_tf")
class SpectralNormalization(keras.layers.SpectralNormalization):
    """Divides a layer's kernel by its largest singular value (Miyato et al. 2018).

    `keras.layers.SpectralNormalization` overwrites the kernel with the normalised one in every
    training call. This layer instead trains the raw kernel and lets gradients flow through the
    singular value: each call computes `kernel / sigma(kernel)`, with `sigma = v' W u` and the
    vectors `u` and `v` held constant (algorithm 1 and equation 12 of the paper). A call with
    `training=True` stores the new `u`, so each training step that calls the layer once makes
    `power_iterations` iterations. Inference changes nothing.

    Args:
        layer: a layer whose `kernel` has its outputs on the last axis (`Conv2D`, `Dense`, ...).
        power_iterations: number of power iterations per call, at least 1.
        **kwargs: see `keras.layers.Wrapper`.

    Call arguments:
        inputs: inputs of the wrapped layer.
        training: whether to store the updated `u`.

    Returns:
        The output of the wrapped layer with its kernel normalised.

    Example:

    >>> layer = SpectralNormalization(keras.layers.Conv2D(8, 3, padding="same"))
    >>> layer(keras.random.normal((2, 16, 16, 4)), training=True).shape
    TensorShape([2, 16, 16, 8])

    Reference: [Spectral normalization for GANs](https://arxiv.org/abs/1802.05957).
    """

    def __init__(self, layer: keras.layers.Layer, power_iterations: int = 1, **kwargs: Any) -> None:
        # The singular value is always estimated in float32, since in bfloat16 it would be off by
        # up to a percent. The wrapped layer keeps its own policy and casts its inputs.
        kwargs.update(dtype="float32", autocast=False)
        super().__init__(layer, power_iterations=power_iterations, **kwargs)

    def build(self, input_shape: Shape) -> None:
        super().build(input_shape)
        self.input_spec = self.layer.input_spec  # The layer may take several inputs.

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        vector_u, sigma = self.spectral_norm()
        if training:
            self.vector_u.assign(vector_u)
        kernel = ops.convert_to_tensor(self.kernel) / ops.maximum(sigma, _EPSILON)
        # Replaces the wrapped layer's kernel for the duration of the call.
        with keras.StatelessScope(state_mapping=[(self.kernel, kernel)]):
            return self.layer(inputs)

    def spectral_norm(self) -> tuple[Tensor, Tensor]:
        """Returns the next `u`, of shape (1, outputs), and the estimate of sigma, a scalar."""
        weights = ops.reshape(self.kernel, (-1, self.kernel_shape[-1]))
        frozen = ops.stop_gradient(weights)
        vector_u = ops.convert_to_tensor(self.vector_u)
        for _ in range(self.power_iterations):
            vector_v = _normalized(ops.matmul(vector_u, ops.transpose(frozen)))
            vector_u = _normalized(ops.matmul(vector_v, frozen))
        sigma = ops.sum(ops.matmul(vector_v, weights) * vector_u)
        return vector_u, sigma

    def compute_output_spec(
        self, inputs: keras.KerasTensor, training: bool = False
    ) -> keras.KerasTensor:
        return self.layer.compute_output_spec(inputs)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["dtype"]
        return config


def _normalized(vector: Tensor) -> Tensor:
    return vector / ops.maximum(ops.norm(vector), _EPSILON)
