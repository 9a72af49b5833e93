"""The wheel: what is in it, and that it works where there is no checkout."""

import os
import pathlib
import shutil
import subprocess
import sys
import zipfile

import pytest

pytestmark = pytest.mark.slow

ROOT = pathlib.Path(__file__).parents[1]
# What a build reads.
SOURCES = (
    *("amr_tf", "amr_command.py", "configs"),
    *("pyproject.toml", "setup.py", "README.md", "LICENSE"),
)
FIND_CONFIGS = """\
import amr_tf
from amr_tf.paper import find_cells
from amr_tf.runs.flagfiles import read_flagfile
print(amr_tf.__file__)
print(read_flagfile("configs/digits.cfg").dataset, len(find_cells(1, "mnist")) > 0)
"""

RUN_CONSOLE_SCRIPT = """\
from importlib.metadata import entry_points
(script,) = entry_points(group="console_scripts", name="amr")
script.load()()
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built of a copy of the working tree without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in SOURCES:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, source / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, source)
    build = ["pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    result = _python("-m", *build, "--wheel-dir", str(folder), str(source), cwd=folder)
    assert result.returncode == 0, result.stderr
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A folder with the wheel's files, for PYTHONPATH; what it depends on is the tests'."""
    folder = tmp_path_factory.mktemp("installed")
    zipfile.ZipFile(wheel).extractall(folder)
    return folder


def _python(*arguments, cwd, path=None):
    environment = os.environ if path is None else {**os.environ, "PYTHONPATH": str(path)}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_wheel_holds_the_package_and_the_flagfiles(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    files = {name for name in names if ".dist-info/" not in name}
    package = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "amr_tf").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    flagfiles = (ROOT / "configs").rglob("*.cfg")
    configs = {f"amr_tf/{path.relative_to(ROOT).as_posix()}" for path in flagfiles}
    assert configs
    assert files == package | configs | {"amr_command.py"}
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_wheel_finds_its_flagfiles(installed, tmp_path):
    result = _python("-c", FIND_CONFIGS, cwd=tmp_path, path=installed)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == [str(installed / "amr_tf" / "__init__.py"), "digits True"]


def test_command_of_the_wheel_explains_itself(installed, tmp_path):
    by_module = _python("-m", "amr_tf.train", "--help", cwd=tmp_path, path=installed)
    assert "--mixer" in by_module.stdout, by_module.stderr
    script = ("-c", RUN_CONSOLE_SCRIPT, "train", "--help")
    by_script = _python(*script, cwd=tmp_path, path=installed)
    for result in (by_module, by_script):
        assert (result.returncode, result.stderr) == (0, "")
        assert result.stdout == by_module.stdout
