"""What the tests of training runs share: tiny settings, and looking into checkpoints."""

import csv
import io
import time
import zipfile

import h5py
import numpy as np
import pytest

from amr_tf import AMR
from amr_tf.training import run as run_lib
from amr_tf.training.config import TrainingConfig


def checkpoint_arrays(path):
    """Everything a `.keras` file holds in numbers: a dictionary from names to arrays."""
    arrays = {}

    def keep(name, item):
        if isinstance(item, h5py.Dataset):
            arrays[name] = item[()]

    with zipfile.ZipFile(path) as archive:
        weights = io.BytesIO(archive.read("model.weights.h5"))
    with h5py.File(weights) as file:
        file.visititems(keep)
    return arrays


def assert_same_checkpoint(path, expected):
    """Networks, optimizers, random generator and counter are the same to the last bit."""
    found, wanted = checkpoint_arrays(path), checkpoint_arrays(expected)
    assert found.keys() == wanted.keys()
    different = [name for name in wanted if not np.array_equal(found[name], wanted[name])]
    assert different == []


def read_log(path):
    """The rows of a `log.csv`, as dictionaries of floats."""
    with path.open(newline="") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def wait_for(condition, process, seconds=300, pause=0.1):
    """Returns once a condition holds, while a process (`subprocess.Popen`) runs."""
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "It did not come about."
        time.sleep(pause)


@pytest.fixture
def unevaluated(monkeypatch):
    """Runs without figures at their end: these cost time, and have tests of their own."""
    monkeypatch.setattr(run_lib, "evaluate", lambda model, data: {"classes": data.num_classes})


@pytest.fixture
def config(tmp_path):
    """A run of three epochs of four steps, each shorter than a blink."""
    return tiny_config(tmp_path / "run")


def tiny_config(run_dir, **changes):
    settings = {
        "run_dir": str(run_dir),
        "image_size": 8,
        "depth": 2,
        "train_subset": 131,  # Three images more than four batches.
        "batch_size": 32,
        "epochs": 3,
        "probe_learning_rate": 0.01,
        "sample_every": 0,
        "verbose": 0,
    }
    return TrainingConfig(**{**settings, **changes})


@pytest.fixture(scope="module")
def model():
    """A compiled model of 8x8 images that has seen no data."""
    model = AMR.convolutional((8, 8, 1), depth=2, num_classes=10, k=3, seed=0)
    model.compile()
    return model
