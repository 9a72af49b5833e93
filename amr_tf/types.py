"""Type aliases that many annotations share."""

from collections.abc import Callable
from typing import Any, TypeAlias

import keras
import numpy as np
import tensorflow as tf

Tensor: TypeAlias = tf.Tensor
"""A tensor; layers take Keras' symbolic ones as well."""

Array: TypeAlias = np.ndarray | tf.Tensor
"""What a public function takes as an array: NumPy's, or a tensor."""

Shape: TypeAlias = tuple[Any, ...]
"""The sizes of axes: integers, and in symbolic shapes None where a size is not known."""

Seed: TypeAlias = int | keras.random.SeedGenerator | None
"""Where draws come from: an integer for fixed ones, a generator, or None for the owner's."""

Initializer: TypeAlias = str | type[keras.Initializer] | keras.Initializer | Callable[..., Any]
"""What `keras.initializers.get` takes."""

Activation: TypeAlias = str | Callable[..., Any] | None
"""A Keras activation: its name, the function, or None for none."""
