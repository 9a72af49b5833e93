"""The Python of README.md and docs/python.md runs as it stands, in an empty folder."""

import ast
import pathlib
import re

import pytest

from tests import forked

README = pathlib.Path(__file__).parent.parent / "README.md"
TEXTS = [README.read_text(), (README.parent / "docs" / "python.md").read_text()]
BLOCKS = re.findall(r"```python\n(.*?)```", "\n".join(TEXTS), flags=re.DOTALL)


def names_in(statements, context):
    """The names that are read (`ast.Load`), or set (`ast.Store`)."""
    nodes = [node for statement in statements for node in ast.walk(statement)]
    return {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, context)}


def runs_within(block, longer):
    """Whether a longer block has the block's statements, and nothing else that they read."""
    own, others = ast.parse(block).body, iter(ast.parse(longer).body)
    more = []
    for statement in own:
        for other in others:
            if ast.dump(other) == ast.dump(statement):
                break
            more.append(other)
        else:
            return False
    more += others
    imports = any(isinstance(each, ast.Import | ast.ImportFrom) for each in more)
    return bool(more) and not imports and not names_in(own, ast.Load) & names_in(more, ast.Store)


RUN = [
    number
    for number, block in enumerate(BLOCKS)
    if not any(runs_within(block, longer) for longer in BLOCKS)
]


@pytest.mark.slow
@pytest.mark.parametrize("number", RUN)
def test_block_runs(number, tmp_path):
    code = BLOCKS[number]
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
