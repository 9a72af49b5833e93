"""Preparations for importing Keras: its backend, oneDNN, XLA's caches, TensorFlow's messages."""

import contextlib
import os
import pathlib
import re
import sys
import tempfile
import warnings
from collections.abc import Iterator, MutableMapping
from typing import Any

from amr_tf import processor
from amr_tf.files import cache_folder

_ONEDNN = "TF_ENABLE_ONEDNN_OPTS"
# TensorFlow uses oneDNN by default on processors with one of these.
_WITH_ONEDNN = ("avx512_vnni", "avx512_bf16", "avx_vnni", "amx_tile", "amx_int8", "amx_bf16")
# TensorFlow reads its log level too late to hide these.
_AT_EVERY_START = re.compile(
    rb"WARNING: All log messages before absl::InitializeLog\(\) is called are written to STDERR"
    rb"|I\d{4} \d\d:\d\d:.* (port|cudart_stub|cuda_executor|cpu_feature_guard)\.cc:\d+\]"
)


def check_backend(name: str) -> None:
    """Raises an ImportError unless `name` is the Keras backend that this package runs on.

    While a command starts, it prints a one-line error and exits instead.
    """
    if name == "tensorflow":
        return
    message = (
        f"amr_tf runs on Keras' TensorFlow backend, but KERAS_BACKEND (or ~/.keras/keras.json) "
        f"names '{name}'. Set KERAS_BACKEND=tensorflow."
    )
    # For `python -m amr_tf.train`, argv[0] is "-m" until the module is found. For the script `amr`,
    # it is the script's path.
    started = pathlib.Path(sys.argv[0]).name if sys.argv else ""
    if started in ("-m", "amr"):
        print(f"error: {message}", file=sys.stderr)
        sys.exit(2)
    raise ImportError(message)


def use_onednn(environment: MutableMapping[str, str], machine: str, late: bool) -> None:
    """Makes TensorFlow compute convolutions with oneDNN on any x86 processor.

    By default, TensorFlow does so only on processors with AVX512-VNNI and the like. With AVX2, a
    training step takes 2.4 times as long without oneDNN (docs/performance.md).

    Args:
        environment: `os.environ`, which TensorFlow reads once. An existing value is kept.
        machine: the machine type, as returned by `platform.machine`.
        late: whether TensorFlow has already been imported, which causes a warning if it matters.
    """
    if machine.lower() not in ("x86_64", "amd64") or _ONEDNN in environment:
        return
    environment[_ONEDNN] = "1"
    if late and processor.facts() and not processor.has_any(*_WITH_ONEDNN):
        warnings.warn(
            "Keras or TensorFlow was imported before amr_tf, so that TensorFlow computes without "
            f"oneDNN, which is slower on this processor: import amr_tf first, or set {_ONEDNN}=1.",
            stacklevel=3,
        )


def keep_programs(environment: MutableMapping[str, str], devices: pathlib.Path) -> None:
    """Lets XLA cache the programs it compiles for a GPU, and the kernels it selects, on disk.

    A training step takes a minute or more to compile, and seconds to load (docs/performance.md).
    Nothing changes without a GPU, or if the environment already sets a cache.

    Args:
        environment: `os.environ`, from which TensorFlow reads its flags once.
        devices: `/dev`, in which an NVIDIA GPU has a file.
    """
    if not any(devices.glob("nvidia[0-9]*")):
        return
    folder = cache_folder() / "xla"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:  # It is only a cache.
        return
    options: dict[str, dict[str, Any]] = {
        "TF_XLA_FLAGS": {
            "tf_xla_persistent_cache_directory": folder,
            # Both, since the right one is not documented. On a CPU, it is the device's, not XLA's.
            "tf_xla_persistent_cache_device_types": "GPU,XLA_GPU_JIT",
        },
        "XLA_FLAGS": {"xla_gpu_per_fusion_autotune_cache_dir": folder},
    }
    for name, flags in options.items():
        given = environment.get(name, "")
        added = [f"--{flag}={value}" for flag, value in flags.items()]
        if next(iter(flags)) not in given and " " not in str(folder):  # A space ends a flag.
            environment[name] = " ".join([given, *added]).strip()


@contextlib.contextmanager
def without_startup_lines() -> Iterator[None]:
    """Delays standard error during an import, and then writes it without the startup lines.

    With `TF_CPP_MIN_LOG_LEVEL=0` in the environment, nothing is left out.
    """
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL") == "0" or "tensorflow" in sys.modules:
        yield
        return
    try:
        written = tempfile.TemporaryFile()  # noqa: SIM115, closed below
    except OSError:  # There is no folder that can be written to.
        yield
        return
    with written:
        try:
            original = os.dup(2)
        except OSError:  # There is no standard error.
            yield
            return
        os.dup2(written.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(original, 2)
            os.close(original)
            written.seek(0)
            lines = [line for line in written if not _AT_EVERY_START.match(line)]
            with contextlib.suppress(OSError):
                os.write(2, b"".join(lines))
