"""Two replicas on logical CPU devices against one device; what they run is `replicas_script`."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parents[2]
CASES = ("every_second", "gaia", "averages_and_looks")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What the script wrote, in a process of its own with two devices."""
    path = tmp_path_factory.mktemp("replicas")
    command = [sys.executable, "-m", "tests.models.replicas_script", str(path)]
    done = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return path


@pytest.mark.parametrize("case", CASES)
def test_two_replicas_make_the_steps_of_one_device(folder, case):
    one, two = np.load(folder / f"{case}_one.npz"), np.load(folder / f"{case}_two.npz")
    assert one.files == two.files
    # Moments can be large: they agree relative to their size.
    for kind, rtol in (("weight", 0), ("moment", 1e-4)):
        names = [name for name in one.files if name.startswith(kind)]
        assert len(names) > 25
        for name in names:
            np.testing.assert_allclose(two[name], one[name], rtol=rtol, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("case", CASES)
def test_metrics_are_those_of_the_global_batch(folder, case):
    # A third of the labels is unknown, and the last validation batch is smaller.
    one, two = np.load(folder / f"{case}_one.npz"), np.load(folder / f"{case}_two.npz")
    metrics = [name for name in one.files if name.startswith("metric")]
    assert {"metric_probe_accuracy", "metric_val_probe_loss", "metric_val_loss"} <= set(metrics)
    for name in metrics:
        np.testing.assert_allclose(two[name], one[name], rtol=1e-4, err_msg=name)


def test_the_balance_of_gaia_moves(folder):
    balance = np.load(folder / "gaia_one.npz")["metric_discriminator_balance"]
    assert 0.01 < balance < 0.99


@pytest.mark.parametrize("name", ("permutations", "coefficients", "codes", "augmented"))
def test_replicas_draw_differently(folder, name):
    first, second = np.load(folder / "draws.npz")[name]
    assert not np.array_equal(first, second)


def test_the_first_replica_draws_as_one_device_and_states_stay_equal(folder):
    draws = np.load(folder / "draws.npz")
    np.testing.assert_array_equal(draws["permutations"][0], draws["alone"])
    np.testing.assert_array_equal(draws["states"][0], draws["states"][1])
    assert draws["states"][0].tolist() == [3, 2]


def test_gradients_are_summed_before_the_decay_is_added(folder):
    updates = np.load(folder / "updates.npz")
    for name in ("decayed", "by_schedule"):
        np.testing.assert_allclose(updates[name], updates[f"{name}_alone"], rtol=1e-6)
        assert updates[name] < 1.0


def test_a_nan_on_one_replica_skips_the_update_on_all(folder):
    updates = np.load(folder / "updates.npz")
    assert updates["scaled"].tolist() == [1.0]
    assert updates["scale"] == 0.5
    assert updates["iterations"] == 0
