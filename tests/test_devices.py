"""The devices in words, and what they can."""

import pathlib
import types

import pytest
import tensorflow as tf

from amr_tf import devices, processor
from amr_tf.runs import precision
from amr_tf.runs.config import TrainingConfig

CPUINFO = "processor\t: 0\nmodel name\t: Some CPU\nflags\t\t: fpu sse{flags}\n\nprocessor\t: 1\n"


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A function that makes a machine of a processor's flags and GPUs."""

    def make(flags="", gpus=(), threads=2):
        (tmp_path / "cpuinfo").write_text(CPUINFO.format(flags=flags))
        monkeypatch.setattr(processor, "CPUINFO", tmp_path / "cpuinfo")
        monkeypatch.setattr(devices, "_DEVICE_FILES", tmp_path)
        monkeypatch.setattr(devices.os, "sched_getaffinity", lambda pid: range(threads))
        monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: list(gpus))
        monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda gpu: gpu)

    return make


H200 = {"device_name": "NVIDIA H200", "compute_capability": (9, 0)}
V100 = {"device_name": "Tesla V100", "compute_capability": (7, 0)}


@pytest.mark.parametrize(
    ("settings", "words", "bfloat16"),
    [
        ({}, "2 CPU threads (Some CPU)", False),
        ({"threads": 1}, "1 CPU thread (Some CPU)", False),
        ({"flags": " avx512_bf16"}, "2 CPU threads (Some CPU, bfloat16)", True),
        ({"flags": " amx_bf16"}, "2 CPU threads (Some CPU, bfloat16)", True),
        ({"gpus": [H200]}, "1 GPU (NVIDIA H200)", True),
        ({"gpus": [H200, H200]}, "2 GPUs (NVIDIA H200)", True),
        ({"flags": " amx_bf16", "gpus": [H200, V100]}, "2 GPUs (NVIDIA H200, Tesla V100)", False),
        ({"gpus": [{}]}, "1 GPU (unknown)", False),
    ],
    ids=str,
)
def test_words_and_number_formats(machine, settings, words, bfloat16):
    machine(**settings)
    assert devices.describe() == words
    assert devices.computes_bfloat16() is bfloat16
    expected = "mixed_bfloat16" if bfloat16 else "float32"
    assert precision.resolved_precision("auto") == expected
    assert TrainingConfig(precision="auto").resolve().precision == expected
    assert TrainingConfig().resolve().precision == "float32"


def test_no_proc(machine, monkeypatch):
    machine()
    monkeypatch.setattr(processor, "CPUINFO", pathlib.Path("/nowhere"))
    assert devices.describe().startswith("2 CPU threads (")
    assert not devices.computes_bfloat16()


def test_a_gpu_that_is_not_used(machine, monkeypatch, tmp_path):
    machine()
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert devices.unused_gpu() is None
    (tmp_path / "nvidia0").touch()
    said = "I0000 00:00 cpu.cc:1] All fine.\nW0000 00:00:1.5 17 gpu_device.cc:9] No GPU library.\n"
    monkeypatch.setattr(
        devices.subprocess, "run", lambda *_, **kwargs: types.SimpleNamespace(stderr=said)
    )
    assert devices.unused_gpu() == "No GPU library."
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert devices.unused_gpu() is None
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    machine(gpus=[H200])
    assert devices.unused_gpu() is None


def test_the_reason_is_tensorflows(machine, monkeypatch, tmp_path):
    machine()
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    (tmp_path / "nvidia0").touch()
    assert "GPU" in devices.unused_gpu() or "CUDA" in devices.unused_gpu()
