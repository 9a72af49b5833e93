"""benchmarks/gpu.py runs on a machine without a GPU, with small sizes: each kind of case once."""

import csv
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_cases_and_checks(tmp_path):
    command = [
        *(sys.executable, str(ROOT / "benchmarks" / "gpu.py"), "--quick", "--seconds=0.01"),
        *(f"--out={tmp_path}", f"--golden={ROOT}/tests/golden/acai_original*.npz"),
        # XLA takes a minute on a CPU.
        *("--cases=amr_tf:bfloat16:64:graph,amr_tf:float32:64:nonsense,train:float32:2",),
        *("--jobs=3", "--checks=golden,replicas,export"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    with (tmp_path / "gpu.csv").open(newline="", encoding="utf-8") as file:
        rows = {row["case"]: row for row in csv.DictReader(file)}
    assert set(rows) == {"amr_tf:bfloat16:64:graph", "train:float32:2"}
    for row in rows.values():
        assert float(row["images_per_second"]) > 0
        assert float(row["first_step_s"]) > 0
    checks = dict(
        line.split(": ", 1) for line in (tmp_path / "checks.txt").read_text().splitlines()
    )
    assert "failed" in checks["amr_tf:float32:64:nonsense"]
    passed, of = checks["golden"].split("'")[3].split(" of ")
    assert passed == of
    for name in ("replicas", "export"):
        assert float(checks[name].split(": ")[1].rstrip("}")) < 1e-5
    assert done.stdout.count("\n") == 7
