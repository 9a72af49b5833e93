"""The devices that TensorFlow computes on, and their capabilities."""

import os
import pathlib
import platform
import subprocess
import sys
from typing import Any

import tensorflow as tf

from amr_tf import processor

# Names of bfloat16 arithmetic in /proc/cpuinfo.
_BFLOAT16_FLAGS = ("avx512_bf16", "amx_bf16")
_DEVICE_FILES = pathlib.Path("/dev")
_AMPERE = (8, 0)  # The first NVIDIA GPUs with bfloat16.
_LIST_GPUS = "import tensorflow as tf; tf.config.list_physical_devices('GPU')"


def describe() -> str:
    """Describes the devices, such as "2 CPU threads (AMD EPYC, bfloat16)" or "1 GPU (H200)"."""
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        names = sorted({_details(gpu).get("device_name", "unknown") for gpu in gpus})
        return f"{len(gpus)} GPU{'s' if len(gpus) > 1 else ''} ({', '.join(names)})"
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    facts = [processor.facts().get("model name") or platform.machine()]
    if computes_bfloat16():
        facts.append("bfloat16")
    return f"{threads} CPU thread{'' if threads == 1 else 's'} ({', '.join(facts)})"


def computes_bfloat16() -> bool:
    """Returns whether all devices have bfloat16 in hardware."""
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        found = [_details(gpu).get("compute_capability") or (0, 0) for gpu in gpus]
        return all(tuple(capability) >= _AMPERE for capability in found)
    return processor.has_any(*_BFLOAT16_FLAGS)


def emulates_bfloat16() -> bool:
    """Returns whether a device is known to have no bfloat16 arithmetic."""
    known = tf.config.list_physical_devices("GPU") or "flags" in processor.facts()
    return bool(known) and not computes_bfloat16()


def unused_gpu() -> str | None:
    """Returns the reason why TensorFlow does not use a GPU that this machine has, or None."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
    there = any(_DEVICE_FILES.glob("nvidia[0-9]*"))
    if hidden or not there or tf.config.list_physical_devices("GPU"):
        return None
    # TensorFlow's log, which states the reason, is off. A new process repeats it.
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "0"}
    command = [sys.executable, "-c", _LIST_GPUS]
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    reasons = [line for line in said.stderr.splitlines() if "GPU" in line or "CUDA" in line]
    # A line begins with its time and place: "E0000 00:00:1795722799.04 25074 file.cc:52] ".
    return reasons[-1].partition("] ")[2] or reasons[-1] if reasons else "it gives no reason"


def _details(gpu: tf.config.PhysicalDevice) -> dict[str, Any]:
    return tf.config.experimental.get_device_details(gpu)
