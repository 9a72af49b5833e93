"""Replays recorded requests against SavedModels: python replay.py FOLDER RECORD.npz [FOLDER ...]

This script imports nothing from this package. It takes the place of a server, and shows that a
SavedModel needs only TensorFlow. For each pair of a SavedModel's folder and a record it prints a
line of JSON, a dictionary from signatures to the largest differences. The arrays of a record are
named `SIGNATURE/input/NAME` and `SIGNATURE/output/NAME`.
"""

import functools
import json
import pathlib
import sys
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf

Requests: TypeAlias = dict[str, tuple[dict[str, Any], dict[str, Any]]]
"""From a signature to the arrays of a request's inputs and outputs, by name."""


def main(arguments: Sequence[str]) -> None:
    """Prints the differences of each (folder, record)."""
    modules: dict[str, Any] = sys.modules
    modules["amr_tf"] = None  # Makes imports of it fail.
    for folder, record in zip(arguments[::2], arguments[1::2], strict=True):
        print(json.dumps(differences(folder, record)), flush=True)


def differences(folder: str | pathlib.Path, record: str | pathlib.Path) -> dict[str, float]:
    """Compares the outputs of a SavedModel's signatures with recorded ones.

    Args:
        folder: the SavedModel's folder.
        record: path of the `.npz` file.

    Returns:
        A dictionary from each signature's name to the largest absolute difference of any output.

    Raises:
        ValueError: an output has another shape or type, or a signature was not recorded.
    """
    signatures = _signatures(folder)
    found: dict[str, float] = {}
    for name, (inputs, outputs) in read_requests(record).items():
        answers = signatures[name](**{key: tf.constant(value) for key, value in inputs.items()})
        of_outputs = [
            compare(answers[key].numpy(), expected, f"{name}, output {key}")
            for key, expected in outputs.items()
        ]
        found[name] = float(np.max(of_outputs))  # Python's max can ignore a NaN.
    missing = sorted(set(signatures) - set(found))
    if missing:
        raise ValueError(f"No requests were recorded for {', '.join(missing)}.")
    return found


@functools.lru_cache(maxsize=1)  # Several records of one folder follow each other.
def _signatures(folder: str | pathlib.Path) -> Any:
    return tf.saved_model.load(folder).signatures


def read_requests(record: str | pathlib.Path) -> Requests:
    """Reads a record: a dictionary from signatures to pairs of dictionaries of arrays."""
    requests: Requests = {}
    with np.load(record, allow_pickle=False) as arrays:
        for path in arrays.files:
            name, kind, key = path.split("/")
            pair = requests.setdefault(name, ({}, {}))
            pair[kind == "output"][key] = arrays[path]
    return requests


def compare(found: np.ndarray, expected: np.ndarray, where: str) -> float:
    """Returns the largest absolute difference of two arrays; PNG files are compared by pixels.

    Raises:
        ValueError: the arrays differ in shape or type.
    """
    if found.dtype == object:
        found = np.stack([tf.io.decode_png(file).numpy() for file in found])
    if found.shape != expected.shape or found.dtype != expected.dtype:
        raise ValueError(
            f"{where}: {found.dtype} {found.shape} in place of {expected.dtype} {expected.shape}."
        )
    difference = np.abs(found.astype("float64") - expected.astype("float64"))
    return float(difference.max(initial=0.0))


if __name__ == "__main__":
    main(sys.argv[1:])
