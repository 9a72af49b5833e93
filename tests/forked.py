"""Commands as `python -m` runs them, in forks of one process that has imported the package.

A fork starts as a new process does, without TensorFlow's threads and with the package's modules
as they are after their import; only the seconds that the import takes are spent once. Tests whose
point is the start of a process, a signal or a kill start one of their own.
"""

import json
import os
import pathlib
import runpy
import signal
import subprocess
import sys
import tempfile

_IMPORTED = (
    "amr_tf.commands",
    "amr_tf.evaluation.evaluate",
    "amr_tf.evaluation.figures",
    "amr_tf.reproduction",
    "amr_tf.serving.export",
    "amr_tf.training.run",
)
_TIMEOUT = 300


class Forks:
    """A process that has imported the package, from the first `run` on; it ends with ours."""

    def __init__(self):
        self._process = None

    def _start(self):
        self._printed = tempfile.TemporaryDirectory()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.forked"],
            cwd=pathlib.Path(__file__).resolve().parents[1],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def run(self, module, *flags, cwd):
        """Runs `python -m module *flags` in folder `cwd`.

        Returns:
            The exit code, standard output and standard error.
        """
        if self._process is None:
            self._start()
        paths = [pathlib.Path(self._printed.name, name) for name in ("out", "err")]
        self._process.stdin.write(json.dumps([module, flags, str(cwd), *map(str, paths)]) + "\n")
        self._process.stdin.flush()
        code = int(self._process.stdout.readline())
        return code, *(path.read_text() for path in paths)


def _child(module, flags, folder, out, err):
    """What a fork does: it becomes the command, and never returns."""
    signal.alarm(_TIMEOUT)
    code = 1
    try:
        for path, number in ((out, 1), (err, 2)):
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(file, number)
        os.chdir(folder)
        sys.path[0] = folder
        sys.argv = [module, *flags]
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as end:
        code = end.code or 0
        if isinstance(code, str):
            print(code, file=sys.stderr)
            code = 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _serve():
    for name in _IMPORTED:
        __import__(name)
    for line in sys.stdin:
        process = os.fork()
        if not process:
            _child(*json.loads(line))
        _, status = os.waitpid(process, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    _serve()
