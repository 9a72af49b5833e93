"""What the command modules share: how they start, and errors in one sentence.

A ValueError or an OSError that this package raises, or a library that it calls, is the command's
answer: one line, exit code 2. One that a mixer, data set or callback of the user's own raises, or a
library that these call, is an error in that code and keeps its traceback. Code of the user's own
that checks its parameters with `amr_tf.checks` answers in one line, too.
"""

import io
import os
import pathlib
import platform
import signal
import sys
import sysconfig
import traceback
from collections.abc import Callable

import keras
import tensorflow as tf
from absl import app, flags, logging

from amr_tf import devices
from amr_tf.training.flagfiles import expand_flagfiles
from amr_tf.version import __version__

# A notebook's environment names a backend of matplotlib that this process may not have. Commands
# draw into files.
if "ipykernel" not in sys.modules:
    os.environ["MPLBACKEND"] = "agg"

_PACKAGE = pathlib.Path(__file__).parent
_STANDARD_LIBRARY = pathlib.Path(sysconfig.get_path("stdlib"))
_INSTALLED = {"site-packages", "dist-packages"}
_HELP = {"help": False, "h": False, "helpshort": False, "helpfull": True}


def define_allow_changed_data() -> flags.FlagHolder:
    """The flag of the commands that load a run's data."""
    return flags.DEFINE_bool(
        "allow_changed_data", False, "Go on with data that have changed since the run was trained."
    )


def run(main: Callable, show_help: Callable[[bool], str] | None = None) -> None:
    """Runs a command: what the user got wrong is told in one line, exit code 2.

    Args:
        main: called with the arguments that are not flags; returns the exit code.
        show_help: from whether everything is to be said (`--helpfull`) to the help text; None for
            absl's.
    """

    def guarded(argv):
        if len(argv) > 1:
            _fail(f"Arguments are flags, --name=value; got '{argv[1]}'.")
        if not flags.FLAGS["verbosity"].present:
            logging.set_verbosity(logging.WARNING)  # Other libraries' progress is not ours.
        # To stderr: what a command prints may be read by a program.
        print(f"Device: {devices.describe()}", file=sys.stderr)
        reason = devices.unused_gpu()
        if reason is not None:
            logging.warning("There is a GPU that TensorFlow does not use: %s", reason)
        try:
            return main(argv)
        except BrokenPipeError:
            _end_of_pipe()
        except (ValueError, OSError) as error:
            if is_from_own_code(error):
                raise
            _fail(str(error))
        except (MemoryError, tf.errors.ResourceExhaustedError) as error:
            _fail("There is not enough memory: " + str(error).partition("\n")[0])
        except KeyboardInterrupt:
            _fail("interrupted.", code=130)

    _prepare_streams()
    if "--version" in sys.argv[1:]:
        libraries = f"TensorFlow {tf.__version__}, Keras {keras.__version__}"
        print(f"amr_tf {__version__} ({libraries}, Python {platform.python_version()})")
        sys.exit(0)
    try:
        argv = [sys.argv[0], *expand_flagfiles(sys.argv[1:])]
    except (ValueError, OSError) as error:
        _fail(str(error))
    for argument in argv[1:]:
        name = argument.lstrip("-")
        if show_help is not None and name in _HELP and name != argument:  # No flag's value.
            print(show_help(_HELP[name]), end="")
            sys.exit(0)
    app.run(guarded, argv=argv, flags_parser=_parse)


def is_from_own_code(error: BaseException | None) -> bool:
    """Whether neither this package nor a library that it calls raised an error, or its cause."""
    while isinstance(error, (ValueError, OSError)):
        frames = traceback.extract_tb(error.__traceback__)
        files = [path for path in map(_path_of, frames) if not _is_library(path)]
        if files and not files[-1].is_relative_to(_PACKAGE):  # The innermost.
            return True
        error = error.__cause__
    return False


def _path_of(frame):
    return pathlib.Path(frame.filename)


def _is_library(path):
    """Whether a file is of the Python installation, or none that somebody has written."""
    if path.is_relative_to(_PACKAGE):
        return False
    written = path.is_absolute() and not path.name.startswith("__autograph_generated_file")
    return (
        not written or bool(_INSTALLED & set(path.parts)) or path.is_relative_to(_STANDARD_LIBRARY)
    )


def _prepare_streams():
    """Lets a command print whatever its standard output is: closed, or of another encoding."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # Closed by who started the command.
            setattr(sys, name, pathlib.Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115, to its end
        elif isinstance(stream, io.TextIOWrapper):  # Class names may hold anything.
            stream.reconfigure(errors="backslashreplace")


def _end_of_pipe():
    """Ends a command whose output nobody reads any more, such as `| head` has had enough."""
    # Python would write once more, at its end.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(128 + signal.SIGPIPE)


def _parse(argv):
    """absl's parser; it would print its errors above two lines of advice, with exit code 1."""
    try:
        return flags.FLAGS(argv)
    except flags.Error as error:
        _fail(f"{error} (--help lists all flags)")


def _fail(message, code=2):
    print(f"error: {_one_line(message)}", file=sys.stderr)
    sys.exit(code)


def _one_line(message):
    """The message without line breaks or what steers a terminal: it may quote someone's file."""
    line = " ".join(message.split())
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in line)
