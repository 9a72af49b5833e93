"""The package's folders: which may import which, and that their names cannot be mistaken."""

import ast
import itertools
import os
import pathlib
import pkgutil

import pytest

import amr_tf
from amr_tf.commands import COMMANDS

PACKAGE = pathlib.Path(amr_tf.__file__).parent
# Each may import those before it, and what belongs to none of them; data and networks stand beside
# each other.
ORDER = ("data", "networks", "mixers", "models", "runs", "metrics", "figures")
LAST = {"savedmodel", "hub", "rest", "search", "paper", "commands", "experiments", *COMMANDS}
BESIDE = {("networks", "data")}


def imports_of(path):
    """The modules of the package that a module imports, functions' own imports included."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("room", ORDER)
def test_data_flow_one_way(room):
    files = sorted((PACKAGE / room).rglob("*.py"))
    assert files
    later = {*ORDER[ORDER.index(room) + 1 :], *LAST}
    later |= {lower for upper, lower in BESIDE if upper == room}
    forbidden = {f"amr_tf.{name}" for name in later}
    for path in files:
        for name in imports_of(path):
            top = ".".join(name.split(".")[:2])
            assert top not in forbidden, f"{path.relative_to(PACKAGE)} imports {name}"


def test_names_differ_by_more_than_an_ending():
    """A command is no folder's name with another ending: no `train` beside `training`."""
    rooms = {module.name for module in pkgutil.iter_modules(amr_tf.__path__) if module.ispkg}
    assert {*ORDER, "savedmodel", "rest", "search", "paper", "commands"} == rooms
    for one, other in itertools.combinations(sorted({*rooms, *COMMANDS}), 2):
        assert len(os.path.commonprefix([one, other])) < 4, f"{one} and {other}"
