"""The command that draws mixes: its kinds, several runs, films, and what it refuses."""

import json

import numpy as np
import pytest
from PIL import Image

from amr_tf.figures.sheet import label_inches
from amr_tf.runs.build import build_model
from amr_tf.runs.checkpoints import best_path
from amr_tf.runs.comparison import captions_of
from amr_tf.runs.config import TrainingConfig
from amr_tf.runs.folder import RunFolder
from tests.commands.test_commands import finish, run, start

pytestmark = pytest.mark.slow

TINY = {"image_size": 8, "architecture": "convolutional(depth=2)"}
RUNS = {
    "k2": {"mixer": "bernoulli"},
    "gan": {"method": "ae_gan", "seed": 1},
    "labels": {
        "method": "supervised_amr(label_mixer=supervised_bernoulli(condition='parents'))",
    },
    "more labels": {"method": "supervised_amr", "seed": 1},
    "large": {"image_size": 16, "method": "ae_gan"},
}
# Calls the command for each of many lists of flags and prints what it says.
MANY = """\
import json
import sys
from amr_tf.commands.interpolate import COMMAND
for arguments in json.loads(sys.argv[1]):
    given = COMMAND.new_flags()
    given(["interpolate", *arguments])
    try:
        COMMAND.main(given, arguments)
    except (ValueError, OSError) as error:
        print(error)
"""
CELL, LABELS, TITLE, HEADER = 0.75, 1.7, 0.4, 0.22


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of runs whose models are untrained."""
    folder = tmp_path_factory.mktemp("interpolate")
    for name, settings in RUNS.items():
        config = TrainingConfig(**{**TINY, **settings})
        run_folder = RunFolder(folder / name)
        run_folder.checkpoints.mkdir(parents=True)
        run_folder.config.write_text(config.to_json())
        model = build_model(config, (config.image_size, config.image_size, 1), num_classes=10)
        model.save(best_path(run_folder.checkpoints))
    return folder


def draw(folder, *flags):
    """The picture that the command says it drew."""
    code, out, err = run("interpolate", *flags, cwd=folder)
    assert code == 0, err
    *models, drew = out.splitlines()
    assert all(line.endswith(": the best epoch (step 0)") for line in models)
    assert drew.startswith("Drew ")
    return Image.open(folder / drew.removeprefix("Drew "))


def captions(*names):
    """What the runs of these names are called."""
    return captions_of({name: TrainingConfig(**TINY, **RUNS[name]) for name in names}).values()


def inches(picture):
    return pytest.approx(np.array(picture.size) / 120, abs=0.01)


def many(folder, *calls):
    """What the command says to each list of flags, a line each."""
    before = sorted(folder.rglob("*"))
    process = start("-c", MANY, json.dumps(calls), cwd=folder)
    code, out, err = finish(process)
    assert code == 0, err
    assert sorted(folder.rglob("*")) == before
    return out.splitlines()


def test_several_runs(folder):
    flags = ("--run=gan,k2", "--run=labels", "--pairs=2", "--steps=3")
    with draw(folder, *flags) as picture:
        # For each pair a row of pixels and three of runs.
        labels = label_inches([f"1: {caption}" for caption in captions("gan", "k2", "labels")])
        assert inches(picture) == [labels + 5 * CELL, TITLE + HEADER + 8 * CELL]
    assert (folder / "gan" / "comparison.png").is_file()


def test_a_triangle(folder):
    with draw(folder, "--run=k2", "--kind=triangle", "--steps=3", "--out=new/three") as picture:
        assert picture.format == "PNG"
        assert inches(picture) == [5.5 * CELL + 0.35, TITLE + 0.55 + 3 * CELL + 0.35]
    assert (folder / "new" / "three.png").is_file()


def test_labels(folder):
    with draw(folder, "--run=labels", "--kind=labels", "--pairs=2") as picture:
        # A header, and for each pair the marks of two classes, a row of images and a gap.
        height = TITLE + HEADER + 2 * (2 * 0.19 + CELL + 0.15)
        assert inches(picture) == [LABELS + 5 * CELL, height]
        single = picture.size
    assert (folder / "labels" / "interpolation_labels.png").is_file()
    with draw(folder, "--run=labels,more labels", "--kind=labels", "--pairs=2") as picture:
        assert picture.size[1] > single[1]
    assert (folder / "labels" / "comparison_labels.png").is_file()


def test_a_film_of_crossover(folder):
    flags = ("--run=k2,gan", "--kind=bernoulli", "--out=film.gif", "--pairs=2", "--fps=5")
    with draw(folder, *flags) as film:
        assert film.n_frames == 4  # Codes of two maps: 0, 1, 2 and 1 of them.
        assert film.info["duration"] == 200
        labels = label_inches(captions("k2", "gan"))
        assert inches(film) == [labels + 2 * CELL, TITLE + 2 * CELL]


def test_codes(folder):
    with draw(folder, "--run=k2", "--kind=codes", "--out=codes.png") as picture:
        colours = np.unique(np.asarray(picture.convert("RGB")).reshape(-1, 3), axis=0)
        # Of class 0 and class 1.
        for colour in ([31, 119, 180], [255, 127, 14]):
            assert (np.abs(colours.astype("int") - colour).sum(axis=1) <= 3).any()


def test_what_is_wrong_is_said_before_anything_is_drawn(folder):
    run = "--run=k2"
    said = many(
        folder,
        [run, "--kind=lines"],
        [run, "--out=lines.jpg"],
        [run, "--out=lines.gif", "--kind=codes"],
        [run, "--run=k2"],
        [run, "--run=nowhere"],
        ["--run=,"],
        [run, "--data_dir=nowhere"],
        ["--run=k2,large"],
        ["--run=gan", "--kind=labels"],
        [run, "--kind=looks"],
        [run, "--kind=triangle", "--pairs=120"],
    )
    expected = (
        "Unknown kind 'lines'. Did you mean 'line'? Allowed: bernoulli, codes, labels, line, ",
        "--out must end in .png, .gif or .mp4; got 'lines.jpg'.",
        "Films (.gif, .mp4) are of kinds line and bernoulli; kind codes is drawn as a .png.",
        "Run 'k2' is given twice.",
        "'nowhere' is not a run folder: it has no config.json.",
        "--run needs the folder of a training run.",
        "--data_dir 'nowhere' is not a folder.",
        "are of the shape (8, 8, 1) in 'k2' and (16, 16, 1) in 'large'.",
        "'AE+GAN' has no label mixer: only models of --method=supervised_amr mix under labels.",
        " does not take layout and look apart: only models of --mixer=style do.",
        "pairs = 120 needs 360 images of the 359 there are.",
    )
    assert len(said) == len(expected)
    for line, words in zip(said, expected, strict=True):
        assert words in line
