"""Limits for requests to the server."""

import dataclasses
import io
import math
from collections.abc import Iterable, Mapping
from typing import Any

import tensorflow as tf
from PIL import Image

from amr_tf import checks


@dataclasses.dataclass(frozen=True)
class Limits:
    """Upper bounds for a request.

    Attributes:
        upload_bytes: number of bytes in the body.
        instances: number of examples, or of samples to draw.
        parents: number of codes per mix (K).
        steps: number of images per interpolation.
        numbers: number of pixels times channels of all images read or generated.
        side: number of pixels on the longer side of an uploaded picture.
        pixels: number of pixels of all uploaded pictures together.
    """

    upload_bytes: int = 10 * 2**20
    instances: int = 256
    parents: int = 16
    steps: int = 64
    numbers: int = 4_000_000
    side: int = 4096
    pixels: int = 4096 * 4096


def check_inputs(
    inputs: Mapping[str, Any],
    specs: Mapping[str, tf.TensorSpec],
    image_shape: tuple[int, ...],
    limits: Limits,
) -> None:
    """Checks a request's arrays before the model runs.

    Args:
        inputs: arrays by name, which already have the types and shapes of `specs`.
        specs: `tf.TensorSpec`s by name.
        image_shape: the model's image shape.
        limits: a `Limits`.

    Raises:
        ValueError: a limit is exceeded, inputs do not match each other, float images leave
            [-1, 1], or bytes are not a picture.
    """
    instances = _common_size(inputs, specs, 0, "N", limits.instances)
    _common_size(inputs, specs, 1, "K", limits.parents)
    steps = _steps(inputs, limits)
    instances *= _samples(inputs, limits)
    asked = instances * steps * math.prod(image_shape)
    if asked > limits.numbers:
        raise ValueError(
            f"The request's images have {asked:,} pixels and channels; at most "
            f"{limits.numbers:,} are allowed at a time."
        )
    for name, spec in specs.items():
        if name.startswith("images") and spec.dtype.is_floating:
            checks.check_images(inputs[name], image_shape, name=f"Input '{name}'")
        if name.endswith("_bytes"):
            check_pictures(inputs[name], limits)


def _common_size(
    inputs: Mapping[str, Any], specs: Mapping[str, tf.TensorSpec], axis: int, letter: str, most: int
) -> int:
    """Returns the size of an axis that is dynamic in the specs, or 1 if it is dynamic in none."""
    sizes = {
        name: inputs[name].shape[axis]
        for name, spec in specs.items()
        if spec.shape.rank > axis and spec.shape[axis] is None
    }
    if len(set(sizes.values())) > 1:
        told = ", ".join(f"'{name}' has {size}" for name, size in sizes.items())
        raise ValueError(f"The inputs must agree in {letter}: {told}.")
    size = max(sizes.values(), default=1)
    if size > most:
        raise ValueError(f"{letter} can be at most {most} in a request; got {size}.")
    return size


def _steps(inputs: Mapping[str, Any], limits: Limits) -> int:
    if "steps" not in inputs:
        return 1
    steps = int(inputs["steps"])
    if not 2 <= steps <= limits.steps:
        raise ValueError(f"Input 'steps' must lie in 2 to {limits.steps}; got {steps}.")
    return steps


def _samples(inputs: Mapping[str, Any], limits: Limits) -> int:
    if "count" not in inputs:
        return 1
    count = int(inputs["count"])
    if not 1 <= count <= limits.instances:
        raise ValueError(f"Input 'count' must lie in 1 to {limits.instances}; got {count}.")
    return count


def check_pictures(pictures: Iterable[bytes], limits: Limits) -> None:
    """Checks the headers of PNG and JPEG files, so that no decoded picture fills the memory.

    Args:
        pictures: contents of files.
        limits: a `Limits`.

    Raises:
        ValueError: a picture is neither PNG nor JPEG, or the pictures are too large.
    """
    pixels = 0
    for picture in pictures:
        width, height = _size_of(picture)
        if max(width, height) > limits.side:
            raise ValueError(
                f"A picture is {width}x{height}; at most {limits.side}x{limits.side} is allowed."
            )
        pixels += width * height
    if pixels > limits.pixels:
        raise ValueError(
            f"The request's pictures have {pixels:,} pixels; at most {limits.pixels:,} are allowed "
            "together."
        )


def _size_of(picture: bytes) -> tuple[int, int]:
    try:
        # Opening reads only the header.
        with Image.open(io.BytesIO(picture), formats=("PNG", "JPEG")) as image:
            return image.size
    # Pillow raises various exceptions for broken headers, and its own for decompression bombs.
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError("A picture is not a PNG or JPEG that can be read.") from error
