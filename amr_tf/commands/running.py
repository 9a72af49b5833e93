"""Shared parts of the commands: startup, flags, help, and one-line errors.

A ValueError or OSError raised by this package, or by a library that it calls, is printed as one
line, with exit code 2. If user-defined code (a mixer, data set or callback), or a library that it
calls, raises one, it is treated as a bug in that code and keeps its traceback. User-defined code
that checks its parameters with `amr_tf.checks` gets one-line errors too.
"""

import contextlib
import dataclasses
import io
import os
import pathlib
import signal
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import NoReturn

import keras
import tensorflow as tf
from absl import app, flags, logging
from absl.testing import flagsaver

from amr_tf import devices
from amr_tf.runs import flagfiles
from amr_tf.runs.config import TrainingConfig, flag_name
from amr_tf.runs.help import full_help, short_help
from amr_tf.version import described

# Commands only draw to files. A notebook's environment may name a matplotlib backend that this
# process lacks.
if "ipykernel" not in sys.modules:
    os.environ["MPLBACKEND"] = "agg"

_PACKAGE = pathlib.Path(__file__).parents[1]
_STANDARD_LIBRARY = pathlib.Path(sysconfig.get_path("stdlib"))
_INSTALLED = {"site-packages", "dist-packages"}
_HELP = {"help": False, "h": False, "?": False, "helpshort": False, "helpfull": True}


@dataclasses.dataclass(frozen=True)
class Command:
    """A command with its flags and its main function.

    Attributes:
        name: the command's name, as in `amr NAME` and `python -m amr_tf.NAME`.
        doc: first lines of the help text.
        define: function that defines the command's own flags in an absl `FlagValues`.
        main: function of the parsed `FlagValues` and the list of arguments as given; returns the
            exit code, or None for 0.
        leave_out: names of the `TrainingConfig` fields that are not flags of the command; all
            others are. None if the command takes none of them.
    """

    name: str
    doc: str
    define: Callable[[flags.FlagValues], None]
    main: Callable[[flags.FlagValues, list[str]], int | None]
    leave_out: tuple[str, ...] | None = None

    def new_flags(self) -> flags.FlagValues:
        """Returns the command's flags with their defaults, in a new object."""
        values = flags.FlagValues()
        if self.leave_out is not None:
            flagfiles.define_flags(TrainingConfig, values, self.leave_out)
        self.define(values)
        for name in values:
            values.register_flag_by_module(f"amr_tf.{self.name}", values[name])
        return values

    def help(self, full: bool = False) -> str:
        """Returns the text of `--help`, or of `--helpfull` if `full`."""
        values = self.new_flags()
        if self.leave_out is None:
            return _flags_help(self.doc, values.module_help(f"amr_tf.{self.name}"), full)
        fields = dataclasses.fields(TrainingConfig)
        of_run = {flag_name(field) for field in fields if field.name not in self.leave_out}
        further = {name: values[name].help or "" for name in values if name not in of_run}
        further["flagfile=FILE"] = (
            "Read flags from a file, one per line; later flags override them."
        )
        return (full_help if full else short_help)(self.doc, further, self.leave_out)

    def run(self, arguments: Sequence[str] | None = None) -> NoReturn:
        """Runs the command; user errors are printed as one line, with exit code 2.

        Args:
            arguments: the arguments after the command's name; None for those of `sys.argv`.

        Raises:
            SystemExit: when the command ends, with its exit code.
        """
        given = list(sys.argv[1:] if arguments is None else arguments)
        _prepare_streams()
        if "--version" in given:
            print(version())
            sys.exit(0)
        expanded = _expanded(given)
        for argument in expanded:
            name = argument.lstrip("-")
            if name in _HELP and name != argument:  # Not the value of a flag.
                print(self.help(_HELP[name]), end="")
                sys.exit(0)
        values = self.new_flags()
        main = _guarded(lambda: self.main(values, given))
        with _among_absls(values):
            app.run(main, argv=[sys.argv[0], *expanded], flags_parser=_parser(values))
        raise AssertionError("absl's run ends in SystemExit.")


def define_run_flags(values: flags.FlagValues) -> None:
    """Defines the flags of commands that load a run's model and its data."""
    flags.DEFINE_string(
        "epoch",
        "best",
        "Model of the best epoch (best) or of the newest checkpoint (last).",
        flag_values=values,
    )
    flags.DEFINE_string(
        "data_dir", None, "Folder of the data; defaults to the run's.", flag_values=values
    )
    define_allow_changed_data(values)


def define_allow_changed_data(values: flags.FlagValues) -> None:
    """Defines the flag of commands that load a run's data."""
    flags.DEFINE_bool(
        "allow_changed_data",
        False,
        "Continue even if the data have changed since the run was trained.",
        flag_values=values,
    )


def version() -> str:
    """Returns the text of `--version`."""
    return described(tf.__version__, keras.__version__)


def _flags_help(doc: str, own: str, full: bool) -> str:
    """Returns the help text of a command without flags of `TrainingConfig`."""
    text = f"{doc}\nflags:\n{own}\n"
    if not full:
        return f"{text}\nTry --helpfull to get a list of all flags.\n"
    app.define_help_flags()
    return f"{text}{flags.FLAGS.get_help()}\n"


@contextlib.contextmanager
def _among_absls(own: flags.FlagValues) -> Iterator[None]:
    """Adds a command's flags to absl's global flags, and removes them afterwards.

    absl's parser, logging and debugger read the global `flags.FLAGS`. Flags stay in it only while
    their command runs, so that several commands can run in one process.
    """
    app.define_help_flags()  # These are kept, since absl defines them only once.
    before = flagsaver.save_flag_values()
    try:
        flags.FLAGS.append_flag_values(own)
        for name in own:
            flags.FLAGS.register_flag_by_module(sys.argv[0], own[name])
        yield
    finally:
        for name in own:
            if name in flags.FLAGS and flags.FLAGS[name] is own[name]:
                delattr(flags.FLAGS, name)
        # Modules imported in the meantime keep their flags.
        flagsaver.restore_flag_values({**flagsaver.save_flag_values(), **before})


def _expanded(arguments: list[str]) -> list[str]:
    """Replaces flagfiles in the arguments by the flags they hold."""
    try:
        return flagfiles.expand_flagfiles(arguments)
    except (ValueError, OSError) as error:
        fail(str(error))


def _parser(own: flags.FlagValues) -> Callable[[list[str]], list[str]]:
    """Returns a parser of all flags that prints errors as one line, with exit code 2."""

    def parse(argv: list[str]) -> list[str]:
        try:
            rest = flags.FLAGS(argv)
        except flags.Error as error:
            fail(f"{error} (--help lists all flags)")
        own.mark_as_parsed()
        return rest

    return parse


def _guarded(main: Callable[[], int | None]) -> Callable[[list[str]], int | None]:
    """Wraps `main` for absl: prints the device first, and errors as one line."""

    def guarded(argv: list[str]) -> int | None:
        if len(argv) > 1:
            fail(f"Arguments are flags, --name=value; got '{argv[1]}'.")
        if not flags.FLAGS["verbosity"].present:
            logging.set_verbosity(logging.WARNING)  # Hides progress messages of libraries.
        # To stderr, since programs may read a command's standard output.
        print(f"Device: {devices.describe()}", file=sys.stderr)
        reason = devices.unused_gpu()
        if reason is not None:
            logging.warning("There is a GPU that TensorFlow does not use: %s", reason)
        try:
            return main()
        except BrokenPipeError:
            _end_of_pipe()
        except (ValueError, OSError) as error:
            if is_from_own_code(error):
                raise
            fail(str(error))
        except (MemoryError, tf.errors.ResourceExhaustedError) as error:
            fail("There is not enough memory: " + str(error).partition("\n")[0])
        except KeyboardInterrupt:
            fail("interrupted.", code=130)

    return guarded


def is_from_own_code(error: BaseException | None) -> bool:
    """Returns whether user-defined code, or a library it calls, raised an error or its cause."""
    while isinstance(error, (ValueError, OSError)):
        frames = traceback.extract_tb(error.__traceback__)
        files = [path for path in map(_path_of, frames) if not _is_library(path)]
        if files and not files[-1].is_relative_to(_PACKAGE):  # The innermost frame.
            return True
        error = error.__cause__
    return False


def _path_of(frame: traceback.FrameSummary) -> pathlib.Path:
    return pathlib.Path(frame.filename)


def _is_library(path: pathlib.Path) -> bool:
    """Returns whether a file belongs to the Python installation or was generated."""
    if path.is_relative_to(_PACKAGE):
        return False
    written = path.is_absolute() and not path.name.startswith("__autograph_generated_file")
    return (
        not written or bool(_INSTALLED & set(path.parts)) or path.is_relative_to(_STANDARD_LIBRARY)
    )


def _prepare_streams() -> None:
    """Makes printing work even if standard output is closed or has a limited encoding."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # Closed by the parent process.
            setattr(sys, name, pathlib.Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115, to its end
        elif isinstance(stream, io.TextIOWrapper):  # Class names may contain any characters.
            stream.reconfigure(errors="backslashreplace")


def _end_of_pipe() -> NoReturn:
    """Exits when the reader of the output has closed it, such as `| head`."""
    # Python would write to it again when it exits.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(128 + signal.SIGPIPE)


def fail(message: str, code: int = 2) -> NoReturn:
    """Prints a one-line error and exits."""
    print(f"error: {one_line(message)}", file=sys.stderr)
    sys.exit(code)


def one_line(message: str) -> str:
    """Removes line breaks and escapes control characters, which a quoted file may contain."""
    line = " ".join(message.split())
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in line)
