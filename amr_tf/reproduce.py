"""Fills a table of the paper: python -m amr_tf.reproduce --table=1 --dataset=mnist --epochs=8

Runs the cells one after the other, several seeds each, and writes report.md, report.csv and
report.html into --out after every run. Ctrl-C or a kill loses at most the running epoch: the same
command goes on where it was. Flags of amr_tf.train that are given here hold for every cell.
"""

import shlex
import sys

from absl import flags

from amr_tf import commands
from amr_tf.files import user_path
from amr_tf.reproduction import Plan, estimate_seconds, find_cells, reproduce, write_report
from amr_tf.training import flagfiles
from amr_tf.training.config import TrainingConfig
from amr_tf.training.help import command_help

# What the cells and the plan determine.
_NOT_OURS = ("run_dir", "dataset", "method", "mixer", "k", "lambda_", "seed", "monitor")

flagfiles.define_flags(TrainingConfig, leave_out=_NOT_OURS)
_TABLE = flags.DEFINE_integer("table", None, "Number of the paper's table.", required=True)
_DATASET = flags.DEFINE_string(
    "dataset", None, "Column of the table, as in configs/paper: mnist, cifar256.", required=True
)
_RUNS = flags.DEFINE_integer("runs", 3, "Runs of each cell, with the seeds 0, 1, ...")
_METHODS = flags.DEFINE_list(
    "methods", [], "Rows to fill, as ae_gan,amr_mixup_k2; by default all of the table."
)
_LAMBDAS = flags.DEFINE_list(
    "lambdas", [], "Lambdas to choose among by validation accuracy; by default the paper's."
)
_OUT = flags.DEFINE_string(
    "out", None, "Folder of runs and report; by default runs/tableTABLE_DATASET."
)
_CONFIGS = flags.DEFINE_string("configs", None, "Folder of flagfiles; by default configs/paper.")
_DRY_RUN = flags.DEFINE_bool("dry_run", False, "List the runs with a measured estimate, and stop.")


def main(argv):
    del argv
    cells = find_cells(_TABLE.value, _DATASET.value, _CONFIGS.value, _METHODS.value)
    plan = Plan(
        table=_TABLE.value,
        dataset=_DATASET.value,
        cells=cells,
        out=user_path(_OUT.value or f"runs/table{_TABLE.value}_{_DATASET.value}"),
        runs=_RUNS.value,
        lambdas=_numbers(_LAMBDAS.value),
        changes=flagfiles.flags_that_were_set(TrainingConfig, leave_out=_NOT_OURS),
    )
    if _DRY_RUN.value:
        return _list_runs(plan)
    command = shlex.join(["python", "-m", "amr_tf.reproduce", *sys.argv[1:]])

    def report():
        write_report(plan, command)

    if not reproduce(plan, report, log=lambda line: print(line, flush=True)):
        print("Stopped; the same command goes on from here.")
        return 130
    print("\n" + write_report(plan, command))
    print(f"Wrote {plan.out}/report.md, report.csv and report.html.")
    return 0


def _numbers(texts):
    try:
        return tuple(float(text) for text in texts)
    except ValueError:
        raise ValueError(f"lambdas must be numbers; got {','.join(texts)}.") from None


def _list_runs(plan):
    estimates = estimate_seconds(plan)
    for name, seconds in estimates.items():
        print(f"{name}: " + (f"{seconds / 60:.1f} min" if seconds else "finished"))
    print(f"{len(estimates)} runs, {sum(estimates.values()) / 60:.1f} min of training left.")
    return 0


def run():
    """Runs the command; a script of your own calls it after registering its classes."""
    own = (_TABLE, _DATASET, _RUNS, _METHODS, _LAMBDAS, _OUT, _CONFIGS, _DRY_RUN)
    further = {flag.name: flags.FLAGS[flag.name].help for flag in own}
    commands.run(main, command_help(__doc__, further, _NOT_OURS))


if __name__ == "__main__":
    run()
