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


# The registries of the page, and the flags that their names are given to.
FLAGS = {
    "MIXERS": "mixer",
    "DATASETS": "dataset",
    "METHODS": "method",
    "ARCHITECTURES": "architecture",
    "RECONSTRUCTION_LOSSES": "reconstruction_loss",
    "OPTIMIZERS": "autoencoder_optimizer",
    "TRACKERS": "trackers",
}


@pytest.mark.slow
def test_text_is_a_script_that_trains(tmp_path):
    """The blocks fit, save and load by themselves; the command trains with every name."""
    command = shlex.split(COMMANDS[0].replace("\\\n", " "))
    assert command[:2] == ["python", "my_train.py"]
    (tmp_path / "my_train.py").write_text("\n".join(PYTHON), encoding="utf-8")
    code, out, errors = forked.run("my_train", *command[2:], "--verbose=0", cwd=tmp_path)
    assert code == 0, errors
    for promised in re.findall(r"print\(.*\)  # (.*)", TEXT):
        assert promised in out
    assert (tmp_path / "leaning.keras").exists()
    config = json.loads((tmp_path / "runs/mine/config.json").read_text())
    assert {name: config[name] for name in (*FLAGS.values(), "k")} == {
        "dataset": "stripes(count=400)",
        "method": "weighted(mix_weight=0.25)",
        "mixer": "leaning(share=0.8)",
        "architecture": "dense(width=32, latent_dim=8)",
        "reconstruction_loss": "charbonnier(epsilon=0.01)",
        "autoencoder_optimizer": "sign_sgd(learning_rate=0.001, momentum=0.0)",
        "trackers": "json_lines(name='curve.jsonl')",
        "k": 3,
    }
    assert (tmp_path / "runs/mine/results.json").exists()
    assert len((tmp_path / "runs/mine/curve.jsonl").read_text().splitlines()) == 1


def test_text_shows_each_kind():
    """One of each kind is registered, and one command names them all with a parameter."""
    script = "\n".join(PYTHON)
    registered = dict(re.findall(r"(\w+)\.register\(\"(\w+)\"\)", script))
    assert len(COMMANDS) == 1
    assert set(registered) == set(FLAGS)
    for registry, flag in FLAGS.items():
        assert f'--{flag}="{registered[registry]}(' in COMMANDS[0]
