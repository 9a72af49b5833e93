"""The command that draws samples, on an untrained run of each kind."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from amr_tf.commands import sample
from amr_tf.runs.build import build_model
from amr_tf.runs.checkpoints import best_path
from amr_tf.runs.config import TrainingConfig
from amr_tf.runs.folder import RunFolder, load_run
from tests.commands.test_commands import run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of runs whose models are untrained."""
    folder = tmp_path_factory.mktemp("sample")
    for name in ("amr", "vae", "ae_gan"):
        config = TrainingConfig(
            method=name, image_size=8, architecture="convolutional(depth=2)", train_subset=200
        )
        run_folder = RunFolder(folder / name)
        run_folder.checkpoints.mkdir(parents=True)
        run_folder.config.write_text(config.to_json())
        build_model(config, (8, 8, 1), num_classes=10).save(best_path(run_folder.checkpoints))
    return folder


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


@pytest.mark.parametrize(
    ("name", "kind", "what", "densities"),
    [
        ("amr", (), "mixes of 2 training images", 0),
        ("vae", (), "samples", 0),  # A prior needs no density.
        ("ae_gan", (), "samples", 1),
        ("amr", ("--kind=codes",), "samples", 1),
    ],
)
def test_a_grid_of_different_images(folder, name, kind, what, densities):
    flags = (f"--run={name}", *kind, "--count=6", "--columns=3")
    code, out, err = run("sample", *flags, cwd=folder)
    assert code == 0, err
    assert f"Drew {name}/samples.png ({what}) with the best epoch (step 0)." in "".join(out)
    drawn = pixels(folder / name / "samples.png")
    assert drawn.shape[1] == int(120 * 3 * 0.75)
    cells = [drawn[48:130, start : start + 82].astype(int) for start in (0, 90, 180)]
    assert all(np.abs(one - other).mean() > 1 for one, other in zip(cells, cells[1:]))
    # It is fitted once and kept.
    assert len(list((folder / name).glob("density-*.npz"))) == densities
    again = run("sample", *flags, "--out=again.png", cwd=folder)
    assert again[0] == 0, again[2]
    np.testing.assert_array_equal(pixels(folder / "again.png"), drawn)


def test_the_title_names_the_folder(folder, monkeypatch):
    run_folder = RunFolder(folder / "vae")
    config = TrainingConfig.from_json(run_folder.config.read_text())
    config = config.replace(dataset="image_folder(fit='pad')", data_dir=str(folder)).resolve()
    assert "background" in config.dataset
    monkeypatch.setattr(sample, "load_run", lambda path, epoch: (config, load_run(path, epoch)[1]))
    titles = []

    def draw(images, columns, title):
        titles.append(title)
        return Figure()

    monkeypatch.setattr(sample, "sheet_figure", draw)
    with pytest.raises(SystemExit):
        sample.COMMAND.run([f"--run={run_folder.path}", f"--out={folder}/title.png"])
    assert titles == [f"{folder.name}, VAE: samples"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--run=nothing",), "'nothing' is not a run folder"),
        (("--run=vae", "--out=grid.jpg"), "--out must end in .png; got 'grid.jpg'."),
        (("--run=vae", "--epoch=first"), "Unknown epoch 'first'"),
        (("--run=vae", "--count=0"), "count"),
        (("--run=ae_gan", "--kind=mixes"), "The model of 'ae_gan' has no mixer: --kind=mixes"),
    ],
)
def test_what_is_refused(folder, flags, message):
    code, _, err = run("sample", *flags, cwd=folder)
    assert code == 2
    assert len(err) == 1 and message in err[0]
