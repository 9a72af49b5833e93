"""The commands, end to end, as a user runs them: in new processes, and in forks of one."""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from PIL import Image

from amr_tf.training.folder import RunFolder, load_run
from tests import forked
from tests.training.conftest import assert_same_checkpoint, read_log, wait_for

pytestmark = pytest.mark.slow

EPOCHS = 3
STEPS = 161  # Per epoch: 1294 digits in batches of 8.
FLAGFILE = f"""\
# Tiny networks on the digits, in small batches: epochs of about a second.
--dataset=digits
--image_size=8
--depth=2
--batch_size=8
--epochs={EPOCHS}
--sample_every={EPOCHS}
--probe_learning_rate=0.01
--verbose=2
"""
SPIRAL = "figure12_spiral_amr_mixup_k2_lambda10_beta0.1"
PAPER = pathlib.Path(__file__).resolve().parents[1] / "configs" / "paper"
# The README's way to train with a mixer of one's own.
MY_TRAIN = """\
import keras
import amr_tf
from amr_tf import train


@amr_tf.mixers.MIXERS.register("average")
@keras.saving.register_keras_serializable(package="my_project")
class Average(amr_tf.Mixer):
    def draw_coefficients(self, code_shape, batch_size, seed=None):
        return keras.ops.full((batch_size, self.k) + (1,) * len(code_shape), 1 / self.k)


if __name__ == "__main__":
    train.run()
"""
# What TensorFlow writes to standard error by itself.
TENSORFLOWS_OWN = re.compile(r"WARNING: All log messages before absl|[IWEF]\d{4} \d\d:\d\d")
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
    return [line for line in err.splitlines() if not TENSORFLOWS_OWN.match(line)]


def run(name, *flags, cwd):
    """As `finish(start(...))`, without the seconds of the import."""
    code, out, err = forked.run(f"amr_tf.{name}", *flags, cwd=cwd)
    return code, out, lines_of(err)


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
    assert set(results) == {"best_val_probe_accuracy", "validation", "test", "linear_probe"}
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
    assert found["image_quality"]["mixes"]["extractor"] == "classifier_penultimate"
    accuracy = found["knn_probe"]["test_accuracy"]
    rows = {line[:40].split("  ")[0]: line.split() for line in out.splitlines()}
    assert rows["knn_probe accuracy"][-1] == f"{accuracy:.4g}"
    assert "image_quality mixes fid" in rows


def test_interpolate(trained):
    folder, _ = trained
    flags = ("--run=run", "--out=figures/lines.png", "--pairs=3", "--steps=5")
    code, out, err = run("interpolate", *flags, cwd=folder)
    assert code == 0, err
    assert out == "Drew figures/lines.png\n"
    with Image.open(folder / "figures" / "lines.png") as picture:
        picture.load()
        # In inches of 120 pixels: captions 1.7, a title 0.4, an image 0.75; two rows per pair,
        # each with the two images beside the five steps.
        assert picture.size == (round(120 * (1.7 + 7 * 0.75)), round(120 * (0.4 + 6 * 0.75)))
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
    assert out == "Drew vae/interpolation.png\n"
    with Image.open(vae / "vae" / "interpolation.png") as picture:
        assert picture.size == (round(120 * (1.7 + 5 * 0.75)), round(120 * (0.4 + 4 * 0.75)))
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
    found = (config.dataset, config.architecture, config.beta, config.epochs, config.beta_2)
    assert found == ("spiral", "mlp", 0.1, 1, 0.99)
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
    """The folder with a script of the user's and its run `mine` with the user's mixer."""
    folder, _ = trained
    (folder / "my_train.py").write_text(MY_TRAIN)
    flags = ("--flagfile=tiny.cfg", "--mixer=average", "--k=3", "--epochs=1", "--run_dir=mine")
    code, out, err = finish(start("my_train.py", *flags, cwd=folder))
    assert code == 0, err
    assert "Results of the best epoch (also in mine/results.json):" in out
    return folder


def test_a_script_with_a_mixer_of_ones_own(mine):
    folder = RunFolder(mine / "mine")
    config = folder.read_config()
    assert (config.mixer, config.k) == ("average", 3)
    assert config.depth == 2  # The flagfile's.
    with zipfile.ZipFile(folder.checkpoints / "best.keras") as archive:
        saved = json.loads(archive.read("config.json"))
    assert saved["config"]["mixer"]["registered_name"] == "my_project>Average"
    flags = ("--run_dir=mine", "--resume", "--epochs=2")
    code, _, err = finish(start("my_train.py", *flags, cwd=mine))
    assert code == 0, err
    assert [row["epoch"] for row in read_log(folder.log)] == [0, 1]


def test_a_misspelt_mixer_of_ones_own(mine):
    code, out, err = finish(start("my_train.py", "--mixer=averge", cwd=mine))
    assert (code, out) == (2, "")
    assert len(err) == 1
    assert err[0].startswith("error: Unknown mixer 'averge'. Did you mean 'average'?")


def test_a_mixer_that_a_command_does_not_know(mine):
    """The other commands do not import the user's script, and say so in one line."""
    code, out, err = run("evaluate", "--run=mine", cwd=mine)
    assert (code, out) == (2, "")
    assert len(err) == 1
    assert "best.keras' cannot be loaded as a model" in err[0]
    assert "Average" in err[0]


# The command, its flags, and what the error says.
BAD_INPUT = [
    ("train", ("--mixer=mixupp",), "Unknown mixer 'mixupp'. Did you mean 'mixup'?"),
    ("train", ("--dataset=mnits",), "Unknown data set 'mnits'. Did you mean 'mnist'?"),
    ("train", ("--k=9", "--batch_size=8"), "A batch of 8 is too small to mix k = 9 examples"),
    ("train", ("--lambda=-1",), "lambda must be a finite number of at least 0; got -1.0."),
    ("train", ("--dataset=mnist", "--data_dir=nowhere"), "--data_dir 'nowhere' is not a folder"),
    ("train", ("--run_dir=run",), "'run' already holds a run. Continue it with --resume"),
    ("train", ("--run_dir=run", "--resume", "--seed=5"), "seed was 0 and is 5"),
    ("train", ("--run_dir=nowhere", "--resume"), "'nowhere' is not a run folder"),
    ("train", ("digits",), "Arguments are flags, --name=value; got 'digits'."),
    ("train", ("--method=supervised_amr", "--dataset=spiral", "--architecture=mlp"), "from labels"),
    ("train", ("--method=acai", "--k=3"), "method acai needs a mixer of k = 2"),
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
]


@pytest.mark.parametrize(("name", "flags", "message"), BAD_INPUT)
def test_what_is_wrong_is_said_in_one_line(trained, name, flags, message):
    folder, _ = trained
    (folder / "untrained").mkdir(exist_ok=True)
    (folder / "untrained" / "config.json").write_text((folder / "run/config.json").read_text())
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
