"""The example clients, against stand-ins of TensorFlow Serving that answer from a SavedModel.

The stand-ins speak the two protocols as TensorFlow Serving's documentation gives them: columnar
JSON with base64 for strings whose name ends in `_bytes`, and `Predict` of `PredictionService`.
"""

import base64
import contextlib
import http.server
import json
import pathlib
import runpy
import sys
import threading
from concurrent import futures

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from amr_tf import AMR
from amr_tf.savedmodel.export import write_saved_model
from amr_tf.savedmodel.verify import png_bytes

CLIENTS = pathlib.Path(__file__).resolve().parents[2] / "deploy"


@pytest.fixture(scope="module")
def model():
    """AMR of 16x16 colour images, whose mixes are no weighted sums of codes."""
    keras.utils.set_random_seed(0)
    return AMR.create((16, 16, 3), "residual(width=4, latent_width=4)", mixer="spherical")


@pytest.fixture(scope="module")
def signatures(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("served") / "1"
    write_saved_model(model, path)
    return tf.saved_model.load(str(path)).signatures


@pytest.fixture(scope="module")
def files():
    """Two PNG files that are not of the model's size, a dark one and a bright one."""
    draws = np.random.default_rng(0)
    return [
        png_bytes(draws.integers(low, low + 64, (12, 16, 3)).astype("uint8")) for low in (0, 192)
    ]


@pytest.fixture
def expected(model, files):
    """The pixels of the mix with a share of 0.25."""
    pixels = [tf.io.decode_png(file).numpy() for file in files]
    images = [
        tf.image.resize(image / np.float32(127.5) - 1, (16, 16), antialias=True).numpy()
        for image in pixels
    ]
    codes = model.encode(np.stack(images))
    between = model.mixer.between(*map(tf.constant, (codes[:1], codes[1:])), tf.constant([0.75]))
    image, plain = (
        np.rint((np.clip(image, -1, 1) + 1) * 127.5)
        for image in model.decode(
            np.concatenate([between[0], 0.25 * codes[:1] + 0.75 * codes[1:]]).astype("float32")
        )
    )
    assert abs(image - plain).max() > 2
    return image


def run(name, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
    runpy.run_path(str(CLIENTS / name), run_name="__main__")


def check(tmp_path, expected):
    with Image.open(tmp_path / "mix.png") as picture:
        assert picture.format == "PNG"
        assert abs(np.asarray(picture) - expected).max() <= 1


def from_json(value):
    if isinstance(value, list):
        return [from_json(part) for part in value]
    return base64.b64decode(value["b64"]) if isinstance(value, dict) else value


def to_json(values, name):
    if name.endswith("_bytes"):
        return [{"b64": base64.b64encode(value).decode()} for value in values]
    return values.tolist()


@contextlib.contextmanager
def rest_server(signatures):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):  # noqa: N802, the base class's name
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            try:
                assert self.path == "/v1/models/demo:predict"
                inputs = {k: tf.constant(from_json(v)) for k, v in body["inputs"].items()}
                answers = signatures[body["signature_name"]](**inputs)
                # A single output is given without its name.
                ((name, value),) = answers.items()
                answer = {"outputs": to_json(value.numpy(), name)}
            except Exception as error:
                answer = {"error": str(error)}
            text = json.dumps(answer).encode()
            self.send_response(200 if "outputs" in answer else 400)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1/models/demo"
    finally:
        server.shutdown()
        server.server_close()


def write(tmp_path, files):
    for name, file in zip(("first.png", "second.png"), files):
        (tmp_path / name).write_bytes(file)
    return [tmp_path / name for name in ("first.png", "second.png", "mix.png")]


def test_rest(signatures, files, expected, tmp_path, monkeypatch):
    paths = write(tmp_path, files)
    with rest_server(signatures) as url:
        run("client_rest.py", monkeypatch, *paths, "--share=0.25", f"--url={url}")
        check(tmp_path, expected)
        (tmp_path / "first.png").write_text("no image")
        with pytest.raises(RuntimeError, match="encode_png: "):
            run("client_rest.py", monkeypatch, *paths, f"--url={url}")


def test_grpc(signatures, files, expected, tmp_path, monkeypatch):
    grpc = pytest.importorskip("grpc")
    apis = "tensorflow_serving.apis"
    predict_pb2 = pytest.importorskip(f"{apis}.predict_pb2")
    service = pytest.importorskip(f"{apis}.prediction_service_pb2_grpc")

    class Servicer(service.PredictionServiceServicer):
        def Predict(self, request, context):  # noqa: N802, the protocol's name
            assert request.model_spec.name == "faces"
            inputs = {k: tf.constant(tf.make_ndarray(v)) for k, v in request.inputs.items()}
            response = predict_pb2.PredictResponse()
            answers = signatures[request.model_spec.signature_name](**inputs)
            for name, value in answers.items():
                response.outputs[name].CopyFrom(tf.make_tensor_proto(value.numpy()))
            return response

    server = grpc.server(futures.ThreadPoolExecutor(1))
    service.add_PredictionServiceServicer_to_server(Servicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        flags = ("--share=0.25", f"--server=127.0.0.1:{port}", "--model=faces")
        run("client_grpc.py", monkeypatch, *write(tmp_path, files), *flags)
    finally:
        server.stop(None)
    check(tmp_path, expected)
