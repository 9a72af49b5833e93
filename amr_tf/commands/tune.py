"""Searches flags for the best probe accuracy: python -m amr_tf.tune --flagfile=configs/mnist.cfg \
--search=lambda:2,5,10,20,50 --search=k:2,3,4 --epochs=3 --out=runs/tune

Flags of amr_tf.train apply to all trials. If the search is killed, at most the running epochs are
lost; run the same command to continue. For parallel workers, set KerasTuner's KERASTUNER_TUNER_ID
(chief, worker0, ...), KERASTUNER_ORACLE_IP and KERASTUNER_ORACLE_PORT.
"""

import shlex

from absl import flags

from amr_tf.commands.running import Command
from amr_tf.files import user_path
from amr_tf.runs import flagfiles
from amr_tf.runs.config import TrainingConfig
from amr_tf.search import (
    ORACLES,
    SearchSpace,
    failures,
    make_tuner,
    summary_table,
    write_results,
)


def define(values: flags.FlagValues) -> None:
    """Defines the command's own flags."""
    flags.DEFINE_multi_string(
        "search",
        None,
        "FLAG:VALUE,VALUE,... or FLAG:LOW..HIGH[:log]; may be repeated.",
        required=True,
        flag_values=values,
    )
    flags.DEFINE_string(
        "oracle", "grid", f"Search algorithm: {', '.join(ORACLES.names())}.", flag_values=values
    )
    flags.DEFINE_integer(
        "max_trials", None, "Most trials; defaults to the whole grid, else 10.", flag_values=values
    )
    flags.DEFINE_integer(
        "executions", 1, "Number of runs per trial, with different seeds.", flag_values=values
    )
    flags.DEFINE_float(
        "worker_timeout",
        60.0,
        "Seconds without contact until a parallel worker is considered lost.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "out", "runs/tune", "Folder for the search, its runs and its results.", flag_values=values
    )


def main(given: flags.FlagValues, arguments: list[str]) -> int:
    """Runs the command with parsed flags; returns the exit code."""
    del arguments
    space = SearchSpace.parse(given.search)
    config = flagfiles.config_from_flags(TrainingConfig, given)
    out = user_path(given.out)
    tuner = make_tuner(
        config,
        space,
        out,
        oracle=given.oracle,
        max_trials=given.max_trials,
        executions=given.executions,
        worker_timeout=given.worker_timeout,
    )
    tuner.search()
    if tuner.role == "worker":
        return 0  # Only the chief knows all trials.
    for failure in failures(tuner):
        print(failure)
    best = write_results(tuner, space.names, out)
    print("\n" + summary_table(tuner, space.names))
    flagfile = shlex.quote(f"--flagfile={best}")
    print(f"\nThe best flags: python -m amr_tf.train {flagfile}")
    return 0


COMMAND = Command("tune", __doc__, define, main, leave_out=())
