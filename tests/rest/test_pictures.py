"""Pictures: what an exported model sees of a file is what training saw of it."""

import base64
import json
import pathlib
import runpy
import shutil
import subprocess

import keras
import numpy as np
import pytest
from PIL import Image

from amr_tf import AEGAN
from amr_tf.data import ImagePreprocessor, load
from amr_tf.runs.build import build_model
from amr_tf.runs.config import TrainingConfig
from amr_tf.savedmodel import export
from amr_tf.savedmodel.export import export_model
from tests.data.test_preprocessing import CASES, SIZE, TOLERANCE, contents_of, encoded, scene

pytest.importorskip("fastapi", reason="the app needs the extra 'serve'")
from fastapi.testclient import TestClient

from amr_tf.rest.server import create_app

ROOT = pathlib.Path(__file__).resolve().parents[2]
NODE = shutil.which("node")


def seeing_model(preprocessor):
    """A model whose codes are the images that it sees."""
    images = keras.Input(preprocessor.image_shape)
    logits = keras.layers.GlobalAveragePooling2D()(images)
    return AEGAN(
        keras.Model(images, keras.layers.Identity()(images)),
        keras.Model(images, keras.layers.Identity()(images)),
        keras.Model(images, keras.layers.Reshape(())(keras.layers.Dense(1)(logits))),
        preprocessor=preprocessor,
    )


@pytest.fixture(scope="module")
def upright():
    """What the REST client does to a file before it sends it."""
    return runpy.run_path(str(ROOT / "deploy" / "client_rest.py"))["upright"]


@pytest.fixture(scope="module", params=["crop", "pad", "stretch"])
def served(request, tmp_path_factory):
    """A folder's preprocessor, the exported version and a client of its REST server."""
    preprocessor = ImagePreprocessor(SIZE, 3, request.param, background="#3060a0")
    folder = tmp_path_factory.mktemp("served") / "pictures"
    with pytest.MonkeyPatch.context() as patch:
        # Of a crop it is verified, below.
        patch.setattr(export, "replay_in_fresh_process", lambda pairs: [{}])
        version = export_model(seeing_model(preprocessor), folder, notify=lambda text: None)
    with TestClient(create_app(folder), base_url="http://127.0.0.1:8501") as client:
        yield preprocessor, version, client


def ask(client, files):
    inputs = [{"b64": base64.b64encode(file).decode()} for file in files]
    body = {"signature_name": "encode_png", "inputs": {"png_bytes": inputs}}
    answer = client.post("/v1/models/pictures:predict", json=body)
    assert answer.status_code == 200, answer.text
    return np.array(answer.json()["outputs"], "float32")


def test_the_server_sees_what_training_saw(served, upright, tmp_path):
    preprocessor, _, client = served
    for number, case in enumerate(CASES):
        kind = "jpg" if "JPEG" in case else "png"
        (tmp_path / f"{number:02d}.{kind}").write_bytes(contents_of(case))
    call = f"image_folder(fit={preprocessor.fit!r}, background={preprocessor.background!r})"
    data = load(call, data_dir=str(tmp_path), image_size=SIZE)
    assert data.preprocessor == preprocessor
    files = [upright(path.read_bytes()) for path in sorted(tmp_path.iterdir())]
    seen = ask(client, files)
    trained = np.concatenate([data.train.images, data.validation.images]) / 127.5 - 1
    # `load` draws the validation images: each served picture is one of those of training.
    for case, image in zip(CASES, seen, strict=True):
        assert abs(trained - image).max(axis=(1, 2, 3)).min() <= TOLERANCE, case
    codes = data.preprocessor.batch(sorted(tmp_path.iterdir())) / 127.5 - 1
    assert abs(codes - seen).max() <= TOLERANCE


def test_without_the_orientation_it_sees_another_picture(served):
    """Why clients apply it."""
    preprocessor, _, client = served
    (seen,) = ask(client, [contents_of("EXIF 6 JPEG")])
    assert abs(preprocessor(contents_of("EXIF 6 JPEG")) - seen).max() > 0.3


def test_the_card_and_the_metadata_say_it(served):
    preprocessor, version, client = served
    fit = preprocessor.fit
    said = json.loads((version / "metadata.json").read_text())["preprocessing"]
    assert said == {
        "image_size": SIZE,
        "channels": 3,
        "fit": fit,
        "crop": None,
        "background": "#3060a0",
        "resize": "bilinear, antialiased",
        "exif_orientation": "to be applied before",
    }
    assert client.get("/api/model").json()["preprocessing"] == said
    card = (version / "README.md").read_text()
    words = {
        "crop": "cropped to its central square",
        "pad": "padded to a square with #3060a0",
        "stretch": "stretched to a square",
    }
    assert (
        "In training and in `encode_png` a picture is laid on #3060a0 where it is transparent, "
        f"{words[fit]} and resized to 16 x 16 (bilinear, antialiased)." in card
    )
    assert "The EXIF orientation must be applied before, for a graph cannot" in card
    assert f"| pictures | {words[fit].split(' with')[0].replace('its', 'the')}, on" in card


def test_a_model_with_a_crop_is_exported(tmp_path):
    """Its files are larger than the model's images, those of the verification as well."""
    preprocessor = ImagePreprocessor(8, 1, crop=20)
    version = export_model(seeing_model(preprocessor), tmp_path / "m", notify=lambda text: None)
    card = (version / "README.md").read_text()
    assert "made grey (luminance), cut to its central 20 x 20 pixels, cropped to" in card


@pytest.mark.parametrize("client", ("client_rest.py", "client_grpc.py"))
def test_what_the_clients_do(client):
    pytest.importorskip("grpc")
    pytest.importorskip("tensorflow_serving.apis")
    turn = runpy.run_path(str(ROOT / "deploy" / client))["upright"]
    turned = turn(contents_of("EXIF 6 JPEG"))
    whole = ImagePreprocessor(SIZE, fit="stretch")
    np.testing.assert_array_equal(whole(turned), whole(contents_of("EXIF 6 JPEG")))
    assert turned.startswith(b"\x89PNG")
    exif = Image.Exif()
    exif[0x0112] = 6
    cmyk = encoded(scene().convert("CMYK"), "JPEG", exif=exif)
    assert abs(whole(turn(cmyk)) - whole(cmyk)).max() <= TOLERANCE
    for contents in (contents_of("JPEG"), contents_of("16-bit PNG"), b"no image", b""):
        assert turn(contents) is contents


def test_a_run_saves_it_with_its_model():
    data = load("digits")
    config = TrainingConfig(architecture="convolutional(depth=2)").resolve()
    model = build_model(
        config, data.image_shape, data.num_classes, data.multi_label, data.preprocessor
    )
    assert model.preprocessor == ImagePreprocessor(16, 1)
    again = type(model).from_config(model.get_config())
    assert again.preprocessor == model.preprocessor


PAGE = """
const fs = require("fs"), vm = require("vm");
const context = {document: {getElementById: () => ({})}, fetch: () => Promise.reject(new Error())};
vm.createContext(context);
vm.runInContext(fs.readFileSync(process.argv[2], "utf8"), context);
context.given = JSON.parse(fs.readFileSync(0, "utf8"));
console.log(vm.runInContext(`
  model = {image_shape: given.shape};
  const {part, inner} = placed(given.picture, given.preprocessing);
  JSON.stringify({part, inner, pixels: Array.from(
    resized(given.pixels, [given.picture.width, given.picture.height], inner))});
`, context));
"""


@pytest.mark.skipif(NODE is None, reason="needs node")
@pytest.mark.parametrize("fit", ("crop", "pad", "stretch"))
@pytest.mark.parametrize("size", [(60, 60), (10, 7), (33, 80)])
def test_the_page_resizes_as_the_library_does(tmp_path, fit, size):
    (tmp_path / "check.js").write_text(PAGE)
    image = scene(*size)
    square = image.crop((0, 0, min(size), min(size)))
    width, height = square.size
    given = {
        "shape": [SIZE, SIZE, 3],
        "preprocessing": {"fit": fit, "crop": None},
        "picture": {"width": width, "height": height},
        "pixels": np.asarray(square.convert("RGBA")).ravel().tolist(),
    }

    def run(given):
        done = subprocess.run(
            [NODE, str(tmp_path / "check.js"), str(ROOT / "amr_tf/rest/page.js")],
            input=json.dumps(given),
            capture_output=True,
            text=True,
            check=True,
        )
        return json.loads(done.stdout)

    found = run(given)
    pixels = np.array(found["pixels"]).reshape(SIZE, SIZE, 4)[..., :3]
    assert abs(pixels - ImagePreprocessor(SIZE, fit=fit).pixels(square).astype(int)).max() <= 1
    # Which part of a picture that is not square, and how large.
    given["picture"] = {"width": size[0], "height": size[1]}
    given["pixels"] = np.zeros(4 * size[0] * size[1], int).tolist()
    found = run(given)
    side = min(size)
    parts = {
        "crop": [(size[0] - side) // 2, (size[1] - side) // 2, side, side],
        **dict.fromkeys(("pad", "stretch"), [0, 0, *size]),
    }
    assert found["part"] == parts[fit]
    if fit == "pad":
        ones = Image.new("RGB", size, "white")
        padded = ImagePreprocessor(SIZE, fit="pad", background="black").pixels(ones)[..., 0] == 255
        assert found["inner"] == [padded.any(axis=0).sum(), padded.any(axis=1).sum()]
    else:
        assert found["inner"] == [SIZE, SIZE]
