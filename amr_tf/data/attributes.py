"""Tables of binary attributes of image files, and the selection of columns."""

import csv
import dataclasses
import pathlib
from collections.abc import Sequence

import numpy as np

from amr_tf.data.image_files import is_hidden
from amr_tf.registry import unknown_name

# The tables of CelebA, of Kaggle's copy of it and of CelebA-HQ, and a name for custom tables.
TABLES = (
    "list_attr_celeba.txt",
    "list_attr_celeba.csv",
    "CelebAMask-HQ-attribute-anno.txt",
    "attributes.csv",
)
PARTITIONS = ("list_eval_partition.txt", "list_eval_partition.csv")
# Subfolders of the original CelebA that hold the table and the partition; "" is its main folder.
_TABLE_FOLDERS = ("", "Anno")
_PARTITION_FOLDERS = ("", "Eval")
_CSV = (".csv", ".tsv")
_DELIMITERS = ",;\t"
_VALUES = ("0", "1", "-1")
_TEST_PARTITION = 2


@dataclasses.dataclass(frozen=True)
class AttributeTable:
    """The attributes of image files.

    Attributes:
        path: the file that was read.
        names: one name per attribute.
        files: a file name per row.
        values: int64 (rows, attributes) in {0, 1}.
    """

    path: str
    names: tuple
    files: tuple
    values: np.ndarray


def choose_attributes(
    names: Sequence[str], attributes: Sequence[str] | str | None
) -> tuple[tuple[str, ...], list[int]]:
    """Selects attributes by name.

    Args:
        names: all names, in the order of their columns.
        attributes: the names to select: a tuple or a comma-separated string; None for all.

    Returns:
        A tuple of the selected names in the given order, and a list of their column indices.

    Raises:
        ValueError: a name is unknown or repeated, or no name is given.
    """
    names = tuple(names)
    if attributes is None:
        return names, list(range(len(names)))
    # Ignores trailing commas.
    parts = attributes.rstrip(", ").split(",") if isinstance(attributes, str) else attributes
    if not isinstance(parts, (tuple, list)) or not all(isinstance(part, str) for part in parts):
        raise ValueError(
            f"attributes must be names, such as ('Male', 'Smiling'); got {attributes!r}."
        )
    chosen = tuple(part.strip() for part in parts)
    if not any(chosen):
        raise ValueError(f"attributes must name at least one attribute; got {attributes!r}.")
    for name in chosen:
        if name not in names:
            raise unknown_name("attribute", name, names)
    _check_distinct(chosen, "attributes", "attribute")
    return chosen, [names.index(name) for name in chosen]


def find_table(root: pathlib.Path) -> pathlib.Path:
    """Finds a folder's attribute table: one of `TABLES`, or else its only CSV or TSV file.

    Names are matched regardless of case. The files of `TABLES` may also be in a folder `Anno`, as
    in CelebA.

    Raises:
        ValueError: there is no table, or there are several CSV or TSV files.
    """
    known = _named(root, _TABLE_FOLDERS, TABLES)
    if known:
        return known[0]
    others = [
        path
        for path in sorted(root.iterdir())
        if path.suffix.lower() in _CSV
        and not is_hidden(path.name)
        and path.name.lower() not in PARTITIONS
    ]
    if len(others) != 1:
        found = ", ".join(path.name for path in others)
        raise ValueError(
            f"'{root}' holds {f'several CSV files ({found})' if others else 'no attribute table'}; "
            f"name the attribute table attributes.csv or list_attr_celeba.txt."
        )
    return others[0]


def _named(root: pathlib.Path, folders: Sequence[str], names: Sequence[str]) -> list[pathlib.Path]:
    """Finds files by name in the given subfolders of `root`; returns them in the names' order."""
    listed: dict[str, pathlib.Path] = {}
    for folder in reversed([root / name for name in folders]):  # Earlier folders take precedence.
        if folder.is_dir():
            files = (path for path in sorted(folder.iterdir()) if path.is_file())
            listed.update((path.name.lower(), path) for path in files)
    return [listed[name.lower()] for name in names if name.lower() in listed]


def read_table(path: pathlib.Path) -> AttributeTable:
    """Reads an attribute table.

    Args:
        path: a CSV file, or a text file in CelebA's format. A CSV file has a header and one row per
            file, separated by commas, semicolons or tabs; the first column is the file name, the
            others are attributes. CelebA's format has the number of rows, the names, and one row
            per file, separated by spaces. Values are 0 and 1, or -1 and 1.

    Returns:
        An `AttributeTable`.

    Raises:
        ValueError: the table has no header, attributes or rows, the number of rows or columns is
            inconsistent, a name or file is repeated, or values are not allowed.
    """
    names, rows = _csv_table(path) if path.suffix.lower() in _CSV else _celeba_rows(path)
    if not names or not rows:
        raise ValueError(f"'{path}' must name at least one attribute and one image file.")
    _check_distinct(names, f"'{path}'", "attribute")
    files = tuple(row[0] for row in rows)
    _check_distinct(files, f"'{path}'", "file")
    for row in rows:
        if len(row) != len(names) + 1:
            raise ValueError(
                f"'{path}' must have {len(names)} values in each row; {row[0]!r} has "
                f"{len(row) - 1}."
            )
    return AttributeTable(str(path), tuple(names), files, _binary(path, names, rows))


def read_test_files(root: pathlib.Path, table: AttributeTable) -> np.ndarray:
    """Finds the rows of a table that a folder's partition file assigns to the test set.

    Args:
        root: the folder, which may hold one of `PARTITIONS`, directly or in `Eval`. It lists file
            names, each with 0 (training), 1 (validation, used for training here) or 2 (test).
        table: an `AttributeTable`.

    Returns:
        bool (rows,); all False without a partition file.

    Raises:
        ValueError: the partition omits a file of the table, repeats one, or has other values.
    """
    paths = _named(root, _PARTITION_FOLDERS, PARTITIONS)
    if not paths:
        return np.zeros(len(table.files), dtype=bool)
    path = paths[0]
    rows = _csv_rows(path) if path.suffix.lower() in _CSV else _words(path)
    if path.suffix.lower() in _CSV and rows and not _is_data(rows[0]):
        rows = rows[1:]  # The header.
    for row in rows:
        if len(row) != 2 or row[1] not in ("0", "1", "2"):
            raise ValueError(
                f"'{path}' must hold rows of a file name and 0, 1 or 2; got {' '.join(row)!r}."
            )
    _check_distinct([name for name, _ in rows], f"'{path}'", "file")
    part = {name: int(number) for name, number in rows}
    missing = [name for name in table.files if name not in part]
    if missing:
        raise ValueError(f"'{path}' leaves out {len(missing)} files of the table: {missing[0]!r}.")
    return np.array([part[name] == _TEST_PARTITION for name in table.files])


def _csv_table(path: pathlib.Path) -> tuple[list[str], list[list[str]]]:
    """Reads a CSV file with a header; returns the attributes' names and the rows as strings."""
    rows = _csv_rows(path)
    if not rows:
        return [], []
    if len(rows[0]) > 1 and _is_data(rows[0]):
        raise ValueError(
            f"'{path}' has no header: its first row is {' '.join(rows[0])[:80]!r}; the first row "
            "must name the attributes."
        )
    if "" in rows[0][1:]:
        column = 2 + rows[0][1:].index("")
        raise ValueError(
            f"'{path}' has an attribute without a name in its header: column {column}."
        )
    return rows[0][1:], rows[1:]


def _is_data(row: list[str]) -> bool:
    """Returns whether a row holds values instead of names."""
    return bool(row[1:]) and all(cell in (*_VALUES, "2") for cell in row[1:])


def _csv_rows(path: pathlib.Path) -> list[list[str]]:
    """Reads the rows of a CSV file as lists of strings.

    Blank rows and empty cells beyond the last named column are left out.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            first = file.readline()
            delimiter = max(_DELIMITERS, key=first.count)
            file.seek(0)
            rows = [[cell.strip() for cell in row] for row in csv.reader(file, delimiter=delimiter)]
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"'{path}' cannot be read as CSV in UTF-8: {error}.") from error
    rows = [row for row in rows if any(row)]
    if not rows:
        return []
    while not rows[0][-1]:
        rows[0].pop()
    columns = len(rows[0])
    for row in rows[1:]:
        while len(row) > columns and not row[-1]:
            row.pop()
    return rows


def _celeba_rows(path: pathlib.Path) -> tuple[list[str], list[list[str]]]:
    """Reads the names and rows of a text file in CelebA's format."""
    lines = _words(path)
    if len(lines) < 2 or len(lines[0]) != 1 or not lines[0][0].isdecimal():
        raise ValueError(f"'{path}' must begin with the number of its rows, then the names.")
    (count,), names, *rows = lines
    if int(count) != len(rows):
        raise ValueError(f"'{path}' says that it has {count} rows, but has {len(rows)}.")
    return names, rows


def _words(path: pathlib.Path) -> list[list[str]]:
    """Reads the words of each non-empty line."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"'{path}' is not text in UTF-8.") from error
    return [line.split() for line in lines if line.strip()]


def _binary(path: pathlib.Path, names: Sequence[str], rows: list[list[str]]) -> np.ndarray:
    """Converts the values to int64 (rows, attributes) in {0, 1}."""
    texts = np.array([row[1:] for row in rows])
    wrong = ~np.isin(texts, _VALUES)
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise ValueError(
            f"'{path}' must hold 0 and 1, or -1 and 1; {rows[row][0]!r} has "
            f"{str(texts[row, column])!r} for {' '.join(names[column].split())}."
        )
    if (texts == "0").any() and (texts == "-1").any():
        raise ValueError(f"'{path}' holds both 0 and -1: use 0 and 1, or -1 and 1.")
    return (texts == "1").astype("int64")


def _check_distinct(names: Sequence[str], where: str, kind: str) -> None:
    """Raises a ValueError for the first repeated name."""
    seen = set()
    for name in names:
        if name in seen:
            raise ValueError(f"{where} must name each {kind} once; {name!r} comes twice.")
        seen.add(name)
