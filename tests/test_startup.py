"""TensorFlow's lines at its start are left out, and nothing else is, wherever an import runs."""

import os
import subprocess
import sys
import tempfile
import types
import warnings

import pytest

from amr_tf import _startup, processor

THEIRS = (
    "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n"
    "I0000 00:00:1795727074.749518   17709 port.cc:153] oneDNN custom operations are on.\n"
)
OURS = "E0000 00:00:1795727074.749518   17709 port.cc:153] an error\na warning\n"


@pytest.fixture
def before_tensorflow(monkeypatch):
    monkeypatch.setattr(_startup, "sys", types.SimpleNamespace(modules={}))
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")


def written(capfd):
    with _startup.without_startup_lines():
        os.write(2, (THEIRS + OURS).encode())
    return capfd.readouterr().err


def test_lines_of_every_start_are_left_out(before_tensorflow, capfd):
    assert written(capfd) == OURS


def test_an_error_in_the_import(before_tensorflow, capfd):
    with pytest.raises(ImportError), _startup.without_startup_lines():
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
    with _startup.without_startup_lines():
        os.write(2, OURS.encode())
    monkeypatch.undo()
    assert capfd.readouterr().err == OURS


def flags_of(environment):
    flags = f"{environment['TF_XLA_FLAGS']} {environment['XLA_FLAGS']}".split()
    return dict(flag.removeprefix("--").split("=", 1) for flag in flags)


def test_programs_are_kept_where_there_is_a_gpu(tmp_path, monkeypatch):
    monkeypatch.setenv("AMR_TF_CACHE", str(tmp_path / "cache"))
    (tmp_path / "nvidia0").touch()
    environment = {"XLA_FLAGS": "--xla_gpu_autotune_level=0"}
    _startup.keep_programs(environment, tmp_path)
    assert flags_of(environment) == {
        "xla_gpu_autotune_level": "0",
        "tf_xla_persistent_cache_directory": str(tmp_path / "cache" / "xla"),
        "tf_xla_persistent_cache_device_types": "GPU,XLA_GPU_JIT",
        "xla_gpu_per_fusion_autotune_cache_dir": str(tmp_path / "cache" / "xla"),
    }
    before = dict(environment)
    _startup.keep_programs(environment, tmp_path)
    assert environment == before
    # TensorFlow knows the flags: it ends a process that gives others.
    run = (
        "import tensorflow as tf; print(tf.function(lambda x: x + 1, jit_compile=True)(1).numpy())"
    )
    done = subprocess.run(
        [sys.executable, "-c", run],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "2\n"
    assert not list((tmp_path / "cache" / "xla").iterdir())  # Of a CPU nothing is kept.


def test_programs_are_not_kept_without_a_gpu_or_a_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("AMR_TF_CACHE", str(tmp_path / "cache"))
    environment = {}
    _startup.keep_programs(environment, tmp_path)
    (tmp_path / "nvidia0").touch()
    (tmp_path / "cache").touch()  # A file is in the way.
    _startup.keep_programs(environment, tmp_path)
    monkeypatch.setenv("AMR_TF_CACHE", str(tmp_path / "a cache"))
    _startup.keep_programs(environment, tmp_path)
    assert environment == {}


@pytest.mark.parametrize(
    ("machine", "given", "expected"),
    [
        ("x86_64", None, "1"),
        ("AMD64", None, "1"),
        ("x86_64", "0", "0"),
        ("arm64", None, None),
        ("aarch64", "1", "1"),
    ],
)
def test_onednn_is_used_on_x86_unless_the_environment_says_otherwise(machine, given, expected):
    environment = {} if given is None else {"TF_ENABLE_ONEDNN_OPTS": given}
    _startup.use_onednn(environment, machine, late=False)
    assert environment.get("TF_ENABLE_ONEDNN_OPTS") == expected


@pytest.mark.parametrize(
    ("machine", "flags", "late", "warned"),
    [
        ("x86_64", "avx2", True, True),
        ("x86_64", "avx2", False, False),
        ("x86_64", "avx2 avx512_vnni", True, False),
        ("x86_64", None, True, False),  # Nothing is known of the processor.
        ("arm64", "avx2", True, False),
    ],
)
def test_a_late_import_is_warned_of(machine, flags, late, warned, tmp_path, monkeypatch):
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "cpuinfo")
    if flags is not None:
        (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nflags\t\t: fpu {flags}\n")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        _startup.use_onednn({}, machine, late)
        _startup.use_onednn({"TF_ENABLE_ONEDNN_OPTS": "0"}, machine, late)
    told = [str(one.message) for one in caught]
    assert len(told) == warned
    assert all("import amr_tf first, or set TF_ENABLE_ONEDNN_OPTS=1." in one for one in told)


@pytest.mark.slow
def test_tensorflow_is_told_to_use_onednn():
    """It says so at its start, in the log level that shows it."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "0"}
    environment.pop("TF_ENABLE_ONEDNN_OPTS", None)
    done = subprocess.run(
        [sys.executable, "-c", "import amr_tf, platform; print(platform.machine())"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    if done.stdout.strip() == "x86_64":
        assert "oneDNN custom operations are on" in done.stderr


def test_submodules_are_imported_on_first_use():
    import amr_tf

    assert amr_tf.hub.push_to_hub.__module__ == "amr_tf.hub"
    with pytest.raises(AttributeError, match="'amr_tf' has no attribute 'hubs'"):
        amr_tf.hubs  # noqa: B018
