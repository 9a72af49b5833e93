"""Runs in a folder: what they leave, what they refuse, and that a resumed run is the same run."""

import concurrent.futures
import csv
import dataclasses
import errno
import json
import math
import os
import signal
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import amr_tf
from amr_tf.data import ImageData, Split, dsprites, prepared
from amr_tf.experiments import train
from amr_tf.figures.sheet import label_inches
from amr_tf.runs import run as run_lib
from amr_tf.runs.callbacks import StopOnSignal
from amr_tf.runs.checkpoints import Checkpoints, load_model, read_state
from amr_tf.runs.comparison import load_runs
from amr_tf.runs.config import TrainingConfig
from amr_tf.runs.folder import RunFolder, load_data, load_run
from amr_tf.savedmodel.run_export import export_run
from tests.runs.conftest import (
    OLD_CONFIG,
    assert_same_checkpoint,
    checkpoint_arrays,
    read_log,
    tiny_config,
)

pytestmark = pytest.mark.usefixtures("tiny")

STEPS = 4  # Per epoch, see tiny_config.
SPIRAL = {
    "dataset": "spiral",
    "architecture": "mlp",
    "image_size": None,
    "probe_optimizer": None,
}
EPOCHS = 3
HEALTH = ("dead_maps", "discriminator_accuracy", "discriminator_spread")
VARIANTS = {
    # The second epoch is the best: a resumed run must remember it.
    "mixup": {"seed": 5, "probe_optimizer": "adam_l2(learning_rate=0.1)"},
    # Three steps of the discriminator to one of the auto-encoder: no divisor of an epoch's four.
    "bernoulli": {"mixer": "bernoulli", "k": 3, "beta": 1.0, "generator_update_every": 3},
    "ae_gan": {"method": "ae_gan", "gan_loss": "least_squares"},
    # The same as "mixup", for tests that train it further; here, too, the second epoch is the best.
    "tiny": {
        "architecture": "tiny",
        "seed": 9,
        "probe_optimizer": "adam_l2(learning_rate=1.0)",
    },
}
# What else has a state that a resumed run must get back.
OTHERS = {
    "vae": {"method": "vae", "autoencoder_optimizer": "adam_l2(learning_rate=1e-3)"},
    # A weight of mixes that moves in every step.
    "gaia": {"method": "gaia(balance_rate=0.5, balance_target=1.0)"},
    "supervised": {
        "method": "supervised_amr(label_mixer=supervised_bernoulli(estimator='concrete'))",
        "mixer": "composite(mixers=('mixup', 'bernoulli', 'spatial'))",
        "k": 3,
        "labelled": 60,
    },
    # Averages beside the weights, and random changes of what the discriminator sees.
    "photos": {
        "architecture": "residual(latent_width=4, latent_channels=3, width=4, critic_width=2)",
        "mixer": "style",
        "autoencoder_optimizer": "adam(learning_rate=1e-3, global_clipnorm=5.0)",
        "ema": 0.9,
        "gan_loss": "hinge",
        "feature_matching": 5.0,
        "look_matching": 4.0,
        "adversarial_warmup": 3,
        "discriminator_augmentation": "diff_augment",
    },
    # A learning rate that falls with the steps made.
    "acai": {
        "method": "acai",
        "autoencoder_optimizer": "adam(learning_rate=cosine_decay(initial_learning_rate=0.01, "
        "decay_steps=5))",
        "discriminator_optimizer": "sgd(momentum=0.9)",
    },
}
# Two epochs of two steps and one batch for validation: without a graph they take less time.
SHORT = {"epochs": 2, "train_subset": 67, "validation_fraction": 0.02}
# The same for tests of what surrounds the training, whatever networks it trains.
TINY = {**SHORT, "architecture": "tiny"}
# What is written at the end of an epoch, and by which function.
PLACES = {
    "checkpoint": [(keras.Model, "save")],
    "log": [(keras.callbacks.CSVLogger, "on_epoch_end")],
    "tensorboard": [(keras.callbacks.TensorBoard, "on_epoch_end")],
}
# How many random generators a checkpoint holds beside Keras' own: mixers' and a VAE's sampling's.
GENERATORS = {"vae": 2, "gaia": 1, "supervised": 5, "acai": 1, "photos": 2}


@keras.saving.register_keras_serializable(package="tests")
class Nearest(amr_tf.Mixer):
    """A user's mixer: three quarters of the image's own code."""

    def draw_coefficients(self, code_shape, batch_size, seed=None):
        others = 0.25 / (self.k - 1)
        row = np.array([0.75] + [others] * (self.k - 1), "float32")
        shape = (batch_size, self.k) + (1,) * len(code_shape)
        return keras.ops.broadcast_to(row.reshape(1, self.k, *(1,) * len(code_shape)), shape)


def files_of(folder):
    """Names and contents of all files below a folder."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder): path.read_bytes() for path in files}


def interrupt_after(monkeypatch, batches=None, validation=False):
    """Lets the next run get a Ctrl-C after so many batches, or in its first validation."""

    class Interrupting(StopOnSignal):
        seen = 0

        def on_train_batch_end(self, batch, logs=None):
            self.seen += 1
            if self.seen == batches:
                self.received = "SIGINT"
            super().on_train_batch_end(batch, logs)

        def on_test_batch_end(self, batch, logs=None):
            if validation:
                self.received = "SIGINT"

    monkeypatch.setattr(run_lib, "StopOnSignal", Interrupting)


def train_in_parts(config, monkeypatch, interruptions):
    """A run that is interrupted after each of so many batches, and then goes on to the end."""
    for number, batches in enumerate(interruptions):
        interrupt_after(monkeypatch, batches)
        assert train(config, resume=number > 0) is None
        step = sum(interruptions[: number + 1])
        assert read_state(RunFolder(config.run_dir).checkpoints)["step"] == step
    monkeypatch.setattr(run_lib, "StopOnSignal", StopOnSignal)
    return train(config, resume=True)


def assert_same_run(folder, expected, results, expected_results, partial_epochs=()):
    """Weights, optimizers, random numbers, best model and value, log and results are the same."""
    states = [read_state(run.checkpoints) for run in (folder, expected)]
    assert states[0]["step"] == states[1]["step"]
    assert states[0]["best"] == states[1]["best"]
    assert_same_checkpoint(states[0]["checkpoint"], states[1]["checkpoint"])
    assert_same_checkpoint(folder.checkpoints / "best.keras", expected.checkpoints / "best.keras")
    rows, expected_rows = read_log(folder.log), read_log(expected.log)
    assert [row["epoch"] for row in rows] == list(range(len(expected_rows)))
    for row, expected_row in zip(rows, expected_rows, strict=True):
        if row["epoch"] in partial_epochs:
            # Means over what was left of the epoch; the validation sees the same model.
            validated = {name for name in expected_row if name.startswith("val_")}
            assert validated
            row = {name: row[name] for name in validated}
            expected_row = {name: expected_row[name] for name in validated}
        assert row == expected_row
    assert results == expected_results
    assert json.loads(folder.results.read_text()) == results


@pytest.fixture(scope="module")
def whole(tmp_path_factory, tiny):
    """A function that gives an uninterrupted run of a variant: its folder and results."""
    made = {}

    def get(variant):
        if variant not in made:
            config = tiny_config(tmp_path_factory.mktemp(variant) / "run", **VARIANTS[variant])
            made[variant] = RunFolder(config.run_dir), train(config)
        return made[variant]

    return get


def test_what_a_run_leaves(whole):
    folder, results = whole("mixup")
    names = sorted(path.name for path in folder.path.iterdir())
    expected = ["checkpoints", "config.json", "data.json", "flagfile.cfg", "lock", "log.csv"]
    assert names == [*expected, "results.json", "tensorboard"]
    assert sorted(path.name for path in folder.checkpoints.iterdir()) == [
        "best.keras",
        f"last-{(EPOCHS - 1) * STEPS:08d}.keras",
        f"last-{EPOCHS * STEPS:08d}.keras",
        "state.json",
    ]
    config = tiny_config(folder.path, **VARIANTS["mixup"]).resolve()
    assert config.mixer == "mixup"  # What was left to the method is written down.
    assert "learning_rate=0.1, beta_1=0.5" in config.probe_optimizer
    assert json.loads(folder.config.read_text())["amr_tf"] == amr_tf.__version__
    assert folder.read_config() == config
    assert folder.flagfile.read_text() == config.to_flagfile()
    assert json.loads(folder.results.read_text()) == results
    for split in ("train", "validation"):
        assert list((folder.tensorboard / split).glob("events.out.tfevents.*"))


def test_the_log(whole):
    folder, _ = whole("mixup")
    rows = read_log(folder.log)
    assert [row["epoch"] for row in rows] == [0, 1, 2]
    metrics = {
        "loss",
        "reconstruction_loss",
        "adversarial_loss",
        "discriminator_loss",
        "probe_loss",
        "probe_accuracy",
    }
    health = {f"health_{name}" for name in HEALTH}
    assert set(rows[0]) == {"epoch", *metrics, *(f"val_{name}" for name in metrics), *health}
    assert all(math.isfinite(value) for row in rows for value in row.values())
    for row in rows:
        parts = 10.0 * row["reconstruction_loss"] + row["adversarial_loss"]
        assert row["loss"] == pytest.approx(parts, rel=1e-5)
    # It learns: nothing in it stands still.
    assert rows[2]["val_reconstruction_loss"] < rows[0]["val_reconstruction_loss"]
    assert rows[2]["val_probe_loss"] < rows[0]["val_probe_loss"]


@pytest.mark.parametrize("variant", ("mixup", "bernoulli", "ae_gan"))
def test_the_results_are_those_of_the_best_epoch(whole, variant):
    folder, results = whole(variant)
    rows = read_log(folder.log)
    accuracies = [row["val_probe_accuracy"] for row in rows]
    assert results["best_val_probe_accuracy"] == max(accuracies)
    best = load_model(folder.checkpoints / "best.keras")
    assert int(best.step_counter) == STEPS * results["best_epoch"]
    tied = [row for row in rows if row["val_probe_accuracy"] == max(accuracies)]
    chosen = rows[results["best_epoch"] - 1]
    assert chosen in tied
    assert chosen["val_reconstruction_loss"] == min(row["val_reconstruction_loss"] for row in tied)
    assert (int(best.step_counter) < STEPS * EPOCHS) == (variant == "mixup")
    assert results["validation"]["probe_accuracy"] == pytest.approx(max(accuracies), abs=1e-6)
    assert set(results) == {
        "best_val_probe_accuracy",
        "best_epoch",
        "validation",
        "test",
        "linear_probe",
    }
    assert ("consistency_loss" in results["test"]) == (variant == "bernoulli")
    assert 0.3 < results["linear_probe"]["test_accuracy"] <= 1


def test_in_another_thread(tmp_path, unevaluated, eager):
    """Python allows signal handlers in the main thread only; a run does without them elsewhere."""
    config = tiny_config(tmp_path / "run", **{**TINY, "epochs": 1})
    with concurrent.futures.ThreadPoolExecutor() as pool:
        results = pool.submit(train, config).result()
    assert 0 <= results["best_val_probe_accuracy"] <= 1


def test_load_run(whole):
    folder, _ = whole("bernoulli")
    config, model = load_run(folder.path)
    assert config == tiny_config(folder.path, **VARIANTS["bernoulli"]).resolve()
    assert type(model.mixer).__name__ == "BernoulliMixup"
    assert (model.mixer.k, model.beta, model.generator_update_every) == (3, 1.0, 3)
    assert model.image_shape == (8, 8, 1)


def test_load_the_newest_checkpoint_of_a_run(whole, tmp_path):
    folder, _ = whole("mixup")
    config, model = load_run(folder.path, epoch="last")
    assert config == folder.read_config()
    assert int(model.step_counter) == EPOCHS * STEPS
    assert int(load_run(folder.path)[1].step_counter) < EPOCHS * STEPS
    (tmp_path / "config.json").write_text(config.to_json())
    with pytest.raises(FileNotFoundError, match=r"^Run '.*' has no checkpoint yet\.$"):
        load_run(tmp_path, epoch="last")


def test_the_config_reaches_the_model(whole):
    _, model = load_run(whole("ae_gan")[0].path)
    assert model.mixer is None
    assert model.name == "ae_gan"
    optimizers = (model.autoencoder_optimizer, model.discriminator_optimizer, model.probe_optimizer)
    rates = [float(optimizer.learning_rate) for optimizer in optimizers]
    np.testing.assert_allclose(rates, [1e-4, 1e-4, 0.01], rtol=1e-6)
    for optimizer in optimizers:
        assert (optimizer.beta_1, optimizer.beta_2) == (0.5, 0.99)
        assert (optimizer.epsilon, optimizer.l2_weight_decay) == (1e-8, 1e-5)


@pytest.mark.parametrize(
    ("variant", "interruptions", "partial_epochs"),
    [
        ("tiny", (1, 8), (0, 2)),  # Once in the first epoch, and once in the last.
        ("bernoulli", (6,), (1,)),
    ],
)
def test_a_run_that_is_interrupted_in_an_epoch(
    whole, tmp_path, monkeypatch, capsys, variant, interruptions, partial_epochs
):
    handler = signal.getsignal(signal.SIGINT)
    config = tiny_config(tmp_path / "run", **VARIANTS[variant])
    results = train_in_parts(config, monkeypatch, interruptions)
    assert signal.getsignal(signal.SIGINT) is handler
    expected, expected_results = whole(variant)
    folder = RunFolder(config.run_dir)
    assert_same_run(folder, expected, results, expected_results, partial_epochs)
    told = capsys.readouterr().out
    assert f"Stopped by SIGINT after step {sum(interruptions)}" in told
    assert f"python -m amr_tf.train --run_dir={config.run_dir} --resume" in told


@pytest.mark.parametrize("variant", OTHERS)
def test_an_interrupted_run_of_another_method(tmp_path, monkeypatch, unevaluated, eager, variant):
    """Two epochs of two steps, stopped in the second."""
    changes = {**SHORT, **OTHERS[variant]}
    whole, config = (tiny_config(tmp_path / name, **changes) for name in ("whole", "run"))
    expected = train(whole)
    results = train_in_parts(config, monkeypatch, (3,))
    folders = RunFolder(config.run_dir), RunFolder(whole.run_dir)
    assert_same_run(*folders, results, expected, partial_epochs=(1,))
    path = read_state(folders[1].checkpoints)["checkpoint"]
    assert path.name == "last-00000004.keras"
    arrays = checkpoint_arrays(path)
    generators = [name for name in arrays if name.endswith("seed_generator_state")]
    assert len(generators) == GENERATORS[variant]
    if variant == "gaia":
        assert 0 < float(load_model(path).balance) < 1


def test_averages_are_what_is_saved_and_used(tmp_path, unevaluated, eager):
    """Every file of a run holds them; the log's figures are theirs."""
    config = tiny_config(tmp_path / "run", **TINY, ema=0.9, monitor="val_loss")
    train(config)
    folder = RunFolder(config.run_dir)
    log = read_log(folder.log)
    data = load_data(config.resolve())
    images = prepared(data.validation, slice(None), data.image_size)
    for name, row in (("last-00000002", log[0]), ("last-00000004", log[1])):
        model = load_model(folder.checkpoints / f"{name}.keras")
        assert model.holds_averages
        error = np.abs(images - model.reconstruct(images)).mean()
        assert row["val_reconstruction_loss"] == pytest.approx(error, rel=1e-5)
        model.use_averages(False)
        assert np.abs(images - model.reconstruct(images)).mean() != pytest.approx(error, rel=1e-5)


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_a_run_that_stops_after_minutes(tmp_path, monkeypatch, unevaluated, eager, capsys, ema):
    """It is evaluated like one that came to its end, and goes on as if it had not stopped."""
    changes = {**TINY, "monitor": "val_loss", "ema": ema}
    whole, config = (tiny_config(tmp_path / name, **changes) for name in ("whole", "run"))
    expected = train(whole)

    class Deadline(run_lib.StopAtDeadline):
        def on_train_batch_end(self, batch, logs=None):
            self._end = 0 if self.model.steps_made == 3 else float("inf")
            super().on_train_batch_end(batch, logs)

    monkeypatch.setattr(run_lib, "StopAtDeadline", Deadline)
    first = train(config.replace(max_minutes=1.0))
    folder = RunFolder(config.run_dir)
    assert first == json.loads(folder.results.read_text())
    assert read_state(folder.checkpoints)["step"] == 3
    assert [row["epoch"] for row in read_log(folder.log)] == [0, 1]
    assert (
        "Stopped after max_minutes = 1, at step 3. Continue with --resume."
        in capsys.readouterr().out
    )
    train(config, resume=True)
    states = [read_state(RunFolder(each.run_dir).checkpoints) for each in (config, whole)]
    assert_same_checkpoint(states[0]["checkpoint"], states[1]["checkpoint"])
    assert expected.keys() == first.keys()


def test_it_says_what_data_were_found():
    images = np.zeros((3, 8, 8, 3), "uint8")
    split = Split(images, np.array([0, 1, 1]))
    data = ImageData("image_folder", split, split, None, ("daisy", "tulip"), 8)
    line = run_lib._data_line(data)
    assert line == "Data: 3 for training, 3 for validation; 2 classes (daisy, tulip)"
    unlabelled = dataclasses.replace(data, test=split, class_names=None)
    line = run_lib._data_line(unlabelled)
    assert line == "Data: 3 for training, 3 for validation, 3 for test; no classes"


@pytest.mark.parametrize(
    ("program", "command"),
    [
        ("/somewhere/bin/amr", "amr train"),
        ("my_train.py", "python my_train.py"),
        ("/somewhere/bin/pytest", "python -m amr_tf.train"),
    ],
)
def test_what_continues_an_interrupted_run(monkeypatch, program, command):
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None)
    monkeypatch.setattr(sys, "argv", [program, "train"])
    assert run_lib._command() == command


def test_an_interruption_after_the_last_batch_and_more_epochs(whole, tmp_path, monkeypatch):
    config = tiny_config(tmp_path / "run", epochs=1, **VARIANTS["tiny"])
    folder = RunFolder(config.run_dir)
    results = train_in_parts(config, monkeypatch, (STEPS,))
    row = read_log(folder.log)[0]
    assert results["best_val_probe_accuracy"] == row["val_probe_accuracy"]
    results = train(config.replace(epochs=EPOCHS), resume=True)
    assert_same_run(folder, whole("tiny")[0], results, whole("tiny")[1])
    assert folder.read_config().epochs == EPOCHS


def test_an_interruption_in_the_validation(whole, tmp_path, monkeypatch):
    config = tiny_config(tmp_path / "run", **VARIANTS["tiny"])
    folder = RunFolder(config.run_dir)
    interrupt_after(monkeypatch, validation=True)
    assert train(config) is None
    assert len(read_log(folder.log)) == 1
    assert read_state(folder.checkpoints)["step"] == STEPS
    monkeypatch.undo()
    results = train(config, resume=True)
    assert_same_run(folder, whole("tiny")[0], results, whole("tiny")[1])


def test_a_run_that_is_killed_between_two_checkpoints(whole, tmp_path, monkeypatch):
    """Epoch 3 is logged and the best, but the checkpoint to resume from is epoch 2's."""

    class Killed(Exception):
        pass

    class Dying(Checkpoints):
        def save(self):
            if int(self.model.step_counter) == EPOCHS * STEPS:
                raise Killed
            super().save()

    config = tiny_config(tmp_path / "run", checkpoint_every=2, **VARIANTS["bernoulli"])
    folder = RunFolder(config.run_dir)
    monkeypatch.setattr(run_lib, "Checkpoints", Dying)
    with pytest.raises(Killed):
        train(config)
    monkeypatch.undo()
    assert len(read_log(folder.log)) == 3
    assert read_state(folder.checkpoints)["step"] == 2 * STEPS
    assert int(load_model(folder.checkpoints / "best.keras").step_counter) == EPOCHS * STEPS
    results = train(config, resume=True)
    assert_same_run(folder, whole("bernoulli")[0], results, whole("bernoulli")[1])


def test_a_run_that_was_killed_before_its_first_checkpoint(whole, tmp_path):
    config = tiny_config(tmp_path / "run", **VARIANTS["tiny"])
    folder, expected = RunFolder(config.run_dir), whole("tiny")[0]
    folder.checkpoints.mkdir(parents=True)
    folder.config.write_text(config.resolve().to_json())
    folder.log.write_text(expected.log.read_text())
    (folder.checkpoints / "partial-last-00000004.keras").write_bytes(b"half a file")
    results = train(config, resume=True)
    assert_same_run(folder, expected, results, whole("tiny")[1])


def test_resuming_a_finished_run_trains_nothing(whole, tmp_path):
    folder, results = whole("tiny")
    before = files_of(folder.path)
    assert train(folder.read_config(), resume=True) == results
    after = files_of(folder.path)
    assert {name: after.get(name) for name in before} == before


def test_images_without_labels(tmp_path):
    """The best epoch is the one that reconstructs best; samples are drawn in each."""
    images = tmp_path / "images"
    images.mkdir()
    generator = np.random.default_rng(0)
    for number in range(40):
        pixels = generator.integers(0, 256, (8, 8, 3), dtype="uint8")
        Image.fromarray(pixels).save(images / f"{number}.png")
    config = tiny_config(
        tmp_path / "run",
        dataset="image_folder",
        data_dir=str(images),
        probe_optimizer=None,
        validation_fraction=0.2,
        train_subset=None,
        batch_size=8,
        epochs=2,
        sample_every=1,
    )
    results = train(config)
    folder = RunFolder(config.run_dir)
    losses = [row["val_reconstruction_loss"] for row in read_log(folder.log)]
    assert results["best_val_reconstruction_loss"] == min(losses)
    assert set(results) == {"best_val_reconstruction_loss", "best_epoch", "validation"}
    assert not any("probe" in name for name in results["validation"])
    best = load_model(folder.checkpoints / "best.keras")
    assert best.probe is None
    assert int(best.step_counter) == STEPS * (1 + int(np.argmin(losses)))
    samples = sorted(folder.samples.iterdir())
    assert [path.name for path in samples] == ["epoch_00001.png", "epoch_00002.png"]
    with Image.open(samples[0]) as picture:
        # The eight validation images, in three rows below a title.
        width = label_inches(["mix of 2 neighbours"]) + 8 * 0.75
        np.testing.assert_allclose(picture.size, (120 * width, 120 * (0.4 + 3 * 0.75)), atol=1)
    assert list((folder.tensorboard / "samples").glob("events.out.tfevents.*"))


def test_points(tmp_path):
    """The spiral: no labels, no probe, and a figure of points in place of images."""
    rate = "adam_l2(learning_rate=1e-2)"
    players = dict.fromkeys(("autoencoder_optimizer", "discriminator_optimizer"), rate)
    changes = {**SPIRAL, "train_subset": 1000, **players}
    config = tiny_config(tmp_path / "run", **changes, epochs=2, sample_every=2)
    results = train(config)
    folder = RunFolder(config.run_dir)
    rows = read_log(folder.log)
    assert all(math.isfinite(value) for row in rows for value in row.values())
    assert rows[1]["val_reconstruction_loss"] < rows[0]["val_reconstruction_loss"]
    assert not any("probe" in name for name in rows[0])
    assert set(results) == {"best_val_reconstruction_loss", "best_epoch", "validation", "test"}
    assert results["best_val_reconstruction_loss"] == rows[1]["val_reconstruction_loss"]
    assert [path.name for path in folder.samples.iterdir()] == ["epoch_00002.png"]
    with Image.open(folder.samples / "epoch_00002.png") as picture:
        pixels = np.asarray(picture.convert("RGB"), dtype="int64")
    # Real points in blue, decoded mixes in orange.
    for colour in ((31, 119, 180), (255, 127, 14)):
        assert (abs(pixels - colour).max(axis=-1) < 10).sum() > 100
    _, model = load_run(folder.path)
    assert (model.image_shape, model.latent_shape) == ((2,), (2,))


def test_few_labels_train_the_encoder(tmp_path):
    """Semi-supervised: 20 of the 131 images have labels, and the probe's loss counts."""
    changes = {"architecture": "tiny", "labelled": 20, "supervision": 2.0}
    config = tiny_config(tmp_path / "run", **changes, epochs=2)
    assert (run_lib.load_data(config).train.labels >= 0).sum() == 20
    results = train(config)
    rows = read_log(RunFolder(config.run_dir).log)
    assert all(math.isfinite(value) for row in rows for value in row.values())
    for row in rows:
        parts = 10.0 * row["val_reconstruction_loss"] + row["val_adversarial_loss"]
        assert row["val_loss"] == pytest.approx(parts + 2.0 * row["val_probe_loss"], rel=1e-5)
    assert 0 <= results["linear_probe"]["test_accuracy"] <= 1


def test_a_single_label_is_enough(tmp_path):
    """Most batches then hold no label at all, and a probe on frozen codes has nothing to tell."""
    changes = {"architecture": "tiny", "labelled": 1, "supervision": 1.0}
    config = tiny_config(tmp_path / "run", **changes, epochs=1)
    results = train(config)
    (row,) = read_log(RunFolder(config.run_dir).log)
    assert all(math.isfinite(value) for value in row.values())
    assert set(results) == {"best_val_probe_accuracy", "best_epoch", "validation", "test"}


def test_attributes(tmp_path, monkeypatch):
    monkeypatch.setattr(dsprites, "_TEST_FRACTION", 1e-4)  # Its tenth takes minutes.
    config = tiny_config(
        tmp_path / "run",
        dataset="dsprites_attributes(attributes=('right', 'square'))",
        method="supervised_amr",
        train_subset=64,
        validation_fraction=1e-4,
        epochs=1,
        sample_every=1,
    )
    data = run_lib.load_data(config)
    assert [len(split) for split in (data.train, data.validation, data.test)] == [64, 74, 74]
    assert data.class_names == ("right", "square")
    results = train(config)
    folder = RunFolder(config.run_dir)
    (row,) = read_log(folder.log)
    assert all(math.isfinite(value) for value in row.values())
    assert {"classification_loss", "classifier_loss", "val_classifier_accuracy"} <= set(row)
    assert set(results) == {
        "best_val_probe_accuracy",
        "best_epoch",
        "validation",
        "test",
        "linear_probe",
    }
    assert [path.name for path in folder.samples.iterdir()] == ["epoch_00001.png"]
    _, model = load_run(folder.path)
    assert model.multi_label
    assert model.probe.output_shape == (None, 2)
    assert model.label_mixer.num_labels == 2


def test_a_mixer_of_the_users(tmp_path, monkeypatch, unevaluated, eager):
    monkeypatch.setitem(amr_tf.mixers.MIXERS._entries, "nearest", Nearest)
    changes = {**TINY, "mixer": "nearest", "k": 3, "epochs": 1}
    config = tiny_config(tmp_path / "run", **changes)
    train(config)
    saved, model = load_run(config.run_dir)
    assert saved.mixer == "nearest"
    assert type(model.mixer) is Nearest
    assert model.mixer.k == 3
    images = np.random.default_rng(0).uniform(-1, 1, (5, 8, 8, 1)).astype("float32")
    codes = model.encode(images)
    others = np.stack([np.arange(5), np.roll(np.arange(5), 1), np.roll(np.arange(5), 2)])
    expected = 0.75 * codes + 0.125 * (codes[others[1]] + codes[others[2]])
    np.testing.assert_allclose(model.mix(images, others), model.decode(expected), atol=1e-5)
    train(config.replace(epochs=2), resume=True)
    assert [row["epoch"] for row in read_log(RunFolder(config.run_dir).log)] == [0, 1]


def test_an_existing_run_is_not_overwritten(whole):
    folder, _ = whole("mixup")
    before = files_of(folder.path)
    message = r"/run' already holds a run\. Continue it with --resume, or choose another --run_dir"
    with pytest.raises(ValueError, match=message):
        train(folder.read_config())
    with pytest.raises(ValueError, match=message):
        train(folder.read_config().replace(seed=1))
    assert files_of(folder.path) == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 7}, "seed was 5 and is 7"),
        ({"lambda_": 5.0}, r"lambda was 10\.0 and is 5\.0"),
        ({"k": 3}, "k was 2 and is 3"),
        ({"mixer": "bernoulli"}, "mixer was mixup and is bernoulli"),
        ({"train_subset": None}, "train_subset was 131 and is None"),
        (
            {"architecture": "convolutional(depth=4)", "epochs": 5},
            r"architecture was convolutional\(depth=2\) and is convolutional\(depth=4\)",
        ),
        (
            {"probe_optimizer": "adam_l2(learning_rate=0.2)"},
            r"probe_optimizer was adam_l2\(learning_rate=0\.1\) and is .*\(learning_rate=0\.2\)",
        ),
        ({"method": "acai"}, "method was amr and is acai"),
        ({"labelled": 50}, "labelled was None and is 50"),
        ({"gan_loss": "least_squares"}, "gan_loss was binary_crossentropy and is least_squares"),
    ],
)
def test_a_resumed_run_keeps_its_settings(whole, changes, message):
    folder, _ = whole("mixup")
    before = files_of(folder.path)
    with pytest.raises(ValueError, match=rf"^A resumed run keeps its settings, but {message}\.$"):
        train(folder.read_config().replace(**changes), resume=True)
    assert files_of(folder.path) == before


def test_what_is_left_to_the_method_is_no_conflict(whole):
    folder, _ = whole("mixup")
    config = tiny_config(folder.path, **VARIANTS["mixup"])
    assert config.mixer is None
    assert run_lib._check_folder(folder, config.resolve(), resume=True)["step"] == EPOCHS * STEPS


def test_another_way_to_write_the_same_is_no_conflict(whole):
    folder, _ = whole("bernoulli")
    config = tiny_config(folder.path, **VARIANTS["bernoulli"])
    again = config.replace(
        mixer="bernoulli(probability='batch')",
        architecture="convolutional( depth=2, latent_width=4 )",
        probe_optimizer="adam_l2(beta_1=5e-1, learning_rate=1e-2)",
    )
    state = run_lib._check_folder(folder, again.resolve(), resume=True)
    assert state["step"] == EPOCHS * STEPS


def test_a_written_config_may_leave_values_to_the_method(tmp_path):
    config = tiny_config(tmp_path / "run", epochs=1)
    folder = RunFolder(config.run_dir)
    folder.path.mkdir()
    folder.config.write_text(config.to_json())
    assert run_lib._check_folder(folder, config.resolve(), resume=True) is None


def test_there_must_be_a_run_to_resume(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"/run' is not a run folder: it has no config"):
        train(tiny_config(tmp_path / "run"), resume=True)
    assert not list(tmp_path.iterdir())


VECTORS = {"architecture": "convolutional(depth=2, latent_dim=4)"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"k": 1}, "k must be an integer of at least 2"),
        ({"mixer": "mixupp"}, "Unknown mixer 'mixupp'"),
        ({"mixer": "gaussian(sigma=-1)"}, "sigma must be"),
        ({"dataset": "digit"}, "Unknown data set 'digit'"),
        ({"validation_fraction": 1.5}, "validation_fraction must be above 0"),
        ({"train_subset": 5000}, "train_subset must lie in 1 to 1294"),
        ({"batch_size": 132}, "batch_size = 132 is more than the 131 training images"),
        ({"image_size": 12}, "Images must be square, with a width .* got 12 x 12"),
        ({"image_size": -8}, "image_size must be a positive integer; got -8"),
        (
            {"architecture": "convolutional(latent_width=3)"},
            "Images must be square, with a width that is 3 .* got 8 x 8",
        ),
        ({"architecture": "convolutional(depth=0)"}, "depth must be a positive integer; got 0"),
        ({"probe": "mlp(hidden=())"}, "hidden must"),
        ({"autoencoder_optimizer": "sgd(momentum=2.0)"}, "momentum"),
        ({"seed": 2**32}, "(?i)seed must be"),
        ({"dataset": "image_folder"}, "image_folder needs --data_dir"),
        ({"dataset": "mnist", "data_dir": "/nowhere"}, "--data_dir '/nowhere' is not a folder"),
        ({"image_size": 0}, "image_size must be a positive integer; got 0"),
        ({"validation_fraction": math.nan}, "validation_fraction must be above 0 and below 1"),
        (
            {"dataset": "digits(attributes='a')"},
            "Unknown parameter of data set 'digits': 'attributes'. It takes none",
        ),
        ({"dataset": "digits(crop=4)"}, "Unknown parameter of data set 'digits': 'crop'"),
        (
            {"dataset": "dsprites_attributes(attributes=('rihgt',))"},
            "attribute 'rihgt'. Did you mean 'right'",
        ),
        ({"labelled": 132}, "labelled must lie in 1 to 131, .*; got 132"),
        ({**SPIRAL, "labelled": 5}, "labelled = 5 needs labels"),
        ({**SPIRAL, "image_size": 8}, "Data set 'spiral' holds points, .* got 8"),
        (
            {**SPIRAL, "method": "supervised_amr", **VECTORS},
            r"method supervised_amr\(.*\) learns from labels, but data set 'spiral' has none",
        ),
        (
            {**SPIRAL, "supervision": 0.5},
            r"supervision = 0\.5 learns from labels, but data set 'spiral' has none",
        ),
        (
            {**SPIRAL, "probe_optimizer": "sgd"},
            r"probe_optimizer sgd\(.*\) learns from labels, but data set 'spiral' has none",
        ),
        ({**SPIRAL, "architecture": "convolutional"}, r"'convolutional' is for images .*\(2,\)"),
        ({**SPIRAL, "architecture": "dsprites"}, r"'dsprites' is for images .*\(2,\)"),
        ({**SPIRAL, "method": "gaia"}, "Architecture 'mlp' has no "),
        ({**SPIRAL, "mixer": "spatial"}, "SpatialMixup needs codes"),
        ({"architecture": "mlp"}, r"'mlp' is for points .*\(8, 8, 1\)"),
        ({"method": "acai", "k": 3}, "ACAI needs a mixer of k = 2, .*; got k = 3"),
        ({"method": "acai", "mixer": "channelwise"}, "ACAI needs one mixing coefficient"),
        ({"method": "acai_original", "mixer": "none"}, "OriginalACAI needs .*; got none"),
        ({"method": "vae", "mixer": "spatial", **VECTORS}, "SpatialMixup needs codes"),
        ({"method": "beta_vae", "mixer": "spatial", **VECTORS}, "SpatialMixup needs codes"),
        (
            {"mixer": "supervised_bernoulli"},
            "supervised_bernoulli mixes by labels: it is for super",
        ),
        ({"method": "ae_gan", "beta": 1.0}, r"method ae_gan does not use beta \(got 1\.0\)"),
        ({"method": "ae_gan", "mixer": "spatial", "k": 7}, "method ae_gan does not use mixer"),
        ({"method": "vae", "beta": 1.0}, r"method vae does not use beta \(got 1\.0\)"),
        ({"method": "supervised_amr", "beta": 1.0}, "beta = 1 weighs .* mixer none makes none"),
        ({"method": "gaia", "mixer": "none"}, "GAIA needs a mixer"),
        ({"method": "gaia", "k": 3}, "GaussianMixup mixes pairs: k must be 2; got 3"),
        ({"mixer": "composite(mixers=('mixup', 'mixupp'))"}, "Unknown mixer 'mixupp'"),
        (
            {"reconstruction_loss": "binary_crossentropy"},
            "takes the logits that the decoder's tanh",
        ),
    ],
    ids=str,
)
def test_wrong_values_leave_nothing_behind(tmp_path, monkeypatch, changes, message):
    def not_reached(*args):
        raise AssertionError(f"{changes} is let through")

    monkeypatch.setattr(run_lib, "_write_config", not_reached)
    config = tiny_config(tmp_path / "run", epochs=1).replace(**changes)
    with pytest.raises((ValueError, FileNotFoundError), match=message) as caught:
        train(config)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_run_of_another_version(tmp_path):
    """Whatever would read it says in one sentence who wrote it."""
    (tmp_path / "run").mkdir()
    path = tmp_path / "run" / "config.json"
    path.write_text(json.dumps(OLD_CONFIG))
    message = (
        rf"^'{path}' cannot be used\. It was written by an earlier amr_tf and has fields that "
        r"amr_tf .* does not know: beta_1, .*latent_channels, .*\.keras\) can be loaded with "
    )
    for read in (
        lambda: train(tiny_config(tmp_path / "run"), resume=True),
        lambda: load_run(tmp_path / "run"),
        lambda: load_runs([tmp_path / "run"]),
        lambda: export_run(tmp_path / "run", tmp_path / "served"),
    ):
        with pytest.raises(ValueError, match=message) as caught:
            read()
        assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.rglob("*")] == ["run", "config.json"]


def test_training_alone(tmp_path, eager):
    """`runs.run` neither draws nor evaluates; who calls it may hand in callbacks."""
    given = []

    class Recorder(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            given.append((epoch, logs["val_probe_accuracy"]))

    def make_callbacks(*arguments):
        given.append(arguments)
        return [Recorder()]

    config = tiny_config(tmp_path / "run", **TINY, sample_every=1)
    trained = run_lib.train(config, make_callbacks=make_callbacks)
    (resolved, data, folder), *epochs = given
    assert resolved == config.resolve() == folder.read_config()
    assert (trained.data, trained.folder) == (data, folder)
    assert [epoch for epoch, _ in epochs] == [0, 1]
    assert (trained.monitor, trained.chief) == ("val_probe_accuracy", True)
    assert trained.best.value == max(accuracy for _, accuracy in epochs)
    names = sorted(path.name for path in folder.path.iterdir())
    expected = ["checkpoints", "config.json", "data.json", "flagfile.cfg", "lock", "log.csv"]
    assert names == [*expected, "tensorboard"]
    assert [row["val_probe_accuracy"] for row in read_log(folder.log)] == [
        accuracy for _, accuracy in epochs
    ]


def test_a_metric_that_is_never_logged_cannot_choose(tmp_path, eager):
    """It is told after the first epoch, and not at the end, when there is no best model."""
    config = tiny_config(tmp_path / "run", **TINY, monitor="val_consistency_loss")
    message = r"^Unknown metric to monitor 'val_consistency_loss'\. Did you mean '.*'\? Allowed: .*"
    with pytest.raises(ValueError, match=message + "val_reconstruction_loss"):
        train(config)
    assert len(read_log(RunFolder(config.run_dir).log)) == 1


def test_a_folder_that_holds_no_run(tmp_path):
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(FileNotFoundError, match="is not a run folder: it has no config.json"):
            load_run(path)


@pytest.mark.parametrize("text", ("", "{", '{"k": "3"}', "[1]", "3", "null"))
def test_a_damaged_config_is_named(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError, match=r"/config\.json' is damaged: "):
        load_run(tmp_path)


def test_a_run_without_a_model_yet(tmp_path):
    (tmp_path / "config.json").write_text(TrainingConfig().to_json())
    with pytest.raises(FileNotFoundError, match=r"There is no model '.*/best\.keras'"):
        load_run(tmp_path)


def copy_of(folder, path):
    """A copy of a run's folder at `path`, and its config."""
    copy = RunFolder(path)
    for name, content in files_of(folder.path).items():
        (copy.path / name).parent.mkdir(parents=True, exist_ok=True)
        (copy.path / name).write_bytes(content)
    return copy, copy.read_config().replace(run_dir=str(copy.path))


def test_a_checkpoint_that_is_damaged(whole, tmp_path, caplog):
    """The one before takes its place, and the run ends as if nothing had happened."""
    expected, expected_results = whole("tiny")
    copy, config = copy_of(expected, tmp_path / "run")
    path = read_state(copy.checkpoints)["checkpoint"]
    path.write_bytes(path.read_bytes()[:1000])
    results = train(config, resume=True)
    assert f"{path.name}' is damaged" in caplog.text
    assert_same_run(copy, expected, results, expected_results)


def test_no_checkpoint_is_whole(whole, tmp_path):
    copy, config = copy_of(whole("mixup")[0], tmp_path / "run")
    for path in copy.checkpoints.glob("last-*"):
        path.write_bytes(path.read_bytes()[:1000])
    before = files_of(copy.path)
    with pytest.raises(ValueError, match="^No checkpoint to resume from is whole: "):
        train(config.replace(epochs=4), resume=True)
    assert files_of(copy.path) == before


def test_a_log_from_before_the_health_columns_keeps_its_columns(whole, tmp_path, unevaluated):
    copy, config = copy_of(whole("tiny")[0], tmp_path / "run")
    with copy.log.open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = [name for name in rows[0] if not name.startswith("health_")]
    with copy.log.open("w", newline="") as file:
        writer = csv.DictWriter(file, names, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
        file.write("3,0.5")  # A full disk's half row.
    train(config.replace(epochs=4), resume=True)
    found = read_log(copy.log)
    assert [row["epoch"] for row in found] == [0, 1, 2, 3]
    assert list(found[3]) == names
    assert 0 <= found[3]["val_probe_accuracy"] <= 1


@pytest.mark.parametrize("place", ("checkpoint", "log", "tensorboard"))
def test_a_full_disk(tmp_path, monkeypatch, eager, place):
    """In the second epoch, where the first has left a checkpoint."""

    def full(self, *args, **kwargs):
        if place == "tensorboard":
            raise tf.errors.ResourceExhaustedError(None, None, "x; No space left on device [Op]")
        raise OSError(errno.ENOSPC, "No space left on device")

    class Filling(StopOnSignal):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                for owner, name in PLACES[place]:
                    monkeypatch.setattr(owner, name, full)

    monkeypatch.setattr(run_lib, "StopOnSignal", Filling)
    config = tiny_config(tmp_path / "run", **TINY)
    step = 4 if place == "tensorboard" else 2  # Curves come after the checkpoint.
    message = (
        rf"^Training stopped: .*No space left on device; '.*/last-0000000{step}\.keras' "
        rf"\(step {step}\) is whole: continue with --resume\.$"
    )
    with pytest.raises(OSError, match=message):
        train(config)
    monkeypatch.undo()
    assert run_lib.resumable_state(RunFolder(config.run_dir).checkpoints)["step"] == step


def test_a_read_only_folder(tmp_path, monkeypatch):
    """What access(2) says of a read-only mount, which binds root too."""
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)
    with pytest.raises(OSError, match=rf"^'{tmp_path}' cannot be written to: it is read-only"):
        train(tiny_config(tmp_path / "deep" / "run"))
    assert not list(tmp_path.iterdir())
