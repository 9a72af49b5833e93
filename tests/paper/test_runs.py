"""Plans, and the runs that they make, resume and leave alone."""

import dataclasses
import pathlib

import pytest
from matplotlib.figure import Figure

from amr_tf.paper import Plan, estimate_seconds, find_cells, reproduce, runs
from amr_tf.paper.cells import SHIPPED
from amr_tf.paper.runs import read_results
from amr_tf.paper.tables import row_of
from amr_tf.runs.folder import RunFolder
from tests.paper.conftest import make_plan, write_finished


def quiet(line):
    pass


def names(plan):
    return [pathlib.Path(config.run_dir).name for config in plan.all_configs()]


def test_the_runs_of_a_plan(folder, tmp_path):
    plan = make_plan(folder, tmp_path, runs=2)
    assert names(plan) == [
        "table1_mnist_ae_gan_lambda5_seed0",
        "table1_mnist_ae_gan_lambda5_seed1",
        "table1_mnist_amr_mixup_k3_lambda20_seed0",
        "table1_mnist_amr_mixup_k3_lambda20_seed1",
    ]
    assert [config.seed for config in plan.all_configs()] == [0, 1, 0, 1]
    assert not list(tmp_path.iterdir())


def test_the_budget_changes_every_cell(folder, tmp_path):
    optimizer = "adam_l2(learning_rate=0.5)"
    plan = make_plan(folder, tmp_path, changes={"epochs": 7, "probe_optimizer": optimizer})
    for config in plan.all_configs():
        assert (config.epochs, config.probe_optimizer) == (7, optimizer)
    assert [cell.config.epochs for cell in plan.cells] == [2, 2]


def test_every_lambda_is_tried_with_the_first_seed(folder, tmp_path):
    plan = make_plan(folder, tmp_path, runs=2, lambdas=(2.0, 50.0))
    assert names(plan)[:3] == [
        "table1_mnist_ae_gan_lambda2_seed0",
        "table1_mnist_ae_gan_lambda50_seed0",
        "table1_mnist_ae_gan_lambda2_seed1",
    ]


def test_cells_that_differ_behind_their_lambda_have_folders_of_their_own(folder, tmp_path):
    plan = make_plan(folder, tmp_path, runs=1)
    cells = [
        dataclasses.replace(plan.cells[0], name=f"table9_mine_lambda10_beta{beta}")
        for beta in (0, 10)
    ]
    assert names(dataclasses.replace(plan, cells=tuple(cells))) == [
        "table9_mine_beta0_lambda5_seed0",
        "table9_mine_beta10_lambda5_seed0",
    ]


def test_the_lambda_of_the_best_validation_accuracy(folder, tmp_path):
    plan = make_plan(folder, tmp_path, runs=2, lambdas=(2.0, 10.0, 50.0))
    cell = plan.cells[0]
    for lambda_, accuracy in ((2.0, 0.5), (10.0, 0.7)):
        write_finished(plan.config(cell, 0, lambda_), accuracy, seconds=3.0)
        assert plan.chosen_lambda(cell) is None
        assert plan.finished(cell) == {}
    write_finished(plan.config(cell, 0, 50.0), 0.6, seconds=3.0)
    assert plan.chosen_lambda(cell) == 10.0
    assert list(plan.finished(cell)) == [0]
    assert plan.chosen_lambda(plan.cells[1]) is None
    assert "table1_mnist_ae_gan_lambda10_seed1" in names(plan)


def test_results_of_another_config_do_not_count(folder, tmp_path):
    plan = make_plan(folder, tmp_path)
    config = plan.config(plan.cells[0], 0)
    assert read_results(config) is None
    write_finished(config, 0.5, seconds=3.0)
    assert read_results(config) == {"best_val_probe_accuracy": 0.5, "seconds": 3.0}
    assert read_results(config.replace(epochs=3)) is None
    (RunFolder(config.run_dir).path / "reproduction.json").unlink()
    assert read_results(config) is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"runs": 0}, "^runs must be at least 1; got 0.$"),
        ({"lambdas": (2.0, 0.0)}, r"^lambdas must be above 0; got \(2.0, 0.0\).$"),
        ({"table": 4, "lambdas": (2.0,)}, "^lambdas are chosen by validation accuracy, which t"),
    ],
)
def test_plans_that_make_no_sense(folder, tmp_path, changes, message):
    plan = make_plan(folder, tmp_path)
    with pytest.raises(ValueError, match=message):
        type(plan)(**{**vars(plan), **changes})


def test_a_wrong_budget_is_told_before_anything_is_written(folder, tmp_path):
    plan = make_plan(folder, tmp_path, changes={"batch_size": 1})
    message = (
        "^Cell table1_mnist_amr_mixup_k3_lambda20: A batch of 1 is too small to mix k = 3 .*"
        "Flags hold for every cell; --methods chooses cells.$"
    )
    for make in (reproduce, estimate_seconds):
        with pytest.raises(ValueError, match=message):
            make(plan)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("dataset", "changes", "message"),
    [
        (
            "dsprites",
            {"gan_loss": "least_squares"},
            "table4_dsprites_beta_vae_beta100: method beta_vae does not use gan_loss",
        ),
        (
            "dsprites",
            {"beta": 0.5},
            "table4_dsprites_beta_vae_beta100: method beta_vae does not use beta",
        ),
        (
            "dsprites",
            {"data_dir": "sprites"},
            "table4_dsprites_beta_vae_beta100: Data set 'dsprites' reads no files",
        ),
        (
            "mnist",
            {"beta": 0.5},
            "table1_mnist_ae_gan_lambda5: method ae_gan does not use beta",
        ),
        (
            "mnist",
            {"architecture": "dsprites(hidden=(9,))"},
            "table1_mnist_ae_gan_lambda5: Unknown parameter of architecture 'dsprites': 'hidden'",
        ),
    ],
)
def test_a_flag_that_a_cell_does_not_use(tmp_path, dataset, changes, message):
    """It holds for every cell, so one cell that cannot use it is told before any is trained."""
    table = {"mnist": 1, "dsprites": 4}[dataset]
    plan = Plan(table, dataset, find_cells(table, dataset, SHIPPED), tmp_path, changes=changes)
    with pytest.raises(ValueError, match=f"^Cell {message}.*--methods chooses cells.$"):
        reproduce(plan, log=quiet)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("number", "changes"),
    [
        (1, {}),
        (1, {"precision": "mixed_bfloat16", "architecture": "convolutional(depth=4)"}),
        (1, {"reconstruction_loss": "mean_squared_error", "supervision": 0.1}),
        (4, {"autoencoder_optimizer": "adam(learning_rate=1e-3)"}),
    ],
)
def test_flags_that_all_cells_use(tmp_path, number, changes):
    """The cells' own settings stay as they are."""
    dataset = {1: "svhn", 4: "dsprites"}[number]
    plan = Plan(number, dataset, find_cells(number, dataset, SHIPPED), tmp_path, changes=changes)
    plan.check()
    for cell in plan.cells:
        config = plan.config(cell, 0)
        kept = config.replace(**{name: getattr(cell.config, name) for name in changes})
        assert kept == cell.config.replace(verbose=0, seed=0, run_dir=config.run_dir)
        assert all(getattr(config, name) == value for name, value in changes.items())
        assert row_of(config) == row_of(cell.config)


def test_more_epochs_were_trained_than_are_asked_for(folder, tmp_path):
    plan = make_plan(folder, tmp_path)
    write_finished(plan.config(plan.cells[0], 0), 0.5, seconds=3.0)
    less = make_plan(folder, tmp_path, changes={"epochs": 1})
    with pytest.raises(ValueError, match="holds a run of 2 epochs, more than the 1 asked for"):
        reproduce(less, log=quiet)


@pytest.fixture(scope="module")
def made(folder, tmp_path_factory):
    """A plan whose runs are made, and the lines that it logged."""
    plan = make_plan(folder, tmp_path_factory.mktemp("made"), runs=2)
    plan = dataclasses.replace(plan, cells=plan.cells[1:])
    lines, reports = [], []
    assert reproduce(plan, report=lambda: reports.append(len(lines)), log=lines.append)
    assert reports == [1, 2]
    return plan, lines


@pytest.mark.slow
def test_all_runs_are_made(made):
    plan, lines = made
    assert [line.split(":")[0] for line in lines] == names(plan)
    assert all("validation" in line for line in lines)
    for cell in plan.cells:
        assert list(plan.finished(cell)) == [0, 1]
        for results in plan.finished(cell).values():
            assert set(results) >= {"best_val_probe_accuracy", "test", "linear_probe", "seconds"}


@pytest.mark.slow
def test_a_second_time_nothing_is_trained(made):
    plan, _ = made
    before = {path: path.stat().st_mtime_ns for path in plan.out.rglob("*") if path.is_file()}
    lines = []
    assert reproduce(plan, log=lines.append)
    assert lines == [f"{name}: finished before" for name in names(plan)]
    after = {path: path.stat().st_mtime_ns for path in plan.out.rglob("*") if path.is_file()}
    assert after == before


@pytest.mark.slow
def test_the_estimate(made, folder, tmp_path):
    plan, _ = made
    assert set(estimate_seconds(plan).values()) == {0.0}
    open_plan = make_plan(folder, tmp_path, changes={"epochs": 1000})
    estimates = estimate_seconds(open_plan, timed_steps=2)
    assert list(estimates) == names(open_plan)
    assert all(seconds > 0 for seconds in estimates.values())
    assert not list(tmp_path.iterdir())


def test_all_figures_of_a_run_are_of_the_best_epochs_model(folder, tmp_path, monkeypatch):
    """What is measured beside results.json, too."""
    seen = []

    def draw(model, *arguments):
        seen.append(model.steps_made)
        return Figure()

    monkeypatch.setattr(runs, "sample_figure", draw)
    # The first of two epochs: the reconstruction gets better.
    changes = {"monitor": "val_reconstruction_loss:max", "epochs": 2}
    plan = make_plan(folder, tmp_path, runs=1, changes=changes)
    plan = dataclasses.replace(plan, cells=plan.cells[:1])
    assert reproduce(plan, log=quiet)
    results = read_results(plan.config(plan.cells[0], 0))
    assert results["best_epoch"] == 1
    assert seen == [4]
