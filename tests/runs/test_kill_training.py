"""Real runs, killed at random moments and resumed; `benchmarks/kill_training.py` does 100."""

import pathlib
import subprocess
import sys

import pytest

# The smallest run: the benchmark's own takes twice as long.
FLAGS = (
    "--dataset=spiral '--architecture=mlp(hidden=(8,))' --train_subset=512 --batch_size=64 "
    "--sample_every=0 --verbose=0"
)
ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_killed_runs_end_as_one_that_was_left_alone(tmp_path):
    script = ROOT / "benchmarks" / "kill_training.py"
    # One kill falls anywhere, one into a write.
    flags = ("--kills=2", "--chains=1", "--epochs=3", f"--flags={FLAGS}")
    run = subprocess.run(
        [sys.executable, script, *flags, f"--out={tmp_path}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.splitlines()[-1].startswith("2 kills, seed 0")
    assert (tmp_path / "chain0" / "results.json").exists()
