"""README.md and docs/: the flags of each command exist, and its values are allowed."""

import pathlib
import re
import shlex

import pytest

from amr_tf.commands import COMMANDS, amr
from amr_tf.runs.config import TrainingConfig
from amr_tf.runs.flagfiles import config_from_flags, expand_flagfiles
from amr_tf.search import SearchSpace, make_tuner, tuner

_ROOT = pathlib.Path(__file__).parents[2]
_PAGES = [_ROOT / "README.md", *sorted((_ROOT / "docs").glob("*.md"))]
_SHELL = (">", "|", "&", "&&", "2>&1")
_COMMAND = re.compile(r"(?:\bamr |-m amr_tf\.)\w")


def documented():
    """The commands in shell blocks, as (command, arguments), but for those with variables."""
    found = {}
    for page in _PAGES:
        for block in re.findall(r"```bash\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                if not _COMMAND.search(line) or "$" in line or "--help" in line:
                    continue
                parts = shlex.split(line, comments=True)
                end = next((i for i, part in enumerate(parts) if part in _SHELL), len(parts))
                for start, part in enumerate(parts[:end]):
                    name = part.removeprefix("amr_tf.")
                    before = parts[start - 1] if start else ""
                    if name in COMMANDS and before in ("amr", "-m"):
                        found[f"{page.name}: {' '.join(parts[start:end])}"] = (
                            name,
                            parts[start + 1 : end],
                        )
    return found


DOCUMENTED = documented()


def test_there_are_some_of_each():
    assert {name for name, _ in DOCUMENTED.values()} == set(COMMANDS)


@pytest.mark.parametrize("case", DOCUMENTED)
def test_flags(case, tmp_path, monkeypatch):
    name, arguments = DOCUMENTED[case]
    monkeypatch.chdir(_ROOT)
    # The reader makes these first.
    arguments = [each for each in arguments if not each.startswith("--flagfile=runs/")]
    values = amr.command(name).new_flags()
    assert values([name, *expand_flagfiles(arguments)]) == [name]
    if name in ("train", "tune"):
        config = config_from_flags(TrainingConfig, values)
        config.validate()
    if name == "tune":
        monkeypatch.setattr(tuner, "_check_labels", lambda config: None)
        space = SearchSpace.parse(values.search)
        make_tuner(config, space, tmp_path, values.oracle, values.max_trials, values.executions)
