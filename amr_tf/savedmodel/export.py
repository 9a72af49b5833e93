"""Exports models to version folders that can be served without this package."""

import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from amr_tf.data import ImageData
from amr_tf.models.base import ResynthesisModel
from amr_tf.models.inference import label_mixer_of
from amr_tf.registry import unknown_name
from amr_tf.runs.folder import RunFolder
from amr_tf.savedmodel import converted
from amr_tf.savedmodel.card import write_card
from amr_tf.savedmodel.metadata import describe, write_metadata
from amr_tf.savedmodel.signatures import endpoints
from amr_tf.savedmodel.verify import (
    Requests,
    check_differences,
    example_requests,
    policy_of,
    replay_in_fresh_process,
    write_record,
)
from amr_tf.savedmodel.versions import check_directory, check_keep, partial_folder, prune, publish
from amr_tf.savedmodel.warmup import write_warmup

FORMATS = ("keras", "tflite", "onnx")
_EXAMPLES = 3
_VERIFY_SEED = 0


def export_model(
    model: ResynthesisModel,
    directory: str | pathlib.Path,
    keep: int | None = None,
    formats: Sequence[str] = ("keras",),
    run: RunFolder | None = None,
    data: ImageData | None = None,
    notify: Callable[[str], Any] = print,
) -> pathlib.Path:
    """Exports a model as the next version of a SavedModel for TF Serving.

    The version folder holds the SavedModel with the signatures of `amr_tf.savedmodel.signatures`,
    warm-up requests, `metadata.json`, the model card `README.md` (with a sheet of samples if `data`
    are given) and the model in further formats. It is written to a temporary folder, compared with
    the model in a fresh process that cannot import this package, and then moved into place. After a
    failure or a kill, the earlier versions are unchanged.

    Args:
        model: a `ResynthesisModel`.
        directory: the servable's folder, such as "saved_models/digits". Its name becomes the
            model's name, and versions are numbered subfolders.
        keep: number of newest versions to keep, or None for all.
        formats: further files, among "keras" (`model.keras`, which `keras.saving.load_model`
            reads), "tflite" (`decoder.tflite`) and "onnx" (`decoder.onnx` and `encoder.onnx`;
            requires the packages tf2onnx and onnx).
        run: the `amr_tf.runs.folder.RunFolder` of the model, for the card; or None.
        data: the `ImageData` to draw samples from, or None.
        notify: called with a message for everything left out, such as warm-up requests if
            tensorflow-serving-api is not installed.

    Returns:
        The path of the new version.

    Raises:
        ValueError: a format is unknown or the networks cannot be converted to it, `keep` is below
            1, the model's outputs are not finite, or the SavedModel's outputs differ from them.
        FileExistsError: `directory` is a file.
    """
    check_arguments(directory, keep, formats)
    directory = pathlib.Path(directory)
    name = directory.resolve().name
    with partial_folder(directory) as partial:
        version = partial / "version"
        requests = example_requests(model, _example_images(model))
        write_saved_model(model, version)
        _verify(model, version, requests, partial / "record.npz")
        converted.write(model, version, formats)
        write_warmup(version, name, requests, notify)
        facts = describe(model, name, version, run, data)
        write_card(version, model, facts, run, data, notify)
        path = publish(version, directory, lambda number: write_metadata(version, facts, number))
    prune(directory, keep)
    return path


def check_arguments(
    directory: str | pathlib.Path, keep: int | None = None, formats: Sequence[str] = ()
) -> None:
    """Raises the errors of `export_model` for invalid arguments, before any work."""
    check_directory(directory)
    check_keep(keep)
    for name in formats:
        if name not in FORMATS:
            raise unknown_name("format", name, FORMATS)
    converted.check_packages(formats)


def write_saved_model(model: ResynthesisModel, path: str | pathlib.Path) -> None:
    """Writes only the SavedModel, without verifying it.

    Args:
        model: a `ResynthesisModel`.
        path: the folder to create.
    """
    archive = keras.export.ExportArchive()
    for network in (model.encoder, model.decoder, label_mixer_of(model)):
        if network is not None:
            archive.track(network)
    for name, (function, specs) in endpoints(model).items():
        archive.add_endpoint(name, function, input_signature=specs)
    archive.write_out(str(path), verbose=False)


def _example_images(model: ResynthesisModel) -> np.ndarray:
    """Returns noise: any images serve for a comparison, and the data may be unavailable."""
    shape = (_EXAMPLES, *model.image_shape)
    return np.random.default_rng(_VERIFY_SEED).uniform(-1, 1, shape).astype("float32")


def _verify(
    model: ResynthesisModel, version: pathlib.Path, requests: Requests, record: pathlib.Path
) -> None:
    write_record(record, requests)
    (differences,) = replay_in_fresh_process([(version, record)])
    check_differences(differences, requests, policy_of(model))
