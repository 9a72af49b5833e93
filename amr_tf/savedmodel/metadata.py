"""Machine-readable metadata of a version folder: `metadata.json`."""

import hashlib
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from amr_tf.data import ImageData
from amr_tf.files import write_whole
from amr_tf.mixers import MIXERS
from amr_tf.models import METHODS
from amr_tf.models.base import ResynthesisModel
from amr_tf.models.inference import label_mixer_of
from amr_tf.registry import Registry, parse_call
from amr_tf.runs.config import TrainingConfig
from amr_tf.runs.folder import RunFolder
from amr_tf.version import __version__

# Paths on the training machine and its trackers are private.
_NOT_SHOWN = ("run_dir", "data_dir", "trackers")


def describe(
    model: ResynthesisModel,
    name: str,
    path: str | pathlib.Path | None,
    run: RunFolder | None = None,
    data: ImageData | None = None,
) -> dict[str, Any]:
    """Describes an exported model.

    Args:
        model: a `ResynthesisModel`.
        name: the servable's name.
        path: the SavedModel's folder, or None for a model without signatures.
        run: the `RunFolder` of the model, or None.
        data: the run's `ImageData`, or None.

    Returns:
        A dictionary to write as JSON: name; method, mixer and label_mixer (names from the run or
        the registry, else class names, or null); k, image_shape, latent_shape, num_classes,
        class_names (null if unknown), multi_label; preprocessing (of files, or null); dataset (its
        name); settings (the run's flags and their values, such as "mixer": "gaussian(sigma=0.25)",
        without paths and trackers); signatures (each with the dtype and shape of inputs and outputs
        by name, null for a dynamic size); config_sha256 (of the run's config.json); and the
        versions of amr_tf, Keras and TensorFlow. Entries that need a run are null without one.
    """
    config = None if run is None else run.read_config()
    names = None if data is None else data.class_names
    return {
        "name": name,
        "method": _name_in(METHODS, model) if config is None else parse_call(config.method).name,
        "mixer": _mixer_name(model, config),
        "k": None if model.mixer is None else model.mixer.k,
        "label_mixer": _name_in(MIXERS, label_mixer_of(model)),
        "image_shape": list(model.image_shape),
        "latent_shape": list(model.latent_shape),
        "num_classes": model.num_classes,
        "class_names": None if names is None else [str(label) for label in names],
        "multi_label": bool(model.multi_label),
        "preprocessing": None if model.preprocessor is None else model.preprocessor.describe(),
        "dataset": None if config is None else parse_call(config.dataset).name,
        "settings": None if config is None else _settings(config),
        "signatures": {} if path is None else read_signatures(path),
        "config_sha256": None if run is None else sha256(run.config),
        "amr_tf_version": __version__,
        "keras_version": keras.__version__,
        "tensorflow_version": tf.__version__,
    }


def _settings(config: TrainingConfig) -> dict[str, Any]:
    """Returns the flags that a config sets and their values, except for private ones."""
    return {name: value for name, value in config.as_flags().items() if name not in _NOT_SHOWN}


def write_metadata(path: str | pathlib.Path, facts: dict[str, Any], number: int) -> None:
    """Writes `metadata.json` into a version folder.

    Args:
        path: the version folder.
        facts: the dictionary that `describe` returns.
        number: the version's number.
    """
    facts = {"name": facts["name"], "version": number, **facts}
    write_whole(pathlib.Path(path) / "metadata.json", json.dumps(facts, indent=2) + "\n")


def read_signatures(path: str | pathlib.Path) -> dict[str, Any]:
    """Reads the signatures of the SavedModel in a folder, without loading it.

    Returns:
        Dictionary from names to {"inputs": {name: {"dtype": ..., "shape": [...]}}, "outputs": ...};
        a dynamic size is None.
    """
    return {
        name: {"inputs": _tensors(found.inputs), "outputs": _tensors(found.outputs)}
        for name, found in sorted(read_definitions(path).items())
        if not name.startswith("__")  # TensorFlow's own initialisation signature.
    }


def read_definitions(path: str | pathlib.Path) -> Mapping[str, Any]:
    """Reads the `SignatureDef`s of the SavedModel in a folder, by name."""
    content = (pathlib.Path(path) / "saved_model.pb").read_bytes()
    return saved_model_pb2.SavedModel.FromString(content).meta_graphs[0].signature_def


def _tensors(infos: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        name: {
            "dtype": tf.as_dtype(info.dtype).name,
            "shape": tf.TensorShape(info.tensor_shape).as_list(),
        }
        for name, info in sorted(infos.items())
    }


def _mixer_name(model: ResynthesisModel, config: TrainingConfig | None) -> str | None:
    """Returns the mixer's name; in a run's config it may be the name of a user's function."""
    if model.mixer is None or config is None or config.mixer is None:
        return _name_in(MIXERS, model.mixer)
    return parse_call(config.mixer).name


def _name_in(registry: Registry, thing: object) -> str | None:
    """Returns the name that an object's class is registered under, else the class name.

    Returns None for None.
    """
    if thing is None:
        return None
    kind = type(thing)
    names = [name for name in registry.names() if registry.get(name) is kind]
    return names[0] if names else kind.__name__


def sha256(path: str | pathlib.Path) -> str:
    """Returns the SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()
