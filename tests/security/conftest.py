"""What the security tests share: an archive to tamper with, and a file that must not appear."""

import io
import json
import zipfile

import pytest

from amr_tf import AMR
from amr_tf.runs.checkpoints import Checkpoints


@pytest.fixture
def trap(tmp_path):
    """A path that an attack would touch; at the end it must not be there."""
    path = tmp_path / "the_attack_ran"
    yield path
    assert not path.exists()


@pytest.fixture(scope="session")
def saved(tmp_path_factory):
    """The path of a `.keras` file of a small model, as `amr_tf.train` saves it."""
    model = AMR.convolutional((8, 8, 1), depth=2, num_classes=10, k=2, seed=0)
    model.compile()
    folder = tmp_path_factory.mktemp("saved")
    callback = Checkpoints(folder, "val_probe_accuracy", "max")
    callback.set_model(model)
    callback.save()
    (path,) = folder.glob("last-*.keras")
    return path


@pytest.fixture
def archive(saved, tmp_path):
    """A function that writes a changed copy of the archive and returns its path.

    It takes a function that changes the dictionary of config.json in place, a dictionary from
    members' names to bytes, which replace members or are added, and the copy's name.
    """

    def write(change=None, members=None, name="last-00000001.keras"):
        path = tmp_path / "checkpoints" / name
        path.parent.mkdir(exist_ok=True)
        members = dict(members or {})
        with zipfile.ZipFile(saved) as source, zipfile.ZipFile(path, "w") as copy:
            for info in source.infolist():
                content = members.pop(info.filename, source.read(info))
                if info.filename == "config.json" and change is not None:
                    config = json.loads(content)
                    change(config)
                    content = json.dumps(config).encode()
                copy.writestr(info.filename, content)
            for member, content in members.items():
                copy.writestr(member, content)
        return path

    return write


@pytest.fixture
def weights(saved):
    """A buffer with the archive's HDF5 file of weights."""
    with zipfile.ZipFile(saved) as source:
        return io.BytesIO(source.read("model.weights.h5"))


def assert_sentence(error):
    """An error is one line that a user can read."""
    text = str(error.value)
    assert text
    assert "\n" not in text
    assert "Traceback" not in text
