"""Tables of attributes: forms, values, what is wrong with a table, the choice of columns."""

import re

import numpy as np
import pytest

from amr_tf.data.attributes import (
    PARTITIONS,
    choose_attributes,
    find_table,
    read_table,
    read_test_files,
)

CELEBA = """3
Male Heavy_Makeup Smiling
000001.jpg -1  1  1
000002.jpg  1 -1 -1
000003.jpg -1 -1  1
"""
CSV = """file,Male,Heavy_Makeup,Smiling
000001.jpg,0,1,1
000002.jpg,1,0,0
000003.jpg,0,0,1
"""
VALUES = [[0, 1, 1], [1, 0, 0], [0, 0, 1]]


def write(tmp_path, text, name="attributes.csv"):
    path = tmp_path / name
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list_attr_celeba.txt", CELEBA),
        ("CelebAMask-HQ-attribute-anno.txt", CELEBA + "\n"),
        ("attributes.csv", CSV),
        ("mine.csv", CSV.replace(",0", ",-1").replace(",", ", ")),
        ("mine.csv", "\ufeff" + CSV.replace("\n", "\r\n")),
        ("mine.csv", CSV.replace(",", ";")),
        ("mine.csv", CSV.replace(",", "\t")),
        ("mine.tsv", CSV.replace(",", "\t")),
        ("mine.csv", CSV.replace("\n", ",\n")),
        ("mine.csv", CSV.replace("\n", ",,\n").replace("Smiling,,", "Smiling")),
        ("mine.csv", CSV.replace("\n", ";;\n").replace(",", ";") + ";;;;;\n"),
        ("Attributes.CSV", CSV),
        ("list_attr_celeba.txt", "\ufeff" + CELEBA),
    ],
)
def test_the_forms(tmp_path, name, text):
    table = read_table(write(tmp_path, text, name))
    assert table.names == ("Male", "Heavy_Makeup", "Smiling")
    assert table.files == ("000001.jpg", "000002.jpg", "000003.jpg")
    assert table.values.dtype == np.int64
    assert table.values.tolist() == VALUES


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (CSV.replace("2.jpg,1,0,0", "2.jpg,1,0,2"), "'000002.jpg' has '2' for Smiling"),
        (CSV.replace("2.jpg,1,0,0", "2.jpg,1,,0"), "'000002.jpg' has '' for Heavy_Makeup"),
        (CSV.replace("2.jpg,1,0,0", "2.jpg,-1,0,0"), "holds both 0 and -1: use 0 and 1, or -1"),
        (CSV.replace("000003", "000001"), "must name each file once; '000001.jpg' comes twice"),
        (CSV.replace("Smiling", "Male"), "must name each attribute once; 'Male' comes twice"),
        (CSV.replace("2.jpg,1,0,0", "2.jpg,1,0"), "3 values in each row; '000002.jpg' has 2"),
        (CSV.replace("2.jpg,1,0,0", "2.jpg,1,0,0,1"), "3 values in each row; '000002.jpg' has 4"),
        (CSV.split("\n", 1)[1], "has no header: its first row is '000001.jpg 0 1 1'; "),
        (CSV.split("\n", 1)[1].replace(",", ";"), "has no header: its first row"),
        (CSV.replace(",Male", ","), "has an attribute without a name in its header: column 2"),
        ("file\n1.jpg\n", "must name at least one attribute and one image file"),
        ("file,Male\n", "must name at least one attribute and one image file"),
        ("", "must name at least one attribute and one image file"),
    ],
)
def test_what_is_wrong_with_a_csv_file(tmp_path, text, message):
    path = write(tmp_path, text)
    with pytest.raises(ValueError, match=f"^'{re.escape(str(path))}' .*{message}"):
        read_table(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (CELEBA.replace("3\n", "4\n", 1), "says that it has 4 rows, but has 3"),
        (CELEBA.split("\n", 1)[1], "must begin with the number of its rows"),
        ("", "must begin with the number of its rows"),
        (CELEBA.replace("jpg  1 -1 -1", "jpg  1 -1"), "3 values in each row; '000002.jpg' has 2"),
        (CELEBA.replace("jpg  1 -1 -1", "jpg  x -1 -1"), "'000002.jpg' has 'x' for Male"),
    ],
)
def test_what_is_wrong_with_a_text_file(tmp_path, text, message):
    path = write(tmp_path, text, "list_attr_celeba.txt")
    with pytest.raises(ValueError, match=f"^'{re.escape(str(path))}' .*{message}"):
        read_table(path)


def test_which_table_is_found(tmp_path):
    with pytest.raises(ValueError, match="holds no attribute table; name the attribute table"):
        find_table(tmp_path)
    write(tmp_path, "", "list_eval_partition.csv")
    mine = write(tmp_path, "", "mine.csv")
    assert find_table(tmp_path) == mine
    write(tmp_path, "", "other.csv")
    with pytest.raises(ValueError, match=r"holds several CSV files \(mine.csv, other.csv\)"):
        find_table(tmp_path)
    known = write(tmp_path, "", "attributes.csv")
    assert find_table(tmp_path) == known
    celeba = write(tmp_path, "", "list_attr_celeba.txt")
    assert find_table(tmp_path) == celeba


@pytest.mark.parametrize("name", ("Attributes.CSV", "mine.tsv", "Mine.Csv"))
def test_a_table_is_found_whatever_its_case(tmp_path, name):
    write(tmp_path, "", "._mine.csv")  # A Mac's, beside the table.
    write(tmp_path, "", "List_Eval_Partition.CSV")
    path = write(tmp_path, "", name)
    assert find_table(tmp_path) == path


def test_celebas_own_folders(tmp_path):
    for folder in ("Anno", "Eval"):
        (tmp_path / folder).mkdir()
    path = write(tmp_path / "Anno", CELEBA, "list_attr_celeba.txt")
    write(tmp_path / "Anno", "", "list_landmarks_celeba.txt")
    write(tmp_path / "Eval", "000001.jpg 0\n000002.jpg 2\n000003.jpg 1\n", PARTITIONS[0])
    assert find_table(tmp_path) == path
    assert read_test_files(tmp_path, read_table(path)).tolist() == [False, True, False]


@pytest.fixture
def table(tmp_path):
    return read_table(write(tmp_path, CSV))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list_eval_partition.txt", "000003.jpg 2\n000001.jpg 0\n000002.jpg 1\n000009.jpg 2\n"),
        (
            "list_eval_partition.csv",
            "image_id,partition\n000001.jpg,0\n000002.jpg,1\n000003.jpg,2\n",
        ),
        ("list_eval_partition.txt", "\ufeff000001.jpg 0\n000002.jpg 1\n000003.jpg 2\n"),
        ("list_eval_partition.csv", "000001.jpg;0\n000002.jpg;1\n000003.jpg;2\n"),
        ("List_Eval_Partition.CSV", "file\tpart\n000001.jpg\t0\n000002.jpg\t1\n000003.jpg\t2\n"),
    ],
)
def test_the_partition(tmp_path, table, name, text):
    write(tmp_path, text, name)
    assert read_test_files(tmp_path, table).tolist() == [False, False, True]


def test_without_a_partition_nothing_is_for_tests(tmp_path, table):
    assert read_test_files(tmp_path, table).tolist() == [False, False, False]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("000001.jpg 0\n000003.jpg 1\n", "leaves out 1 files of the table: '000002.jpg'"),
        ("000001.jpg 3\n", "a file name and 0, 1 or 2; got '000001.jpg 3'"),
        ("000001.jpg\n", "a file name and 0, 1 or 2; got '000001.jpg'"),
        ("000001.jpg 0\n000001.jpg 2\n", "must name each file once; '000001.jpg' comes twice"),
    ],
)
def test_what_is_wrong_with_a_partition(tmp_path, table, text, message):
    write(tmp_path, text, "list_eval_partition.txt")
    with pytest.raises(ValueError, match=f"list_eval_partition.txt' .*{message}"):
        read_test_files(tmp_path, table)


NAMES = ("Male", "Heavy_Makeup", "Wearing_Lipstick")


@pytest.mark.parametrize(
    ("asked", "names", "columns"),
    [
        (None, NAMES, [0, 1, 2]),
        ("Wearing_Lipstick,Male", ("Wearing_Lipstick", "Male"), [2, 0]),
        (" Male , Heavy_Makeup ", ("Male", "Heavy_Makeup"), [0, 1]),
        ("Male,", ("Male",), [0]),
        ("Male, Heavy_Makeup, ", ("Male", "Heavy_Makeup"), [0, 1]),
        (("Heavy_Makeup",), ("Heavy_Makeup",), [1]),
        (["Male"], ("Male",), [0]),
    ],
)
def test_the_choice_of_attributes(asked, names, columns):
    assert choose_attributes(NAMES, asked) == (names, columns)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("male", "^Unknown attribute 'male'. Did you mean 'Male'"),
        (("Male", "Lipstick"), "^Unknown attribute 'Lipstick'. Did you mean 'Wearing_Lipstick'"),
        ("Male,,Heavy_Makeup", "^Unknown attribute ''"),
        (",", "^attributes must name at least one attribute; got ','"),
        ("Male,Male", "^attributes must name each attribute once; 'Male' comes twice"),
        ("", "^attributes must name at least one attribute; got ''"),
        ((), r"^attributes must name at least one attribute; got \(\)"),
        (5, r"^attributes must be names, such as \('Male', 'Smiling'\); got 5"),
        (("Male", 1), "^attributes must be names"),
    ],
)
def test_a_choice_that_is_none(asked, message):
    with pytest.raises(ValueError, match=message):
        choose_attributes(NAMES, asked)
