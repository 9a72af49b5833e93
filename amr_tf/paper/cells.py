"""The cells of a table: flagfiles named `tableN_DATASET_...cfg` in one folder."""

import dataclasses
import pathlib
from collections.abc import Sequence

from amr_tf.paper import tables
from amr_tf.registry import unknown_name
from amr_tf.runs.comparison import caption_of
from amr_tf.runs.config import TrainingConfig
from amr_tf.runs.flagfiles import read_flagfile, shipped_configs

SHIPPED = shipped_configs() / "paper"


@dataclasses.dataclass(frozen=True)
class Cell:
    """One method on one data set.

    Attributes:
        name: the flagfile's name without its extension.
        config: the flagfile's `TrainingConfig`, resolved. A `Plan` sets the seed and its changes.
        paper: the paper's `Figure`, or None if the paper has no such cell.
    """

    name: str
    config: TrainingConfig
    paper: tables.Figure | None

    @property
    def label(self) -> str:
        """The name of the row in a report."""
        return caption_of(self.config)


def find_cells(
    table: int,
    dataset: str,
    folder: str | pathlib.Path | None = None,
    methods: Sequence[str] | None = None,
) -> tuple[Cell, ...]:
    """Finds the cells of a table's column, in the order of the paper's rows.

    Args:
        table: 1 to 4, or the number of a table of your own.
        dataset: name of the data set in the flagfiles' names, such as "mnist" or "cifar256".
        folder: folder of the flagfiles; defaults to `configs/paper` in the working directory, or
            the folder in this package.
        methods: names of the methods to keep ("acai"), optionally with mixer and k
            ("amr_mixup_k2"); or None for all.

    Returns:
        A tuple of `Cell`s.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: there is no such table, data set or method, or a flagfile is damaged.
    """
    folder = _find_folder(folder)
    _check_column(folder, table, dataset)
    cells = [
        _read_cell(path, table, dataset)
        for path in sorted(folder.glob(f"table{table}_{dataset}_*.cfg"))
    ]
    rows = list(tables.TABLES.get(table, {}).get(dataset, {}))
    cells.sort(key=lambda cell: _position(rows, tables.row_of(cell.config)))
    return _choose(cells, methods)


def short_name(config: TrainingConfig) -> str:
    """Returns a row's name for `--methods`, such as "ae_gan" or "amr_mixup_k2"."""
    method, mixer, k = tables.row_of(config)
    return method if mixer is None or method != "amr" else f"{method}_{mixer}_k{k}"


def _find_folder(folder: str | pathlib.Path | None) -> pathlib.Path:
    if folder is None:
        here = pathlib.Path("configs/paper")
        folder = here if here.is_dir() else SHIPPED
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"There is no folder '{folder}' of flagfiles; name one with --configs."
        )
    return folder


def _check_column(folder: pathlib.Path, table: int, dataset: str) -> None:
    columns: dict[str, set[str]] = {}
    for path in folder.glob("table*_*.cfg"):
        number, column = path.stem.split("_")[:2]
        columns.setdefault(number.removeprefix("table"), set()).add(column)
    if str(table) not in columns:
        raise unknown_name("table", str(table), columns)
    if dataset not in columns[str(table)]:
        raise unknown_name(f"data set of table {table}", dataset, columns[str(table)])


def _read_cell(path: pathlib.Path, table: int, dataset: str) -> Cell:
    config = read_flagfile(path).resolve()
    return Cell(path.stem, config, tables.figure_of(table, dataset, config))


def _position(rows: list, row: tuple) -> int:
    return rows.index(row) if row in rows else len(rows)


def _choose(cells: Sequence[Cell], methods: Sequence[str] | None) -> tuple[Cell, ...]:
    if not methods:
        return tuple(cells)
    known = {name for cell in cells for name in _names(cell)}
    for name in methods:
        if name not in known:
            raise unknown_name("method of this table", name, known)
    return tuple(cell for cell in cells if any(name in methods for name in _names(cell)))


def _names(cell: Cell) -> tuple[str, str]:
    """Returns the names of a cell for `--methods`: its method, and that with mixer and k."""
    return tables.row_of(cell.config)[0], short_name(cell.config)
