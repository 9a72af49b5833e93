"""SavedModels: what they hold, their versions, and that none is left half written."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from amr_tf import AMR, GAIA, VAE
from amr_tf.serving import export
from amr_tf.serving.export import export_decoder, next_version


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return AMR.convolutional((8, 8, 3), depth=2, latent_channels=5, num_classes=3)


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    """The path of an exported version 1, and the loaded SavedModel."""
    path = export_decoder(model, tmp_path_factory.mktemp("served") / "a" / "decoder")
    return path, tf.saved_model.load(str(path))


@pytest.mark.parametrize(
    ("names", "version"),
    [((), 1), (("1",), 2), (("1", "2", "10"), 11), (("7",), 8), (("old", "1a", ".partial-3-9"), 1)],
)
def test_the_next_version(tmp_path, names, version):
    for name in names:
        (tmp_path / name).mkdir()
    assert next_version(tmp_path) == version


def test_the_folder_is_made_and_holds_the_version_alone(exported):
    path, _ = exported
    assert path.name == "1"
    assert path.parent.name == "decoder"
    assert [child.name for child in path.parent.iterdir()] == ["1"]
    assert (path / "saved_model.pb").is_file()


def test_the_signatures(exported):
    _, loaded = exported
    for name in ("serving_default", "decode"):
        signature = loaded.signatures[name]
        (codes,) = signature.structured_input_signature[1].values()
        assert codes == tf.TensorSpec((None, 4, 4, 5), tf.float32, name="codes")
        (images,) = signature.structured_outputs.items()
        assert images[0] == "images"
        assert images[1].dtype == tf.float32
        assert images[1].shape.as_list()[1:] == [8, 8, 3]


@pytest.mark.parametrize("name", ("serving_default", "decode"))
@pytest.mark.parametrize("count", (1, 7))
def test_the_output_is_the_decoders(model, exported, name, count):
    codes = np.random.default_rng(count).normal(size=(count, 4, 4, 5)).astype("float32")
    images = exported[1].signatures[name](codes=tf.constant(codes))["images"]
    assert images.shape == (count, 8, 8, 3)
    expected = model.decode(codes)
    assert abs(expected).max() > 1e-3
    np.testing.assert_allclose(images, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("method", "sizes", "latent_shape"),
    [
        # The encoder returns mean and log variance; the decoder takes the mean alone.
        (VAE, {"image_shape": (8, 8, 3), "depth": 2, "output_activation": "tanh"}, (4, 4, 2)),
        (VAE, {"image_shape": (8, 8, 3), "depth": 2, "latent_dim": 3}, (3,)),
        (GAIA, {"image_shape": (8, 8, 1), "depth": 2, "mixer": "gaussian"}, (4, 4, 2)),
        (AMR, {"image_shape": (2,), "architecture": "mlp", "latent_dim": 5}, (5,)),
        (AMR, {"image_shape": (8, 8, 1), "architecture": "dsprites"}, (10,)),
    ],
)
def test_other_methods_and_codes(tmp_path, method, sizes, latent_shape):
    keras.utils.set_random_seed(0)
    model = method.create(**sizes)
    assert model.latent_shape == latent_shape
    path = export_decoder(model, tmp_path)
    signature = tf.saved_model.load(str(path)).signatures["serving_default"]
    (spec,) = signature.structured_input_signature[1].values()
    assert spec == tf.TensorSpec((None, *latent_shape), tf.float32, name="codes")
    codes = np.random.default_rng(0).normal(size=(3, *latent_shape)).astype("float32")
    expected = model.decode(codes)
    assert expected.shape == (3, *sizes["image_shape"])
    assert abs(expected).max() > 1e-3
    np.testing.assert_allclose(signature(codes=tf.constant(codes))["images"], expected, atol=1e-5)


def test_a_second_export_is_a_new_version(model, exported):
    path, _ = exported
    before = (path / "saved_model.pb").read_bytes()
    second = export_decoder(model, str(path.parent))
    assert second == path.parent / "2"
    assert sorted(child.name for child in path.parent.iterdir()) == ["1", "2"]
    assert (path / "saved_model.pb").read_bytes() == before


def test_a_failure_leaves_no_version(model, tmp_path, monkeypatch):
    def full(path, **kwargs):
        tf.io.gfile.makedirs(path)
        raise OSError("No space left on device")

    def archive_on_a_full_disk():
        archive = make()
        archive.write_out = full
        return archive

    make = keras.export.ExportArchive
    monkeypatch.setattr(export.keras.export, "ExportArchive", archive_on_a_full_disk)
    with pytest.raises(OSError, match="No space left"):
        export_decoder(model, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_place_of_the_folder(model, tmp_path):
    (tmp_path / "decoder").write_text("hello")
    with pytest.raises(FileExistsError):
        export_decoder(model, tmp_path / "decoder")
