"""Exports: what a version holds, what its signatures answer, and that none is half written."""

import json
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from amr_tf import AMR
from amr_tf.savedmodel import export, replay
from amr_tf.savedmodel.export import export_model
from amr_tf.savedmodel.metadata import read_signatures
from amr_tf.savedmodel.verify import example_requests, png_bytes, write_record
from tests.savedmodel.conftest import make_images

LATENT = (4, 4, 5)


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    """The path of version 1, the loaded SavedModel, and the sentences of what was left out."""
    said = []
    directory = tmp_path_factory.mktemp("served") / "a" / "faces"
    path = export_model(model, directory, notify=said.append)
    return path, tf.saved_model.load(str(path)).signatures, said


@pytest.fixture
def quick(exported, monkeypatch):
    """Exports that copy the SavedModel, and do without the fresh process: each takes seconds."""

    def copy(model, path):
        path.mkdir()
        shutil.copy(exported[0] / "saved_model.pb", path)
        shutil.copytree(exported[0] / "variables", path / "variables")

    monkeypatch.setattr(export, "write_saved_model", copy)
    monkeypatch.setattr(export, "replay_in_fresh_process", lambda pairs: [{}])


def files(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_version_stands_alone(exported):
    path, _, _ = exported
    assert path.name == "1"
    assert path.parent.name == "faces"
    assert [child.name for child in path.parent.iterdir()] == ["1"]
    names = {child.name for child in path.iterdir()} - {"assets", "assets.extra"}
    assert names == {
        "README.md",
        "fingerprint.pb",
        "metadata.json",
        "model.keras",
        "saved_model.pb",
        "variables",
    }


CONTRACT = {
    "serving_default": ("codes: float32 N 4 4 5", "images: float32 N 8 8 3"),
    "decode": ("codes: float32 N 4 4 5", "images: float32 N 8 8 3"),
    "decode_uint8": ("codes: float32 N 4 4 5", "images: uint8 N 8 8 3"),
    "decode_png": ("codes: float32 N 4 4 5", "png_bytes: string N"),
    "encode": ("images: float32 N 8 8 3", "codes: float32 N 4 4 5"),
    "encode_uint8": ("images: uint8 N 8 8 3", "codes: float32 N 4 4 5"),
    "encode_png": ("png_bytes: string N", "codes: float32 N 4 4 5"),
    "reconstruct": ("images: float32 N 8 8 3", "images: float32 N 8 8 3"),
    "mix": ("codes: float32 N N 4 4 5; coefficients: float32 N N", "images: float32 N 8 8 3"),
    "mix_maps": (
        "codes: float32 N N 4 4 5; coefficients: float32 N N 5",
        "images: float32 N 8 8 3",
    ),
    "interpolate": (
        "images_a: float32 N 8 8 3; images_b: float32 N 8 8 3; steps: int32",
        "images: float32 N N 8 8 3",
    ),
}


def in_words(tensors):
    return "; ".join(
        " ".join([f"{name}: {tensor['dtype']}", *(str(size or "N") for size in tensor["shape"])])
        for name, tensor in tensors.items()
    )


def test_the_signatures_are_the_contracts(exported):
    found = read_signatures(exported[0])
    words = {name: (in_words(s["inputs"]), in_words(s["outputs"])) for name, s in found.items()}
    assert words == CONTRACT


def test_metadata(exported):
    path, _, _ = exported
    metadata = json.loads((path / "metadata.json").read_text())
    assert metadata["signatures"] == read_signatures(path)
    expected = {
        "name": "faces",
        "version": 1,
        "method": "amr",
        "mixer": "mixup",
        "k": 3,
        "label_mixer": None,
        "image_shape": [8, 8, 3],
        "latent_shape": [4, 4, 5],
        "num_classes": 3,
        "class_names": None,
        "dataset": None,
        "settings": None,
        "multi_label": False,
        "config_sha256": None,
        "keras_version": keras.__version__,
        "tensorflow_version": tf.__version__,
    }
    assert {name: metadata[name] for name in expected} == expected


@pytest.mark.parametrize("count", (1, 7))
def test_decoded_files_are_decoded_images(model, exported, count):
    signatures = exported[1]
    codes = tf.constant(model.encode(make_images(model, count)))
    images = signatures["decode"](codes=codes)["images"].numpy()
    np.testing.assert_allclose(images, model.decode(codes.numpy()), atol=1e-5)
    pixels = signatures["decode_uint8"](codes=codes)["images"].numpy()
    assert pixels.dtype == np.uint8
    assert np.abs(pixels / 127.5 - 1 - np.clip(images, -1, 1)).max() <= 0.5 / 127.5 + 1e-5
    png = signatures["decode_png"](codes=codes)["png_bytes"].numpy()
    np.testing.assert_array_equal([tf.io.decode_png(file) for file in png], pixels)


def test_out_of_range_images_are_clipped(model, exported):
    codes = 50 * np.random.default_rng(0).normal(size=(3, *LATENT)).astype("float32")
    images = model.decode(codes)
    assert abs(images).max() > 1.5
    pixels = exported[1]["decode_uint8"](codes=tf.constant(codes))["images"].numpy()
    assert (pixels[images > 1.01] == 255).all()
    assert (pixels[images < -1.01] == 0).all()


def test_files_of_other_sizes_and_colours(model, exported):
    pixels = np.random.default_rng(0).integers(0, 256, (16, 24, 3)).astype("uint8")
    grey = pixels[:8, :8, :1]
    jpeg = tf.io.encode_jpeg(pixels).numpy()
    sent = tf.constant([png_bytes(pixels), png_bytes(grey), jpeg])
    codes = exported[1]["encode_png"](png_bytes=sent)["codes"]
    seen = [pixels, np.repeat(grey, 3, axis=-1), tf.io.decode_jpeg(jpeg).numpy()]
    images = [
        tf.image.resize(image / np.float32(127.5) - 1, (8, 8), antialias=True).numpy()
        for image in seen
    ]
    np.testing.assert_allclose(codes, model.encode(np.stack(images)), atol=1e-5)


@pytest.mark.parametrize(("count", "k"), [(1, 1), (7, 2), (3, 5)])
def test_mixes_of_any_number_of_codes(model, exported, count, k):
    draws = np.random.default_rng(k)
    codes = draws.normal(size=(count, k, *LATENT)).astype("float32")
    # Not normalised: they are used as given.
    weights = draws.normal(size=(count, k)).astype("float32")
    maps = draws.integers(0, 2, (count, k, LATENT[-1])).astype("float32")
    for name, coefficients, wide in (
        ("mix", weights, weights[:, :, None, None, None]),
        ("mix_maps", maps, maps[:, :, None, None]),
    ):
        request = {"codes": tf.constant(codes), "coefficients": tf.constant(coefficients)}
        images = exported[1][name](**request)["images"]
        np.testing.assert_allclose(images, model.decode((wide * codes).sum(axis=1)), atol=1e-5)


@pytest.mark.parametrize("steps", (2, 9))
def test_interpolate(model, exported, steps):
    a, b = make_images(model, 3, 1), make_images(model, 3, 2)
    request = {"images_a": tf.constant(a), "images_b": tf.constant(b), "steps": tf.constant(steps)}
    lines = exported[1]["interpolate"](**request)["images"]
    assert lines.shape == (3, steps, 8, 8, 3)
    np.testing.assert_allclose(lines, model.interpolate(a, b, steps), atol=1e-5)


def zeros(*shape):
    return tf.zeros(shape, "float32")


@pytest.mark.parametrize(
    ("name", "request_", "message"),
    [
        ("mix", {"codes": zeros(2, 3, *LATENT), "coefficients": zeros(2, 1)}, "agree in N and K"),
        ("mix", {"codes": zeros(2, 3, *LATENT), "coefficients": zeros(1, 3)}, "agree in N and K"),
        (
            "interpolate",
            {"images_a": zeros(2, 8, 8, 3), "images_b": zeros(2, 8, 8, 3), "steps": tf.constant(1)},
            "steps must be at least 2",
        ),
        (
            "interpolate",
            {"images_a": zeros(2, 8, 8, 3), "images_b": zeros(1, 8, 8, 3), "steps": tf.constant(2)},
            "agree in N",
        ),
        ("encode_png", {"png_bytes": tf.constant([b"no image"])}, "PNG"),
    ],
)
def test_requests_that_are_wrong(exported, name, request_, message):
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        exported[1][name](**request_)


def test_each_network_is_saved_once_and_nothing_of_the_training(tmp_path):
    """Signatures share the networks' graphs; discriminator, probe and optimizers stay behind."""
    keras.utils.set_random_seed(0)
    model = AMR.convolutional((8, 8, 1), depth=2, num_classes=3)
    model.compile(run_eagerly=True)
    model.train_on(make_images(model, 4), np.arange(4) % 3)
    model.interpolate(make_images(model, 2), make_images(model, 2))  # Traced before, too.
    export.write_saved_model(model, tmp_path / "model")
    content = (tmp_path / "model" / "saved_model.pb").read_bytes()
    functions = saved_model_pb2.SavedModel.FromString(content).meta_graphs[0].graph_def.library
    saved = [node.op for function in functions.function for node in function.node_def]
    networks = [model.inference.encode, model.inference.decode]
    graphs = [network.get_concrete_function().graph for network in networks]
    traced = [operation.type for graph in graphs for operation in graph.get_operations()]
    assert saved.count("Conv2D") == traced.count("Conv2D") > 4
    variables = tf.train.list_variables(str(tmp_path / "model" / "variables" / "variables"))
    weights = [*model.encoder.weights, *model.decoder.weights]
    # Keras lists each variable once more, as "_all_variables".
    saved = [tuple(shape) for name, shape in variables if name.startswith("variables/")]
    assert sorted(saved) == sorted(tuple(weight.shape) for weight in weights)
    assert len(variables) == 2 * len(weights) + 1


def test_the_keras_file(model, exported):
    loaded = keras.saving.load_model(exported[0] / "model.keras")
    images = make_images(model, 2)
    np.testing.assert_allclose(loaded.reconstruct(images), model.reconstruct(images), atol=1e-6)


def test_a_second_version_and_keep(model, exported, quick, tmp_path):
    directory = tmp_path / "faces"
    shutil.copytree(exported[0], directory / "1")
    before = files(directory / "1")
    assert export_model(model, str(directory), formats=()) == directory / "2"
    assert not (directory / "2" / "model.keras").exists()
    assert files(directory / "1") == before
    third = export_model(model, directory, keep=2, formats=())
    assert json.loads((third / "metadata.json").read_text())["version"] == 3
    assert sorted(child.name for child in directory.iterdir()) == ["2", "3"]


def served(tmp_path):
    """A folder with a version 1."""
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "saved_model.pb").write_text("whole")
    return files(tmp_path)


def test_a_full_disk_leaves_the_earlier_versions(model, tmp_path, monkeypatch):
    def full(model, path):
        path.mkdir()
        (path / "saved_model.pb").write_text("half")
        raise OSError("No space left on device")

    before = served(tmp_path)
    monkeypatch.setattr(export, "write_saved_model", full)
    with pytest.raises(OSError, match="No space left"):
        export_model(model, tmp_path, keep=1)
    assert files(tmp_path) == before
    assert [child.name for child in tmp_path.iterdir()] == ["1"]


def test_a_wrong_answer_leaves_the_earlier_versions(model, tmp_path, quick, monkeypatch):
    before = served(tmp_path)
    monkeypatch.setattr(export, "replay_in_fresh_process", lambda pairs: [{"mix": 0.5}])
    message = "exported signature 'mix' differs from the model by 0.5, more than "
    with pytest.raises(ValueError, match=message):
        export_model(model, tmp_path, keep=1)
    assert files(tmp_path) == before
    assert [child.name for child in tmp_path.iterdir()] == ["1"]


def test_a_model_with_nan(tmp_path):
    keras.utils.set_random_seed(0)
    model = AMR.create((2,), "mlp", latent_dim=2)
    weight = model.decoder.weights[0]
    weight.assign(np.full(weight.shape, np.nan))
    with pytest.raises(ValueError, match="NaN or infinite values; nothing is exported"):
        export_model(model, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"keep": 0}, "keep must be a positive integer; got 0."),
        ({"formats": ("tflit",)}, "Unknown format 'tflit'. Did you mean 'tflite'?"),
    ],
)
def test_arguments_that_are_not_allowed(model, tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        export_model(model, tmp_path / "served", **arguments)
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_place_of_the_folder(model, tmp_path):
    (tmp_path / "decoder").write_text("hello")
    with pytest.raises(FileExistsError, match="decoder' is a file"):
        export_model(model, tmp_path / "decoder")


def test_the_replay_sees_a_difference(model, exported, tmp_path):
    requests = example_requests(model, make_images(model, 2))
    write_record(tmp_path / "right.npz", requests)
    path = str(exported[0])
    assert max(replay.differences(path, tmp_path / "right.npz").values()) <= 1e-4
    mixes, pixels = requests["mix"][1], requests["decode_png"][1]
    mixes["images"] = mixes["images"] + np.float32(0.5)
    pixels["png_bytes"] = pixels["png_bytes"] ^ 4
    lines = requests["interpolate"][1]
    lines["images"] = lines["images"] * np.float32(np.nan)
    write_record(tmp_path / "wrong.npz", requests)
    found = replay.differences(path, tmp_path / "wrong.npz")
    wrong = {name for name, difference in found.items() if difference > 1e-4}
    assert wrong == {"mix", "decode_png"}
    assert found["mix"] == pytest.approx(0.5, abs=1e-4)
    assert found["decode_png"] == pytest.approx(4, abs=1)
    assert np.isnan(found["interpolate"])
    del requests["encode"]
    write_record(tmp_path / "fewer.npz", requests)
    with pytest.raises(ValueError, match="No requests were recorded for encode."):
        replay.differences(path, tmp_path / "fewer.npz")
