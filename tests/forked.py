"""Commands as `python -m` runs them, in forks of one process that has imported the package.

A fork starts as a new process does, without TensorFlow's threads and with the package's modules
as they are after their import; only the seconds that the import takes are spent once. Signals and
kills reach it as they reach a process. Tests whose point is the start start one of their own.
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
import time

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
    process = start(module, *flags, cwd=cwd, timeout=timeout, environment=environment)
    outputs = process.communicate()
    return process.returncode, *outputs


def start(module, *flags, cwd, timeout=300, environment=None):
    """Starts what `run` runs; returns a `Process`."""
    folder = tempfile.TemporaryDirectory()  # Removed with its process.
    paths = [pathlib.Path(folder.name) / name for name in ("out", "err")]
    outputs = [str(path) for path in paths]
    pid = _ask([module, flags, str(cwd), outputs, timeout, environment or {}])
    return Process(pid, paths, folder)


class Process:
    """A fork, with what the tests call of a `subprocess.Popen`."""

    def __init__(self, pid, paths, folder):
        self.pid = pid
        self.returncode = None
        self._paths = paths
        self._folder = folder

    def poll(self):
        if self.returncode is None:
            self.returncode = _ask(self.pid)
        return self.returncode

    def communicate(self, timeout=600):
        """Waits for the end; returns standard output and standard error."""
        end = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired(f"fork {self.pid}", timeout)
            time.sleep(0.01)
        return tuple(path.read_text(errors="replace") for path in self._paths)

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self):
        self.send_signal(signal.SIGKILL)


def _ask(request):
    """The server's answer: of a case its fork's number, of that its exit code or None."""
    server = _server()
    server.stdin.write(json.dumps(request) + "\n")
    server.stdin.flush()
    return json.loads(server.stdout.readline())


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
        request = json.loads(line)
        if isinstance(request, int):
            found, status = os.waitpid(request, os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if found else None
        else:
            answer = os.fork()
            if not answer:
                _child(*request)
        print(json.dumps(answer), flush=True)


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
