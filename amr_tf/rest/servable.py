"""Loads a SavedModel and the other files of its version folder."""

import contextlib
import dataclasses
import io
import pathlib
import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from PIL import Image

from amr_tf.files import read_json
from amr_tf.savedmodel.metadata import read_definitions
from amr_tf.savedmodel.versions import versions
from amr_tf.types import Shape


@dataclasses.dataclass(frozen=True)
class Signature:
    """A signature of a SavedModel.

    Attributes:
        inputs: dictionary from input names to `tf.TensorSpec`s.
        outputs: like `inputs`.
        function: TensorFlow's concrete function.
    """

    inputs: dict[str, tf.TensorSpec]
    outputs: dict[str, tf.TensorSpec]
    function: Any

    def __call__(self, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Returns the outputs as NumPy arrays, by name.

        Args:
            inputs: arrays by name, with the types and shapes of the specs.

        Raises:
            ValueError: an operation rejects its input, such as bytes that are not an image.
        """
        tensors = {
            name: tf.constant(inputs[name], spec.dtype) for name, spec in self.inputs.items()
        }
        try:
            return {name: value.numpy() for name, value in self.function(**tensors).items()}
        except tf.errors.InvalidArgumentError as error:
            raise ValueError(f"The model refused the inputs: {_reason(error)}") from error


@dataclasses.dataclass(frozen=True)
class Servable:
    """A loaded version of a model.

    Attributes:
        name: the model folder's name, as in TF Serving's URLs.
        version: the version number.
        signatures: `Signature`s by name.
        definitions: TF Serving's metadata of the signatures, as JSON values.
        image_shape: (H, W, C), or (D,) for points.
        latent_shape: (h, w, c) or (d,).
        metadata: the contents of metadata.json; empty without this file.
        examples: the bytes of examples.png, which holds images side by side; or None.
        loaded: TensorFlow's object, which keeps the signatures' variables alive.
    """

    name: str
    version: int
    signatures: dict[str, Signature]
    definitions: dict[str, Any]
    image_shape: tuple[int, ...]
    latent_shape: tuple[int, ...]
    metadata: dict[str, Any]
    examples: bytes | None
    loaded: object


def _reason(error: tf.errors.OpError) -> str:
    """Returns the operation's message, without the function and node that TensorFlow adds."""
    said = error.message.partition("[[{{node")[0].strip().splitlines()[-1]
    # "(0) KIND:" precedes the first of several errors; "[Op:...]" follows in eager mode.
    said = re.sub(r"^\(0\) [A-Z_]+:| \[Op:.*\]$", "", said.strip())
    return said.strip().rstrip(".").replace(". ", ": ") + "."


def find_version(folder: str | pathlib.Path, version: int | None = None) -> pathlib.Path:
    """Returns the version folder to load.

    Args:
        folder: a model's folder with numbered subfolders, such as "saved_models/digits".
        version: the version number; defaults to the newest.

    Raises:
        ValueError: there is no such folder or version.
    """
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        raise ValueError(f"'{folder}' is not a folder; --model names one that amr_tf.export wrote.")
    if (folder / "saved_model.pb").is_file():
        raise ValueError(
            f"'{folder}' is a version; --model names the folder above it, '{folder.parent}'."
        )
    found = whole_versions(folder)
    if not found:
        raise ValueError(f"'{folder}' holds no exported version, such as '{folder / '1'}'.")
    if version is not None and version not in found:
        known = ", ".join(map(str, found))
        raise ValueError(f"'{folder}' has no version {version}; it has {known}.")
    return folder / str(found[-1] if version is None else version)


def whole_versions(folder: pathlib.Path) -> list[int]:
    """Returns the numbers of the versions that hold a SavedModel, in increasing order."""
    numbers = versions(folder)
    return [number for number in numbers if (folder / str(number) / "saved_model.pb").is_file()]


def load_servable(folder: str | pathlib.Path, version: int | None = None) -> Servable:
    """Loads a version that `amr_tf.export` wrote.

    Args:
        folder: the model's folder.
        version: the version number; defaults to the newest.

    Returns:
        A `Servable`.

    Raises:
        ValueError: there is no such version, or it is incomplete.
    """
    path = find_version(folder, version)
    loaded = _load(path)
    signatures = {
        name: Signature(
            # Sorted, because TensorFlow's order differs from load to load.
            dict(sorted(function.structured_input_signature[1].items())),
            dict(sorted(function.structured_outputs.items())),
            function,
        )
        for name, function in loaded.signatures.items()
    }
    if "decode" not in signatures:
        raise ValueError(f"'{path}' has no signature 'decode': amr_tf.export did not write it.")
    image_shape = tuple(signatures["decode"].outputs["images"].shape[1:])
    return Servable(
        name=path.resolve().parent.name,
        version=int(path.name),
        signatures=signatures,
        definitions=_definitions(path, signatures),
        image_shape=image_shape,
        latent_shape=tuple(signatures["decode"].inputs["codes"].shape[1:]),
        metadata=_read_metadata(path / "metadata.json"),
        examples=_read_examples(path / "examples.png", image_shape),
        loaded=loaded,
    )


def warm_up(servable: Servable) -> None:
    """Calls each signature once, because the first call of a TensorFlow function is slow."""
    for signature in servable.signatures.values():
        inputs = {
            name: _filled(spec, servable.image_shape) for name, spec in signature.inputs.items()
        }
        with contextlib.suppress(ValueError):  # It does not matter if the inputs are rejected.
            signature(inputs)


def _filled(spec: tf.TensorSpec, image_shape: Shape) -> np.ndarray:
    shape = [2 if size is None else size for size in spec.shape]
    if spec.dtype == "string":
        file = io.BytesIO()
        Image.new("L", image_shape[1::-1]).save(file, "PNG")
        return np.full(shape, file.getvalue(), dtype=object)
    return np.full(shape, 2 if spec.dtype.is_integer else 0)  # Interpolations need 2 steps.


def _load(path: pathlib.Path) -> Any:
    try:
        return tf.saved_model.load(str(path))
    except (
        OSError,
        ValueError,
        IndexError,
        tf.errors.OpError,
    ) as error:  # Truncated files raise an IndexError.
        raise ValueError(f"'{path}' is not a SavedModel that can be loaded: {error}") from error


def _definitions(path: pathlib.Path, signatures: Iterable[str]) -> dict[str, Any]:
    definitions = read_definitions(path)
    return {
        name: json_format.MessageToDict(
            definitions[name],
            preserving_proto_field_name=True,
            always_print_fields_with_no_presence=True,
        )
        for name in signatures
    }


def _read_metadata(path: pathlib.Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    return read_json(path)


def _read_examples(path: pathlib.Path, image_shape: tuple[int, ...]) -> bytes | None:
    if not path.is_file() or len(image_shape) != 3:
        return None
    height, width = image_shape[:2]
    try:
        with Image.open(path, formats=("PNG",)) as image:
            image.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"'{path}' is not a PNG that can be read.") from error
    if image.height != height or image.width % width:
        raise ValueError(
            f"'{path}' must be images of {width}x{height} side by side; it is "
            f"{image.width}x{image.height}."
        )
    return path.read_bytes()
