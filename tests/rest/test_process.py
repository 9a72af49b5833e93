"""The server as a user runs it: a process of its own, a real client, and a real browser."""

import base64
import concurrent.futures
import contextlib
import dataclasses
import http.client
import http.server
import io
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("fastapi", reason="the app needs the extra 'serve'")
pytest.importorskip("uvicorn", reason="the app needs the extra 'serve'")
import uvicorn

from amr_tf.rest.run import serve
from amr_tf.rest.server import create_app
from tests import forked
from tests.rest.tiny_servable import (
    LATENT_SHAPE,
    decoded,
    encoded,
    of_looks,
    picture,
    write_servable,
)
from tests.rest.webdriver import CHROMEDRIVER, CHROMIUM, KEYS, browser

pytestmark = pytest.mark.slow
needs_browser = pytest.mark.skipif(
    not (CHROMEDRIVER and CHROMIUM), reason="needs Debian's chromium and chromium-driver"
)

ROOT = pathlib.Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "amr_tf.serve"]
IN_A_NOTEBOOK = """
import asyncio, sys
from amr_tf.rest.run import serve

async def cell():
    serve(sys.argv[1].removeprefix("--model="), port=0)

asyncio.run(cell())
"""
PROXY = "models.localhost"  # Chromium takes it for this machine; the server does not.
CODES = np.random.default_rng(0).normal(size=(2, *LATENT_SHAPE)).astype("float32")


@contextlib.contextmanager
def serving(folder, *flags, command=COMMAND):
    """Yields the process and the address that it prints."""
    process = subprocess.Popen(
        [*command, f"--model={folder}", "--port=0", *flags],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
    )
    try:
        line = process.stdout.readline()
        found = re.fullmatch(r"Serving tiny, version 1, at (http://\S+)/ .*\n", line)
        assert found, line + process.stderr.read()
        yield process, found[1]
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_servable(tmp_path_factory.mktemp("served") / "tiny")


@pytest.fixture(scope="module")
def address(folder):
    with serving(folder, "--max_upload_mb=1", f"--allowed_hosts={PROXY}") as (_, address):
        yield address


def post(address, body):
    """Status and JSON of an answer to the bytes of a predict request."""
    request = urllib.request.Request(f"{address}/v1/models/tiny:predict", body, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def assert_alive(address):
    status, answer = post(address, json.dumps({"instances": CODES.tolist()}).encode())
    assert status == 200
    np.testing.assert_allclose(answer["predictions"], decoded(CODES), atol=1e-6)


def test_it_listens_on_this_machine_alone(address):
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", address)
    assert_alive(address)


def test_a_body_that_is_too_large(address):
    status, answer = post(address, bytes(20 * 2**20))
    assert status == 413
    assert answer == {"error": "The request is larger than 1,048,576 bytes."}
    assert_alive(address)


def test_chunks_that_are_too_many(address):
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=60)
    chunks = (bytes(2**16) for _ in range(40))
    connection.request("POST", "/v1/models/tiny:predict", chunks, encode_chunked=True)
    assert connection.getresponse().status == 413
    assert_alive(address)


@pytest.mark.parametrize(
    "bytes_sent",
    [
        b"hello\r\n\r\n",
        b"POST /v1/models/tiny:predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\n{",
        b"POST /v1/models/tiny:predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: x\r\n\r\n{",
        b"GET / HTTP/1.1\r\n" + b"X: " + bytes(100_000),
    ],
)
def test_clients_that_break_off(address, bytes_sent):
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as client:
        client.sendall(bytes_sent)
    assert_alive(address)


def test_the_log_says_nothing_of_clients_that_hang_up(folder):
    head = "POST /v1/models/tiny:predict HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    half = f"{head}Content-Length: 9\r\n\r\n{{".encode()
    chunk = f"{head}Transfer-Encoding: chunked\r\n\r\n1\r\n{{\r\n".encode()
    with serving(folder) as (process, address):
        host, port = address.removeprefix("http://").split(":")
        for bytes_sent in (half, chunk, half[:-1]):
            with socket.create_connection((host, int(port))) as client:
                client.sendall(bytes_sent)
        assert_alive(address)
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=60)
    assert out == "Stopped.\n"
    assert re.fullmatch("Device: .*\n", error)


def test_many_at_once(address):
    body = json.dumps({"signature_name": "decode", "instances": CODES.tolist()}).encode()
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: post(address, body), range(64)))
    for status, answer in answers:
        assert status == 200
        np.testing.assert_allclose(answer["predictions"], decoded(CODES), atol=1e-6)


def test_others_are_let_in_with_a_warning_and_an_interrupt_stops_it(folder):
    with serving(folder, "--host=0.0.0.0") as (process, address):
        assert_alive(address.replace("0.0.0.0", "127.0.0.1"))
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=60)
    assert process.returncode == 0
    assert out == "Stopped.\n"
    assert "warning: 0.0.0.0 is not a loopback address" in error
    assert "Traceback" not in error


def test_where_an_event_loop_runs_already(folder):
    with serving(folder, command=[sys.executable, "-c", IN_A_NOTEBOOK]) as (process, address):
        assert_alive(address)
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "Stopped.\n")
    assert "Traceback" not in error


def test_a_new_version_and_one_that_was_asked_for(folder, tmp_path):
    served = shutil.copytree(folder, tmp_path / "tiny")
    with serving(served) as (process, address), serving(served, "--version=1") as (_, asked_for):
        (served / ".copy").mkdir()
        shutil.copytree(folder / "1", served / ".copy" / "2").rename(served / "2")
        assert process.stdout.readline() == "Serving tiny, version 2, from now on.\n"
        for url, version in ((address, "2"), (asked_for, "1")):
            assert_alive(url)
            with urllib.request.urlopen(f"{url}/v1/models/tiny") as response:
                (status,) = json.load(response)["model_version_status"]
            assert status["version"] == version


@pytest.mark.parametrize(
    ("flag", "sentence"),
    [
        ("--model={}x", "error: '.*tinyx' is not a folder"),
        ("--allowed_hosts=https://a.example", "error: allowed_hosts .* got 'https://a.example'"),
    ],
)
def test_a_mistake_gets_a_sentence(folder, flag, sentence):
    flags = (f"--model={folder}", "--port=0", flag.format(folder))
    code, _, errors = forked.run("amr_tf.serve", *flags, cwd=ROOT, timeout=120)
    assert code == 2
    assert re.search(f"^{sentence}", errors, re.MULTILINE)
    assert "Traceback" not in errors


@pytest.mark.parametrize("host", ("127.0.0.1", "no.such.host.invalid"))
def test_where_it_cannot_listen(folder, address, host):
    port = int(address.rpartition(":")[2])
    with pytest.raises(ValueError, match=rf"Cannot listen on {host}, port {port}: "):
        serve(folder, host=host, port=port)


@pytest.fixture(scope="module")
def window(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("profile")) as window:
        yield window


@pytest.fixture
def page(window, address):
    """The page with the first two examples mixed."""
    window.open(address)
    window.wait(TEXT.format("latency"))
    yield window
    assert window.errors() == []


TEXT = "return document.getElementById('{}').textContent"
# Whether the mix on the page, 4 x 4 pixels of equal channels, is one of these images.
SHOWN = """
const mix = document.getElementById('mix');
const pixels = mix.getContext('2d').getImageData(0, 0, mix.width, mix.height).data;
const seen = Array.from(pixels).filter((_, i) => i % 4 === 0);
return {}.some((image) => seen.every((value, i) => Math.abs(value - image[i]) <= 1));
"""
STRIPS = "return document.querySelectorAll('.strip canvas').length"


def examples():
    """The four example images that the tiny model comes with, in [-1, 1]."""
    row = np.asarray(Image.open(io.BytesIO(picture(16, 4)))) / 127.5 - 1
    return np.stack(np.split(row, 4, axis=1))[..., None]


def wait_for_mix(page, *mixed):
    """Waits until the page shows what the decoder makes of a code (2, 2, 3), or of one of them."""
    images = (decoded(np.stack(mixed)).reshape(len(mixed), -1) + 1) * 127.5
    page.wait(SHOWN.replace("{}", str(images.tolist())))


@needs_browser
def test_the_page_mixes_the_first_examples(page):
    codes = encoded(examples())
    wait_for_mix(page, (codes[0] + codes[1]) / 2)
    assert page.run(TEXT.format("name")) == "tiny"
    assert "mixer mixup, k = 2" in page.run(TEXT.format("about"))
    assert re.fullmatch(r"\d+ ms, of which the model [\d.]+ ms", page.run(TEXT.format("latency")))


@needs_browser
def test_the_slider_by_keyboard(page):
    codes = encoded(examples())
    page.type("#sliders input", KEYS["end"])
    wait_for_mix(page, codes[1])
    page.type("#sliders input", KEYS["left"] * 20)
    wait_for_mix(page, 0.2 * codes[0] + 0.8 * codes[1])
    assert page.run(TEXT.format("sliders")) == "AB80 % of B"


@needs_browser
def test_another_example(page):
    codes = encoded(examples())
    page.click("#examples button:nth-child(4)")
    wait_for_mix(page, (codes[3] + codes[1]) / 2)
    page.click("#examples button:nth-child(3)")  # Now for image B.
    wait_for_mix(page, (codes[3] + codes[2]) / 2)


@needs_browser
def test_three_images(page):
    codes = encoded(examples())
    page.click("#third")
    assert page.run("return document.getElementById('draw').disabled")
    page.click("#examples button:nth-child(3)")
    wait_for_mix(page, codes[:3].mean(axis=0))
    page.type("#sliders div:nth-child(1) input", KEYS["left"] * 50)
    wait_for_mix(page, (codes[1] + codes[2]) / 2)
    page.click("#draw")
    page.wait(f"{STRIPS} === 27")
    page.click("#third")
    wait_for_mix(page, (codes[0] + codes[1]) / 2)


@needs_browser
def test_feature_maps(page):
    codes = encoded(examples())
    page.type("#sliders input", KEYS["end"])
    page.click("input[value=mix_maps]")
    wait_for_mix(page, codes[1])
    page.type("#sliders input", KEYS["left"] * 40)  # Two of the three maps from image B.
    wait_for_mix(page, *(np.where(np.arange(3) == n, codes[0], codes[1]) for n in range(3)))


@needs_browser
def test_an_upload_is_cut_to_its_middle(page, tmp_path):
    file = tmp_path / "wide.png"
    file.write_bytes(picture(16, 4))  # Its middle is half of the second and of the third example.
    page.type(".slot:nth-child(1) input", str(file))
    middle = np.concatenate(list(examples()), axis=1)[None, :, 6:10]
    codes = encoded(examples())
    wait_for_mix(page, (encoded(middle)[0] + codes[1]) / 2)


@needs_browser
def test_uploads_that_are_no_pictures(page, tmp_path):
    text, broken = tmp_path / "notes.txt", tmp_path / "broken.png"
    text.write_text("hello")
    broken.write_bytes(b"\x89PNG\r\n\x1a\n")
    page.type(".slot:nth-child(1) input", str(text))
    page.wait(f"{TEXT.format('error')} === 'notes.txt is neither PNG nor JPEG.'")
    page.type(".slot:nth-child(1) input", str(broken))
    page.wait(f"{TEXT.format('error')} === 'broken.png cannot be read as an image.'")
    page.click("#examples button:nth-child(1)")
    page.wait("return document.getElementById('error').hidden")


@needs_browser
@pytest.mark.parametrize("width", (320, 1200))
def test_nothing_is_wider_than_the_page(page, width):
    page.resize(width, 800)
    page.click("#third")
    page.click("#examples button:nth-child(3)")
    page.click("#draw")
    page.wait("return document.querySelector('.strip')")
    assert page.run("return document.documentElement.scrollWidth") <= width


@contextlib.contextmanager
def serving_here(app):
    """The app in a thread, which is quicker than a process; yields its address."""
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join()


@needs_browser
def test_layout_and_look(window, tmp_path):
    codes = encoded(examples())[:3]
    app = create_app(write_servable(tmp_path / "tiny", looks=True))
    with serving_here(app) as address:
        window.open(address)
        # At first the layout of A with the look of B.
        wait_for_mix(window, of_looks(codes[:2], [1, 0], [0, 1]))
        window.type("[aria-label='Share of image B: look']", KEYS["left"] * 25)
        wait_for_mix(window, of_looks(codes[:2], [1, 0], [0.25, 0.75]))
        window.type("[aria-label='Share of image B: layout']", KEYS["end"])
        wait_for_mix(window, of_looks(codes[:2], [0, 1], [0.25, 0.75]))
        assert window.run(TEXT.format("sliders")) == (
            "Layout: what lies whereAB100 % of BLook: colours and contrastAB75 % of B"
        )
        window.click("input[value=mix]")
        wait_for_mix(window, codes[:2].mean(axis=0))
        window.click("input[value=mix_looks]")  # The sliders are where they were left.
        wait_for_mix(window, of_looks(codes[:2], [0, 1], [0.25, 0.75]))
        window.click("#third")
        window.click("#examples button:nth-child(3)")
        wait_for_mix(window, of_looks(codes, [1, 0, 0], [0, 0, 1]))
        window.type("[aria-label='Weight of image B: layout']", KEYS["end"])
        wait_for_mix(window, of_looks(codes, [0.5, 0.5, 0], [0, 0, 1]))
        square = "const {width, height} = document.getElementById('mix').getBoundingClientRect();"
        assert window.run(square + "return Math.abs(width - height) < 1")
        assert window.errors() == []


@needs_browser
def test_a_model_without_pictures(window, tmp_path):
    app = create_app(write_servable(tmp_path / "tiny", leave_out=("encode_uint8",)))
    with serving_here(app) as address:
        window.open(address)
        said = window.wait(TEXT.format("error"))
    assert "exported without the signatures encode_uint8" in said


@needs_browser
def test_a_page_of_an_older_version_says_so(window, folder, tmp_path):
    app = create_app(folder)
    with serving_here(app) as address:
        window.open(address)
        window.wait(TEXT.format("latency"))
        app.state.servable = dataclasses.replace(app.state.servable, version=2)
        window.click("#examples button:nth-child(3)")
        said = window.wait(TEXT.format("error"))
        assert said == "Version '1' is not loaded; version 2 is. Reload the page."
        assert "404" in "".join(window.errors())
        window.open(address)
        window.wait(TEXT.format("latency"))
        assert window.run(TEXT.format("about")).startswith("version 2 · ")


@needs_browser
def test_names_that_would_be_markup(window, tmp_path):
    name = "<img src=x onerror=alert(1)> | 🌷 & 100%"
    folder = write_servable(tmp_path / name)
    facts = {"method": "<b>amr</b>", "mixer": "mix|up", "dataset": "<script>alert(1)</script>"}
    (folder / "1" / "metadata.json").write_text(json.dumps(facts))
    with serving_here(create_app(folder)) as address:
        window.open(address)
        window.wait(TEXT.format("latency"))
        assert window.run(TEXT.format("name")) == name
        assert window.run("return document.title") == f"Mix images: {name}"
        about = window.run(TEXT.format("about"))
        assert "method <b>amr</b> · mixer mix|up · trained on <script>alert(1)</script> ·" in about
        assert window.run("return document.querySelectorAll('header *').length") == 3
        assert window.errors() == []


@contextlib.contextmanager
def reverse_proxy(address, below="/below"):
    """A server that hands what is asked below a path on, with the Host header that it was given."""

    class Proxy(http.server.BaseHTTPRequestHandler):
        def answer(self):
            assert self.path.startswith(f"{below}/")
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            inner = http.client.HTTPConnection(address.removeprefix("http://"), timeout=60)
            inner.request(self.command, self.path.removeprefix(below), body, dict(self.headers))
            response = inner.getresponse()
            self.send_response_only(response.status)
            for header in response.getheaders():
                self.send_header(*header)
            self.end_headers()
            self.wfile.write(response.read())

        do_GET = do_POST = answer  # noqa: N815, the library's names.

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://{PROXY}:{server.server_address[1]}{below}/"
        server.shutdown()
        thread.join()


@needs_browser
def test_behind_a_reverse_proxy(window, address):
    codes = encoded(examples())
    with reverse_proxy(address) as url:
        window.open(url)
        wait_for_mix(window, (codes[0] + codes[1]) / 2)
        window.click("#draw")
        window.wait(f"{STRIPS} === 9")
        assert window.errors() == []


def test_a_picture_as_base64_by_hand(address):
    png = base64.b64encode(picture()).decode()
    body = json.dumps({"signature_name": "encode_png", "instances": [{"b64": png}]}).encode()
    status, answer = post(address, body)
    assert status == 200
    assert np.shape(answer["predictions"]) == (1, *LATENT_SHAPE)
