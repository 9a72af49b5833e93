"""Reports of a table's runs as Markdown, CSV and a self-contained HTML file."""

import base64
import csv
import html
import io
import pathlib
import statistics
from collections.abc import Callable, Iterable
from typing import Any

from amr_tf.figures.grids import curve_figure
from amr_tf.files import write_whole
from amr_tf.paper.cells import Cell
from amr_tf.paper.runs import Plan, samples_path
from amr_tf.runs.folder import RunFolder

ACCURACY_COLUMNS = {
    "in unison, validation": lambda results: 100 * results["best_val_probe_accuracy"],
    "in unison, held-out": lambda results: 100 * results["test"]["probe_accuracy"],
    "frozen codes, held-out": lambda results: 100 * results["linear_probe"]["test_accuracy"],
}
FACTOR_COLUMNS = {
    "FactorVAE": lambda results: 100 * results["disentanglement"]["factor_vae"],
    "beta-VAE metric": lambda results: 100 * results["disentanglement"]["beta_vae"],
    "MIG": lambda results: 100 * results["disentanglement"]["mig"],
    "DCI disentanglement": lambda results: (
        100 * results["disentanglement"]["dci"]["disentanglement"]
    ),
    "SAP": lambda results: 100 * results["disentanglement"]["sap"],
    "reconstruction loss, held-out": lambda results: results["test"]["reconstruction_loss"],
}
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 68rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { border-bottom: 1px solid #ccc; padding: .3rem .8rem; text-align: left; }
td + td, th + th { text-align: right; }
figure { margin: 1.5rem 0; } img { max-width: 100%; } figcaption { color: #444; }
pre { background: #f4f4f4; padding: .8rem; overflow-x: auto; }
"""


def columns_of(plan: Plan) -> dict[str, Callable[[dict[str, Any]], float]]:
    """Returns the columns of a plan's table: names to functions from results to numbers."""
    return FACTOR_COLUMNS if plan.score == "factor_vae" else ACCURACY_COLUMNS


def mean_and_deviation(values: Iterable[float]) -> tuple[float, float | None]:
    """Returns the mean and the sample standard deviation, which is None for a single value."""
    values = list(values)
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None


def summarise(plan: Plan) -> list[dict[str, Any]]:
    """Summarises the finished runs of a plan, in one dictionary per cell.

    Returns:
        A list of dictionaries with "cell", "lambda" (None until it is chosen), "runs" (number of
        finished runs), "figures" (column to mean and deviation) and "seconds" (of these runs).
    """
    rows = []
    for cell in plan.cells:
        finished = list(plan.finished(cell).values())
        figures = {}
        for column, figure in columns_of(plan).items():
            try:
                figures[column] = mean_and_deviation(figure(results) for results in finished)
            except (KeyError, statistics.StatisticsError):  # No test split, or no finished runs.
                continue
        rows.append(
            {
                "cell": cell,
                "lambda": plan.chosen_lambda(cell),
                "runs": len(finished),
                "figures": figures,
                "seconds": sum(results["seconds"] for results in finished),
            }
        )
    return rows


def markdown_table(plan: Plan) -> str:
    """Returns the table as Markdown, with the paper's results next to ours."""
    columns = list(columns_of(plan))
    head = ["method", "lambda", *columns, "paper", "runs", "minutes"]
    lines = [head, ["---"] * len(head)]
    for row in summarise(plan):
        lines.append(
            [
                row["cell"].label,
                "-" if row["lambda"] is None else f"{row['lambda']:g}",
                *(_spread(row["figures"].get(column)) for column in columns),
                _paper(row["cell"]),
                f"{row['runs']} of {plan.runs}",
                f"{row['seconds'] / 60:.1f}",
            ]
        )
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def order_of_methods(plan: Plan) -> str:
    """Compares the ranking of the methods with the paper's, in a sentence; "" if unknown."""
    first = next(iter(columns_of(plan)))
    rows = [row for row in summarise(plan) if first in row["figures"] and row["cell"].paper]
    if len(rows) < 2:
        return ""
    ours = sorted(rows, key=lambda row: -row["figures"][first][0])
    papers = sorted(rows, key=lambda row: -row["cell"].paper.mean)
    one, other = (", ".join(row["cell"].label for row in side) for side in (ours, papers))
    if one == other:
        return f"The order of the methods is the paper's: {one}."
    return f"Best first, by {first}: {one}. In the paper: {other}."


def describe(plan: Plan) -> str:
    """Describes data, budget, lambda and changes in sentences."""
    config = plan.config(plan.cells[0], 0)
    subset = f"{config.train_subset} training images" if config.train_subset else "all there are"
    lambdas = ", ".join(f"{value:g}" for value in plan.lambdas)
    chosen = f"chosen among {lambdas} by seed 0's validation accuracy" if lambdas else "the paper's"
    changed = ", ".join(f"{name} = {value}" for name, value in sorted(plan.changes.items()))
    return (
        f"Data set {config.dataset} ({subset}), {config.epochs} epochs of batch "
        f"{config.batch_size}, {plan.runs} runs a cell (mean ± standard deviation). lambda is "
        f"{chosen}. Changed from the paper's settings: {changed or 'nothing'}."
    )


def write_report(plan: Plan, command: str = "") -> str:
    """Writes `report.md`, `report.csv` and `report.html` into the plan's folder.

    Args:
        plan: a `Plan`.
        command: the command line to show in the report.

    Returns:
        The Markdown.
    """
    out = pathlib.Path(plan.out)
    out.mkdir(parents=True, exist_ok=True)
    title = f"Table {plan.table}, {plan.dataset}"
    parts = [f"# {title}", describe(plan), markdown_table(plan), order_of_methods(plan)]
    if command:
        parts.append(f"```\n{command}\n```")
    text = "\n\n".join(part for part in parts if part) + "\n"
    write_whole(out / "report.md", text)
    write_whole(out / "report.csv", _csv(plan))
    write_whole(out / "report.html", _html(plan, title, command))
    return text


def _spread(figure: tuple[float, float | None] | None) -> str:
    if figure is None:
        return "-"
    mean, deviation = figure
    return f"{mean:.1f}" if deviation is None else f"{mean:.1f} ± {deviation:.1f}"


def _paper(cell: Cell) -> str:
    return "-" if cell.paper is None else f"{cell.paper.mean:.2f} ± {cell.paper.deviation:.2f}"


def _csv(plan: Plan) -> str:
    """Returns a CSV file with a row for each finished run."""
    text = io.StringIO()
    columns = columns_of(plan)
    writer = csv.writer(text, lineterminator="\n")
    head = [
        "cell",
        "method",
        "lambda",
        "seed",
        *columns,
        "seconds",
        "paper_mean",
        "paper_deviation",
    ]
    writer.writerow(head)
    for cell in plan.cells:
        for seed, results in plan.finished(cell).items():
            figures = [_figure(figure, results) for figure in columns.values()]
            given = (cell.paper.mean, cell.paper.deviation) if cell.paper else ("", "")
            ours = (cell.name, cell.label, f"{plan.chosen_lambda(cell):g}", seed)
            writer.writerow([*ours, *figures, results["seconds"], *given])
    return text.getvalue()


def _figure(figure: Callable[[dict[str, Any]], float], results: dict[str, Any]) -> str:
    try:
        return f"{figure(results):.4f}"
    except KeyError:
        return ""


def _html(plan: Plan, title: str, command: str) -> str:
    body = [f"<h1>{html.escape(title)}</h1>", f"<p>{html.escape(describe(plan))}</p>"]
    body.append(_html_table(markdown_table(plan)))
    body.append(f"<p>{html.escape(order_of_methods(plan))}</p>")
    if command:
        body.append(f"<pre>{html.escape(command)}</pre>")
    body += _curves(plan)
    for cell in plan.cells:
        for seed in plan.finished(cell):
            path = samples_path(plan.config(cell, seed, plan.chosen_lambda(cell)))
            if path.is_file():
                body.append(_image(path.read_bytes(), f"{cell.label}, seed {seed}: best epoch"))
            break
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}'
        f"</title><style>{_STYLE}</style></head><body>\n" + "\n".join(body) + "\n</body></html>\n"
    )


def _html_table(markdown: str) -> str:
    head, _, *rows = (
        [html.escape(cell) for cell in line[2:-2].split(" | ")] for line in markdown.splitlines()
    )
    cells = ["".join(f"<td>{cell}</td>" for cell in row) for row in rows]
    names = "".join(f"<th>{cell}</th>" for cell in head)
    return f"<table><tr>{names}</tr>" + "".join(f"<tr>{row}</tr>" for row in cells) + "</table>"


def _curves(plan: Plan) -> list[str]:
    """Draws the validation curves of the runs with seed 0 at the chosen lambda."""
    metric = "val_reconstruction_loss" if plan.score == "factor_vae" else "val_probe_accuracy"
    logs = {}
    for cell in plan.cells:
        if 0 in plan.finished(cell):
            run_dir = plan.config(cell, 0, plan.chosen_lambda(cell)).run_dir
            logs[cell.label] = RunFolder(run_dir).log
    if not logs:
        return []
    picture = io.BytesIO()
    curve_figure(logs, metric).savefig(picture, format="png")
    return [_image(picture.getvalue(), f"{metric.replace('_', ' ')}, seed 0")]


def _image(png: bytes, caption: str) -> str:
    data = base64.b64encode(png).decode()
    caption = html.escape(caption)
    return (
        f'<figure><img alt="{caption}" src="data:image/png;base64,{data}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )
