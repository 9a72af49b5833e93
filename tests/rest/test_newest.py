"""A version that comes into the folder of a model that is served."""

import shutil
import time

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="the app needs the extra 'serve'")
from fastapi.testclient import TestClient

from amr_tf.rest.newest import Newest, following
from amr_tf.rest.server import create_app
from tests.rest.tiny_servable import LATENT_SHAPE, decoded, write_servable

CODE = np.full(LATENT_SHAPE, 0.5).tolist()


@pytest.fixture
def folder(tmp_path):
    return write_servable(tmp_path / "tiny")


@pytest.fixture
def app(folder):
    return create_app(folder)


@pytest.fixture
def newest(folder, app):
    return Newest(folder, app.state)


def copied(folder, number):
    """Another version with the first one's files."""
    return shutil.copytree(folder / "1", folder / str(number))


def test_a_new_version_is_served_once_its_files_have_settled(folder, app, newest, capsys):
    with TestClient(app, base_url="http://127.0.0.1") as client:

        def served():
            (version,) = client.get("/v1/models/tiny").json()["model_version_status"]
            metadata = client.get("/v1/models/tiny/metadata").json()
            told = (version["version"], metadata["model_spec"]["version"])
            assert told == (str(client.get("/api/model").json()["version"]),) * 2
            answer = client.post("/v1/models/tiny:predict", json={"instances": [CODE]}).json()
            np.testing.assert_allclose(answer["predictions"], decoded([CODE]), atol=1e-6)
            return int(told[0])

        newest.look()
        copied(folder, 10)
        newest.look()
        assert served() == 1
        newest.look()
        assert served() == 10
        assert capsys.readouterr().out == "Serving tiny, version 10, from now on.\n"
        old = client.post("/v1/models/tiny/versions/1:predict", json={"instances": [CODE]})
        assert old.status_code == 404
        assert old.json()["error"] == "Version '1' is not loaded; version 10 is."
        copied(folder, 9)  # Older.
        for _ in range(3):
            newest.look()
        assert served() == 10


def test_a_version_that_is_being_copied_is_left_alone(folder, app, newest, capsys):
    whole = copied(folder, "whole")
    version = folder / "2"
    files = sorted(path for path in whole.rglob("*") if path.is_file())
    for file in files:  # A part of each file, then the file; a look after each change.
        target = version / file.relative_to(whole)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
        newest.look()
        target.write_bytes(file.read_bytes())
        newest.look()
        assert app.state.servable.version == 1
    newest.look()
    assert app.state.servable.version == 2
    said = capsys.readouterr()
    assert (said.out, said.err) == ("Serving tiny, version 2, from now on.\n", "")


@pytest.mark.parametrize(
    ("missing", "reason"),
    [
        ("variables/variables.index", "is not a SavedModel that can be loaded"),
        ("variables/variables.data-00000-of-00001", "is not a SavedModel that can be loaded"),
        ("saved_model.pb", "is not a SavedModel that can be loaded"),
        ("metadata.json", "is damaged"),
        ("examples.png", "is not a PNG that can be read"),
    ],
)
def test_half_a_version_is_never_served(folder, app, newest, capsys, missing, reason):
    version = copied(folder, 2)
    content = (version / missing).read_bytes()
    (version / missing).write_bytes(content[: len(content) // 2])
    for _ in range(5):
        newest.look()
    assert app.state.servable.version == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1  # Told once.
    assert said.err.startswith("warning: version 2 cannot be served, version 1 still is: ")
    assert reason in said.err
    (version / missing).write_bytes(content)
    newest.look()
    newest.look()
    assert app.state.servable.version == 2


def test_a_folder_without_a_model_is_none(folder, app, newest, capsys):
    (folder / "2" / "variables").mkdir(parents=True)
    for _ in range(3):
        newest.look()
    assert app.state.servable.version == 1
    assert capsys.readouterr() == ("", "")


def test_versions_that_are_removed(folder, app, newest):
    copied(folder, 2)
    newest.look()
    newest.look()
    assert app.state.servable.version == 2
    shutil.rmtree(folder / "2")
    newest.look()
    newest.look()
    assert app.state.servable.version == 1
    shutil.rmtree(folder)
    newest.look()
    newest.look()
    with TestClient(app, base_url="http://127.0.0.1") as client:
        answer = client.post("/v1/models/tiny:predict", json={"instances": [CODE]}).json()
    np.testing.assert_allclose(answer["predictions"], decoded([CODE]), atol=1e-6)


def test_the_folder_is_looked_at_again_and_again(folder, app, newest):
    with following(newest, seconds=0.01):
        copied(folder, 2)
        end = time.monotonic() + 60
        while app.state.servable.version == 1:
            assert time.monotonic() < end
            time.sleep(0.01)
    assert app.state.servable.version == 2
