"""Exports to formats other than SavedModel: Keras', TFLite (LiteRT) and ONNX."""

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
    """Writes the files of some formats into a folder.

    Args:
        model: a `ResynthesisModel`.
        path: the folder.
        formats: among "keras" (`model.keras`), "tflite" (`decoder.tflite`) and "onnx"
            (`decoder.onnx`, `encoder.onnx`). Inputs and outputs are float32 and the batch is
            dynamic; an encoder's output is the code, of a VAE the posterior mean.

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
    """Returns a Keras model from codes to images, float32 for any dtype policy."""
    return _float32(model.decoder, model.decoder.output, "decoder")


def encoder_of(model: ResynthesisModel) -> keras.Model:
    """Returns a Keras model from images to codes, float32 for any dtype policy."""
    # A layer, which a method's `codes_of` may call TensorFlow in.
    codes = keras.layers.Lambda(model.codes_of)(model.encoder.output)
    return _float32(model.encoder, codes, "encoder")


def _float32(network: keras.Model, output: Any, name: str) -> keras.Model:
    model = keras.Model(network.input, keras.ops.cast(output, "float32"), name=name)
    model(keras.ops.zeros((1, *model.input_shape[1:])))  # Keras' ONNX export wants one call.
    return model


def _convert(network: keras.Model, file: pathlib.Path, name: str, keras_format: str) -> None:
    try:
        with _silent():
            network.export(str(file), format=keras_format, verbose=False)
    except Exception as error:  # Each converter raises its own.
        reason = " ".join(str(error).split())[:300]
        raise ValueError(
            f"The {network.name} cannot be converted to {name}, so nothing is exported; leave "
            f"{name} out of --formats. {type(error).__name__}: {reason}"
        ) from error


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Without what the converters print and log."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(disabled)
