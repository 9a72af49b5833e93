"""Attribute tables and prepared data sets from someone else."""

import json

import numpy as np
import pytest

from amr_tf.data import load
from amr_tf.data.attribute_folder import read_attribute_folder
from amr_tf.data.attributes import read_table
from amr_tf.data.preprocessing import ImagePreprocessor
from amr_tf.data.tfds_sets import prepared_builder
from tests.data.prepared import prepare
from tests.security.conftest import assert_sentence
from tests.security.test_images import encoded

FORMULAS = ['=HYPERLINK("http://x";1)', "=cmd|' /C calc'!A0", "+1", "@SUM(1)", "-1+1", "=1"]
BROKEN_CSV = {
    "empty": "",
    "header only": "file,a\n",
    "no attributes": "file\na.png\n",
    "short row": "file,a,b\na.png,1\n",
    "long row": "file,a\na.png,1,0\n",
    "an open quote": 'file,a\n"a.png,1\n' + "b.png,0\n" * 20_000,
    "zero byte": "file,a\na.png,\0\n",
    "a huge cell": "file,a\n" + "x" * 200_000 + ",1\n",
    "an attribute twice": "file,a,a\na.png,1,1\n",
    "a file twice": "file,a\na.png,1\na.png,0\n",
    "both kinds": "file,a\na.png,0\nb.png,-1\n",
    "a number": "file,a\na.png,NaN\n",
}
BROKEN_TEXT = [
    "",
    "²\na\nx.png 1\n",
    "9" * 5000 + "\na\nx 1\n",
    "-1\na\n",
    "2\na\nx.png 1\n",
    "1\n\n",
]


def assert_refused(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError) as caught:
        read_table(path)
    assert_sentence(caught)


@pytest.mark.parametrize("kind", BROKEN_CSV)
def test_a_broken_csv_table(tmp_path, kind):
    assert_refused(tmp_path / "attributes.csv", BROKEN_CSV[kind])


@pytest.mark.parametrize("text", BROKEN_TEXT, ids=range(len(BROKEN_TEXT)))
def test_a_broken_text_table(tmp_path, text):
    assert_refused(tmp_path / "list_attr_celeba.txt", text)


def test_bytes_that_are_no_text(tmp_path):
    assert_refused(tmp_path / "attributes.csv", b"file,a\n\xff.png,1\n")
    assert_refused(tmp_path / "list_attr_celeba.txt", b"1\n\xff\na.png 1\n")


@pytest.mark.parametrize("formula", FORMULAS)
def test_formulas(tmp_path, formula):
    """A value is 0 or 1; a formula as a name is a text like any other."""
    quoted = '"' + formula.replace('"', '""') + '"'
    assert_refused(tmp_path / "attributes.csv", f"file,a\na.png,{quoted}\n")
    (tmp_path / "attributes.csv").write_text(f"file,{quoted}\na.png,1\n")
    assert read_table(tmp_path / "attributes.csv").names == (formula,)


@pytest.mark.parametrize("name", ["../outside.png", "/etc/passwd", "a/../../outside.png", ".."])
def test_a_table_names_files_of_its_folder_only(tmp_path, name):
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "outside.png").write_bytes(encoded("PNG"))
    (folder / "inside.png").write_bytes(encoded("PNG"))
    (folder / "attributes.csv").write_text(f"file,a\ninside.png,1\n{name},0\n")
    with pytest.raises(ValueError, match="names 1 of 2 files that are not in") as caught:
        read_attribute_folder(folder, ImagePreprocessor(8))
    assert_sentence(caught)


def test_a_prepared_data_set_that_names_a_module(tmp_path, trap, monkeypatch):
    """TFDS imports what features.json names where it has no code for a data set; here it has."""
    module = tmp_path / "importable"
    module.mkdir()
    text = f"import pathlib\npathlib.Path({str(trap)!r}).touch()\nclass Attack: pass\n"
    (module / "planted_features.py").write_text(text)
    monkeypatch.syspath_prepend(str(module))
    image = np.zeros((28, 28, 1), dtype="uint8")
    examples = [{"image": image, "label": number % 10} for number in range(40)]
    prepare(tmp_path / "data", "mnist", {"train": examples, "test": examples[:10]})
    features = next((tmp_path / "data").rglob("features.json"))
    config = json.loads(features.read_text())
    config["pythonClassName"] = "planted_features.Attack"
    features.write_text(json.dumps(config))
    assert len(load("mnist", data_dir=str(tmp_path / "data")).test) == 10
    assert (
        prepared_builder("mnist", str(tmp_path / "data")).info.features["label"].num_classes == 10
    )


def test_data_folders_with_odd_names():
    for name in ("~no_such_user/data", "a\0b", "a\nb"):
        for dataset in ("image_folder", "mnist", "attribute_folder", "celeba"):
            with pytest.raises(FileNotFoundError, match="is not a folder"):
                load(dataset, data_dir=name)
