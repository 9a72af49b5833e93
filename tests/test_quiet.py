"""TensorFlow's lines at its start are left out, and nothing else is, wherever an import runs."""

import os
import tempfile
import types

import pytest

from amr_tf import _quiet

THEIRS = (
    "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n"
    "I0000 00:00:1795727074.749518   17709 port.cc:153] oneDNN custom operations are on.\n"
)
OURS = "E0000 00:00:1795727074.749518   17709 port.cc:153] an error\na warning\n"


@pytest.fixture
def before_tensorflow(monkeypatch):
    monkeypatch.setattr(_quiet, "sys", types.SimpleNamespace(modules={}))
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")


def written(capfd):
    with _quiet.without_startup_lines():
        os.write(2, (THEIRS + OURS).encode())
    return capfd.readouterr().err


def test_lines_of_every_start_are_left_out(before_tensorflow, capfd):
    assert written(capfd) == OURS


def test_an_error_in_the_import(before_tensorflow, capfd):
    with pytest.raises(ImportError), _quiet.without_startup_lines():
        os.write(2, OURS.encode())
        raise ImportError
    os.write(2, b"after\n")
    assert capfd.readouterr().err == OURS + "after\n"


def test_all_lines_are_there_on_request(before_tensorflow, monkeypatch, capfd):
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
    assert written(capfd) == THEIRS + OURS


@pytest.mark.parametrize(("module", "name"), [(tempfile, "TemporaryFile"), (os, "dup")])
def test_without_a_folder_for_files_or_a_standard_error(
    before_tensorflow, monkeypatch, capfd, module, name
):
    def fail(*args):
        raise OSError

    monkeypatch.setattr(module, name, fail)
    with _quiet.without_startup_lines():
        os.write(2, OURS.encode())
    monkeypatch.undo()
    assert capfd.readouterr().err == OURS
