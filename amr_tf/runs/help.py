"""The text of `--help`: all settings of a run, and the names they accept."""

import dataclasses
import inspect
import textwrap
from collections.abc import Container

from amr_tf.optimizers import SCHEDULES
from amr_tf.registry import Registry
from amr_tf.runs.config import REGISTRIES, TrainingConfig, flag_name
from amr_tf.runs.trackers import TRACKERS

_WIDTH = 100
_INDENT = 4
_MORE = "--helpfull describes each of them.\n"
# The registries listed by `--help`, in order, by their flags.
_LISTED = (
    *("method", "mixer", "architecture", "dataset", "augmentation", "probe"),
    *("reconstruction_loss", "gan_loss", "discriminator_augmentation"),
)


def short_help(usage: str, further: dict[str, str], leave_out: Container[str] = ()) -> str:
    """Returns the help text: all settings of a run, and the names they accept.

    Args:
        usage: the first lines of the text.
        further: the command's own flags and their help.
        leave_out: names of fields that are not flags of the command.
    """
    lines = [usage.strip(), ""]
    groups: dict[str, list] = {}
    for field in dataclasses.fields(TrainingConfig):
        if field.name in leave_out:
            continue
        groups.setdefault(field.metadata["group"], []).append(field)
    if further:
        lines += ["Command"] + [_line(f"--{name}", text) for name, text in further.items()]
    for group, fields in groups.items():
        lines.append(group)
        lines += [_line(_flag(field), field.metadata["help"]) for field in fields]
    lines += [
        "",
        "Names may have parameters; quote them in a shell: --mixer='gaussian(sigma=0.3)'.",
    ]
    lines += ["Flags without a value take the method's default. Parameters have these defaults:"]
    for name in _LISTED:
        registry = REGISTRIES[name]
        entries = [registry.describe(entry) for entry in registry.names()]
        lines += _wrapped(f"--{name}", entries)
    optimizers = REGISTRIES["autoencoder_optimizer"]
    names = (name for name in optimizers.names() if name != "adam_l2")
    own = [optimizers.canonical("adam_l2"), *names]
    lines += _wrapped("--..._optimizer", own)
    lines += _wrapped("learning_rate=", SCHEDULES.names())
    lines += _wrapped("--trackers", [TRACKERS.describe(name) for name in TRACKERS.names()])
    return "\n".join([*lines, "", _MORE])


def full_help(usage: str, further: dict[str, str], leave_out: Container[str] = ()) -> str:
    """Returns `short_help`, followed by the parameters and summary of every name."""
    lines = [short_help(usage, further, leave_out).removesuffix(_MORE)]
    registries = {f"--{name}": REGISTRIES[name] for name in _LISTED}
    registries |= {"--..._optimizer": REGISTRIES["autoencoder_optimizer"]}
    registries |= {"learning_rate=": SCHEDULES, "--trackers": TRACKERS}
    for title, registry in registries.items():
        lines += [title, *_entries(registry)]
    return "\n".join(lines) + "\n"


def _entries(registry: Registry) -> list[str]:
    lines = []
    for name in registry.names():
        own = registry.describe(name)
        lines += textwrap.wrap(own, _WIDTH, initial_indent="  ", subsequent_indent="      ")
        doc = (inspect.getdoc(registry.get(name)) or "").partition("\n\n")[0]
        lines += textwrap.wrap(doc, _WIDTH, initial_indent="      ", subsequent_indent="      ")
    return [*lines, ""]


def _flag(field: dataclasses.Field) -> str:
    default = "" if field.default is None else field.default
    return f"--{flag_name(field)}={default}"


def _line(flag: str, text: str) -> str:
    first = f"  {flag:<28} "
    return textwrap.fill(text, _WIDTH, initial_indent=first, subsequent_indent=" " * len(first))


def _wrapped(title: str, entries: list[str]) -> list[str]:
    """Returns a title and its entries, as many per line as fit."""
    indent = " " * (_INDENT + 2)
    rows = [""]
    for entry in entries:
        longer = f"{rows[-1]}, {entry}" if rows[-1] else entry
        if rows[-1] and len(indent + longer) >= _WIDTH:  # Leaves room for a comma.
            rows[-1] += ","
            rows.append(entry)
        else:
            rows[-1] = longer
    lines = [f"  {title}"]
    for row in rows:  # One entry alone may be longer than a line.
        lines += textwrap.wrap(row, _WIDTH, initial_indent=indent, subsequent_indent=indent)
    return lines
