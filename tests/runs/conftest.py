"""What the tests of training runs share: tiny settings, and looking into checkpoints."""

import csv
import io
import time
import zipfile

import h5py
import numpy as np
import pytest

from amr_tf import AMR, experiments
from amr_tf.runs.config import TrainingConfig

# A config.json of before there were call strings, as a run on MNIST had it.
OLD_CONFIG = {
    "run_dir": "runs/k2",
    "dataset": "mnist",
    "data_dir": None,
    "image_size": None,
    "validation_fraction": 0.1,
    "train_subset": None,
    "method": "amr",
    "mixer": "mixup",
    "k": 2,
    "lambda_": 10.0,
    "beta": 0.0,
    "reconstruction_loss": "mean_absolute_error",
    "gan_loss": "binary_crossentropy",
    "generator_update_every": 1,
    "latent_channels": 2,
    "latent_width": 4,
    "depth": 16,
    "output_activation": "none",
    "epochs": 60,
    "batch_size": 64,
    "learning_rate": 0.0001,
    "probe_learning_rate": 0.003,
    "beta_1": 0.5,
    "beta_2": 0.99,
    "epsilon": 1e-08,
    "l2_weight_decay": 1e-05,
    "seed": 0,
    "sample_every": 10,
    "checkpoint_every": 1,
    "verbose": 2,
}


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
    monkeypatch.setattr(
        experiments, "evaluate", lambda model, data, probes: {"classes": data.num_classes}
    )


@pytest.fixture
def config(tmp_path):
    """A run of three epochs of four steps, each shorter than a blink."""
    return tiny_config(tmp_path / "run")


def tiny_config(run_dir, **changes):
    settings = {
        "run_dir": str(run_dir),
        "image_size": 8,
        "architecture": "convolutional(depth=2)",
        "train_subset": 131,  # Three images more than four batches.
        "batch_size": 32,
        "epochs": 3,
        "probe_optimizer": "adam_l2(learning_rate=0.01)",
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
