"""Version folders: their numbers, that they are whole, leftovers, and two exports at once."""

import os
import socket
import subprocess
import sys
import threading

import pytest

from amr_tf.savedmodel import versions as lib
from amr_tf.savedmodel.versions import (
    next_version,
    partial_folder,
    prune,
    publish,
    remove_leftovers,
)

HOST = socket.gethostname()


def make(directory, *names):
    for name in names:
        (directory / str(name)).mkdir()
        (directory / str(name) / "saved_model.pb").write_text(str(name))


def names_in(directory):
    return sorted(path.name for path in directory.iterdir())


@pytest.fixture(scope="module")
def dead_process():
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def age(path, seconds):
    then = path.stat().st_mtime - seconds
    os.utime(path, (then, then))


@pytest.mark.parametrize(
    ("names", "version"),
    [
        ((), 1),
        (("1",), 2),
        (("1", "2", "10"), 11),
        (("7",), 8),
        (("old", "1a", "²", "-3", ".partial-3-host-01234567"), 1),
    ],
)
def test_the_next_version(tmp_path, names, version):
    for name in names:
        (tmp_path / name).mkdir()
    assert next_version(tmp_path) == version


def test_a_file_with_a_number_for_a_name_is_no_version(tmp_path):
    (tmp_path / "3").write_text("hello")
    assert next_version(tmp_path) == 1


def test_the_partial_folder_is_hidden_and_goes(tmp_path):
    directory = tmp_path / "a" / "served"
    with partial_folder(directory) as partial:
        assert partial.parent == directory
        assert partial.name.startswith(f".partial-{os.getpid()}-")
        assert next_version(directory) == 1
        (partial / "version").mkdir()
    assert names_in(directory) == []


def test_the_partial_folder_goes_after_a_failure(tmp_path):
    make(tmp_path, 1)
    with pytest.raises(OSError, match="full"), partial_folder(tmp_path) as partial:
        (partial / "file").write_text("half")
        raise OSError("full")
    assert names_in(tmp_path) == ["1"]


def test_a_file_in_place_of_the_folder(tmp_path):
    (tmp_path / "served").write_text("hello")
    with (
        pytest.raises(FileExistsError, match="served' is a file; versions are"),
        partial_folder(tmp_path / "served"),
    ):
        pass
    assert (tmp_path / "served").read_text() == "hello"


def test_publish(tmp_path):
    make(tmp_path, 1, "new")
    tried = []
    path = publish(tmp_path / "new", tmp_path, tried.append)
    assert path == tmp_path / "2"
    assert tried == [2]
    assert names_in(tmp_path) == ["1", "2"]
    assert (path / "saved_model.pb").read_text() == "new"


@pytest.mark.parametrize("taken_by", ("folder", "file"))
def test_publish_takes_the_next_number_if_another_export_was_faster(tmp_path, taken_by):
    make(tmp_path, "new")
    tried = []

    def finish(number):
        tried.append(number)
        if number == 1 and taken_by == "folder":
            make(tmp_path, 1)
        elif number == 1:
            (tmp_path / "1").write_text("1")

    assert publish(tmp_path / "new", tmp_path, finish) == tmp_path / "2"
    assert tried == [1, 2]
    assert names_in(tmp_path) == ["1", "2"]
    assert (tmp_path / "2" / "saved_model.pb").read_text() == "new"


def test_publish_raises_other_errors(tmp_path):
    with pytest.raises(FileNotFoundError):
        publish(tmp_path / "nowhere", tmp_path)


def test_many_exports_at_once_lose_nothing(tmp_path):
    names = [f"new{number}" for number in range(12)]
    make(tmp_path, *names)
    threads = [threading.Thread(target=publish, args=(tmp_path / n, tmp_path)) for n in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert lib.versions(tmp_path) == list(range(1, 13))
    texts = [(tmp_path / str(n) / "saved_model.pb").read_text() for n in range(1, 13)]
    assert sorted(texts) == sorted(names)


@pytest.mark.parametrize(
    ("keep", "left"), [(None, [1, 2, 9, 10]), (1, [10]), (3, [2, 9, 10]), (4, [1, 2, 9, 10])]
)
def test_prune(tmp_path, keep, left):
    make(tmp_path, 1, 2, 9, 10, "notes")
    prune(tmp_path, keep)
    assert lib.versions(tmp_path) == left
    assert names_in(tmp_path) == sorted([*map(str, left), "notes"])


@pytest.mark.parametrize("keep", (0, -1, 1.5, True, "2"))
def test_a_keep_that_is_not_allowed(tmp_path, keep):
    make(tmp_path, 1)
    with pytest.raises(ValueError, match="keep must be a positive integer; got"):
        prune(tmp_path, keep)
    assert names_in(tmp_path) == ["1"]


def test_leftovers(tmp_path, dead_process):
    of_dead = f".partial-{dead_process}-{HOST}-00000001"
    of_living = f".partial-{os.getpid()}-{HOST}-00000002"
    old = f".partial-{os.getpid()}-{HOST}-00000003"
    elsewhere = f".partial-{dead_process}-not-{HOST}-00000004"
    old_elsewhere = f".partial-{dead_process}-not-{HOST}-00000005"
    others = [".partial-notes", ".hidden", "1"]
    make(tmp_path, of_dead, of_living, old, elsewhere, old_elsewhere, *others)
    for name in (old, old_elsewhere, ".partial-notes"):
        age(tmp_path / name, 25 * 60 * 60)
    age(tmp_path / of_living, 23 * 60 * 60)
    remove_leftovers(tmp_path)
    assert names_in(tmp_path) == sorted([of_living, elsewhere, *others])


def test_the_next_export_removes_leftovers(tmp_path, dead_process):
    make(tmp_path, f".partial-{dead_process}-{HOST}-00000001")
    with partial_folder(tmp_path) as partial:
        assert names_in(tmp_path) == [partial.name]
