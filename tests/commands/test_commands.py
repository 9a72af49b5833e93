"""The commands, end to end, as a user runs them: in new processes, and in forks of one."""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from PIL import Image

import amr_tf
from amr_tf.figures.sheet import label_inches
from amr_tf.registry import parse_call
from amr_tf.runs.folder import RunFolder, load_run
from tests import forked
from tests.runs.conftest import OLD_CONFIG, assert_same_checkpoint, read_log, wait_for

pytestmark = pytest.mark.slow

ROOT = pathlib.Path(__file__).resolve().parents[2]
EPOCHS = 3
STEPS = 161  # Per epoch: 1294 digits in batches of 8.
FLAGFILE = f"""\
# Tiny networks on the digits, in small batches: epochs of about a second.
--dataset=digits
--image_size=8
--architecture=convolutional(depth=2)
--batch_size=8
--epochs={EPOCHS}
--sample_every={EPOCHS}
--probe_optimizer=adam_l2(learning_rate=0.01)
--verbose=2
"""
SPIRAL = "figure12_spiral_amr_mixup_k2_lambda10_beta0.1"
PAPER = ROOT / "configs" / "paper"
# A script as docs/extending.md has it: one of each, with a parameter of its own.
MY_TRAIN = """\
import keras
import numpy as np
from keras import ops

import amr_tf
from amr_tf import train
from amr_tf.data import DATASETS, Source, Split
from amr_tf.losses import GAN_LOSSES, RECONSTRUCTION_LOSSES, gan_binary_crossentropy
from amr_tf.networks import PROBES
from amr_tf.networks.architectures import ARCHITECTURES, Networks
from amr_tf.optimizers import OPTIMIZERS, SCHEDULES

mine = keras.saving.register_keras_serializable(package="my_project")


@amr_tf.mixers.MIXERS.register("leaning")
@mine
class Leaning(amr_tf.Mixer):
    def __init__(self, k=2, share=0.5, seed=None, **kwargs):
        amr_tf.checks.check_share("share", share)
        super().__init__(k, seed, **kwargs)
        self.share = share

    def draw_coefficients(self, code_shape, batch_size, seed=None):
        row = np.array([self.share] + [(1 - self.share) / (self.k - 1)] * (self.k - 1), "float32")
        ones = (1,) * len(code_shape)
        return ops.broadcast_to(row.reshape(1, self.k, *ones), (batch_size, self.k, *ones))

    def get_config(self):
        return {**super().get_config(), "share": self.share}


@amr_tf.models.METHODS.register("weighed")
@mine
class Weighed(amr_tf.AMR):
    setting_checks = {**amr_tf.AMR.setting_checks, "extra_weight": amr_tf.checks.check_not_negative}

    def compile(self, *optimizers, extra_weight=0.5, **kwargs):
        super().compile(*optimizers, **kwargs)
        self.remember(extra_weight=extra_weight)

    def autoencoder_losses(self, step):
        loss, terms = super().autoencoder_losses(step)
        extra = self.gan_loss(step.logits["mix"], 1.0)
        return loss + (self.extra_weight - 1.0) * extra, terms


@DATASETS.register("stripes")
def stripes(image_size, count=100):
    labels = np.arange(count) // 2 % 2
    images = np.zeros((count, 8, 8, 1), dtype="uint8")
    for image, label, place in zip(images, labels, np.arange(count) // 4 % 8):
        image[(place,) if label else (slice(None), place)] = 255
    splits = (Split(images[half::2], labels[half::2]) for half in range(2))
    return Source(*splits, class_names=("level", "upright"), image_size=image_size or 8)


@ARCHITECTURES.register("dense")
def dense(image_shape, width=4, *, encoder_outputs=1, critic="logits", num_classes=None):
    pixels = int(np.prod(image_shape))

    def network(shape, *layers):
        return keras.Sequential([keras.Input(shape), *layers])

    return Networks(
        network(image_shape, keras.layers.Flatten(), keras.layers.Dense(encoder_outputs * width)),
        network((width,), keras.layers.Dense(pixels), keras.layers.Reshape(image_shape)),
        network(
            image_shape, keras.layers.Flatten(), keras.layers.Dense(1), keras.layers.Reshape(())
        ),
    )


@PROBES.register("tall")
def tall(latent_shape, num_classes, multi_label=False, layers=1, name="probe"):
    dense = [keras.layers.Dense(num_classes, name=f"tall{number}") for number in range(layers)]
    return keras.Sequential([keras.Input(latent_shape), keras.layers.Flatten(), *dense], name=name)


@RECONSTRUCTION_LOSSES.register("rounded")
def rounded(images, reconstructions, epsilon=0.001):
    return ops.mean(ops.sqrt(ops.square(images - reconstructions) + epsilon**2))


@GAN_LOSSES.register("smoothed")
def smoothed(logits, target, label=1.0):
    return gan_binary_crossentropy(logits, label * target)


@OPTIMIZERS.register("slowed")
@mine
class Slowed(keras.optimizers.SGD):
    def __init__(self, learning_rate=0.01, factor=0.5, **kwargs):
        super().__init__(learning_rate, **kwargs)
        self.factor = factor

    def update_step(self, gradient, variable, learning_rate):
        super().update_step(gradient, variable, self.factor * learning_rate)

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}


@SCHEDULES.register("sinking")
@mine
class Sinking(keras.optimizers.schedules.LearningRateSchedule):
    def __init__(self, start=0.1, steps=10):
        self.start, self.steps = start, steps

    def __call__(self, step):
        return self.start / (1.0 + ops.cast(step, "float32") / self.steps)

    def get_config(self):
        return {"start": self.start, "steps": self.steps}


if __name__ == "__main__":
    train.run()
"""
# Each part of the script with its parameter set, and how it is written down in config.json.
MY_FLAGS = {
    "dataset": "stripes(count=64)",
    "method": "weighed(extra_weight=2.0)",
    "mixer": "leaning(share=0.75)",
    "architecture": "dense(width=3)",
    "probe": "tall(layers=2)",
    "reconstruction_loss": "rounded(epsilon=0.1)",
    "gan_loss": "smoothed(label=0.9)",
    "autoencoder_optimizer": "slowed(factor=0.25, learning_rate='sinking(steps=5)')",
    "discriminator_optimizer": "slowed(learning_rate=0.02)",
}
MY_CONFIG = {
    **MY_FLAGS,
    "autoencoder_optimizer": "slowed(learning_rate='sinking(start=0.1, steps=5)', factor=0.25)",
    "discriminator_optimizer": "slowed(learning_rate=0.02, factor=0.5)",
}
# What TensorFlow writes to standard error by itself, and what each command begins with.
BEFORE_ANYTHING = re.compile(
    r"WARNING: All log messages before absl|[IWEF]\d{4} \d\d:\d\d|Device: \d+ "
)
LOAD_SAVED_MODEL = """\
import sys
sys.modules["amr_tf"] = None  # An import of it fails.
import numpy as np
import tensorflow as tf
given = np.load("codes.npz")
decode = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
images = decode(codes=tf.constant(given["codes"]))["images"].numpy()
assert images.shape == given["images"].shape, images.shape
print(abs(images - given["images"]).max())
"""


def start(*command, cwd):
    return subprocess.Popen(
        [sys.executable, *command],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    """The exit code, standard output, and the lines of standard error that are not TensorFlow's."""
    out, err = process.communicate(timeout=300)
    return process.returncode, out, lines_of(err)


def lines_of(err):
    return [line for line in err.splitlines() if not BEFORE_ANYTHING.match(line)]


def run(name, *flags, cwd):
    """As `finish(start(...))`, without the seconds of the import."""
    module = name if name == "full" else f"amr_tf.{name}"
    code, out, err = forked.run(module, *flags, cwd=cwd)
    return code, out, lines_of(err)


def test_commands_begin_with_the_device(tmp_path):
    err = forked.run("amr_tf.evaluate", "--run=nowhere", cwd=tmp_path)[2]
    first, second = [line for line in err.splitlines() if "0000 " not in line][-2:]
    assert re.fullmatch(r"Device: \d+ (CPU threads?|GPUs?) \(.+\)", first)
    assert second.startswith("error: 'nowhere' is not a run folder")


def files_in(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder in which `amr_tf.train` has made `run`, and what the command printed."""
    folder = tmp_path_factory.mktemp("commands")
    (folder / "tiny.cfg").write_text(FLAGFILE)
    flags = ("--flagfile=tiny.cfg", "--run_dir=run")
    code, out, err = finish(start("-m", "amr_tf.train", *flags, cwd=folder))
    assert code == 0, err
    return folder, out


@pytest.fixture(scope="module")
def wrong(trained):
    """The folder with two more runs: one without a model, and one of an earlier version."""
    folder, _ = trained
    config = (folder / "run" / "config.json").read_text()
    for name, text in {"untrained": config, "old": json.dumps(OLD_CONFIG)}.items():
        (folder / name).mkdir()
        (folder / name / "config.json").write_text(text)
    return folder


def assert_same_end(folder, expected):
    """Two runs have the same last and best checkpoints and the same results."""
    for name in (f"last-{EPOCHS * STEPS:08d}.keras", "best.keras"):
        assert_same_checkpoint(folder.checkpoints / name, expected.checkpoints / name)
    assert json.loads(folder.results.read_text()) == json.loads(expected.results.read_text())


def test_train(trained):
    folder, out = trained
    run_folder = RunFolder(folder / "run")
    assert sorted(path.name for path in folder.iterdir()) == ["run", "tiny.cfg"]
    rows = read_log(run_folder.log)
    assert [row["epoch"] for row in rows] == list(range(EPOCHS))
    # It learns.
    assert rows[-1]["val_reconstruction_loss"] < 0.9 * rows[0]["val_reconstruction_loss"]
    assert [path.name for path in run_folder.samples.iterdir()] == [f"epoch_{EPOCHS:05d}.png"]
    results = json.loads(run_folder.results.read_text())
    figures = {"validation", "test", "linear_probe"}
    assert set(results) == {"best_val_probe_accuracy", "best_epoch", *figures}
    assert "Epoch 1/3" in out
    assert "Results of the best epoch (also in run/results.json):" in out
    rows = {line[:30].split("  ")[0]: line.split() for line in out.splitlines()}
    accuracy = results["linear_probe"]["test_accuracy"]
    assert rows["linear_probe accuracy"][-1] == f"{accuracy:.4g}"


def test_the_written_flagfile_repeats_the_run(trained):
    folder, _ = trained
    flags = ("--flagfile=run/flagfile.cfg", "--run_dir=again")
    code, _, err = run("train", *flags, cwd=folder)
    assert code == 0, err
    again, first = RunFolder(folder / "again"), RunFolder(folder / "run")
    assert_same_end(again, first)
    assert read_log(again.log) == read_log(first.log)


def test_ctrl_c_and_resume(trained):
    folder, _ = trained
    stopped, whole = RunFolder(folder / "stopped"), RunFolder(folder / "run")
    flags = ("-m", "amr_tf.train", "--flagfile=tiny.cfg", "--run_dir=stopped")
    process = start(*flags, cwd=folder)

    def first_epoch_is_logged():  # The header and its row.
        return stopped.log.exists() and stopped.log.read_text().count("\n") >= 2

    wait_for(first_epoch_is_logged, process, seconds=240, pause=0.02)
    os.kill(process.pid, signal.SIGINT)
    code, out, err = finish(process)
    assert code == 130, err
    assert err == []
    state = json.loads((stopped.checkpoints / "state.json").read_text())
    assert STEPS <= state["step"] < EPOCHS * STEPS
    assert f"Stopped by SIGINT after step {state['step']}; saved." in out
    assert "python -m amr_tf.train --run_dir=stopped --resume" in out
    assert not stopped.results.exists()
    code, _, err = run("train", "--run_dir=stopped", "--resume", cwd=folder)
    assert code == 0, err
    assert_same_end(stopped, whole)
    rows, expected = read_log(stopped.log), read_log(whole.log)
    assert [row["epoch"] for row in rows] == list(range(EPOCHS))
    for row, wanted in zip(rows, expected, strict=True):
        for name, value in wanted.items():
            if row["epoch"] != state["step"] // STEPS or name.startswith("val_"):
                assert row[name] == value, (row["epoch"], name)


def evaluate_as_in_training(folder, name):
    """Evaluates with the probe that `train` uses, and returns the figures and those of `train`."""
    code, out, err = run("evaluate", f"--run={name}", "--probes=linear", cwd=folder)
    assert code == 0, err
    assert out.splitlines()[-1] == f"Wrote {name}/evaluation.json"
    found = json.loads((folder / name / "evaluation.json").read_text())
    assert found.pop("train")["loss"] > 0
    results = json.loads((folder / name / "results.json").read_text())
    return found, {key: value for key, value in results.items() if not key.startswith("best_")}


def test_evaluate(trained):
    folder, _ = trained
    found, results = evaluate_as_in_training(folder, "run")
    assert found == results


def test_evaluate_everything(trained):
    folder, _ = trained
    flags = ("--run=run", "--measures=image_quality", "--out=figures/all.json")
    code, out, err = run("evaluate", *flags, cwd=folder)
    assert code == 0, err
    found = json.loads((folder / "figures" / "all.json").read_text())
    expected = ["train", "validation", "test", "linear_probe", "knn_probe", "mlp_probe"]
    assert list(found) == [*expected, "image_quality"]
    assert found["image_quality"]["mixes"]["extractor"] == "classifier_pooled"
    accuracy = found["knn_probe"]["test_accuracy"]
    rows = {line[:40].split("  ")[0]: line.split() for line in out.splitlines()}
    assert rows["knn_probe accuracy"][-1] == f"{accuracy:.4g}"
    assert "image_quality mixes fid" in rows


def test_interpolate(trained):
    folder, _ = trained
    flags = ("--run=run", "--out=figures/lines.png", "--pairs=3", "--steps=5")
    code, out, err = run("interpolate", *flags, cwd=folder)
    assert code == 0, err
    shown, drew = out.splitlines()
    assert drew == "Drew figures/lines.png"
    assert shown.startswith("'run': the best epoch (epoch ")
    with Image.open(folder / "figures" / "lines.png") as picture:
        picture.load()
        # In inches of 120 pixels: captions, a title 0.4, headers 0.22, an image 0.75; two rows per
        # pair, each with the two images beside the five steps.
        width = label_inches(["1: latent space"]) + 7 * 0.75
        np.testing.assert_allclose(picture.size, (120 * width, 120 * (0.62 + 6 * 0.75)), atol=1)
        assert len(np.unique(np.asarray(picture))) > 50


def test_export(trained):
    folder, _ = trained
    code, out, err = run("export", "--run=run", cwd=folder)
    assert code == 0, err
    assert out.splitlines()[-1] == "Exported saved_models/run/1"
    _, model = load_run(folder / "run")
    codes = np.random.default_rng(0).normal(size=(5, *model.latent_shape)).astype("float32")
    images = model.decode(codes)
    assert abs(images).max() > 0.1
    np.savez(folder / "codes.npz", codes=codes, images=images)
    process = start("-c", LOAD_SAVED_MODEL, "saved_models/run/1", cwd=folder)
    code, out, err = finish(process)
    assert code == 0, err
    assert float(out) <= 1e-5


@pytest.fixture(scope="module")
def vae(trained):
    """The folder with a further run `vae`."""
    folder, _ = trained
    flags = ("--flagfile=tiny.cfg", "--method=vae", "--epochs=1", "--run_dir=vae")
    code, _, err = run("train", *flags, cwd=folder)
    assert code == 0, err
    return folder


def test_evaluate_a_vae(vae):
    found, results = evaluate_as_in_training(vae, "vae")
    assert found == results
    assert results["test"]["kl_loss"] > 0
    assert "discriminator_loss" not in results["test"]


def test_interpolate_a_vae(vae):
    code, out, err = run("interpolate", "--run=vae", "--pairs=2", "--steps=3", cwd=vae)
    assert code == 0, err
    assert out.splitlines()[-1] == "Drew vae/interpolation.png"
    with Image.open(vae / "vae" / "interpolation.png") as picture:
        width = label_inches(["1: latent space"]) + 5 * 0.75
        np.testing.assert_allclose(picture.size, (120 * width, 120 * (0.62 + 4 * 0.75)), atol=1)
        assert len(np.unique(np.asarray(picture))) > 50


def test_export_a_vae(vae):
    code, out, err = run("export", "--run=vae", "--out=served", cwd=vae)
    assert code == 0, err
    assert out.splitlines()[-1] == "Exported served/1"
    _, model = load_run(vae / "vae")
    assert model.encoder.output_shape[-1] == 2 * model.latent_shape[-1]
    codes = np.random.default_rng(0).normal(size=(5, *model.latent_shape)).astype("float32")
    images = model.decode(codes)
    assert 0.1 < abs(images).max() <= 1
    np.savez(vae / "codes.npz", codes=codes, images=images)
    code, out, err = finish(start("-c", LOAD_SAVED_MODEL, "served/1", cwd=vae))
    assert code == 0, err
    assert float(out) <= 1e-5


@pytest.fixture(scope="module")
def spiral(tmp_path_factory):
    """A folder with a run `points` of a config of the paper, named from afar, of one epoch."""
    folder = tmp_path_factory.mktemp("spiral")
    flagfile = f"--flagfile={PAPER / SPIRAL}.cfg"
    code, out, err = run("train", flagfile, "--epochs=1", "--run_dir=points", cwd=folder)
    assert code == 0, err
    return folder, out


def test_a_config_of_the_paper_from_another_directory(spiral):
    folder, out = spiral
    assert [path.name for path in folder.iterdir()] == ["points"]
    run_folder = RunFolder(folder / "points")
    config = run_folder.read_config()
    assert (config.dataset, config.beta, config.epochs) == ("spiral", 0.1, 1)
    assert config.architecture.startswith("mlp(latent_dim=2, hidden=(")
    assert "beta_2=0.99" in config.autoencoder_optimizer
    (row,) = read_log(run_folder.log)
    assert row["val_consistency_loss"] > 0
    assert [path.name for path in run_folder.samples.iterdir()] == ["epoch_00001.png"]
    assert "Results of the best epoch (also in points/results.json):" in out
    assert "best_val_reconstruction_loss" in out


def test_evaluate_unlabelled_data(spiral):
    folder, _ = spiral
    found, results = evaluate_as_in_training(folder, "points")
    assert found == results
    assert set(results) == {"validation", "test"}


def test_points_are_not_interpolated(spiral):
    folder, _ = spiral
    code, out, err = run("interpolate", "--run=points", cwd=folder)
    assert (code, out) == (2, "")
    assert err == ["error: Data set 'spiral' holds points; only images are drawn."]
    assert not (folder / "points" / "interpolation.png").exists()


@pytest.fixture(scope="module")
def mine(trained):
    """The folder with a script of the user's and its run `mine`, in which all parts are theirs."""
    folder, _ = trained
    (folder / "my_train.py").write_text(MY_TRAIN)
    flags = [f"--{name}={value}" for name, value in MY_FLAGS.items()]
    flags += ["--k=3", "--batch_size=8", "--epochs=1", "--verbose=0", "--run_dir=mine"]
    code, out, err = finish(start("my_train.py", *flags, cwd=folder))
    assert code == 0, err
    assert "Results of the best epoch (also in mine/results.json):" in out
    return folder


def test_a_script_with_parts_of_ones_own(mine):
    folder = RunFolder(mine / "mine")
    config = folder.read_config()
    for name, value in MY_CONFIG.items():
        found, given = parse_call(getattr(config, name)), parse_call(value)
        # Optimizers have further parameters, which are Keras', and methods AMR's.
        assert found.name == given.name
        assert found.arguments.items() >= given.arguments.items()
    assert config.k == 3
    with zipfile.ZipFile(folder.checkpoints / "best.keras") as archive:
        saved = json.loads(archive.read("config.json"))
    networks, compiled = saved["config"], saved["compile_config"]
    assert saved["registered_name"] == "my_project>Weighed"
    assert networks["mixer"]["registered_name"] == "my_project>Leaning"
    assert (networks["mixer"]["config"]["share"], networks["mixer"]["config"]["k"]) == (0.75, 3)
    assert [layer["config"]["name"] for layer in networks["probe"]["config"]["layers"]][-2:] == [
        "tall0",
        "tall1",
    ]
    assert compiled["extra_weight"] == 2.0
    assert compiled["reconstruction_loss"] == "rounded(epsilon=0.1)"
    assert compiled["gan_loss"] == "smoothed(label=0.9)"
    optimizer = compiled["autoencoder_optimizer"]["config"]
    assert optimizer["factor"] == 0.25
    assert optimizer["learning_rate"]["config"] == {"start": 0.1, "steps": 5}
    # It goes on, whatever the order in which a call's parameters are written.
    call = "slowed(learning_rate='sinking(steps=5)', factor=0.25)"
    flags = (f"--autoencoder_optimizer={call}", "--run_dir=mine", "--resume", "--epochs=2")
    code, _, err = finish(start("my_train.py", *flags, cwd=mine))
    assert code == 0, err
    assert [row["epoch"] for row in read_log(folder.log)] == [0, 1]


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--mixer=leanin", "Unknown mixer 'leanin'. Did you mean 'leaning'?"),
        (
            "--mixer=leaning(shar=0.3)",
            "Unknown parameter of mixer 'leaning': 'shar'. Did you mean ",
        ),
        ("--mixer=leaning(share=2)", "share must lie in 0 to 1; got 2."),
        ("--mixer=leaning(share='x')", "share of mixer 'leaning' must be a number, such as 0.5;"),
        ("--method=weighed(mix_weigh=1)", "of method 'weighed': 'mix_weigh'. Did you mean 'mix_w"),
        (
            "--method=weighed(extra_weight=-1)",
            "extra_weight must be a finite number of at least 0; got -1",
        ),
        ("--dataset=stripes(cuont=1)", "of data set 'stripes': 'cuont'. Did you mean 'count'?"),
        ("--architecture=dense(widht=1)", "architecture 'dense': 'widht'. Did you mean 'width'?"),
        ("--probe=tall(layer=1)", "Unknown parameter of probe 'tall': 'layer'. Did you mean 'lay"),
        ("--gan_loss=smoothed(labl=1)", "GAN loss 'smoothed': 'labl'. Did you mean 'label'?"),
        ("--reconstruction_loss=rounded(epsilom=1)", "'epsilom'. Did you mean 'epsilon'?"),
        ("--probe_optimizer=slowed(fctor=1)", "optimizer 'slowed': 'fctor'. Did you mean 'factor'"),
        (
            "--probe_optimizer=slowed(learning_rate='sinking(step=1)')",
            "Unknown parameter of learning rate schedule 'sinking': 'step'. Did you mean 'steps'?",
        ),
    ],
)
def test_what_is_misspelt_in_ones_own_parts(mine, flag, message):
    before = files_in(mine)
    code, out, err = forked.run("my_train", flag, "--run_dir=misspelt", cwd=mine)
    assert (code, out) == (2, "")
    (line,) = lines_of(err)
    assert line.startswith("error: ")
    assert message in line
    assert files_in(mine) == before


@pytest.mark.parametrize(("name", "word"), [("evaluate", "Weighed"), ("interpolate", "weighed")])
def test_parts_that_a_command_does_not_know(mine, name, word):
    """The other commands do not import the user's script, and say so in one line."""
    code, out, err = run(name, "--run=mine", cwd=mine)
    assert (code, out) == (2, "")
    assert len(err) == 1
    assert word in err[0]
    assert ("best.keras' cannot be loaded as a model" in err[0]) == (name == "evaluate")


# The command, its flags, and what the error says.
BAD_INPUT = [
    ("train", ("--mixer=mixupp",), "Unknown mixer 'mixupp'. Did you mean 'mixup'?"),
    ("train", ("--dataset=mnits",), "Unknown data set 'mnits'. Did you mean 'mnist'?"),
    ("train", ("--mixer", "help"), "Unknown mixer 'help'."),
    ("train", ("--k=9", "--batch_size=8"), "A batch of 8 is too small to mix k = 9 examples"),
    ("train", ("--lambda=-1",), "lambda must be a finite number of at least 0; got -1.0."),
    ("train", ("--dataset=mnist", "--data_dir=nowhere"), "--data_dir 'nowhere' is not a folder"),
    ("train", ("--run_dir=run",), "'run' already holds a run. Continue it with --resume"),
    ("train", ("--run_dir=run", "--resume", "--seed=5"), "seed was 0 and is 5"),
    ("train", ("--run_dir=nowhere", "--resume"), "'nowhere' is not a run folder"),
    ("train", ("digits",), "Arguments are flags, --name=value; got 'digits'."),
    ("train", ("--method=supervised_amr", "--dataset=spiral", "--architecture=mlp"), "from labels"),
    ("train", ("--method=acai", "--k=3"), "ACAI needs a mixer of k = 2"),
    ("train", ("--method=vae(kl_weigth=9)",), "Did you mean 'kl_weight'?"),
    ("train", ("--method=ae_gan", "--mixer=spatial", "--k=7"), "ae_gan does not use mixer"),
    ("train", ("--architecture=dsprites(depht=9)",), "Did you mean 'depth'?"),
    ("train", ("--mixer=gaussian(sigma=0)",), "sigma must be a finite number above 0; got 0"),
    ("train", ("--mixer=gaussian(0.3)",), "every value needs its parameter's name"),
    (
        "train",
        ("--autoencoder_optimizer=adam_l2(beta_1=1)",),
        "beta_1 must be at least 0 and below 1; got 1.",
    ),
    ("train", ("--flagfile=nowhere.cfg",), "Flagfile 'nowhere.cfg' does not exist."),
    ("evaluate", ("--run=nowhere",), "'nowhere' is not a run folder"),
    ("evaluate", ("--run=run", "--probes=svm"), "Unknown probe 'svm'."),
    ("evaluate", ("--run=run", "--measures=fid"), "Unknown measure 'fid'."),
    ("evaluate", ("--run=run", "--measures=disentanglement"), "ground-truth factors, but data set"),
    ("evaluate", ("--run=run", "--measures=interpolation"), "on the data set lines only"),
    ("evaluate", ("--run=run", "--measures=label_mixing"), "such as supervised_amr; got AMR"),
    ("reproduce", ("--table=1", "--dataset=minst"), "Did you mean 'mnist'?"),
    ("reproduce", ("--table=7", "--dataset=mnist"), "Unknown table '7'. Allowed: 1, 2, 3, 4."),
    ("reproduce", ("--table=1", "--dataset=mnist", "--runs=0"), "runs must be at least 1; got 0."),
    ("reproduce", ("--table=1", "--dataset=mnist", "--lambdas=x"), "lambdas must be numbers"),
    ("interpolate", ("--run=run", "--pairs=999"), "pairs = 999 needs 1998 images of the 359"),
    ("export", ("--run=untrained",), "There is no model 'untrained/checkpoints/best.keras'."),
    *(
        (name, flags, "'old/config.json' cannot be used. It was written by an earlier amr_tf and")
        for name, flags in (
            ("train", ("--run_dir=old", "--resume")),
            ("evaluate", ("--run=old",)),
            ("interpolate", ("--run=old",)),
            ("export", ("--run=old",)),
        )
    ),
]


@pytest.mark.parametrize(("name", "flags", "message"), BAD_INPUT)
def test_what_is_wrong_is_said_in_one_line(wrong, name, flags, message):
    folder = wrong
    before = files_in(folder)
    code, out, err = run(name, *flags, cwd=folder)
    assert code == 2
    assert out == ""
    assert len(err) == 1
    assert err[0].startswith("error: ")
    assert message in err[0]
    assert files_in(folder) == before


def test_an_unknown_flag(trained):
    folder, _ = trained
    before = files_in(folder)
    code, _, err = run("train", "--lamda=10", cwd=folder)
    assert code != 0
    text = "\n".join(err)
    assert "Unknown command line flag 'lamda'. Did you mean: lambda ?" in text
    assert "Traceback" not in text
    assert files_in(folder) == before


# Code of the user's own with errors in it; what each part does is the choice of its flag.
MY_ERRORS = """\
import sys

import keras
import numpy as np

import amr_tf
from amr_tf import train
from amr_tf.commands.running import Command
from amr_tf.data import DATASETS, Source, Split
from amr_tf.runs import run
from amr_tf.runs.config import TrainingConfig


def fail(kind):
    if kind == "raised":
        raise ValueError("my own sentence")
    if kind == "numpy":
        np.zeros(3).reshape(2, 2)
    if kind == "key":
        {}["my key"]
    if kind == "file":
        open("my file")
    if kind == "checked":
        amr_tf.checks.check_share("my share", 2)


@amr_tf.mixers.MIXERS.register("failing")
@keras.saving.register_keras_serializable(package="my_project")
class Failing(amr_tf.Mixup):
    def __init__(self, k=2, kind="", seed=None, **kwargs):
        super().__init__(k, seed=seed, **kwargs)
        self.kind = kind

    def draw_coefficients(self, code_shape, batch_size, seed=None):
        fail(self.kind)
        return super().draw_coefficients(code_shape, batch_size, seed)


@DATASETS.register("failing")
def failing(kind=""):
    fail(kind)
    split = Split(np.zeros((40, 8, 8, 1), "uint8"), np.arange(40) % 2)
    return Source(split, split, class_names=("a", "b"), image_size=8)


class Callback(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        fail(KIND)


def main(given, arguments):
    config = TrainingConfig(
        dataset="failing", architecture="convolutional(depth=2)", epochs=1, batch_size=8,
        run_dir="failed", verbose=0,
    )
    run.train(config, make_callbacks=lambda *arguments: [Callback()])


if __name__ == "__main__":
    if not sys.argv[1].startswith("--"):
        KIND = sys.argv.pop()
        Command("mine", "", lambda values: None, main).run()
    train.run()
"""
SAID = {
    "raised": "ValueError: my own sentence",
    "numpy": "ValueError: cannot reshape array of size 3 into shape (2,2)",
    "key": "KeyError: 'my key'",
    "file": "FileNotFoundError: [Errno 2] No such file or directory: 'my file'",
}


def run_my_errors(folder, part, kind):
    (folder / "my_errors.py").write_text(MY_ERRORS)
    if part == "callback":
        return forked.run("my_errors", kind, cwd=folder)
    flags = ["--dataset=failing", "--architecture=convolutional(depth=2)", "--batch_size=8"]
    flags += [f"--{part}=failing(kind='{kind}')", "--run_dir=failed", "--verbose=0"]
    return forked.run("my_errors", *flags, cwd=folder)


@pytest.mark.parametrize(
    ("part", "kind"),
    [
        ("mixer", "raised"),
        ("mixer", "key"),
        ("dataset", "numpy"),
        ("dataset", "file"),
        ("callback", "raised"),
        ("callback", "file"),
    ],
)
def test_errors_in_ones_own_code_show_where_they_are(tmp_path, part, kind):
    code, _, err = run_my_errors(tmp_path, part, kind)
    assert code == 1
    assert "Traceback (most recent call last)" in err
    assert "my_errors.py" in err and "in fail\n" in err
    assert SAID[kind] in err
    assert not any(line.startswith("error: ") for line in err.splitlines())


@pytest.mark.parametrize("part", ["mixer", "dataset", "callback"])
def test_what_ones_own_code_has_checked_is_said_in_one_line(tmp_path, part):
    code, _, err = run_my_errors(tmp_path, part, "checked")
    assert code == 2
    assert "Traceback" not in err
    assert lines_of(err)[-1].startswith("error: ")
    assert "my share must lie in 0 to 1; got 2." in lines_of(err)[-1]


def test_an_error_in_ones_own_data_set_ends_a_search(tmp_path):
    (tmp_path / "my_errors.py").write_text(
        MY_ERRORS.replace("    train.run()", "    tune.run()").replace(
            "from amr_tf import train", "from amr_tf import tune"
        )
    )
    flags = ["--dataset=failing(kind='raised')", "--search=lambda:1,2", "--out=search"]
    code, _, err = forked.run("my_errors", *flags, cwd=tmp_path)
    assert code == 1
    assert "in fail\n" in err and SAID["raised"] in err


@pytest.mark.parametrize("name", ["train", "evaluate", "serve"])
def test_version(name, tmp_path):
    code, out, _ = forked.run(f"amr_tf.{name}", "--version", cwd=tmp_path)
    assert code == 0
    assert re.fullmatch(
        rf"amr_tf {re.escape(amr_tf.__version__)} \(TensorFlow .*, Python .*\)\n", out
    )


def started_in(environment, *flags, cwd):
    """A command of a new process, with TensorFlow's own log level."""
    cleared = {key: value for key, value in os.environ.items() if key != "TF_CPP_MIN_LOG_LEVEL"}
    return subprocess.run(
        [sys.executable, "-m", *flags],
        env={**cleared, "PYTHONPATH": str(ROOT), **environment},
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


def test_nothing_but_the_commands_own_lines(tmp_path):
    """No line of TensorFlow's, and a notebook's backend of matplotlib does no harm."""
    backend = {"MPLBACKEND": "module://of_a_notebook.inline"}
    done = started_in(backend, "amr_tf.evaluate", "--run=nowhere", cwd=tmp_path)
    device, error = done.stderr.splitlines()
    assert device.startswith("Device: ")
    assert error == "error: 'nowhere' is not a run folder: it has no config.json."


def test_another_backend_of_keras(tmp_path):
    """The commands end with one sentence, and an import with an error."""
    jax = {"KERAS_BACKEND": "jax"}
    done = started_in(jax, "amr_tf.evaluate", "--run=nowhere", cwd=tmp_path)
    script = "import sys; sys.argv[0] = '/bin/amr'; import amr_command; amr_command.main()"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **jax}
    command = [sys.executable, "-c", script, "evaluate"]
    kwargs = {"env": environment, "capture_output": True, "text": True, "check": False}
    for ended in (done, subprocess.run(command, **kwargs)):
        assert ended.returncode == 2
        (line,) = ended.stderr.splitlines()
        assert line.startswith("error: amr_tf runs on Keras' TensorFlow backend")
        assert line.endswith("names 'jax'. Set KERAS_BACKEND=tensorflow.")
    imported = subprocess.run([sys.executable, "-c", "import amr_tf"], **kwargs)
    assert imported.stderr.splitlines()[-1] == "ImportError" + line.removeprefix("error")


def test_a_reader_that_has_had_enough(trained):
    command = f"{sys.executable} -m amr_tf.evaluate --run=run --probes= --out=elsewhere.json"
    script = f"set -o pipefail; {command} | head -c 1 > /dev/null"
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=trained[0],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr
    assert "error" not in done.stderr


def test_a_closed_standard_output(trained):
    command = f"{sys.executable} -m amr_tf.evaluate --run=run --probes= --out=closed.json >&-"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run(["bash", "-c", command], cwd=trained[0], env=environment, check=True)
    assert (trained[0] / "closed.json").exists()


def test_the_home_folder_in_every_path(trained, tmp_path):
    """~ is the home folder in --run, --run_dir and --out."""
    shutil.copytree(trained[0] / "run", tmp_path / "run")
    home = {"HOME": str(tmp_path)}
    for name, flags, made in (
        ("evaluate", ("--run=~/run", "--probes="), "run/evaluation.json"),
        ("evaluate", ("--run=~/run", "--probes=", "--out=~/there.json"), "there.json"),
        ("interpolate", ("--run=~/run", "--out=~/there.png", "--pairs=1"), "there.png"),
        ("export", ("--run=~/run", "--out=~/served", "--formats="), "served/1/saved_model.pb"),
        ("train", ("--run_dir=~/run", "--resume"), "run/results.json"),
    ):
        (tmp_path / made).unlink(missing_ok=True)
        code, _, err = forked.run(f"amr_tf.{name}", *flags, cwd=tmp_path, environment=home)
        assert code == 0, err
        assert (tmp_path / made).exists(), name
    assert not (tmp_path / "~").exists()


def test_names_with_commas_and_blanks(trained, tmp_path):
    shutil.copytree(trained[0] / "run", tmp_path / "k=2, first try")
    code, _, err = run("interpolate", "--run=k=2, first try", "--pairs=1", cwd=tmp_path)
    assert code == 0, err
    assert (tmp_path / "k=2, first try" / "interpolation.png").exists()


FULL = """\
import errno
from amr_tf.commands import evaluate

def full(path, content):
    raise OSError(errno.EROFS, "Read-only file system")

evaluate.write_whole = full
evaluate.COMMAND.run()
"""


def test_a_run_that_cannot_be_written_to_is_evaluated(trained):
    """As root every folder can be written to: a script stands in for the disk."""
    folder = trained[0]
    (folder / "full.py").write_text(FULL)
    code, out, err = run("full", "--run=run", "--probes=", cwd=folder)
    assert (code, err) == (0, [])
    assert "reconstruction_loss" in out
    assert "run/evaluation.json could not be written (Read-only file system); --out" in out
    code, out, err = run("full", "--run=run", "--probes=", "--out=x.json", cwd=folder)
    assert code != 0  # The file that was asked for is not there.
    assert "Read-only file system" in err[-1]
