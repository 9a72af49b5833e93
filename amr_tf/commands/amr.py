"""The command `amr`, which runs the others: `amr train --dataset=digits`."""

import importlib
import sys
from collections.abc import Sequence
from typing import NoReturn

from amr_tf.commands import COMMANDS, HELP, completion, running, usage
from amr_tf.registry import unknown_name

_COMPLETION = "--completion="


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs the command named by the first argument.

    Args:
        arguments: the command's name and its flags; None for those of the command line.

    Raises:
        SystemExit: when the command ends, with its exit code.
    """
    name, *rest = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if name in COMMANDS:
        command(name).run(rest)
    if name in HELP:
        print(usage())
    elif name == "--version":
        print(running.version())
    elif name.startswith(_COMPLETION):
        try:
            print(completion.script(name.removeprefix(_COMPLETION)), end="")
        except ValueError as error:
            running.fail(str(error))
    else:
        running.fail(str(unknown_name("command", name, COMMANDS)))
    sys.exit(0)


def command(name: str) -> running.Command:
    """Returns the command with the given name."""
    return importlib.import_module(f"amr_tf.commands.{name}").COMMAND
