"""Bad requests over HTTP: each gets a sentence and a 4xx status, and the server lives on."""

import gzip
import io
import itertools
import json
import struct
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

pytest.importorskip("fastapi", reason="the app needs the extra 'serve'")
from fastapi.testclient import TestClient

from amr_tf.rest.guard import is_loopback
from amr_tf.rest.limits import Limits
from amr_tf.rest.server import create_app
from tests.rest.tiny_servable import (
    IMAGE_SHAPE,
    LATENT_SHAPE,
    as_base64,
    decoded,
    picture,
    write_servable,
)

URL = "http://127.0.0.1:8501"
PREDICT = "/v1/models/tiny:predict"
LIMITS = Limits(upload_bytes=200_000, instances=20, steps=8, parents=4, numbers=2000, side=64)
CODE = np.full(LATENT_SHAPE, 0.5).tolist()
HUGE = np.full(LATENT_SHAPE, 3e38).tolist()
IMAGE = np.zeros(IMAGE_SHAPE).tolist()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_servable(tmp_path_factory.mktemp("served") / "tiny")


@pytest.fixture(scope="module")
def client(folder):
    with TestClient(create_app(folder, limits=LIMITS), base_url=URL) as client:
        yield client


def assert_alive(client):
    answer = client.post(PREDICT, json={"instances": [CODE]}).json()
    np.testing.assert_allclose(answer["predictions"], decoded([CODE]), atol=1e-6)


def assert_refused(client, response, status, sentence):
    assert response.status_code == status, response.text
    assert list(response.json()) == ["error"]
    assert sentence in response.json()["error"]
    assert_alive(client)


def bomb(width, height):
    """A PNG of a few bytes whose header says that it is huge."""

    def chunk(kind, data):
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels)


def nested(depth):
    return b'{"instances": ' + b"[" * depth + b"]" * depth + b"}"


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "not JSON"),
        (b'{"instances": [', "not JSON"),
        (b"\xff\xfe", "UTF-8"),
        (b'{"instances": "\xff"}', "UTF-8"),
        (b"[]", "JSON object"),
        (b"3", "JSON object"),
        (b"{}", 'either "instances" or "inputs"'),
        (b'{"instances": [1], "inputs": [1]}', 'either "instances" or "inputs"'),
        (b'{"instances": [NaN]}', "holds NaN"),
        (b'{"instances": [-Infinity]}', "holds -Infinity"),
        (b'{"instances": [1e999]}', "must have the shape"),
        (b'{"instances": [' + b"9" * 5000 + b"]}", "5000 digits"),
        (nested(50_000), "nested too deeply"),
        (nested(100), "must have the shape (N, 2, 2, 3)"),
        (b'{"signature_name": 3, "instances": []}', "must be a string"),
        (b'{"signature_name": "decod", "instances": []}', "Did you mean 'decode'?"),
        (b'{"signature_name": "__saved_model_init_op", "instances": []}', "Unknown signature"),
    ],
)
def test_bodies(client, body, sentence):
    assert_refused(client, client.post(PREDICT, content=body), 400, sentence)


def replaced(value):
    """CODE with another value in one place."""
    code = np.array(CODE, object)
    code[1, 0, 2] = value
    return code.tolist()


@pytest.mark.parametrize(
    ("instances", "sentence"),
    [
        ([], "at least one instance"),
        (7, "must be a list"),
        ({"codes": CODE}, "must be a list"),
        ([[]], "must have the shape (N, 2, 2, 3); got (1, 0)"),
        ([CODE[0]], "got (1, 2, 3)"),
        ([[CODE]], "got (1, 1, 2, 2, 3)"),
        ([CODE, CODE[0]], "ragged"),
        ([CODE, 3], "ragged"),
        ([replaced([1])], "ragged"),
        ([replaced("1")], "must hold numbers only; it holds a string"),
        ([replaced(None)], "it holds null"),
        ([replaced(True)], "it holds true or false"),
        ([replaced({"b64": ""})], "it holds an object"),
        ([replaced(1e39)], "too large for float32"),
        ([replaced(10**400)], "too large for float32"),
        ([{"codes": CODE}, CODE], "Instance 1 must be an object with codes"),
        ([{"code": CODE}], "Instance 0 lacks the input 'codes'"),
        ([{"codes": CODE, "more": 1}], "unknown input 'more'"),
        ([CODE] * 21, "N can be at most 20 in a request; got 21"),
    ],
)
def test_instances_of_codes(client, instances, sentence):
    response = client.post(PREDICT, json={"instances": instances})
    assert_refused(client, response, 400, sentence)


PAIR = {"images_a": [IMAGE], "images_b": [IMAGE]}


@pytest.mark.parametrize(
    ("signature", "inputs", "sentence"),
    [
        ("decode", [], "got (0,)"),
        (
            "mix",
            {"codes": [[]], "coefficients": [[]]},
            "must have the shape (N, K, 2, 2, 3); got (1, 0)",
        ),
        ("mix", [[CODE]], "must be an object with codes, coefficients"),
        ("mix", {"codes": [[CODE] * 2], "coefficients": [[0.5] * 3]}, "must agree in K"),
        ("mix", {"codes": [[CODE] * 2], "coefficients": [[0.5] * 2] * 2}, "must agree in N"),
        ("mix", {"codes": [[CODE] * 5], "coefficients": [[0.2] * 5]}, "K can be at most 4"),
        ("encode", [np.full(IMAGE_SHAPE, 2.0).tolist()], "must lie in [-1, 1]"),
        ("encode_uint8", [np.full(IMAGE_SHAPE, 256).tolist()], "must lie in 0 to 255"),
        ("encode_uint8", [np.full(IMAGE_SHAPE, -1).tolist()], "must lie in 0 to 255"),
        ("encode_uint8", [np.full(IMAGE_SHAPE, 0.5).tolist()], "integers only; it holds a fract"),
        ("interpolate", {**PAIR, "steps": 1}, "'steps' must lie in 2 to 8; got 1"),
        ("interpolate", {**PAIR, "steps": 9}, "'steps' must lie in 2 to 8; got 9"),
        ("interpolate", {**PAIR, "steps": 2**40}, "must lie in -2147483648 to 2147483647"),
        ("interpolate", {**PAIR, "steps": [3]}, "must have the shape (); got (1,)"),
        ("interpolate", {**PAIR, "steps": "3"}, "it holds a string"),
        ("interpolate", {**PAIR, "images_b": [IMAGE] * 2, "steps": 3}, "must agree in N"),
        (
            "interpolate",
            {"images_a": [IMAGE] * 18, "images_b": [IMAGE] * 18, "steps": 8},
            "2,304 pixels and channels; at most 2,000",
        ),
        ("mix", {"codes": [[HUGE]], "coefficients": [[3e38]]}, "'images' is not finite"),
        ("encode_png", [3], "must hold strings"),
        ("encode_png", [{"b64": 3}], "must hold strings"),
        ("encode_png", ["\ud800"], "not a PNG or JPEG"),
        ("encode_png", [{"b64": "***"}], "not base64"),
        ("encode_png", [{"b64": "\u00e9"}], "not base64"),
        ("encode_png", [as_base64(b"")], "not a PNG or JPEG"),
        ("encode_png", [as_base64(b"GIF89a" + bytes(100))], "not a PNG or JPEG"),
        ("encode_png", [as_base64(picture(kind="GIF"))], "not a PNG or JPEG"),
        ("encode_png", [as_base64(picture(kind="BMP"))], "not a PNG or JPEG"),
        ("encode_png", [as_base64(picture()[:-30])], "refused the inputs: Invalid PNG data, size"),
        (
            "encode_png",
            [as_base64(picture(60, 60, "JPEG")[:-200])],
            "The model refused the inputs: jpeg::Uncompress failed: Invalid JPEG data or crop "
            "window.",
        ),
        ("encode_png", [as_base64(picture(65, 4))], "65x4; at most 64x64"),
        ("encode_png", [as_base64(bomb(30_000, 30_000))], "not a PNG or JPEG that can"),
        ("encode_png", [as_base64(bomb(5_000, 5_000))], "5000x5000; at most 64x64"),
    ],
)
def test_inputs(client, signature, inputs, sentence):
    body = json.dumps({"signature_name": signature, "inputs": inputs})
    assert_refused(client, client.post(PREDICT, content=body), 400, sentence)


def test_rows_cannot_say_a_scalar(client):
    row = {"images_a": IMAGE, "images_b": IMAGE, "steps": 3}
    request = {"signature_name": "interpolate", "instances": [row]}
    assert_refused(client, client.post(PREDICT, json=request), 400, "use the column format")


def test_many_pictures_together(folder):
    limits = Limits(pixels=100)
    with TestClient(create_app(folder, limits=limits), base_url=URL) as client:
        inputs = [as_base64(picture(8, 8))]
        good = client.post(PREDICT, json={"signature_name": "encode_png", "inputs": inputs})
        assert good.status_code == 200
        bad = client.post(PREDICT, json={"signature_name": "encode_png", "inputs": inputs * 2})
        assert_refused(client, bad, 400, "128 pixels; at most 100")


def test_pictures_that_pillow_reads_and_tensorflow_does_not(client):
    file = io.BytesIO()
    Image.new("CMYK", (4, 4)).save(file, "JPEG")
    request = {"signature_name": "encode_png", "inputs": [as_base64(file.getvalue())]}
    response = client.post(PREDICT, json=request)
    assert response.status_code in (200, 400)
    assert_alive(client)


@pytest.mark.parametrize(
    ("method", "path", "status", "sentence"),
    [
        ("GET", "/nothing", 404, "nothing at GET /nothing"),
        ("GET", "/v1/models/other", 404, "no model 'other'; it is 'tiny'"),
        ("GET", "/v1/models/tiny/versions/2", 404, "Version '2' is not loaded; version 1 is"),
        ("GET", "/docs", 404, "nothing at GET /docs."),
        ("GET", "/%2e%2e/%2e%2e/etc/passwd", 404, "nothing at"),
        ("GET", "/page.js/../server.py", 404, "nothing at"),
        ("POST", "/v1/models/other:predict", 404, "no model 'other'"),
        ("POST", "/v1/models/tiny/versions/2:predict", 404, "Version '2'"),
        ("PUT", "/page.js", 405, "There is nothing at PUT /page.js; use GET, HEAD."),
        # What TF Serving's `ParseModelInfo` cannot parse.
        ("GET", PREDICT, 400, f"Malformed request: GET {PREDICT}; use POST."),
        ("GET", "/v1/models/tiny/versions/1:predict", 400, "versions/1:predict; use POST."),
        ("PUT", PREDICT, 400, f"Malformed request: PUT {PREDICT}; use POST."),
        ("OPTIONS", PREDICT, 400, f"Malformed request: OPTIONS {PREDICT}; use POST."),
        ("DELETE", "/v1/models/tiny", 400, "DELETE /v1/models/tiny; use GET."),
        ("POST", "/v1/models/tiny", 400, "Malformed request: POST /v1/models/tiny."),
        ("POST", "/v1/models/tiny:classify", 400, "request: POST /v1/models/tiny:classify."),
        ("POST", "/v1/models/tiny/labels/stable:predict", 400, "Malformed request: POST"),
        ("GET", "/v1/models/tiny/versions/x/metadata", 400, "Malformed request: GET"),
        ("GET", "/v1/models/..%2f..%2fetc%2fpasswd", 400, "Malformed request: GET"),
        ("GET", "/v1/models/tiny/", 400, "Malformed request: GET /v1/models/tiny/."),
        ("GET", "/v1/models", 400, "Malformed request: GET /v1/models."),
    ],
)
def test_urls(client, method, path, status, sentence):
    assert_refused(client, client.request(method, path), status, sentence)


@pytest.mark.parametrize(
    ("path", "status"), [("/v1/models/tiny", 400), (PREDICT, 400), ("/nothing", 404)]
)
def test_heads_that_are_refused(client, path, status):
    response = client.head(path)
    assert (response.status_code, response.content) == (status, b"")
    assert_alive(client)


def zipped(**request):
    return gzip.compress(json.dumps(request).encode(), mtime=0)


@pytest.mark.parametrize(
    ("encoding", "body", "status", "sentence"),
    [
        ("gzip", b"{}", 400, "The request's body is not whole gzip data."),
        ("gzip", zipped(instances=[CODE])[:-9], 400, "is not whole gzip data"),
        ("gzip", zipped(instances=[CODE])[:12] + b"x" * 30, 400, "is not whole gzip data"),
        ("gzip", b"", 400, "not JSON"),
        ("gzip", gzip.compress(b"{", mtime=0), 400, "not JSON"),
        ("gzip", gzip.compress(bytes(10**7), mtime=0), 413, "larger than 200,000 bytes"),
        ("br", b"{}", 400, "Content-Encoding must be gzip or identity; got 'br'."),
        ("gzip, gzip", b"{}", 400, "got 'gzip, gzip'"),
        ("", zipped(instances=[CODE]), 400, "not UTF-8"),
    ],
)
def test_encodings(client, encoding, body, status, sentence):
    headers = {"content-encoding": encoding}
    assert_refused(client, client.post(PREDICT, content=body, headers=headers), status, sentence)


def test_a_body_that_says_it_is_too_large(client):
    response = client.post(PREDICT, content=bytes(LIMITS.upload_bytes + 1))
    assert_refused(client, response, 413, "larger than 200,000 bytes")


def test_a_streamed_body_that_is_too_large(client):
    chunks = itertools.repeat(bytes(50_000), 5)
    response = client.post(PREDICT, content=chunks)
    assert "content-length" not in response.request.headers
    assert_refused(client, response, 413, "larger than 200,000 bytes")


def test_a_content_length_that_is_no_number(client):
    headers = {"content-length": "many"}
    response = client.post(PREDICT, content=b"{}", headers=headers)
    assert_refused(client, response, 400, 'either "instances"')


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8501", 200),
        ("127.0.0.1", 200),
        ("localhost:1", 200),
        ("LOCALHOST", 200),
        ("[::1]:8501", 200),
        ("evil.example:8501", 403),
        ("127.0.0.1.evil.example", 403),
        ("evil.example#127.0.0.1", 403),
        ("user@evil.example", 403),
        ("[::1", 403),
        ("", 403),
    ],
)
def test_host_headers(client, host, status):
    response = client.get("/v1/models/tiny", headers={"host": host})
    assert response.status_code == status
    if status == 403:
        sentence = f"got '{host}', which --allowed_hosts can allow."
        assert_refused(client, response, 403, sentence)
        assert response.headers["x-content-type-options"] == "nosniff"


def test_any_host_header_where_others_are_let_in(folder):
    app = create_app(folder, host="0.0.0.0")
    with TestClient(app, base_url="http://my-machine:8501") as client:
        assert client.get("/v1/models/tiny").status_code == 200


@pytest.fixture(scope="module")
def behind_a_proxy(folder):
    app = create_app(folder, allowed_hosts=["models.example", "[2001:DB8::7]"])
    with TestClient(app, base_url=URL) as client:
        yield client


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        ("models.example", "https://models.example", 200),
        ("Models.Example:443", "", 200),
        ("[2001:db8::7]:8501", "", 200),
        ("127.0.0.1:8501", "https://models.example", 200),  # The proxy puts its own Host.
        ("127.0.0.1:8501", "", 200),
        ("evil.example", "", 403),
        ("models.example.evil.example", "", 403),
        ("models.example", "https://evil.example", 403),
        ("127.0.0.1:8501", "https://evil.example", 403),
        ("127.0.0.1:8501", "null", 403),
    ],
)
def test_a_reverse_proxy(behind_a_proxy, host, origin, status):
    headers = {"host": host, **({"origin": origin} if origin else {})}
    response = behind_a_proxy.post(PREDICT, json={"instances": [CODE]}, headers=headers)
    assert response.status_code == status


def test_allowed_hosts_hold_where_others_are_let_in(folder):
    app = create_app(folder, host="0.0.0.0", allowed_hosts=["models.example"])
    with TestClient(app, base_url="http://models.example") as client:
        assert client.get("/v1/models/tiny").status_code == 200
        assert client.get("/v1/models/tiny", headers={"host": "192.168.0.7"}).status_code == 403


@pytest.mark.parametrize(
    "name", ["https://models.example", "models.example:80", "models.example/x", "", "::1", "a b/"]
)
def test_allowed_hosts_that_are_none(folder, name):
    with pytest.raises(ValueError, match=f"without scheme, port or path; got '{name}'"):
        create_app(folder, allowed_hosts=[name])


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (URL, 200),
        ("http://evil.example", 403),
        ("http://127.0.0.1:9999", 403),
        ("null", 403),
        ("http://[", 403),
    ],
)
def test_pages_of_other_sites(client, origin, status):
    request = {"instances": [CODE]}
    response = client.post(PREDICT, json=request, headers={"origin": origin})
    assert response.status_code == status
    assert_alive(client)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("localhost", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.0.7", False),
        ("localhost.example", False),
    ],
)
def test_loopback(host, loopback):
    assert is_loopback(host) is loopback


# Values of any kind, and ones that look right at first sight.
numbers = st.one_of(st.integers(), st.floats(), st.booleans(), st.none(), st.text(max_size=5))
pictures = st.one_of(
    st.binary(max_size=50),
    st.builds(
        lambda file, at, byte: file[: at % len(file)] + bytes([byte]) + file[at % len(file) + 1 :],
        st.sampled_from([picture(), picture(9, 9, "JPEG"), picture(5, 5, mode="RGBA")]),
        st.integers(0, 10_000),
        st.integers(0, 255),
    ),
).map(as_base64)
leaves = st.one_of(numbers, pictures, st.sampled_from([CODE, IMAGE, [CODE, CODE], [0.5, 0.5], 3]))
values = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["codes", "images", "b64", "x"]), inner, max_size=2),
    ),
    max_leaves=8,
)
names = st.sampled_from(["decode", "mix", "mix_maps", "encode_png", "interpolate", "encode_uint8"])
inputs = st.one_of(
    values,
    st.fixed_dictionaries({"codes": values, "coefficients": values}),
    st.fixed_dictionaries({"images_a": values, "images_b": values, "steps": values}),
    st.lists(pictures, min_size=1, max_size=3),
)
requests = st.one_of(
    values,
    st.fixed_dictionaries({"signature_name": names, "inputs": inputs}),
    st.fixed_dictionaries({"signature_name": names, "instances": st.lists(inputs, max_size=3)}),
)


def assert_answered(client, body):
    response = client.post(PREDICT, content=body)
    assert response.status_code in (200, 400), response.text
    if response.status_code == 400:
        assert response.json()["error"].strip()
    assert_alive(client)


@given(requests)
@example({"signature_name": "encode_png", "inputs": [as_base64(picture(9, 9, "JPEG")[:200])]})
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_json(client, request):
    assert_answered(client, json.dumps(request))


@given(st.one_of(st.binary(max_size=200), st.text(alphabet='{}[]",:0e-tINa\\u').map(str.encode)))
@settings(max_examples=100, deadline=None)
def test_any_bytes(client, body):
    assert_answered(client, body)
