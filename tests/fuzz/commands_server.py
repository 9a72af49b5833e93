"""Runs commands in forks of one process: TensorFlow is imported once, not once a case.

A script: it reads a JSON list of cases from standard input, each a dictionary of "command" (a
module of `amr_tf`), "flags" and "cwd", and prints a line of JSON for each: "code", "out" and "err".
"""

import json
import os
import pathlib
import runpy
import signal
import sys
import tempfile

TIMEOUT = 120


def main():
    cases = json.load(sys.stdin)
    # Imported, not used: no operation may have started TensorFlow's threads before the forks.
    import keras_tuner  # noqa: F401
    import matplotlib.figure  # noqa: F401
    import sklearn.linear_model  # noqa: F401

    import amr_tf.evaluation.evaluate
    import amr_tf.training.comparison  # noqa: F401

    for case in cases:
        print(json.dumps(run(case)), flush=True)


def run(case):
    """The exit code and the output of one case."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [pathlib.Path(folder) / name for name in ("out", "err")]
        process = os.fork()
        if not process:
            _child(case, paths)
        _, status = os.waitpid(process, 0)
        texts = [path.read_text(errors="replace") for path in paths]
    return {"code": os.waitstatus_to_exitcode(status), "out": texts[0], "err": texts[1]}


def _child(case, paths):
    code = 1
    try:
        signal.alarm(TIMEOUT)
        for number, path in enumerate(paths, start=1):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
        os.chdir(case["cwd"])
        sys.argv = [case["command"], *case["flags"]]
        runpy.run_module(f"amr_tf.{case['command']}", run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:  # A traceback is what the tests look for.
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
