"""docs/data.md holds what it says: its Python, in order, is a script that trains."""

import pathlib
import re

from tests import forked

TEXT = (pathlib.Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)


def test_text_is_a_script_that_trains(tmp_path):
    script = "\n".join([*PYTHON, "print(sorted(history.history))"])
    (tmp_path / "my_data.py").write_text(script, encoding="utf-8")
    code, out, errors = forked.run("my_data", cwd=tmp_path)
    assert code == 0, errors
    (promised,) = re.findall(r"print\(.*\)  # (.*)", TEXT)
    assert promised in out
    assert "'reconstruction_loss'" in out
