"""docs/extending.md holds what it says: its Python, in order, is a script that trains."""

import json
import pathlib
import re
import shlex

import pytest

from tests import forked

TEXT = (pathlib.Path(__file__).parents[2] / "docs" / "extending.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
COMMANDS = re.findall(r"```bash\n(.*?)```", TEXT, flags=re.DOTALL)


@pytest.mark.slow
def test_text_is_a_script_that_trains(tmp_path):
    """The blocks fit, save and load by themselves; the command trains with all three names."""
    command = shlex.split(COMMANDS[0])
    assert command[:2] == ["python", "my_train.py"]
    (tmp_path / "my_train.py").write_text("\n".join(PYTHON), encoding="utf-8")
    code, out, errors = forked.run("my_train", *command[2:], "--verbose=0", cwd=tmp_path)
    assert code == 0, errors
    for promised in re.findall(r"print\(.*\)  # (.*)", TEXT):
        assert promised in out
    assert (tmp_path / "mine.keras").exists()
    config = json.loads((tmp_path / "runs/mine/config.json").read_text())
    names = {name: config[name] for name in ("dataset", "method", "mixer", "k")}
    assert names == {"dataset": "stripes", "method": "weighed", "mixer": "mine", "k": 3}
    assert (tmp_path / "runs/mine/results.json").exists()


def test_text_shows_each_kind():
    """A mixer, a data set and a method are registered, and one command names them all."""
    script = "\n".join(PYTHON)
    registered = dict(re.findall(r"(MIXERS|DATASETS|METHODS)\.register\(\"(\w+)\"\)", script))
    assert len(COMMANDS) == 1
    for registry, flag in (("MIXERS", "mixer"), ("DATASETS", "dataset"), ("METHODS", "method")):
        assert f"--{flag}={registered[registry]} " in COMMANDS[0]
