"""Verifies that a SavedModel gives the model's outputs without this package."""

import io
import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf
from PIL import Image

from amr_tf.figures.sheet import to_uint8
from amr_tf.models.base import ResynthesisModel
from amr_tf.models.inference import between, can_sample, combine, has_looks, label_mixer_of
from amr_tf.savedmodel import replay
from amr_tf.savedmodel.signatures import has_png, has_uint8

# For float32 networks; relative to the largest expected value if that is above 1. The bfloat16 and
# float16 of mixed-precision networks keep 8 and 11 bits, and a graph that fuses operations rounds
# in other places than the eager model.
TOLERANCE = 1e-5
MIXED_TOLERANCES = {"mixed_bfloat16": 0.05, "mixed_float16": 0.01}
_PARENTS = 3
_STEPS = 3
_SEED = 7

Arrays: TypeAlias = dict[str, Any]
"""NumPy arrays and scalars by name."""

Requests: TypeAlias = dict[str, tuple[Arrays, Arrays]]
"""A request for each signature, by name: the inputs and the model's own outputs."""


def example_requests(model: ResynthesisModel, images: np.ndarray) -> Requests:
    """Returns a request for every signature, with the model's own outputs.

    The outputs are computed with the model's networks in eager mode, and with NumPy instead of the
    signatures' TensorFlow functions.

    Args:
        model: a `ResynthesisModel`.
        images: float32 (N, H, W, C) or (N, D) in [-1, 1], N at least 1.

    Returns:
        Dictionary from signatures to pairs of dictionaries of arrays, inputs and outputs. The
        output of `decode_png` is the images' pixels, uint8.

    Raises:
        ValueError: an output has NaN or infinite values.
    """
    # The SavedModel is replayed on the CPU; a GPU's different rounding must not count.
    with tf.device("/CPU:0"):
        answers = {
            **_code_requests(model, images),
            **_image_requests(model, images),
            **_pixel_requests(model, images),
            **_sample_requests(model),
            **_label_requests(model, images),
        }
    for name, (_, outputs) in answers.items():
        for value in outputs.values():
            if not np.isfinite(value).all():
                raise ValueError(
                    f"The model answers '{name}' with NaN or infinite values; nothing is exported."
                )
    return answers


def _encode(model: ResynthesisModel, images: np.ndarray) -> np.ndarray:
    encoded = model.encoder(tf.constant(images), training=False)
    return np.asarray(tf.cast(model.codes_of(encoded), "float32"))


def _decode(model: ResynthesisModel, codes: np.ndarray) -> np.ndarray:
    images = model.decoder(tf.constant(codes, "float32"), training=False)
    return np.asarray(tf.cast(images, "float32"))


def _code_requests(model: ResynthesisModel, images: np.ndarray) -> Requests:
    codes = _encode(model, images)
    # Stack each image's code with those of the images that follow it.
    stack = np.stack([np.roll(codes, -shift, axis=0) for shift in range(_PARENTS)], axis=1)
    draws = np.random.default_rng(0)
    coefficients = draws.dirichlet(np.ones(_PARENTS), len(codes)).astype("float32")
    parents = draws.integers(_PARENTS, size=(len(codes), codes.shape[-1]))
    maps = np.stack([parents == parent for parent in range(_PARENTS)], axis=1).astype("float32")
    decoded = {"images": _decode(model, codes)}
    mixed = {"images": _mixed(model, stack, coefficients)}
    by_map = {"images": _mixed(model, stack, maps)}
    requests = {
        "serving_default": ({"codes": codes}, decoded),
        "decode": ({"codes": codes}, decoded),
        "mix": ({"codes": stack, "coefficients": coefficients}, mixed),
        "mix_maps": ({"codes": stack, "coefficients": maps}, by_map),
    }
    if has_looks(model):
        looks = draws.dirichlet(np.ones(_PARENTS), len(codes)).astype("float32")
        both = np.stack([coefficients, looks], axis=-1)
        request = {"codes": stack, "layouts": coefficients, "looks": looks}
        requests["mix_looks"] = (request, {"images": _mixed(model, stack, both)})
    return requests


def _mixed(model: ResynthesisModel, stack: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    """Decodes codes (N, K, ...) mixed with coefficients (N, K) or (N, K, maps)."""
    count, k, *maps = coefficients.shape
    wide = coefficients.reshape(count, k, *(1,) * (stack.ndim - 3), *(maps or (1,)))
    return _decode(model, np.asarray(combine(model, tf.constant(stack), tf.constant(wide))))


def _image_requests(model: ResynthesisModel, images: np.ndarray) -> Requests:
    codes = _encode(model, images)
    return {
        "encode": ({"images": images}, {"codes": codes}),
        "reconstruct": ({"images": images}, {"images": _decode(model, codes)}),
        "interpolate": (
            {"images_a": images, "images_b": images[::-1], "steps": np.int32(_STEPS)},
            {"images": _lines(model, images)},
        ),
    }


def _lines(model: ResynthesisModel, images: np.ndarray) -> np.ndarray:
    pixels = model.mixes_pixels
    ends = images if pixels else _encode(model, images)
    weights = tf.linspace(0.0, 1.0, _STEPS)
    points = np.asarray(between(model)(tf.constant(ends), tf.constant(ends[::-1]), weights))
    steps = np.moveaxis(points, 1, 0)
    lines = [_decode(model, _encode(model, step) if pixels else step) for step in steps]
    return np.stack(lines, axis=1)


def _pixel_requests(model: ResynthesisModel, images: np.ndarray) -> Requests:
    if not has_uint8(model):
        return {}
    pixels = to_uint8(images)
    decoded_codes = _encode(model, images)
    codes = {"codes": _encode(model, pixels.astype("float32") / np.float32(127.5) - 1)}
    decoded = {"images": to_uint8(_decode(model, decoded_codes))}
    requests = {
        "decode_uint8": ({"codes": decoded_codes}, decoded),
        "encode_uint8": ({"images": pixels}, codes),
    }
    if has_png(model):
        requests["decode_png"] = ({"codes": decoded_codes}, {"png_bytes": decoded["images"]})
        requests["encode_png"] = _file_request(model, pixels, codes)
    return requests


def _file_request(
    model: ResynthesisModel, pixels: np.ndarray, codes: Arrays
) -> tuple[Arrays, Arrays]:
    """Returns a request of PNG files and their codes; `codes` are the codes of `pixels`."""
    preprocessor: Any = model.preprocessor
    crop = None if preprocessor is None else preprocessor.crop
    if crop is None:
        return {"png_bytes": np.array([png_bytes(image) for image in pixels])}, codes
    # With a crop, files must be at least as large as the crop, and are resized after it.
    draws = np.random.default_rng(0)
    larger = draws.integers(0, 256, (len(pixels), crop + 2, crop, pixels.shape[-1]), dtype="uint8")
    files = np.array([png_bytes(image) for image in larger])
    images = np.stack([preprocessor.in_graph(tf.constant(file)) for file in files])
    return {"png_bytes": files}, {"codes": _encode(model, images)}


def png_bytes(pixels: np.ndarray) -> bytes:
    """Encodes uint8 pixels (H, W, C) as a PNG file, C 1, 3 or 4."""
    file = io.BytesIO()
    squeezed = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
    Image.fromarray(squeezed).save(file, format="PNG")
    return file.getvalue()


def _sample_requests(model: ResynthesisModel) -> Requests:
    if not can_sample(model):
        return {}
    images = _decode(model, model.inference.draw(_PARENTS, _SEED))
    given = {"count": np.int32(_PARENTS), "seed": np.int32(_SEED)}
    return {"sample": (given, {"images": images})}


def _label_requests(model: ResynthesisModel, images: np.ndarray) -> Requests:
    mixer = label_mixer_of(model)
    if mixer is None:
        return {}
    columns: Any = model.num_classes  # Not None, because there is a label mixer.
    first = np.eye(columns, dtype="float32")[np.arange(len(images)) % columns]
    second = np.roll(first, 1, axis=1)
    labels = 0.25 * first + 0.75 * second
    codes = _encode(model, images), _encode(model, images[::-1])
    mixed = mixer.mix_pairs(*codes, labels, (first, second), _SEED)
    inputs = {
        "images_a": images,
        "images_b": images[::-1],
        "labels": labels,
        "labels_a": first,
        "labels_b": second,
        "seed": np.int32(_SEED),
    }
    return {"mix_labels": (inputs, {"images": _decode(model, np.asarray(mixed, "float32"))})}


def write_record(path: str | pathlib.Path, requests: Requests) -> None:
    """Writes a record for `replay.py`.

    Args:
        path: path of the `.npz` file.
        requests: the dictionary that `example_requests` returns.
    """
    arrays = {}
    for name, pair in requests.items():
        for kind, values in zip(("input", "output"), pair):
            for key, value in values.items():
                arrays[f"{name}/{kind}/{key}"] = value
    np.savez(path, **arrays)


def replay_in_fresh_process(
    pairs: Sequence[tuple[str | pathlib.Path, str | pathlib.Path]],
) -> list[dict[str, float]]:
    """Replays records in a process that cannot import this package and has no GPU.

    Args:
        pairs: list of pairs: a SavedModel's folder and the path of a record.

    Returns:
        For each pair, a dictionary from signatures to the largest absolute differences.

    Raises:
        ValueError: a SavedModel cannot be loaded, or a request fails.
    """
    script = str(pathlib.Path(replay.__file__).resolve())
    # The exporting process may hold all of a GPU's memory.
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    arguments = [str(path) for pair in pairs for path in pair]
    # -P: Python does not search the script's folder, which holds modules of this package.
    done = subprocess.run(
        [sys.executable, "-P", script, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise ValueError(f"The exported model does not answer in a fresh process: {last}")
    return [json.loads(line) for line in done.stdout.splitlines()[-len(pairs) :]]


def check_differences(
    differences: dict[str, float], requests: Requests, policy: str = "float32"
) -> None:
    """Raises a ValueError that names the first signature that differs from the model.

    Args:
        differences: dictionary from signatures to the largest differences.
        requests: the dictionary that `example_requests` returned.
        policy: name of the model's dtype policy, which sets the tolerance.
    """
    for name, found in differences.items():
        allowed = tolerance_of(name, requests, policy)
        if not found <= allowed:
            raise ValueError(
                f"The exported signature '{name}' differs from the model by {found:.3g}, more than "
                f"{allowed:.3g}."
            )


def tolerance_of(name: str, requests: Requests, policy: str = "float32") -> float:
    """Returns the largest allowed difference of a signature's outputs.

    uint8 pixels may be off by one, because of rounding, and in mixed precision by as much as the
    floats. See `check_differences` for the arguments.
    """
    tolerance = MIXED_TOLERANCES.get(policy, TOLERANCE)
    outputs = list(requests[name][1].values())
    if outputs[0].dtype == np.uint8:
        return max(1.0, np.ceil(127.5 * tolerance))
    largest = max(float(np.abs(value).max(initial=0.0)) for value in outputs)
    return tolerance * max(1.0, largest)


def policy_of(model: ResynthesisModel) -> str:
    """Returns the dtype policy of a model's networks: "float32", "mixed_bfloat16", ..."""
    names = {layer.dtype_policy.name for layer in (*model.encoder.layers, *model.decoder.layers)}
    mixed = sorted(names & set(MIXED_TOLERANCES))
    return mixed[0] if mixed else "float32"
