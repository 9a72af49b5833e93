"""Defines flags from a config's fields, creates configs from flags, and reads flagfiles."""

import codecs
import dataclasses
import pathlib
import typing
from collections.abc import Container, Iterable, Iterator
from typing import Any

from absl import flags

from amr_tf.files import user_path
from amr_tf.runs.config import TrainingConfig, flag_name

_MOST_FILES, _MOST_BYTES = 100, 2**20  # Per command line and per file.
# absl's flags for developers start a debugger that reads .pdbrc, or write a profile to any path.
_DEBUGGING = (
    "run_with_pdb",
    "pdb_post_mortem",
    "pdb",
    "run_with_profiling",
    "use_cprofile_for_profiling",
    "profile_file",
)

_DEFINE: dict[type, Any] = {
    str: flags.DEFINE_string,
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
    bool: flags.DEFINE_bool,
}


def define_flags(
    config_class: type, flag_values: flags.FlagValues, leave_out: Container[str] = ()
) -> None:
    """Defines a flag for each field of a config dataclass, with its default and help.

    Args:
        config_class: the dataclass.
        flag_values: absl's flags.
        leave_out: names of fields that get no flag.
    """
    hints = typing.get_type_hints(config_class)
    for field in dataclasses.fields(config_class):
        if field.name in leave_out:
            continue
        hint = hints[field.name]
        kind = (typing.get_args(hint) or (hint,))[0]  # The first of `int | None`.
        _DEFINE[kind](
            flag_name(field),
            field.default,
            field.metadata["help"],
            flag_values=flag_values,
        )


def config_from_flags(config_class: type, flag_values: flags.FlagValues, base: Any = None) -> Any:
    """Creates a config from the flags' values.

    Args:
        config_class: the dataclass passed to `define_flags`.
        flag_values: absl's flags.
        base: a config with the values of flags that the user did not set, or None to use the flags'
            defaults.
    """
    values = {}
    for field in dataclasses.fields(config_class):
        flag = flag_values[flag_name(field)]
        unset = base is not None and not flag.present
        values[field.name] = getattr(base, field.name) if unset else flag.value
    return config_class(**values)


def flags_that_were_set(
    config_class: type, flag_values: flags.FlagValues, leave_out: Container[str] = ()
) -> dict[str, Any]:
    """Returns names and values of the fields whose flags the user set; see `define_flags`."""
    return {
        field.name: flag_values[flag_name(field)].value
        for field in dataclasses.fields(config_class)
        if field.name not in leave_out and flag_values[flag_name(field)].present
    }


def expand_flagfiles(arguments: Iterable[str]) -> list[str]:
    """Replaces each `--flagfile=FILE` by the flags in the file.

    absl looks for a flagfile that another one names in the working directory. This function looks
    beside the naming file first, so that `configs/paper/` works from anywhere. If `configs/...` is
    not in the working directory either, it is taken from the flagfiles shipped with the package.

    A flagfile may come from someone else, so it can only set flags. The flags with which absl
    starts a debugger or a profiler are allowed only on the command line.

    Args:
        arguments: command line arguments.

    Raises:
        ValueError: a file does not exist, is not text, is larger than 1 MiB, includes itself or
            sets a debugging flag of absl, or there are more than 100 files.
    """
    return _expand(arguments, None, (), iter(range(_MOST_FILES)))


def _expand(
    arguments: Iterable[str],
    folder: pathlib.Path | None,
    opened: tuple[pathlib.Path, ...],
    left: Iterator[int],
) -> list[str]:
    """Expands the arguments of a file in `folder`, or of the command line if it is None.

    `opened` holds the files that are being read. Each file uses up one item of `left`, which ends
    the expansion of files that name others many times.
    """
    expanded = []
    arguments = iter(arguments)
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if name not in ("--flagfile", "-flagfile"):
            if opened and name.startswith("-") and name.lstrip("-") in _DEBUGGING:
                raise ValueError(f"Flagfile '{opened[-1]}' sets {name}, which no flagfile may.")
            expanded.append(argument)
            continue
        if not equals:  # `--flagfile FILE`
            value = next(arguments, "")
        if not value:
            raise ValueError("--flagfile needs the name of a file.")
        path = _find_flagfile(user_path(value), folder)
        if not path.is_file():
            raise ValueError(f"Flagfile '{path}' does not exist.")
        if path.resolve() in opened:
            raise ValueError(f"Flagfile '{path}' includes itself.")
        if next(left, None) is None:
            raise ValueError(f"Flagfile '{path}' is one too many: at most {_MOST_FILES} are read.")
        lines = [_unquoted(line.strip()) for line in _read_flagfile(path)]
        flags_of_file = [line for line in lines if line and not line.startswith(("#", "//"))]
        expanded += _expand(flags_of_file, path.parent, (*opened, path.resolve()), left)
    return expanded


def _unquoted(line: str) -> str:
    """Removes quotation marks around a flag's value, as a shell would."""
    name, equals, value = line.partition("=")
    mark = value[:1]
    if mark in ("'", '"') and value.endswith(mark) and value.count(mark) == 2:
        value = value[1:-1]
    return f"{name}{equals}{value}"


def _find_flagfile(path: pathlib.Path, folder: pathlib.Path | None) -> pathlib.Path:
    if folder is not None and (folder / path).is_file():
        return folder / path
    if not path.is_file() and path.parts[:1] == ("configs",):
        shipped = shipped_configs().joinpath(*path.parts[1:])
        if shipped.is_file():
            return shipped
    return path


def shipped_configs() -> pathlib.Path:
    """Returns the folder of flagfiles shipped with this package, in the wheel or the checkout."""
    package = pathlib.Path(__file__).resolve().parents[1]
    installed = package / "configs"  # setup.py puts it there.
    return installed if installed.is_dir() else package.parent / "configs"


def _read_flagfile(path: pathlib.Path) -> list[str]:
    if path.stat().st_size > _MOST_BYTES:
        raise ValueError(f"Flagfile '{path}' is larger than {_MOST_BYTES:,} bytes.")
    try:
        content = path.read_bytes()
        # Windows editors may begin a file with a byte order mark.
        utf_16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        return content.decode("utf-16" if utf_16 else "utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"Flagfile '{path}' is not a text file in UTF-8 or UTF-16.") from error
    except OSError as error:
        raise ValueError(f"Flagfile '{path}' cannot be read: {error.strerror}.") from error


def read_flagfile(path: str | pathlib.Path) -> TrainingConfig:
    """Returns the `TrainingConfig` that `python -m amr_tf.train --flagfile=PATH` would train.

    Raises:
        ValueError: the file, or one that it names, does not exist or sets an unknown flag.
    """
    flag_values = flags.FlagValues()
    define_flags(TrainingConfig, flag_values)
    try:
        rest = flag_values(["amr_tf.train", *expand_flagfiles([f"--flagfile={path}"])])
    except flags.Error as error:
        raise ValueError(f"Flagfile '{path}': {error}") from error
    if len(rest) > 1:
        raise ValueError(f"Flagfile '{path}' holds '{rest[1]}', which is not --name=value.")
    return config_from_flags(TrainingConfig, flag_values)
