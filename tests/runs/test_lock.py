"""One training at a time in a run's folder."""

import fcntl
import subprocess
import sys

import pytest

from amr_tf.runs.folder import RunFolder, locked
from amr_tf.runs.run import train
from tests.runs.conftest import tiny_config

pytestmark = pytest.mark.usefixtures("tiny")

HOLD = """\
import fcntl, sys, time
file = open(sys.argv[1], "a")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(600)
"""
# One step and one batch for validation.
SHORT = {
    "architecture": "tiny",
    "epochs": 1,
    "train_subset": 32,
    "validation_fraction": 0.02,
}
MESSAGE = "is being trained by another process: wait for its end, or choose another --run_dir.$"


@pytest.fixture
def holder(tmp_path):
    """A process that holds the lock of the run "run"."""
    (tmp_path / "run").mkdir()
    command = [sys.executable, "-c", HOLD, str(tmp_path / "run" / "lock")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_training_is_refused_until_the_first_is_killed(tmp_path, holder, eager):
    config = tiny_config(tmp_path / "run", **SHORT)
    with pytest.raises(ValueError, match=MESSAGE):
        train(config)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["lock"]
    holder.kill()
    holder.wait()
    assert train(config) is not None
    # A lock that was left behind is not in the way, and the end of a training lets it go.
    assert train(config.replace(epochs=2), resume=True) is not None


def test_resuming_a_run_that_is_being_trained_is_refused(tmp_path, eager):
    config = tiny_config(tmp_path / "run", **SHORT)
    train(config)
    with locked(RunFolder(config.run_dir)), pytest.raises(ValueError, match=MESSAGE):
        train(config.replace(epochs=2), resume=True)


def test_a_disk_without_locks(tmp_path, monkeypatch, caplog):
    def none(file, operation):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", none)
    with locked(RunFolder(tmp_path / "run")):
        assert "cannot be locked: Operation not supported" in caplog.text
