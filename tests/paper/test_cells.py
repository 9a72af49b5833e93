"""Cells: which flagfiles, in which order, under which names."""

import pytest

from amr_tf.paper import find_cells
from amr_tf.paper.cells import SHIPPED, short_name
from amr_tf.paper.tables import TABLES
from amr_tf.runs.config import TrainingConfig


@pytest.mark.parametrize(
    ("changes", "short"),
    [
        ({}, "amr_mixup_k2"),
        ({"mixer": "bernoulli", "k": 3}, "amr_bernoulli_k3"),
        ({"method": "ae_gan"}, "ae_gan"),
        ({"method": "acai"}, "acai"),
        ({"method": "supervised_amr"}, "supervised_amr"),
        ({"method": "beta_vae"}, "beta_vae"),
    ],
)
def test_names(changes, short):
    assert short_name(TrainingConfig(**changes).resolve()) == short


@pytest.mark.parametrize("number", TABLES)
def test_the_papers_cells_in_the_papers_order(number):
    for dataset, rows in TABLES[number].items():
        cells = find_cells(number, dataset, SHIPPED)
        assert [cell.paper for cell in cells] == list(rows.values())
        assert len({cell.label for cell in cells}) == len(rows)


def test_cells_of_a_folder(folder):
    cells = find_cells(1, "mnist", folder)
    assert [cell.label for cell in cells] == ["AE+GAN", "AMR mixup k=3"]
    assert [cell.paper.mean for cell in cells] == [97.52, 97.61]
    assert cells[1].config.lambda_ == 20
    (mine,) = find_cells(9, "mine", folder)
    assert mine.paper is None


@pytest.mark.parametrize("methods", [["amr"], ["amr_mixup_k3"], ["amr", "amr_mixup_k3"]])
def test_chosen_methods(folder, methods):
    assert [cell.label for cell in find_cells(1, "mnist", folder, methods)] == ["AMR mixup k=3"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((2, "mnist"), "^Unknown table '2'. Allowed: 1, 9.$"),
        ((1, "minst"), "^Unknown data set of table 1 'minst'. Did you mean 'mnist'.*mnist.$"),
        ((1, "mine"), "^Unknown data set of table 1 'mine'"),
    ],
)
def test_what_is_not_there(folder, arguments, message):
    with pytest.raises(ValueError, match=message):
        find_cells(*arguments, folder)


def test_an_unknown_method(folder):
    with pytest.raises(ValueError, match="^Unknown method of this table 'acai'.*amr_mixup_k3"):
        find_cells(1, "mnist", folder, ["acai"])


def test_no_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="^There is no folder '.*none' of flagfiles; name"):
        find_cells(1, "mnist", tmp_path / "none")


def test_the_working_directorys_configs_come_first(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert len(find_cells(1, "mnist")) == len(TABLES[1]["mnist"])
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "paper").symlink_to(folder)
    assert len(find_cells(1, "mnist")) == 2


@pytest.mark.parametrize("line", ["--lamda=3", "k=3", "--k=three"])
def test_a_damaged_flagfile(tmp_path, line):
    (tmp_path / "table1_mnist_x.cfg").write_text(line + "\n")
    with pytest.raises(ValueError, match="^Flagfile '.*table1_mnist_x.cfg'"):
        find_cells(1, "mnist", tmp_path)
