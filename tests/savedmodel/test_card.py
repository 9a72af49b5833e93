"""The model card and metadata of a run's export, and the command that writes them."""

import contextlib
import hashlib
import html.parser
import json
import os
import pathlib
import re

import keras
import pytest
from markdown_it import MarkdownIt
from PIL import Image

from amr_tf import GaussianMixup
from amr_tf.mixers import MIXERS
from amr_tf.models import METHODS
from amr_tf.runs.build import build_model
from amr_tf.runs.folder import RunFolder
from amr_tf.savedmodel import export
from amr_tf.savedmodel.card import write_card
from amr_tf.savedmodel.run_export import export_run
from tests import forked
from tests.runs.conftest import tiny_config

RESULTS = {
    "best_val_probe_accuracy": 0.75,
    "validation": {"loss": 2.5, "probe_accuracy": 0.75},
    "linear_probe": {"test_accuracy": 0.8125, "l2": 0.1},
}


def make_run(path, **changes):
    """A run folder with a model that was not trained."""
    config = tiny_config(path, **changes).resolve()  # As a run writes it.
    points = config.dataset == "spiral"
    keras.utils.set_random_seed(0)
    model = build_model(config, (2,) if points else (8, 8, 1), None if points else 10)
    folder = RunFolder(path)
    folder.checkpoints.mkdir(parents=True)
    model.save(folder.checkpoints / "best.keras")
    folder.config.write_text(config.to_json())
    folder.flagfile.write_text(config.to_flagfile())
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = make_run(tmp_path_factory.mktemp("run") / "digits")
    folder.results.write_text(json.dumps(RESULTS))
    return folder


@contextlib.contextmanager
def quick_exports():
    """Exports whose SavedModel has the decoder alone, unverified."""
    endpoints = export.endpoints
    few = ("decode", "interpolate")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            export, "endpoints", lambda model: {name: endpoints(model)[name] for name in few}
        )
        patch.setattr(export, "replay_in_fresh_process", lambda pairs: [{}])
        yield


@pytest.fixture
def quick():
    with quick_exports():
        yield


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):
    """The folder of the run's export, and what it said."""
    said = []
    with quick_exports():
        folder = tmp_path_factory.mktemp("exported") / "numbers"
        return export_run(run.path, folder, notify=said.append), said


def test_the_card(run, exported):
    version, said = exported
    assert [text for text in said if "warm-up" not in text] == [
        f"Exporting the best epoch (step 0) of '{run.path}'."
    ]
    card = (version / "README.md").read_text()
    sha = hashlib.sha256(run.config.read_bytes()).hexdigest()
    for line in (
        "# numbers",
        "| data set | digits |",
        "| method | amr, mixer mixup, k = 2 |",
        "| images | 8 x 8 x 1 |",
        "| networks | convolutional(depth=2) |",
        "| codes | 4 x 4 x 2 |",
        "| classes | 10: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 |",
        f"| SHA-256 of the run's config.json | {sha} |",
        "| linear_probe, test accuracy | 0.8125 |",
        "| validation, probe accuracy | 0.7500 |",
        "| best_val_probe_accuracy | 0.7500 |",
        "| `decode` | codes: float32 (N, 4, 4, 2) | images: float32 (N, 8, 8, 1) in [-1, 1] "
        "| The decoder. |",
        "--probe_optimizer=adam_l2(learning_rate=0.01, beta_1=0.5, beta_2=0.99, epsilon=1e-08, "
        "l2_weight_decay=1e-05)",
    ):
        assert line in card.splitlines()
    assert "images: float32 (N, steps, 8, 8, 1) in [-1, 1]" in card
    assert "loss" not in card.split("## Signatures")[0]
    assert "![Held-out images, their reconstructions and mixes](samples.png)" in card
    assert (version / "examples.png").is_file()
    with Image.open(version / "samples.png") as picture:
        picture.load()
        assert picture.width > picture.height > 100
    metadata = json.loads((version / "metadata.json").read_text())
    assert metadata["config_sha256"] == sha
    assert metadata["class_names"] == [str(digit) for digit in range(10)]
    assert (metadata["dataset"], metadata["name"]) == ("digits", "numbers")
    settings = metadata["settings"]
    assert (settings["method"], settings["mixer"], settings["k"]) == (
        METHODS.canonical("amr"),
        "mixup",
        2,
    )
    assert settings["lambda"] == 10.0
    lines = [f"--{name}={value}" for name, value in settings.items()]
    hidden = {f"--run_dir={run.path}", "--trackers=tensorboard"}
    assert set(run.flagfile.read_text().splitlines()) - set(lines) == hidden
    assert not set(settings) & {"run_dir", "data_dir"}


def test_parameters(tmp_path, quick):
    """They stand with what they belong to; the names alone for programs as ever."""
    run = make_run(
        tmp_path / "run",
        method="gaia(balance_target=0.25)",
        mixer="gaussian(sigma=0.5)",
        dataset="image_folder(crop=20)",
        data_dir=str(tmp_path / "no|where"),
    )
    version = export_run(run.path, tmp_path / "served", notify=lambda text: None)
    card = (version / "README.md").read_text()
    for line in (
        "| data set | image_folder(crop=20) |",
        "| method | gaia(balance_target=0.25), mixer gaussian(sigma=0.5), k = 2 |",
    ):
        assert line in card.splitlines()
    metadata = json.loads((version / "metadata.json").read_text())
    found = {name: metadata[name] for name in ("method", "mixer", "k", "dataset")}
    assert found == {"method": "gaia", "mixer": "gaussian", "k": 2, "dataset": "image_folder"}
    assert metadata["settings"]["mixer"] == "gaussian(sigma=0.5)"
    assert "where" not in json.dumps(metadata)


NAMES = (
    "a|b",
    "<b>bold</b>",
    "<script>alert(1)</script>",
    "<!--",
    "🌷 tulip",
    "`c`",
    "*d*",
    "_e_ f_g",
    "[x](https://evil.example)",
    "![x](y.png)",
    "&lt; &",
    "~~z~~",
    "$x$",
    "line\nbreak",
    "back\\",
    "\\|",
)


class Cells(html.parser.HTMLParser):
    """Collects the table cells of a page, and every element's name."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.cells = set(), []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        if tag in ("td", "h1"):
            self.cells.append("")

    def handle_data(self, text):
        if self.cells:
            self.cells[-1] += text


def test_names_that_would_be_markup(exported, tmp_path):
    """What a Markdown renderer shows that lets HTML through is the names, and nothing else."""
    facts = json.loads((exported[0] / "metadata.json").read_text())
    facts |= {"name": "<i>|name", "class_names": NAMES, "num_classes": len(NAMES)}
    write_card(tmp_path, None, facts)
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    shown = Cells(MarkdownIt("commonmark", {"html": True}).enable("table").render(card))
    cells = [cell.strip() for cell in shown.cells]
    assert cells[0].splitlines()[0] == "<i>|name"
    names = ", ".join(NAMES).replace("\n", " ")
    assert cells[cells.index("classes") + 1] == f"{len(NAMES)}: {names}"
    assert cells[cells.index("networks") + 1] == "convolutional(depth=2)"
    plain = {"h1", "h2", "p", "table", "thead", "tbody", "tr", "th", "td", "code"}
    assert shown.tags == plain


def test_names_that_are_no_utf8(exported, tmp_path):
    facts = json.loads((exported[0] / "metadata.json").read_text())
    facts |= {"class_names": [os.fsdecode(b"caf\xe9")], "num_classes": 1}
    write_card(tmp_path, None, facts)
    assert "| classes | 1: caf\\udce9 |" in (tmp_path / "README.md").read_text(encoding="utf-8")


def test_a_mixer_of_ones_own(tmp_path, quick, monkeypatch):
    """Registered is a function; its class has a name that no flag takes."""
    monkeypatch.setattr(MIXERS, "_entries", dict(MIXERS._entries))

    @MIXERS.register("mine")
    def make_mine(k, share=0.5, seed=None):
        return GaussianMixup(k, sigma=share, seed=seed)

    run = make_run(tmp_path / "run", mixer="mine(share=0.125)", k=2)
    version = export_run(run.path, tmp_path / "served", notify=lambda text: None)
    metadata = json.loads((version / "metadata.json").read_text())
    assert (metadata["mixer"], metadata["k"]) == ("mine", 2)
    card = (version / "README.md").read_text()
    assert "| method | amr, mixer mine(share=0.125), k = 2 |" in card


def test_a_label_mixer(tmp_path, quick):
    mixer = "supervised_bernoulli(condition='parents', alphas='attribute')"
    run = make_run(tmp_path / "run", method=f'supervised_amr(label_mixer="{mixer}")')
    version = export_run(run.path, tmp_path / "served", notify=lambda text: None)
    card = (version / "README.md").read_text()
    (row,) = (line for line in card.splitlines() if line.startswith("| method | "))
    assert row.endswith(", no mixer, label mixer supervised_bernoulli |")
    assert mixer in row
    metadata = json.loads((version / "metadata.json").read_text())
    assert metadata["label_mixer"] == "supervised_bernoulli"
    assert metadata["settings"]["mixer"] == "none"


def test_without_the_data(tmp_path, quick):
    run = make_run(tmp_path / "run", dataset="image_folder", data_dir=str(tmp_path / "nowhere"))
    said = []
    version = export_run(run.path, tmp_path / "served", notify=said.append)
    _, sentence = (text for text in said if "warm-up" not in text)
    assert sentence.startswith("No sheet of samples and no class names: ")
    assert "nowhere" in sentence
    assert not (version / "samples.png").exists()
    assert not (version / "examples.png").exists()
    card = (version / "README.md").read_text()
    assert "samples.png" not in card
    assert "## Probe accuracy" not in card
    assert "| classes | 10 |" in card
    assert json.loads((version / "metadata.json").read_text())["class_names"] is None


def test_points_are_drawn(tmp_path, quick):
    run = make_run(
        tmp_path / "run",
        dataset="spiral",
        architecture="mlp(latent_dim=2)",
        probe_optimizer=None,
        image_size=None,
        train_subset=None,
    )
    version = export_run(run.path, tmp_path / "served")
    assert (version / "samples.png").is_file()
    assert "| images | 2 |" in (version / "README.md").read_text()


def test_no_run_and_no_model(run, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere' is not a run folder"):
        export_run(tmp_path / "nowhere", tmp_path / "served")
    with pytest.raises(FileNotFoundError, match="has no checkpoint yet"):
        export_run(run.path, tmp_path / "served", epoch="last")
    (tmp_path / "untrained").mkdir()
    (tmp_path / "untrained" / "config.json").write_text(run.config.read_text())
    with pytest.raises(FileNotFoundError, match="There is no model"):
        export_run(tmp_path / "untrained", tmp_path / "served")
    assert not (tmp_path / "served").exists()


@pytest.mark.slow
def test_the_command(run, tmp_path):
    earlier = tmp_path / "saved_models" / "digits" / "1"
    earlier.mkdir(parents=True)
    flags = (f"--run={run.path}", "--formats=keras,tflite", "--keep=1")
    code, out, errors = forked.run("amr_tf.export", *flags, cwd=tmp_path)
    assert code == 0, errors
    assert out.splitlines()[-1] == "Exported saved_models/digits/2"
    (version,) = earlier.parent.iterdir()
    names = {path.name for path in version.iterdir()}
    assert {"saved_model.pb", "model.keras", "decoder.tflite", "samples.png"} < names


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--keep=0",), "keep must be a positive integer; got 0."),
        (("--formats=keras,onx",), "Unknown format 'onx'. Did you mean 'onnx'?"),
        (("--out=file",), "'file' is a file; versions are written into a folder."),
        (("--run=nowhere",), "'nowhere' is not a run folder"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(run, tmp_path, flags, message):
    (tmp_path / "file").write_text("hello")
    code, out, errors = forked.run("amr_tf.export", f"--run={run.path}", *flags, cwd=tmp_path)
    assert (code, out) == (2, "")
    errors = re.findall("^error: .*$", errors, re.MULTILINE)
    assert len(errors) == 1
    assert message in errors[0]
    assert [path.name for path in pathlib.Path(tmp_path).iterdir()] == ["file"]
