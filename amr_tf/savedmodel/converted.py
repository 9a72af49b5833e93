"""Exports models to formats other than SavedModel: Keras, TFLite (LiteRT) and ONNX."""

import contextlib
import importlib.util
import io
import logging
import pathlib
from collections.abc import Collection, Iterable, Iterator
from typing import Any

import keras

from amr_tf.models.base import ResynthesisModel

_PACKAGES = {"onnx": ("tf2onnx", "onnx")}


def check_packages(formats: Iterable[str]) -> None:
    """Raises a ValueError if a format needs a package that is not installed."""
    for name in formats:
        missing = [
            package
            for package in _PACKAGES.get(name, ())
            if importlib.util.find_spec(package) is None
        ]
        if missing:
            raise ValueError(
                f"Format {name} needs the package {' and '.join(missing)} "
                f"(pip install 'amr-tf[{name}]')."
            )


def write(model: ResynthesisModel, path: str | pathlib.Path, formats: Collection[str]) -> None:
    """Writes a model into a folder in the given formats.

    Args:
        model: a `ResynthesisModel`.
        path: the folder.
        formats: among "keras" (`model.keras`), "tflite" (`decoder.tflite`) and "onnx"
            (`decoder.onnx`, `encoder.onnx`). Inputs and outputs are float32, and the batch size is
            dynamic. The encoder outputs codes; for a VAE these are the posterior means.

    Raises:
        ValueError: a converter does not support the networks.
    """
    path = pathlib.Path(path)
    if "keras" in formats:
        model.save(path / "model.keras")
    if "tflite" in formats:
        _convert(decoder_of(model), path / "decoder.tflite", "tflite", "litert")
    if "onnx" in formats:
        _convert(decoder_of(model), path / "decoder.onnx", "onnx", "onnx")
        _convert(encoder_of(model), path / "encoder.onnx", "onnx", "onnx")


def decoder_of(model: ResynthesisModel) -> keras.Model:
    """Returns a Keras model from codes to images, in float32 for any dtype policy."""
    decoder = _in_float32(model.decoder)
    return _float32(decoder, decoder.output, "decoder")


def encoder_of(model: ResynthesisModel) -> keras.Model:
    """Returns a Keras model from images to codes, in float32 for any dtype policy."""
    encoder = _in_float32(model.encoder)
    # In a Lambda layer, because a method's `codes_of` may call TensorFlow functions.
    codes = keras.layers.Lambda(model.codes_of)(encoder.output)
    return _float32(encoder, codes, "encoder")


def _in_float32(network: keras.Model) -> keras.Model:
    """Returns a network that computes in float32, as ONNX's converter and runtime require."""
    if all(layer.compute_dtype == "float32" for layer in network._flatten_layers()):
        return network
    copy = keras.models.clone_model(
        network,
        clone_function=lambda layer: type(layer).from_config(_without_half(layer.get_config())),
        recursive=True,
    )
    copy.set_weights(network.get_weights())
    return copy


def _without_half(config: Any) -> Any:
    """Returns a serialised object with its mixed-precision policies replaced by float32."""
    if isinstance(config, (list, tuple)):
        return type(config)(map(_without_half, config))
    if not isinstance(config, dict):
        return config
    if config.get("class_name") == "DTypePolicy" and config["config"]["name"].startswith("mixed_"):
        return {**config, "config": {**config["config"], "name": "float32"}}
    return {key: _without_half(value) for key, value in config.items()}


def _float32(network: keras.Model, output: Any, name: str) -> keras.Model:
    model = keras.Model(network.input, keras.ops.cast(output, "float32"), name=name)
    model(keras.ops.zeros((1, *model.input_shape[1:])))  # Keras' ONNX export needs one call.
    return model


def _convert(network: keras.Model, file: pathlib.Path, name: str, keras_format: str) -> None:
    try:
        with _silent():
            network.export(str(file), format=keras_format, verbose=False)
    except Exception as error:  # Each converter raises its own exceptions.
        reason = " ".join(str(error).split())[:300]
        raise ValueError(
            f"The {network.name} cannot be converted to {name}, so nothing is exported; leave "
            f"{name} out of --formats. {type(error).__name__}: {reason}"
        ) from error


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Suppresses what the converters print and log."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(disabled)
