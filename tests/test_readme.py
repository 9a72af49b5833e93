"""The Python of README.md and docs/python.md runs as it stands, in an empty folder."""

import pathlib
import re

import pytest

from tests import forked

README = pathlib.Path(__file__).parent.parent / "README.md"
TEXTS = [README.read_text(), (README.parent / "docs" / "python.md").read_text()]
BLOCKS = re.findall(r"```python\n(.*?)```", "\n".join(TEXTS), flags=re.DOTALL)


@pytest.mark.slow
@pytest.mark.parametrize("code", BLOCKS, ids=range(len(BLOCKS)))
def test_block_runs(code, tmp_path):
    (tmp_path / "block.py").write_text(code)
    # Not as __main__: the script of one's own mixer would train (tests/commands/ runs one).
    (tmp_path / "reader.py").write_text("import block")
    status, _, errors = forked.run("reader", cwd=tmp_path)
    assert status == 0, errors


def test_first_script_is_short():
    """The issue's promise: a user's script that fits an array in under 15 lines."""
    assert "model.fit(" in BLOCKS[0]
    assert len(BLOCKS[0].strip().splitlines()) < 15


def test_named_files_exist():
    text = README.read_text()
    named = set(re.findall(r"configs/[\w/.]+\.cfg|docs/[\w/.]+\.(?:md|png|jpg)", text))
    assert named
    missing = [path for path in named if not (README.parent / path).exists()]
    assert not missing
