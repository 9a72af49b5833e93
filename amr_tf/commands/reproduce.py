"""Reproduces a table of the paper: python -m amr_tf.reproduce --table=1 --dataset=mnist --epochs=8

Trains the cells one after another, each with several seeds, and writes report.md, report.csv and
report.html to --out after every run. After Ctrl-C or a kill, at most the running epoch is lost; run
the same command to continue. Flags of amr_tf.train apply to every cell; without them, a cell has
the values of its flagfile instead of the defaults below.
"""

import shlex
from collections.abc import Sequence

from absl import flags

from amr_tf.commands.running import Command
from amr_tf.files import user_path
from amr_tf.paper import Plan, estimate_seconds, find_cells, reproduce, write_report
from amr_tf.runs import flagfiles
from amr_tf.runs.config import TrainingConfig

# Flags that the cells and the plan determine.
_NOT_OURS = ("run_dir", "dataset", "method", "mixer", "k", "lambda_", "seed", "monitor")


def define(values: flags.FlagValues) -> None:
    """Defines the command's own flags."""
    flags.DEFINE_integer(
        "table", None, "Number of the paper's table.", required=True, flag_values=values
    )
    flags.DEFINE_string(
        "dataset",
        None,
        "Column of the table, as in configs/paper: mnist, cifar256.",
        required=True,
        flag_values=values,
    )
    flags.DEFINE_integer(
        "runs", 3, "Number of runs per cell, with the seeds 0, 1, ...", flag_values=values
    )
    flags.DEFINE_list(
        "methods",
        [],
        "Rows to reproduce, such as ae_gan,amr_mixup_k2; defaults to all.",
        flag_values=values,
    )
    flags.DEFINE_list(
        "lambdas",
        [],
        "Lambdas to select from by validation accuracy; default: the paper's.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "out",
        None,
        "Folder of runs and report; defaults to runs/tableTABLE_DATASET.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "configs", None, "Folder of flagfiles; defaults to configs/paper.", flag_values=values
    )
    flags.DEFINE_bool(
        "dry_run", False, "List the runs with estimated times, and stop.", flag_values=values
    )


def main(given: flags.FlagValues, arguments: list[str]) -> int:
    """Runs the command with parsed flags; returns the exit code."""
    cells = find_cells(given.table, given.dataset, given.configs, given.methods)
    plan = Plan(
        table=given.table,
        dataset=given.dataset,
        cells=cells,
        out=user_path(given.out or f"runs/table{given.table}_{given.dataset}"),
        runs=given.runs,
        lambdas=_numbers(given.lambdas),
        changes=flagfiles.flags_that_were_set(TrainingConfig, given, leave_out=_NOT_OURS),
    )
    if given.dry_run:
        return _list_runs(plan)
    command = shlex.join(["python", "-m", "amr_tf.reproduce", *arguments])

    def report() -> None:
        write_report(plan, command)

    if not reproduce(plan, report, log=lambda line: print(line, flush=True)):
        print("Stopped; run the same command to continue.")
        return 130
    print("\n" + write_report(plan, command))
    print(f"Wrote {plan.out}/report.md, report.csv and report.html.")
    return 0


def _numbers(texts: Sequence[str]) -> tuple[float, ...]:
    try:
        return tuple(float(text) for text in texts)
    except ValueError:
        raise ValueError(f"lambdas must be numbers; got {','.join(texts)}.") from None


def _list_runs(plan: Plan) -> int:
    estimates = estimate_seconds(plan)
    for name, seconds in estimates.items():
        print(f"{name}: " + (f"{seconds / 60:.1f} min" if seconds else "finished"))
    print(f"{len(estimates)} runs, {sum(estimates.values()) / 60:.1f} min of training left.")
    return 0


COMMAND = Command("reproduce", __doc__, define, main, leave_out=_NOT_OURS)
