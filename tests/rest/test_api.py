"""The app's REST API: TF Serving's answers for good requests."""

import base64
import dataclasses
import gzip
import io
import json
import shutil
import sys
import urllib.parse

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

pytest.importorskip("fastapi", reason="the app needs the extra 'serve'")
from fastapi.testclient import TestClient

from amr_tf import rest
from amr_tf.commands import serve
from amr_tf.rest.servable import load_servable, warm_up
from amr_tf.rest.server import create_app
from tests.rest.tiny_servable import (
    IMAGE_SHAPE,
    LATENT_SHAPE,
    as_base64,
    decoded,
    encoded,
    picture,
    write_servable,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served") / "tiny"
    write_servable(folder, 2, leave_out=("statistics",))
    return write_servable(folder, 10)


@pytest.fixture(scope="module")
def client(folder):
    with TestClient(create_app(folder), base_url="http://127.0.0.1:8501") as client:
        yield client


@pytest.fixture(scope="module")
def write(folder):
    """Writes what `write_servable` does, as a copy, which is quicker."""

    def copy(to, version=1):
        shutil.copytree(folder / "10", to / str(version))
        return to

    return copy


@pytest.fixture
def codes():
    return np.random.default_rng(0).normal(size=(5, *LATENT_SHAPE)).astype("float32")


def ask(client, status=200, path="/v1/models/tiny:predict", **request):
    response = client.post(path, json=request)
    assert response.status_code == status, response.text
    return response.json()


def test_status(client):
    status = {"error_code": "OK", "error_message": ""}
    version = {"version": "10", "state": "AVAILABLE", "status": status}
    for path in ("/v1/models/tiny", "/v1/models/tiny/versions/10"):
        assert client.get(path).json() == {"model_version_status": [version]}


@pytest.mark.parametrize(
    "path", ["/v1/models/tiny/metadata", "/v1/models/tiny/versions/10/metadata"]
)
def test_metadata(client, path):
    answer = client.get(path).json()
    assert answer["model_spec"] == {"name": "tiny", "signature_name": "", "version": "10"}
    definitions = answer["metadata"]["signature_def"]["signature_def"]
    assert {"decode", "encode_png", "mix_maps"} < set(definitions)
    coefficients = definitions["mix_maps"]["inputs"]["coefficients"]
    assert coefficients["dtype"] == "DT_FLOAT"
    assert [dim["size"] for dim in coefficients["tensor_shape"]["dim"]] == ["-1", "-1", "3"]
    assert definitions["encode_png"]["inputs"]["png_bytes"]["dtype"] == "DT_STRING"
    assert definitions["decode"]["method_name"] == "tensorflow/serving/predict"


def test_rows(client, codes):
    (answer,) = ask(client, instances=codes.tolist()).items()
    assert answer[0] == "predictions"
    np.testing.assert_allclose(answer[1], decoded(codes), atol=1e-6)


def test_rows_of_objects_and_a_version(client, codes):
    answer = ask(
        client,
        path="/v1/models/tiny/versions/10:predict",
        signature_name="decode",
        instances=[{"codes": code} for code in codes.tolist()],
    )
    np.testing.assert_allclose(answer["predictions"], decoded(codes), atol=1e-6)


@pytest.mark.parametrize("named", (True, False))
def test_columns(client, codes, named):
    inputs = {"codes": codes.tolist()} if named else codes.tolist()
    answer = ask(client, signature_name="decode", inputs=inputs)
    assert list(answer) == ["outputs"]
    np.testing.assert_allclose(answer["outputs"], decoded(codes), atol=1e-6)


def test_an_empty_signature_name_is_the_default(client, codes):
    answer = ask(client, signature_name="", instances=codes.tolist())
    np.testing.assert_allclose(answer["predictions"], decoded(codes), atol=1e-6)


def test_several_inputs(client, codes):
    stack = np.stack([codes, codes[::-1]], axis=1)
    coefficients = np.random.default_rng(1).uniform(size=(5, 2)).astype("float32")
    expected = decoded(np.einsum("nkhwc,nk->nhwc", stack, coefficients))
    rows = [
        {"codes": code, "coefficients": coefficient}
        for code, coefficient in zip(stack.tolist(), coefficients.tolist())
    ]
    columns = {"codes": stack.tolist(), "coefficients": coefficients.tolist()}
    in_rows = ask(client, signature_name="mix", instances=rows)["predictions"]
    in_columns = ask(client, signature_name="mix", inputs=columns)["outputs"]
    np.testing.assert_allclose(in_rows, expected, atol=1e-5)
    assert in_columns == in_rows


def test_several_outputs(client):
    images = np.random.default_rng(0).uniform(-1, 1, (2, *IMAGE_SHAPE)).astype("float32")
    columns = ask(client, signature_name="statistics", inputs=images.tolist())["outputs"]
    np.testing.assert_allclose(columns["low"], images.min(axis=(1, 2, 3)))
    np.testing.assert_allclose(columns["high"], images.max(axis=(1, 2, 3)))
    rows = ask(client, signature_name="statistics", instances=images.tolist())["predictions"]
    assert rows == [{name: columns[name][index] for name in ("low", "high")} for index in range(2)]


def test_a_scalar_input(client):
    images = np.random.default_rng(0).uniform(-1, 1, (2, *IMAGE_SHAPE)).astype("float32")
    inputs = {"images_a": images[:1].tolist(), "images_b": images[1:].tolist(), "steps": 3}
    lines = np.array(ask(client, signature_name="interpolate", inputs=inputs)["outputs"])
    assert lines.shape == (1, 3, *IMAGE_SHAPE)
    np.testing.assert_allclose(lines[:, 0], decoded(encoded(images[:1])), atol=1e-5)
    np.testing.assert_allclose(lines[:, 2], decoded(encoded(images[1:])), atol=1e-5)


def test_integers(client):
    images = np.random.default_rng(0).integers(0, 256, (2, *IMAGE_SHAPE))
    answer = ask(client, signature_name="encode_uint8", instances=images.tolist())
    np.testing.assert_allclose(answer["predictions"], encoded(images / 127.5 - 1), atol=1e-6)


def test_png_in(client):
    file = picture()
    pixels = np.asarray(Image.open(io.BytesIO(file)))[None, ..., None]
    answer = ask(client, signature_name="encode_png", instances=[as_base64(file)])
    np.testing.assert_allclose(answer["predictions"], encoded(pixels / 127.5 - 1), atol=1e-6)
    again = ask(client, signature_name="encode_png", instances=[{"png_bytes": as_base64(file)}])
    assert again == answer


def test_jpeg_in(client):
    answer = ask(client, signature_name="encode_png", inputs=[as_base64(picture(9, 7, "JPEG"))])
    assert np.shape(answer["outputs"]) == (1, *LATENT_SHAPE)


def test_png_out(client, codes):
    answer = ask(client, signature_name="decode_png", instances=codes[:2].tolist())
    for file, image in zip(answer["predictions"], decoded(codes[:2])):
        assert list(file) == ["b64"]
        pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(file["b64"]))))
        np.testing.assert_allclose(pixels, (image[..., 0] + 1) * 127.5, atol=1)


def test_the_time_is_told(client, codes):
    response = client.post("/v1/models/tiny:predict", json={"instances": codes.tolist()})
    assert response.headers["server-timing"].startswith("model;dur=")


def test_the_page(client):
    page = client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    for path, kind in (("page.js", "text/javascript"), ("page.css", "text/css")):
        assert f'"{path}"' in page.text
        assert client.get(f"/{path}").headers["content-type"].startswith(kind)
    assert "//" not in page.text.replace("<!doctype html>", "")  # Nothing from elsewhere.


def test_heads(client):
    for path in ("/", "/page.js", "/api/model", "/api/examples.png"):
        head, whole = client.head(path), client.get(path)
        assert head.status_code == 200
        assert head.content == b""
        assert head.headers == whole.headers


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "GZIP"])
@pytest.mark.parametrize("members", [1, 2])
def test_gzip(client, codes, encoding, members):
    body = json.dumps({"instances": codes.tolist()}).encode()
    cut = len(body) // members
    packed = b"".join(gzip.compress(body[at : at + cut]) for at in range(0, len(body), cut))
    response = client.post(
        "/v1/models/tiny:predict", content=packed, headers={"content-encoding": encoding}
    )
    np.testing.assert_allclose(response.json()["predictions"], decoded(codes), atol=1e-6)


def test_what_the_page_is_told(client):
    told = client.get("/api/model").json()
    assert told["name"] == "tiny"
    assert told["version"] == 10
    assert told["image_shape"] == list(IMAGE_SHAPE)
    assert told["latent_shape"] == list(LATENT_SHAPE)
    assert told["method"] == "amr"
    assert told["examples"] is True
    examples = client.get("/api/examples.png")
    assert examples.headers["content-type"] == "image/png"
    assert examples.content == picture(16, 4)


def test_security_headers(client):
    for path in ("/", "/v1/models/tiny", "/nothing"):
        headers = client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in headers


def test_warming_up_asks_every_signature(folder):
    servable = load_servable(folder)
    asked = []

    def counted(name, function):
        def call(**tensors):
            asked.append(name)
            return function(**tensors)

        return call

    counting = {
        name: dataclasses.replace(signature, function=counted(name, signature.function))
        for name, signature in servable.signatures.items()
    }
    warm_up(dataclasses.replace(servable, signatures=counting))
    assert sorted(asked) == sorted(servable.signatures)


@pytest.mark.parametrize("name", ["a|b", "<b>x", "100% 🌷", "a:b", "a?b#c", "x:predict "])
def test_odd_names(tmp_path, write, codes, name):
    app = create_app(write(tmp_path / name))
    with TestClient(app, base_url="http://localhost") as client:
        assert client.get("/api/model").json()["name"] == name
        url = f"/v1/models/{urllib.parse.quote(name, safe='')}"
        assert client.get(url).status_code == 200
        for path in (f"{url}:predict", f"{url}/versions/1:predict"):
            answer = ask(client, path=path, instances=codes.tolist())
            np.testing.assert_allclose(answer["predictions"], decoded(codes), atol=1e-6)


def test_an_older_version(folder):
    servable = load_servable(folder, 2)
    assert servable.version == 2
    assert "statistics" not in servable.signatures
    assert load_servable(folder).version == 10


def test_without_metadata_and_examples(tmp_path, write):
    folder = write(tmp_path / "bare")
    (folder / "1" / "metadata.json").unlink()
    (folder / "1" / "examples.png").unlink()
    with TestClient(create_app(folder), base_url="http://localhost") as client:
        told = client.get("/api/model").json()
        assert told["method"] is None
        assert told["examples"] is False
        assert client.get("/api/examples.png").status_code == 404


@pytest.mark.parametrize(
    ("break_it", "sentence"),
    [
        (lambda folder, write: None, "is not a folder"),
        (lambda folder, write: folder.mkdir(), "holds no exported version"),
        (lambda folder, write: (folder / "x").mkdir(parents=True), "holds no exported version"),
        # Numbers to Python's int, but no names of versions: an Arabic 3, and a 3 after a zero.
        (lambda folder, write: write(folder, "\u0663"), "holds no exported version"),
        (lambda folder, write: write(folder, "03"), "holds no exported version"),
        (lambda folder, write: write(folder.parent, folder.name), "is a version"),
        (lambda folder, write: write(folder, 3), "has no version 7; it has 3"),
    ],
)
def test_folders_that_cannot_be_served(tmp_path, write, break_it, sentence):
    folder = tmp_path / "1"
    break_it(folder, write)
    with pytest.raises(ValueError, match=sentence):
        load_servable(folder, 7)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("saved_model.pb", b"nonsense", "not a SavedModel"),
        ("variables/variables.data-00000-of-00001", b"short", "not a SavedModel"),
        ("metadata.json", b"{", "is not JSON"),
        ("metadata.json", b"[]", "must hold a JSON object"),
        ("examples.png", b"nonsense", "is not a PNG"),
        ("examples.png", picture(16, 4)[:-40], "is not a PNG"),
        ("examples.png", picture(6, 4), "must be images of 4x4 side by side; it is 6x4"),
    ],
)
def test_broken_versions(tmp_path, write, name, content, sentence):
    folder = write(tmp_path / "broken")
    (folder / "1" / name).write_bytes(content)
    with pytest.raises(ValueError, match=sentence):
        load_servable(folder)


def test_another_saved_model(tmp_path):
    tf.saved_model.save(tf.Module(), str(tmp_path / "1"))
    with pytest.raises(ValueError, match="no signature 'decode'"):
        load_servable(tmp_path)


def test_the_command_without_the_extra(monkeypatch):
    monkeypatch.delattr(rest, "run", raising=False)
    monkeypatch.delitem(sys.modules, "amr_tf.rest.run", raising=False)
    monkeypatch.setitem(sys.modules, "uvicorn", None)  # An import of it fails.
    with pytest.raises(ValueError, match="needs uvicorn: pip install 'amr-tf"):
        serve.main(serve.COMMAND.new_flags(), [])
