"""A table of two cells on a few tiny digits."""

import json

import pytest

from amr_tf.paper import Plan, find_cells
from amr_tf.runs.folder import RunFolder
from tests.runs import tiny
from tests.runs.conftest import tiny_config

CELLS = {
    "table1_mnist_ae_gan_lambda5": ("ae_gan", None, None, 5.0),
    "table1_mnist_amr_mixup_k3_lambda20": ("amr", "mixup", 3, 20.0),
    "table9_mine_pixel": ("pixel_mixup", "mixup", 2, 1.0),
}


@pytest.fixture(scope="package")
def folder(tmp_path_factory):
    """A folder of three flagfiles: two cells of a table of the paper's, one of another's."""
    with tiny.registered() as architecture:
        yield write_cells(tmp_path_factory.mktemp("cells"), architecture=architecture)


def write_cells(folder, **changes):
    """Writes the flagfiles of `CELLS`; returns the folder."""
    for name, (method, mixer, k, lambda_) in CELLS.items():
        changes |= {"method": method, "mixer": mixer, "k": k, "lambda_": lambda_}
        config = tiny_config("unused", epochs=2, **changes)
        (folder / f"{name}.cfg").write_text(config.to_flagfile())
    return folder


def make_plan(folder, out, **changes):
    return Plan(table=1, dataset="mnist", cells=find_cells(1, "mnist", folder), out=out, **changes)


def write_finished(config, accuracy, seconds, **results):
    """The files of a finished run, made up; returns its folder."""
    run = RunFolder(config.run_dir)
    run.path.mkdir(parents=True)
    run.config.write_text(config.to_json())
    run.results.write_text(json.dumps({"best_val_probe_accuracy": accuracy, **results}))
    (run.path / "reproduction.json").write_text(json.dumps({"seconds": seconds}))
    return run
