"""Commands as `python -m` runs them, in forks of one process that has imported the package.

A fork starts as a new process does, without TensorFlow's threads and with the package's modules
as they are after their import; only the seconds that the import takes are spent once. Tests whose
point is the start of a process, a signal or a kill start one of their own.
"""

import functools
import json
import os
import pathlib
import runpy
import signal
import subprocess
import sys
import tempfile

from amr_tf.commands import COMMANDS

# Imported, not used: no operation may have started TensorFlow's threads before the forks.
_IMPORTED = (
    "keras_tuner",
    "matplotlib.figure",
    "sklearn.linear_model",
    *(f"amr_tf.commands.{name}" for name in COMMANDS),
)


def run(module, *flags, cwd, timeout=300, environment=None):
    """Runs `python -m module *flags` in folder `cwd`.

    Args:
        timeout: seconds after which the command is killed.
        environment: further environment variables, a dictionary, or None.

    Returns:
        The exit code (negative for a signal), standard output and standard error.
    """
    server = _server()
    with tempfile.TemporaryDirectory() as folder:
        paths = [pathlib.Path(folder) / name for name in ("out", "err")]
        outputs = [str(path) for path in paths]
        case = [module, flags, str(cwd), outputs, timeout, environment or {}]
        server.stdin.write(json.dumps(case) + "\n")
        server.stdin.flush()
        code = int(server.stdout.readline())
        return code, *(path.read_text(errors="replace") for path in paths)


@functools.cache
def _server():
    """The process that forks; it ends with ours, when its standard input does."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.forked"],
        cwd=pathlib.Path(__file__).resolve().parents[1],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def _serve():
    for name in _IMPORTED:
        __import__(name)
    for line in sys.stdin:
        process = os.fork()
        if not process:
            _child(*json.loads(line))
        _, status = os.waitpid(process, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _child(module, flags, folder, paths, timeout, environment):
    """What a fork does: it becomes the command, and never returns."""
    code = 1
    try:
        signal.alarm(timeout)
        os.environ.update(environment)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # The cases that follow are not for it.
        for number, path in enumerate(paths, start=1):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
        os.chdir(folder)
        sys.path[0] = folder
        sys.argv = [module, *flags]
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:  # A traceback is what some tests look for.
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    _serve()
