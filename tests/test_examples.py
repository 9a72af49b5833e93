"""The examples, each run as a reader would, on little."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

EXAMPLES = pathlib.Path(__file__).resolve().parents[1] / "examples"

pytestmark = pytest.mark.slow


def run(name, *flags, cwd):
    command = [sys.executable, str(EXAMPLES / name), *flags]
    result = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "UserWarning" not in result.stderr  # Such as of a script that imports Keras first.
    return result.stdout


def test_image_folder(tmp_path):
    draws = np.random.default_rng(0)
    for name, level in (("dark", 60), ("bright", 190)):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(20):
            pixels = draws.integers(level - 40, level + 40, (16, 16, 3)).astype("uint8")
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{number}.png")
    flags = ("--images=photos", "--out=out", "--settings=configs/photos32.cfg", "--epochs=2")
    out = run("image_folder.py", *flags, cwd=tmp_path)
    assert out.splitlines()[-1] == f"Exported {pathlib.Path('out/decoder/1')}"
    for name in ("best.keras", "log.csv", "mixes.png", "lines.png", "decoder/1/saved_model.pb"):
        assert (tmp_path / "out" / name).stat().st_size > 0
    assert len((tmp_path / "out" / "log.csv").read_text().splitlines()) == 3


def test_rare_class(tmp_path):
    flags = ("--epochs=1", "--classifier_epochs=1", "--seeds=1", "--keep=5", "--rare=3")
    out = run("rare_class.py", *flags, "--out=out", cwd=tmp_path)
    runs = json.loads((tmp_path / "out" / "results.json").read_text())
    assert len(runs) == 1
    for scores in runs:
        assert list(scores) == ["nothing", "repeated", "pixel blends", "mixes"]
        for score in scores.values():
            assert 0 <= score["rare"] <= 1
            # The mean over ten classes, of which the rare one is one.
            assert score["rare"] / 10 <= score["balanced"] <= 0.9 + score["rare"] / 10
    mean = 100 * np.mean([scores["mixes"]["balanced"] for scores in runs])
    assert f"balanced {mean:5.1f} ± " in out.splitlines()[-1]
    with Image.open(tmp_path / "out" / "rare.png") as picture:
        picture.load()
