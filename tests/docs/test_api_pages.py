"""Every public name has a page in docs/api/, and the pages name only what exists."""

import importlib
import pathlib
import pkgutil
import re

import pytest

import amr_tf

PAGES = pathlib.Path(__file__).parents[2] / "docs" / "api"
# What a page shows: a module or class, and whether with all modules below it.
SHOWN = {
    name: "show_submodules: true" in (options or "")
    for page in PAGES.glob("*.md")
    for name, options in re.findall(
        r"^::: (\S+)\n(?: +options: (.*)\n)?", page.read_text(), flags=re.MULTILINE
    )
}
PACKAGES = [
    module.name for module in pkgutil.iter_modules(amr_tf.__path__, "amr_tf.") if module.ispkg
]


def _is_shown(module_name):
    """Whether a page names the module, or one above it together with what is below."""
    above = module_name.split(".")[:-1]
    packages = [".".join(above[:length]) for length in range(1, len(above) + 1)]
    return module_name in SHOWN or any(SHOWN.get(package) for package in packages)


@pytest.mark.parametrize("name", PACKAGES)
def test_package_is_shown(name):
    assert _is_shown(name)


@pytest.mark.parametrize("name", [name for name in amr_tf.__all__ if name != "__version__"])
def test_name_of_the_package_is_shown(name):
    """By a page of a package that exports it, or of the module that defines it."""
    value = getattr(amr_tf, name)
    if not hasattr(value, "__module__"):
        assert _is_shown(value.__name__)
        return
    exporting = [package for package in SHOWN if name in getattr(_module(package), "__all__", ())]
    exporting.remove("amr_tf")  # Its page lists no members.
    assert exporting or _is_shown(value.__module__)


@pytest.mark.parametrize("name", SHOWN)
def test_shown_name_exists(name):
    if _module(name) is None:
        module, _, member = name.rpartition(".")
        assert hasattr(importlib.import_module(module), member)


def _module(name):
    """The module of that name, or None."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        return None
