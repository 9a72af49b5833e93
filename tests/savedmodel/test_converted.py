"""The model in other formats: their outputs, and what is said where there is no converter."""

import importlib.util

import keras
import numpy as np
import pytest
import tensorflow as tf

from amr_tf import AMR
from amr_tf.savedmodel import converted
from tests.savedmodel.conftest import make_images, make_model

VAE = {
    "method": "vae",
    "image_shape": (8, 8, 1),
    "architecture": "convolutional",
    "depth": 2,
    "output_activation": "tanh",
    "latent_dim": 3,
}
HALF = {**VAE, "method": "ae_gan", "policy": "mixed_bfloat16"}
ATTENDING = {
    "method": "ae_gan",
    "policy": "mixed_bfloat16",
    "image_shape": (16, 16, 1),
    "architecture": "residual",
    "output_activation": "tanh",
    "width": 4,
    "attention": 8,
    "critic_width": 2,
}


class OwnCodes(AMR):
    """A user's method that reads its codes with TensorFlow's functions."""

    encoder_outputs = 2

    @property
    def latent_shape(self):
        return (*self.encoder.output_shape[1:-1], self.encoder.output_shape[-1] // 2)

    def codes_of(self, encoded):
        return tf.split(encoded, 2, axis=-1)[1] * 2.0


OWN = {**VAE, "method": OwnCodes}


def run_tflite(path, codes):
    interpreter = tf.lite.Interpreter(str(path))
    (given,), (answer,) = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.resize_tensor_input(given["index"], codes.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(given["index"], codes)
    interpreter.invoke()
    return interpreter.get_tensor(answer["index"])


@pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated")
def test_tflite(model, tmp_path):
    converted.write(model, tmp_path, ("tflite",))
    assert [file.name for file in tmp_path.iterdir()] == ["decoder.tflite"]
    for count in (1, 7):
        codes = model.encode(make_images(model, count))
        images = run_tflite(tmp_path / "decoder.tflite", codes)
        np.testing.assert_allclose(images, model.decode(codes), atol=1e-5)


@pytest.mark.parametrize("arguments", (VAE, HALF, OWN), ids=("vae", "mixed_precision", "own"))
def test_what_is_converted_is_float32_codes_and_images(arguments):
    model = make_model(**arguments)
    encoder, decoder = converted.encoder_of(model), converted.decoder_of(model)
    images = make_images(model, 3)
    codes = encoder.predict(images, verbose=0)
    assert codes.dtype == "float32"
    tolerance = 0.02 if arguments is HALF else 1e-5
    np.testing.assert_allclose(codes, model.encode(images), atol=tolerance)
    decoded = decoder.predict(codes, verbose=0)
    assert decoded.dtype == "float32"
    np.testing.assert_allclose(decoded, model.decode(codes), atol=tolerance)


@pytest.mark.slow
def test_onnx(model, tmp_path):
    for package in ("tf2onnx", "onnx"):
        pytest.importorskip(package)
    onnxruntime = pytest.importorskip("onnxruntime")
    models = {"colour": model, "vae": make_model(**VAE), "attending": make_model(**ATTENDING)}
    for kind, network in models.items():
        path = tmp_path / kind
        path.mkdir()
        converted.write(network, path, ("onnx",))
        for count in (1, 7):
            images = make_images(network, count)
            codes = network.encode(images)
            for name, given, expected in (
                ("encoder", images, codes),
                ("decoder", codes, network.decode(codes)),
            ):
                session = onnxruntime.InferenceSession(path / f"{name}.onnx")
                (found,) = session.run(None, {session.get_inputs()[0].name: given})
                tolerance = 0.02 if kind == "attending" else 1e-5  # It computes in bfloat16.
                np.testing.assert_allclose(found, expected, atol=tolerance)


def test_a_missing_package(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    message = r"Format onnx needs the package tf2onnx and onnx \(pip install 'amr-tf\[onnx\]'\)"
    with pytest.raises(ValueError, match=message):
        converted.check_packages(("keras", "onnx"))
    converted.check_packages(("keras", "tflite"))


def test_a_graph_that_cannot_be_converted(model, tmp_path, monkeypatch):
    def refuse(self, *args, **kwargs):
        print("Traceback of the converter")
        raise RuntimeError("Op type\n not supported")

    monkeypatch.setattr(keras.Model, "export", refuse)
    message = (
        "The decoder cannot be converted to tflite, so nothing is exported; leave tflite out of "
        "--formats. RuntimeError: Op type not supported"
    )
    with pytest.raises(ValueError, match=message):
        converted.write(model, tmp_path, ("tflite",))
