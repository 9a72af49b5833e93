"""Converts between arrays and the JSON of TF Serving's REST predict format.

See https://www.tensorflow.org/tfx/serving/api_rest. This module is stricter than TF Serving: it
rejects NaN, infinite values and unknown inputs.
"""

import base64
import binascii
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from amr_tf.files import parse_json

DEFAULT_SIGNATURE = "serving_default"


def parse_request(body: bytes) -> dict[str, Any]:
    """Parses the JSON object of a request.

    Args:
        body: the request's body.

    Returns:
        A dictionary.

    Raises:
        ValueError: the body is not a JSON object. The message gives the position of a syntax error.
    """
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise ValueError("The request is not UTF-8.") from error
    try:
        return parse_json(text, what="The request")
    except ValueError as error:
        raise ValueError(f"{error}.") from error


def signature_name(request: dict[str, Any]) -> str:
    """Returns the name of the signature that a parsed request asks for."""
    name = request.get("signature_name", DEFAULT_SIGNATURE)
    if not isinstance(name, str):
        raise ValueError("signature_name must be a string.")
    return name or DEFAULT_SIGNATURE


def read_inputs(
    request: dict[str, Any], specs: Mapping[str, tf.TensorSpec]
) -> tuple[dict[str, np.ndarray], bool]:
    """Reads the arrays of a parsed request.

    Args:
        request: a dictionary with either "instances" (rows) or "inputs" (columns).
        specs: `tf.TensorSpec`s by input name.

    Returns:
        Arrays by name with the types and shapes of `specs`, and whether the request had rows.

    Raises:
        ValueError: an input is missing, unknown, or of another shape or type.
    """
    if ("instances" in request) == ("inputs" in request):
        raise ValueError('The request must hold either "instances" or "inputs".')
    rows = "instances" in request
    if rows:
        columns = _columns_of_rows(request["instances"], specs)
    else:
        columns = _columns(request["inputs"], specs)
    return {name: _to_array(name, columns[name], specs[name]) for name in specs}, rows


def _columns_of_rows(instances: Any, specs: Mapping[str, tf.TensorSpec]) -> dict[str, Any]:
    if not isinstance(instances, list) or not instances:
        raise ValueError('"instances" must be a list of at least one instance.')
    scalars = [name for name, spec in specs.items() if not spec.shape.rank]
    if scalars:
        raise ValueError(
            f"Input '{scalars[0]}' is one number for all instances: use the column format, "
            '"inputs".'
        )
    if len(specs) == 1 and not any(map(_is_object, instances)):
        return dict.fromkeys(specs, instances)
    for index, instance in enumerate(instances):
        if not _is_object(instance):
            raise ValueError(f"Instance {index} must be an object with {_listed(specs)}.")
        _check_names(f"Instance {index}", instance, specs)
    return {name: [instance[name] for instance in instances] for name in specs}


def _columns(inputs: Any, specs: Mapping[str, tf.TensorSpec]) -> dict[str, Any]:
    if _is_object(inputs):
        _check_names('"inputs"', inputs, specs)
        return inputs
    if len(specs) > 1:
        raise ValueError(f'"inputs" must be an object with {_listed(specs)}.')
    return dict.fromkeys(specs, inputs)


def _check_names(what: str, given: dict[str, Any], specs: Mapping[str, tf.TensorSpec]) -> None:
    missing = [name for name in specs if name not in given]
    if missing:
        raise ValueError(f"{what} lacks the input '{missing[0]}'; needed: {_listed(specs)}.")
    unknown = [name for name in given if name not in specs]
    if unknown:
        raise ValueError(
            f"{what} has an unknown input '{unknown[0][:50]}'; {_listed(specs)} known."
        )


def _listed(specs: Iterable[str]) -> str:
    return ", ".join(sorted(specs))


def _is_object(value: Any) -> bool:
    return isinstance(value, dict) and not _is_base64(value)


def _is_base64(value: Any) -> bool:
    return isinstance(value, dict) and set(value) == {"b64"} and isinstance(value["b64"], str)


def _to_array(name: str, value: Any, spec: tf.TensorSpec) -> np.ndarray:
    shape = _shape_of(value)
    wanted = tuple(spec.shape)
    if len(shape) != len(wanted) or any(
        want not in (None, size) for size, want in zip(shape, wanted)
    ):
        raise ValueError(f"Input '{name}' must have the shape {_shown(wanted)}; got {shape}.")
    if 0 in shape:
        raise ValueError(f"Input '{name}' is empty: its shape is {shape}.")
    return _convert(name, _leaves(name, value, shape), spec.dtype).reshape(shape)


def _shown(shape: Sequence[int | None]) -> str:
    names = iter("NK" + "?" * len(shape))
    sizes = [next(names) if size is None else str(size) for size in shape]
    return f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"


def _shape_of(value: Any) -> tuple[int, ...]:
    """Returns the lengths of the first list at each depth, from the outside in."""
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        value = value[0] if value else None
    return tuple(shape)


def _leaves(name: str, value: Any, shape: tuple[int, ...]) -> list[Any]:
    """Returns the elements of nested lists of exactly this shape, in order."""
    level = [value]
    for size in shape:
        if any(not isinstance(part, list) or len(part) != size for part in level):
            raise ValueError(f"Input '{name}' is ragged: its lists differ in length or depth.")
        level = list(itertools.chain.from_iterable(level))
    if any(isinstance(leaf, list) for leaf in level):
        raise ValueError(f"Input '{name}' is ragged: its lists differ in length or depth.")
    return level


def _convert(name: str, leaves: list[Any], dtype: tf.DType) -> np.ndarray:
    if dtype == "string":
        return np.array([*(_to_bytes(name, leaf) for leaf in leaves)], dtype=object)
    if dtype.is_floating:
        return _to_floats(name, leaves, dtype)
    if dtype.is_integer:
        return _to_integers(name, leaves, dtype)
    raise ValueError(f"Input '{name}' is of type {dtype.name}, which JSON requests cannot hold.")


def _to_bytes(name: str, leaf: Any) -> bytes:
    if isinstance(leaf, str):
        return leaf.encode(errors="replace")  # Lone surrogates are valid JSON, but not UTF-8.
    if not _is_base64(leaf):
        raise ValueError(f'Input \'{name}\' must hold strings, or bytes as {{"b64": "..."}}.')
    try:
        return base64.b64decode(leaf["b64"], validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"Input '{name}' holds a b64 string that is not base64.") from error


def _to_floats(name: str, leaves: list[Any], dtype: tf.DType) -> np.ndarray:
    _check_types(name, leaves, {int, float}, "numbers")
    try:
        with np.errstate(over="ignore"):
            numbers = np.array(leaves, dtype="float64").astype(dtype.as_numpy_dtype)
        finite = np.isfinite(numbers).all()
    except OverflowError:  # An integer with more than 308 digits.
        finite = False
    if not finite:
        raise ValueError(f"Input '{name}' holds numbers that are too large for {dtype.name}.")
    return numbers


def _to_integers(name: str, leaves: list[Any], dtype: tf.DType) -> np.ndarray:
    _check_types(name, leaves, {int}, "integers")
    low, high = min(leaves), max(leaves)
    if low < dtype.min or high > dtype.max:
        raise ValueError(f"Input '{name}' must lie in {dtype.min} to {dtype.max}.")
    return np.array(leaves, dtype=dtype.as_numpy_dtype)


def _check_types(name: str, leaves: list[Any], allowed: set[type], called: str) -> None:
    wrong = set(map(type, leaves)) - allowed  # Exact types, because a bool is also an int.
    if wrong:
        names = {str: "a string", bool: "true or false", dict: "an object", float: "a fraction"}
        found = names.get(wrong.pop(), "null")
        raise ValueError(f"Input '{name}' must hold {called} only; it holds {found}.")


def write_outputs(outputs: Mapping[str, np.ndarray], rows: bool) -> dict[str, Any]:
    """Returns the JSON object of a response.

    Args:
        outputs: arrays by output name; strings are base64-encoded if the name ends in _bytes.
        rows: whether to respond in rows ("predictions") or in columns ("outputs").

    Raises:
        ValueError: an output is not finite, which JSON cannot represent.
    """
    columns = {name: _to_json(name, value) for name, value in outputs.items()}
    if len(columns) == 1:
        (answer,) = columns.values()
    elif rows:
        answer = [dict(zip(columns, row)) for row in zip(*columns.values())]
    else:
        answer = columns
    return {"predictions" if rows else "outputs": answer}


def _to_json(name: str, array: np.ndarray) -> Any:
    if array.dtype == object:
        encode = _encode_base64 if name.endswith("_bytes") else _decode_text
        return [encode(value) for value in array.reshape(-1)]
    if not np.isfinite(array).all():
        raise ValueError(f"Output '{name}' is not finite: the inputs are too large.")
    return array.tolist()


def _encode_base64(value: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(value).decode()}


def _decode_text(value: bytes) -> str:
    return value.decode(errors="replace")
