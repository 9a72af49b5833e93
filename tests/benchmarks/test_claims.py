"""benchmarks/claims.py: differences paired by seed, and what follows from their intervals."""

import json
import pathlib
import subprocess
import sys

import pytest

from benchmarks import claims

ROOT = pathlib.Path(__file__).resolve().parents[2]


def test_the_interval_of_a_paired_difference():
    # Differences of 1, 2 and 3: mean 2, standard error 1 / sqrt(3), t(0.975, 2) = 4.303.
    ours, theirs = {0: 11.0, 1: 12.0, 2: 13.0, 7: 99.0}, {0: 10.0, 1: 10.0, 2: 10.0, 8: 0.0}
    mean, low, high = claims.compare(ours, theirs, 0.95)
    assert (mean, low, high) == pytest.approx(
        (2.0, 2 - 4.303 / 3**0.5, 2 + 4.303 / 3**0.5), abs=1e-3
    )
    assert claims.verdict(low, high) == "open"
    assert claims.verdict(*claims.compare(ours, theirs, 0.8)[1:]) == "confirmed"
    assert claims.verdict(*claims.compare(theirs, ours, 0.8)[1:]) == "refuted"


def test_one_seed_has_no_interval():
    with pytest.raises(ValueError, match="at least 2 seeds that both have; got 1"):
        claims.compare({0: 1.0, 1: 2.0}, {1: 2.0, 2: 3.0}, 0.95)


def test_the_command(tmp_path):
    for method, figures in {
        "amr_k2": (0.72, 0.73),
        "ae_gan": (0.70, 0.71),
        "vae": (0.7, 0.69),
    }.items():
        for seed, accuracy in enumerate(figures):
            results = {"linear_probe": {"test_accuracy": accuracy}}
            (tmp_path / f"{method}-{seed}.json").write_text(json.dumps(results))
    command = [sys.executable, str(ROOT / "benchmarks" / "claims.py"), f"--results={tmp_path}"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert printed.splitlines()[2:] == [
        "| `amr_k2` | +2.0 | +2.0 to +2.0 | 2 | confirmed |",
        "| `vae` | -1.0 | -13.7 to +11.7 | 2 | open |",
    ]
