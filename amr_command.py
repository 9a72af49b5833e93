"""The console script `amr`; what needs no TensorFlow is answered without its import of seconds.

It lies beside the package, since whatever lies in it imports TensorFlow first.
"""

import importlib.metadata
import importlib.util
import pathlib
import runpy
import sys
from typing import Any, NoReturn


def main() -> NoReturn:
    """Answers `--help` and `--version`, and leaves everything else to `amr_tf.commands.amr`.

    Raises:
        SystemExit: at the command's end, with its exit code.
    """
    text = answer(sys.argv[1:])
    if text is None:
        from amr_tf.commands import amr

        amr.main()
    print(text)
    sys.exit(0)


def answer(arguments: list[str]) -> str | None:
    """What is printed without TensorFlow; None where the package has to answer.

    Args:
        arguments: the command line behind the command's name.
    """
    name = arguments[0] if arguments else "--help"
    commands = _without_package("commands/__init__.py")
    if name in commands["HELP"]:
        return commands["usage"]()
    if name == "--version":
        return _version()
    return None


def _version() -> str | None:
    """As `amr_tf.commands.running.version`; None where TensorFlow has another name."""
    try:
        tensorflow, keras = map(importlib.metadata.version, ("tensorflow", "keras"))
    except importlib.metadata.PackageNotFoundError:  # Such as tensorflow-cpu.
        return None
    return _without_package("version.py")["described"](tensorflow, keras)


def _without_package(file: str) -> dict[str, Any]:
    """The names in a file of the package, which is not imported."""
    package = importlib.util.find_spec("amr_tf")
    assert package is not None and package.origin is not None
    return runpy.run_path(str(pathlib.Path(package.origin).parent / file))
