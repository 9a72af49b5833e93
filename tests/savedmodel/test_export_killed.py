"""Exports killed at random moments: no version is ever half there.

`python -m tests.savedmodel.test_export_killed 50` kills as many and prints what it found. The test
makes one export and then copies its SavedModel, which neither traces the model nor replays it.
"""

import json
import multiprocessing
import os
import pathlib
import random
import shutil
import signal
import sys
import tempfile
import time

import keras
import pytest

from amr_tf import AMR
from amr_tf.savedmodel import export
from amr_tf.savedmodel.export import export_model
from amr_tf.savedmodel.metadata import read_signatures
from amr_tf.savedmodel.versions import versions

KEEP = 2
LAST_FILE = "version/README.md"  # What is written last before the move into place.


def copy_instead(saved):
    """Lets this process's exports copy a SavedModel, and wait where a process would replay it."""

    def copy(model, path):
        path.mkdir()
        for name in ("fingerprint.pb", "saved_model.pb"):
            shutil.copy(saved / name, path)
        shutil.copytree(saved / "variables", path / "variables")

    def wait(pairs):
        time.sleep(0.2)
        return [{}]

    export.write_saved_model = copy
    export.replay_in_fresh_process = wait


def export_many(directory, count, ready, saved):
    """What a process does: exports, also without an end, so that a kill can fall on any moment."""
    os.setsid()  # The process that verifies is killed with it.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    keras.utils.set_random_seed(0)
    model = AMR.create((2,), "mlp", latent_dim=2)
    if saved:
        copy_instead(saved)
    ready.send(True)
    for _ in range(count):
        export_model(model, directory, keep=KEEP, notify=lambda text: None)


def start(directory, count, saved):
    """A fork of a process that has imported the package; it has made its model."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["amr_tf.savedmodel.export"])
    ready, sends = context.Pipe(duplex=False)
    process = context.Process(target=export_many, args=(directory, count, sends, saved))
    process.start()
    sends.close()
    assert ready.recv()
    return process


def whole_files(version):
    """The files of a version, after its own facts about itself were checked."""
    metadata = json.loads((version / "metadata.json").read_text())
    assert metadata["version"] == int(version.name)
    assert metadata["signatures"] == read_signatures(version)
    return {str(path.relative_to(version)) for path in version.rglob("*") if path.is_file()}


def kill_at_random(directory, draws, duration, aimed, saved):
    """Kills an export; an aimed kill falls on the moments around the move into place."""
    process = start(directory, 1000, saved)
    try:
        if aimed:
            deadline = time.monotonic() + 300
            while not list(directory.glob(f".partial-*/{LAST_FILE}")):
                assert process.is_alive()
                assert time.monotonic() < deadline
                time.sleep(0.0005)
            time.sleep(draws.uniform(0, 0.01))
        else:
            time.sleep(draws.uniform(0, 1.2 * duration))
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.join()


def export_whole(directory, saved=None):
    """One export without a kill; returns the seconds that it took."""
    process = start(directory, 1, saved)
    began = time.monotonic()
    process.join(300)
    assert process.exitcode == 0
    return time.monotonic() - began


def kill_many(directory, kills, seed=0, saved=None):
    """Kills exports, half of them aimed, and checks all versions after each.

    Args:
        saved: where to keep the first export's SavedModel, for the others to copy; or None.

    Returns:
        A dictionary: kills, how many of them left a hidden folder behind, and how many fell after
        a new version was in place.
    """
    draws = random.Random(seed)
    duration = export_whole(directory)
    wanted = whole_files(directory / "1")
    if saved:
        shutil.copytree(directory / "1", saved)
        duration = export_whole(directory, saved)
    found = {"kills": kills, "left a hidden folder": 0, "after a move into place": 0}
    for number in range(kills):
        before = versions(directory)
        kill_at_random(directory, draws, duration, number % 2 == 1, saved)
        after = versions(directory)
        assert after, "every version is gone"
        assert after[-1] >= before[-1]
        for version in after:
            assert whole_files(directory / str(version)) == wanted
        found["left a hidden folder"] += bool(list(directory.glob(".partial-*")))
        found["after a move into place"] += after != before
    export_whole(directory, saved)
    assert list(directory.glob(".*")) == []
    assert len(versions(directory)) == KEEP
    return found


@pytest.mark.slow
def test_killed_exports_leave_whole_versions(tmp_path):
    found = kill_many(tmp_path / "served", kills=3, saved=tmp_path / "saved")
    assert found["left a hidden folder"] > 0


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        print(kill_many(pathlib.Path(folder), int(sys.argv[1]), seed=1))
