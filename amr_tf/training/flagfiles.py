"""Flags from a config's fields, configs from flags, and files of flags."""

import dataclasses
import pathlib
import sys
import typing

from absl import flags

from amr_tf.training.config import TrainingConfig, flag_name

_DEFINE = {
    str: flags.DEFINE_string,
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
}


def define_flags(config_class, flag_values=flags.FLAGS, leave_out=()):
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
            module_name=sys.argv[0],
        )


def config_from_flags(config_class, base=None, flag_values=flags.FLAGS):
    """A config of the flags' values.

    Args:
        config_class: the dataclass that `define_flags` was given.
        base: a config that gives the values of flags that the user did not set, or None for the
            flags' defaults.
        flag_values: absl's flags.
    """
    values = {}
    for field in dataclasses.fields(config_class):
        flag = flag_values[flag_name(field)]
        unset = base is not None and not flag.present
        values[field.name] = getattr(base, field.name) if unset else flag.value
    return config_class(**values)


def flags_that_were_set(config_class, flag_values=flags.FLAGS, leave_out=()):
    """Names and values of the fields whose flags the user set; arguments as of `define_flags`."""
    return {
        field.name: flag_values[flag_name(field)].value
        for field in dataclasses.fields(config_class)
        if field.name not in leave_out and flag_values[flag_name(field)].present
    }


def expand_flagfiles(arguments, folder=None, opened=()):
    """Replaces each `--flagfile=FILE` by the flags in the file.

    absl does so too, but looks for a file that another one names in the working directory; here it
    is looked for beside the file that names it first, so that `configs/paper/` works from
    anywhere.

    Args:
        arguments: command line arguments.
        folder: where the file lies that they come from, or None for the command line.
        opened: the files that are being read.

    Raises:
        ValueError: a file is not there, is no text, or names itself.
    """
    expanded = []
    arguments = iter(arguments)
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if name not in ("--flagfile", "-flagfile"):
            expanded.append(argument)
            continue
        if not equals:  # `--flagfile FILE`
            value = next(arguments, "")
        if not value:
            raise ValueError("--flagfile needs the name of a file.")
        path = pathlib.Path(value).expanduser()
        if folder is not None and (folder / path).is_file():
            path = folder / path
        if path.resolve() in opened:
            raise ValueError(f"Flagfile '{path}' includes itself.")
        lines = [line.strip() for line in _read_flagfile(path)]
        flags_of_file = [line for line in lines if line and not line.startswith(("#", "//"))]
        expanded += expand_flagfiles(flags_of_file, path.parent, (*opened, path.resolve()))
    return expanded


def _read_flagfile(path):
    if not path.is_file():
        raise ValueError(f"Flagfile '{path}' does not exist.")
    try:
        return path.read_text().splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"Flagfile '{path}' is no text file.") from error
    except OSError as error:
        raise ValueError(f"Flagfile '{path}' cannot be read: {error.strerror}.") from error


def read_flagfile(path):
    """The `TrainingConfig` that `python -m amr_tf.train --flagfile=PATH` would train.

    Raises:
        ValueError: the file, or one that it names, is not there, or sets what is no flag.
    """
    flag_values = flags.FlagValues()
    define_flags(TrainingConfig, flag_values)
    try:
        rest = flag_values(["amr_tf.train", *expand_flagfiles([f"--flagfile={path}"])])
    except flags.Error as error:
        raise ValueError(f"Flagfile '{path}': {error}") from error
    if len(rest) > 1:
        raise ValueError(f"Flagfile '{path}' holds '{rest[1]}', which is no --name=value.")
    return config_from_flags(TrainingConfig, flag_values=flag_values)
