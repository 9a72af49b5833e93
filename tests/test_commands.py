"""The commands, end to end: each in a process of its own, as a user runs them."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from amr_tf.training.run import RunFolder, load_run
from tests.training.conftest import assert_same_checkpoint, read_log

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
    lines = [line for line in err.splitlines() if not TENSORFLOWS_OWN.match(line)]
    return process.returncode, out, lines


def run(name, *flags, cwd):
    return finish(start("-m", f"amr_tf.{name}", *flags, cwd=cwd))


def files_in(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder in which `amr_tf.train` has made `run`, and what the command printed."""
    folder = tmp_path_factory.mktemp("commands")
    (folder / "tiny.cfg").write_text(FLAGFILE)
    code, out, err = run("train", "--flagfile=tiny.cfg", "--run_dir=run", cwd=folder)
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
    assert f"test_accuracy {results['linear_probe']['test_accuracy']:.4g}" in out


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
    deadline = time.monotonic() + 240
    # The header and the first epoch's row.
    while not (stopped.log.exists() and stopped.log.read_text().count("\n") >= 2):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
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


def test_evaluate(trained):
    folder, _ = trained
    before = files_in(folder)
    code, out, err = run("evaluate", "--run=run", cwd=folder)
    assert code == 0, err
    results = json.loads((folder / "run" / "results.json").read_text())
    del results["best_val_probe_accuracy"]
    assert json.loads(out) == results
    assert files_in(folder) == before


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
    assert out == "Exported the decoder to saved_models/run/1\n"
    _, model = load_run(folder / "run")
    codes = np.random.default_rng(0).normal(size=(5, *model.latent_shape)).astype("float32")
    images = model.decode(codes)
    assert abs(images).max() > 0.1
    np.savez(folder / "codes.npz", codes=codes, images=images)
    process = start("-c", LOAD_SAVED_MODEL, "saved_models/run/1", cwd=folder)
    code, out, err = finish(process)
    assert code == 0, err
    assert float(out) <= 1e-5


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
    ("evaluate", ("--run=nowhere",), "'nowhere' is not a run folder"),
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
