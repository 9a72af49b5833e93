"""`python -m amr_tf.reproduce` in a process of its own: dry run, kills, and what it leaves."""

import csv
import random
import time

import pytest

from tests import forked
from tests.paper.conftest import write_cells

pytestmark = pytest.mark.slow

# The command in a process that knows the architecture of `folder`.
TINY = "tests.paper.tiny_script"
FLAGS = ("--table=1", "--dataset=mnist", "--runs=1", "--epochs=2")


def run(folder, cwd, *flags, module=TINY):
    """What the command prints, run to its end in a fork."""
    flags = (*FLAGS, f"--configs={folder}", *flags)
    code, out, err = forked.run(module, *flags, cwd=cwd)
    assert code == 0, err
    return out


def figures(path):
    """The rows of a report without their times."""
    with path.open(newline="") as file:
        return [{**row, "seconds": None} for row in csv.DictReader(file)]


def test_kills_lose_nothing(folder, tmp_path):
    """Killed at a moment that the machine's speed decides, it ends as if never."""
    assert "Wrote whole/report.md" in run(folder, tmp_path, "--out=whole")
    expected = figures(tmp_path / "whole" / "report.csv")
    assert len(expected) == 2
    flags = (*FLAGS, f"--configs={folder}", "--out=killed")
    process = forked.start(TINY, *flags, cwd=tmp_path)
    time.sleep(random.Random(0).uniform(1, 9))  # Without the seconds of an import.
    process.kill()
    process.communicate()
    out = run(folder, tmp_path, "--out=killed")
    assert figures(tmp_path / "killed" / "report.csv") == expected
    assert "| AE+GAN | 5 |" in out
    again = run(folder, tmp_path, "--out=killed")
    assert again.count(": finished before") == 2


def test_a_dry_run_writes_nothing(tmp_path, tmp_path_factory):
    folder = write_cells(tmp_path_factory.mktemp("cells"))
    out = run(folder, tmp_path, "--dry_run", module="amr_tf.reproduce")
    lines = out.splitlines()
    assert [line.split(": ")[0] for line in lines[:2]] == [
        "table1_mnist_ae_gan_lambda5_seed0",
        "table1_mnist_amr_mixup_k3_lambda20_seed0",
    ]
    assert lines[2].startswith("2 runs, ")
    assert not list(tmp_path.iterdir())
