"""Data that have changed since a run was trained: named and refused, or accepted by a flag."""

import pathlib
import shutil

import numpy as np
import pytest
from PIL import Image

from amr_tf.runs.comparison import load_runs
from amr_tf.runs.folder import RunFolder, load_run, load_run_data
from amr_tf.runs.run import train
from amr_tf.savedmodel.run_export import export_run
from tests.conftest import without_graphs
from tests.runs.conftest import tiny_config
from tests.savedmodel.test_card import quick_exports


def add(folder, name, number):
    path = folder / name / f"{number:02}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype="uint8")
    Image.fromarray(pixels).save(path)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run on a folder of cats and dogs, to copy."""
    path = tmp_path_factory.mktemp("trained")
    for number in range(20):
        add(path / "photos", ("cat", "dog")[number % 2], number)
    config = tiny_config(
        path / "run",
        dataset="image_folder",
        data_dir=str(path / "photos"),
        image_size=8,
        train_subset=None,
        batch_size=8,
        epochs=1,
    )
    with without_graphs():
        train(config)
    return path


@pytest.fixture
def photos(trained, tmp_path):
    """A copy of the folder, and of the run."""
    shutil.copytree(trained / "photos", tmp_path / "photos")
    shutil.copytree(trained / "run", tmp_path / "run")
    return tmp_path / "photos"


def resume(run, photos, **arguments):
    config = RunFolder(run).read_config()
    changes = {"run_dir": str(run), "data_dir": str(photos), "epochs": 2}
    return train(config.replace(**changes), resume=True, **arguments)


def evaluated(run, photos, allow=False):
    config, _ = load_run(run)
    return load_run_data(run, config, str(photos), allow)


def exported(run, photos, allow):
    with quick_exports():
        return export_run(
            run,
            pathlib.Path(run).with_name("served"),
            formats=(),
            data_dir=str(photos),
            notify=lambda said: None,
            allow_changed_data=allow,
        )


USES = {
    "resume": lambda run, photos, allow: resume(run, photos, allow_changed_data=allow),
    "evaluate": evaluated,
    "interpolate": lambda run, photos, allow: load_runs(
        [str(run)], str(photos), allow_changed_data=allow
    ),
    "export": exported,
}


@pytest.mark.parametrize("use", USES)
def test_another_image_is_named_and_can_be_accepted(photos, tmp_path, use, caplog, eager):
    add(photos, "cat", 20)
    message = (
        r"^The data of '.*run' have changed since it was trained: the train split had 18 images "
        r"and has 19. Images .* or accept the change with --allow_changed_data.$"
    )
    with pytest.raises(ValueError, match=message):
        USES[use](tmp_path / "run", photos, False)
    assert USES[use](tmp_path / "run", photos, True)
    assert "figures on held-out images can be too good" in caplog.text


@pytest.mark.parametrize("allow", [False, True])
@pytest.mark.parametrize("use", USES)
def test_another_class_is_never_accepted(photos, tmp_path, use, allow):
    add(photos, "bird", 0)
    message = "class 'bird' is new. Its model knows other classes: train a new one.$"
    with pytest.raises(ValueError, match=message):
        USES[use](tmp_path / "run", photos, allow)


def test_the_same_data_elsewhere(photos, tmp_path):
    assert len(evaluated(tmp_path / "run", photos).train) == 18


def test_a_run_of_an_earlier_version(photos, tmp_path):
    (tmp_path / "run" / "data.json").unlink()
    add(photos, "cat", 20)
    assert len(evaluated(tmp_path / "run", photos).train) == 19


def test_an_accepted_change_is_what_the_run_knows_now(photos, tmp_path, eager):
    add(photos, "cat", 20)
    resume(tmp_path / "run", photos, allow_changed_data=True)
    assert len(evaluated(tmp_path / "run", photos).train) == 19
