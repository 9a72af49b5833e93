"""Models on the Hugging Face Hub: the real client and Keras, against a stand-in on this machine."""

import json

import huggingface_hub
import keras
import numpy as np
import pytest
from huggingface_hub import constants

from amr_tf import AMR, hub
from amr_tf.hub import push_to_hub
from amr_tf.savedmodel import export
from amr_tf.savedmodel.run_export import export_run
from tests import fake_hub
from tests.savedmodel.conftest import make_images
from tests.savedmodel.test_card import RESULTS, make_run

NAME = "ada/digits"


@pytest.fixture
def server(monkeypatch, tmp_path):
    """The stand-in; the client keeps downloads in a folder of the test's."""
    with fake_hub.running() as running:
        monkeypatch.setattr(constants, "ENDPOINT", running.address)
        template = running.address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "downloads"))
        monkeypatch.setenv("HF_TOKEN", "hf_writer")
        yield running


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run that is refused before anything is exported."""
    return make_run(tmp_path_factory.mktemp("run") / "run")


def front_page(server, tmp_path, name=NAME):
    """The settings and the text of a repository's `README.md`."""
    path = tmp_path / "page.md"
    path.write_bytes(server.repositories[name]["README.md"])
    text = path.read_text(encoding="utf-8").split("\n---\n", 1)[1]
    return huggingface_hub.metadata_load(path), text


def test_keras_loads_what_was_pushed(server, tmp_path):
    model = AMR.convolutional((8, 8, 1), depth=2, num_classes=10, k=3, seed=0)
    model.compile(lambda_=7.0)
    assert push_to_hub(model, NAME, private=True) == f"{server.address}/{NAME}"
    assert server.private == {NAME: True}
    assert {"config.json", "metadata.json", "model.weights.h5"} < set(server.repositories[NAME])
    loaded = keras.saving.load_model(f"hf://{NAME}", safe_mode=True)
    images = make_images(model, 4)
    np.testing.assert_array_equal(loaded.encode(images), model.encode(images))
    assert (loaded.mixer.k, loaded.lambda_) == (3, 7.0)
    settings, text = front_page(server, tmp_path)
    assert settings == {"library_name": "keras", "tags": list(hub.TAGS)}
    assert f'keras.saving.load_model("hf://{NAME}")' in text
    assert "## Settings" not in text
    assert "samples.png" not in text


def test_what_keras_itself_has_pushed_gets_a_card(server, tmp_path):
    model = AMR.convolutional((8, 8, 1), depth=2, k=2, seed=0)
    model.save(f"hf://{NAME}")
    assert "generated automatically" in front_page(server, tmp_path)[1]
    push_to_hub(model, NAME)
    settings, text = front_page(server, tmp_path)
    assert settings["tags"] == list(hub.TAGS)
    assert text.strip().startswith("# digits")


def test_the_authors_settings_are_kept(server, tmp_path):
    page = "---\nlicense: cc-by-4.0\ntags:\n- mine\n---\n\nOld text.\n"
    server.repositories[NAME] = {"README.md": page.encode()}
    push_to_hub(AMR.convolutional((8, 8, 1), depth=2, k=2, seed=0), NAME)
    settings, text = front_page(server, tmp_path)
    assert settings == {"library_name": "keras", "license": "cc-by-4.0", "tags": ["mine"]}
    assert "Old text" not in text


def test_a_run(server, tmp_path, monkeypatch):
    """The command's way: the export first, then the same model, with figures and samples."""
    monkeypatch.setattr(export, "replay_in_fresh_process", lambda pairs: [{}])
    run = make_run(tmp_path / "secret" / "run", trackers="mlflow(experiment='secret')")
    run.results.write_text(json.dumps(RESULTS))
    said = []
    version = export_run(run.path, tmp_path / "served", notify=said.append, hub=NAME)
    assert said[-1] == f"Pushed to {server.address}/{NAME}"
    assert (version / "saved_model.pb").is_file()
    files = server.repositories[NAME]
    assert files["samples.png"] == (version / "samples.png").read_bytes()
    assert "examples.png" not in files
    _, text = front_page(server, tmp_path)
    for line in (
        "# digits",
        "An auto-encoder whose codes can be mixed (adversarial mixup resynthesis), for Keras.",
        "![Held-out images, their reconstructions and mixes](samples.png)",
        "| validation, probe accuracy | 0.7500 |",
        "--lambda=10.0",
    ):
        assert line in text.splitlines()
    assert all(b"secret" not in content for content in files.values())


@pytest.mark.parametrize("name", ["digits", "a/b/c", "", "hf://ada/digits", "ada/di gits"])
def test_names_that_are_none(server, run, tmp_path, name):
    with pytest.raises((ValueError, OSError)) as caught:
        export_run(run.path, tmp_path / "served", hub=name)
    assert name in str(caught.value)
    assert not (tmp_path / "served").exists()
    assert server.asked == []


def test_a_token_that_may_not_write_is_told_before_any_work(server, run, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_reader")
    with pytest.raises(OSError, match=rf"^'{NAME}' on the Hugging Face Hub: .*401") as caught:
        export_run(run.path, tmp_path / "served", hub=NAME)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "served").exists()


def test_without_the_client(tmp_path, monkeypatch):
    monkeypatch.setattr(hub.importlib.util, "find_spec", lambda name: None)
    message = r"^The Hub needs huggingface_hub \(pip install 'amr-tf\[hub\]'\)\.$"
    with pytest.raises(ValueError, match=message):
        push_to_hub(None, NAME)
