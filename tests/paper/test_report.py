"""Reports of made-up results: means, deviations, order, and files that need nothing else."""

import csv
import json
import re

import numpy as np
import pytest

from amr_tf.figures.grids import grid_figure
from amr_tf.paper import write_report
from amr_tf.paper.report import markdown_table, mean_and_deviation, order_of_methods
from amr_tf.paper.runs import samples_path
from amr_tf.runs.folder import RunFolder
from tests.paper.conftest import make_plan, write_finished

ACCURACIES = [(0.9, 0.8, 0.7), (0.5, 0.6, 0.4)]  # In unison on validation images, by cell.


def pretend(config, accuracy):
    """The files of a finished run, with its log and a picture."""
    results = {
        "test": {"probe_accuracy": accuracy - 0.1},
        "linear_probe": {"test_accuracy": accuracy + 0.05},
    }
    run = write_finished(config, accuracy, seconds=90.0, **results)
    run.log.write_text("epoch,val_probe_accuracy\n0,0.1\n1,0.5\n")
    grid_figure({"x": np.zeros((2, 4, 4, 1))}).savefig(samples_path(config))


@pytest.fixture
def plan(folder, tmp_path):
    """Six made-up runs."""
    plan = make_plan(folder, tmp_path, changes={"train_subset": 100})
    for cell, accuracies in zip(plan.cells, ACCURACIES):
        for seed, accuracy in enumerate(accuracies):
            pretend(plan.config(cell, seed), accuracy)
    return plan


def test_mean_and_deviation():
    assert mean_and_deviation([1.0, 2.0, 3.0]) == (2.0, 1.0)
    assert mean_and_deviation([4.0]) == (4.0, None)


def test_the_table(plan):
    columns = "in unison, validation | in unison, held-out | frozen codes, held-out"
    assert markdown_table(plan).splitlines() == [
        f"| method | lambda | {columns} | paper | runs | minutes |",
        "| " + " | ".join(["---"] * 8) + " |",
        "| AE+GAN | 5 | 80.0 ± 10.0 | 70.0 ± 10.0 | 85.0 ± 10.0 | 97.52 ± 0.29 | 3 of 3 | 4.5 |",
        "| AMR mixup k=3 | 20 | 50.0 ± 10.0 | 40.0 ± 10.0 | 55.0 ± 10.0 | 97.61 ± 0.15 | "
        "3 of 3 | 4.5 |",
    ]


def test_the_order(plan, folder, tmp_path):
    assert order_of_methods(plan) == (
        "Best first, by in unison, validation: AE+GAN, AMR mixup k=3. "
        "In the paper: AMR mixup k=3, AE+GAN."
    )
    assert order_of_methods(make_plan(folder, tmp_path / "none")) == ""
    other = make_plan(folder, tmp_path / "other", runs=1)
    for cell, accuracy in zip(other.cells, (0.3, 0.4)):
        pretend(other.config(cell, 0), accuracy)
    expected = "The order of the methods is the paper's: AMR mixup k=3, AE+GAN."
    assert order_of_methods(other) == expected


def test_nothing_is_finished(folder, tmp_path):
    rows = markdown_table(make_plan(folder, tmp_path)).splitlines()[2:]
    assert rows[0] == "| AE+GAN | 5 | - | - | - | 97.52 ± 0.29 | 0 of 3 | 0.0 |"
    write_report(make_plan(folder, tmp_path))
    assert (tmp_path / "report.html").is_file()


def test_a_single_run_has_no_deviation(folder, tmp_path):
    plan = make_plan(folder, tmp_path)
    pretend(plan.config(plan.cells[0], 0), 0.25)
    row = markdown_table(plan).splitlines()[2]
    assert row == "| AE+GAN | 5 | 25.0 | 15.0 | 30.0 | 97.52 ± 0.29 | 1 of 3 | 1.5 |"


def test_markdown(plan):
    text = write_report(plan, "python -m amr_tf.reproduce --table=1")
    assert (plan.out / "report.md").read_text() == text
    for part in (
        "# Table 1, mnist\n",
        "100 training images",
        "2 epochs of batch 32, 3 runs a cell",
        "lambda is the paper's",
        "Changed from the paper's settings: train_subset = 100.",
        markdown_table(plan),
        "```\npython -m amr_tf.reproduce --table=1\n```",
    ):
        assert part in text


def test_csv(plan):
    write_report(plan)
    with (plan.out / "report.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["seed"] for row in rows] == ["0", "1", "2"] * 2
    assert [float(row["in unison, validation"]) for row in rows[:3]] == [90, 80, 70]
    assert rows[3]["cell"] == "table1_mnist_amr_mixup_k3_lambda20"
    assert (rows[3]["paper_mean"], rows[3]["seconds"]) == ("97.61", "90.0")


def test_html_needs_no_other_file(plan):
    write_report(plan, "python -m x --a='<b>'")
    text = (plan.out / "report.html").read_text()
    pictures = re.findall(r'src="([^"]{0,30})', text)
    assert len(pictures) == 3  # The curves, and a grid a cell.
    assert all(picture.startswith("data:image/png;base64,") for picture in pictures)
    assert "http" not in text
    assert "&lt;b&gt;" in text and "<b>" not in text
    assert "<td>97.52 ± 0.29</td>" in text


def test_a_cell_of_ones_own(folder, tmp_path):
    from amr_tf.paper import Plan, find_cells

    plan = Plan(table=9, dataset="mine", cells=find_cells(9, "mine", folder), out=tmp_path)
    assert "| pixel-space AMR mixup k=2 | 1 | - | - | - | - | 0 of 3 | 0.0 |" in markdown_table(
        plan
    )


def test_a_report_of_factors(folder, tmp_path):
    plan = make_plan(folder, tmp_path)
    plan = type(plan)(**{**vars(plan), "table": 4})
    config = plan.config(plan.cells[0], 0)
    pretend(config, 0.5)
    scores = {"factor_vae": 0.5, "beta_vae": 0.75, "mig": 0.1, "sap": 0.02}
    scores["dci"] = {"disentanglement": 0.3}
    extra = {"seconds": 60.0, "disentanglement": scores}
    (RunFolder(config.run_dir).path / "reproduction.json").write_text(json.dumps(extra))
    results = json.loads(RunFolder(config.run_dir).results.read_text())
    results["test"]["reconstruction_loss"] = 12.5
    RunFolder(config.run_dir).results.write_text(json.dumps(results))
    row = markdown_table(plan).splitlines()[2]
    assert row == (
        "| AE+GAN | 5 | 50.0 | 75.0 | 10.0 | 30.0 | 2.0 | 12.5 | 97.52 ± 0.29 | 1 of 3 | 1.0 |"
    )
