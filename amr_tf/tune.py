"""Searches flags for the best probe: python -m amr_tf.tune --flagfile=configs/mnist.cfg \
--search=lambda:2,5,10,20,50 --search=k:2,3,4 --epochs=3 --out=runs/tune

Flags of amr_tf.train hold for all trials. A kill loses at most the running epochs; the same
command goes on. For parallel workers set KerasTuner's KERASTUNER_TUNER_ID (chief, worker0, ...),
KERASTUNER_ORACLE_IP and KERASTUNER_ORACLE_PORT.
"""

import shlex

from absl import flags

from amr_tf import commands
from amr_tf.files import user_path
from amr_tf.training import flagfiles
from amr_tf.training.config import TrainingConfig
from amr_tf.training.help import command_help
from amr_tf.tuning import (
    ORACLES,
    SearchSpace,
    failures,
    make_tuner,
    summary_table,
    write_results,
)

flagfiles.define_flags(TrainingConfig)
_SEARCH = flags.DEFINE_multi_string(
    "search", None, "FLAG:VALUE,VALUE,... or FLAG:LOW..HIGH[:log]; may be repeated.", required=True
)
_ORACLE = flags.DEFINE_string("oracle", "grid", f"Way of searching: {', '.join(ORACLES.names())}.")
_MAX_TRIALS = flags.DEFINE_integer(
    "max_trials", None, "Trials at most; by default all of a grid, else 10."
)
_EXECUTIONS = flags.DEFINE_integer("executions", 1, "Runs of each trial, with different seeds.")
_WORKER_TIMEOUT = flags.DEFINE_float(
    "worker_timeout", 60.0, "Seconds of silence after which a parallel worker is taken for lost."
)
_OUT = flags.DEFINE_string("out", "runs/tune", "Folder for the search, its runs and its results.")


def main(argv):
    del argv
    space = SearchSpace.parse(_SEARCH.value)
    config = flagfiles.config_from_flags(TrainingConfig)
    out = user_path(_OUT.value)
    tuner = make_tuner(
        config,
        space,
        out,
        oracle=_ORACLE.value,
        max_trials=_MAX_TRIALS.value,
        executions=_EXECUTIONS.value,
        worker_timeout=_WORKER_TIMEOUT.value,
    )
    tuner.search()
    if tuner.role == "worker":
        return  # The chief knows all trials, a worker does not.
    for failure in failures(tuner):
        print(failure)
    best = write_results(tuner, space.names, out)
    print("\n" + summary_table(tuner, space.names))
    flagfile = shlex.quote(f"--flagfile={best}")
    print(f"\nThe best flags: python -m amr_tf.train {flagfile}")


def run():
    """Runs the command; a script of your own calls it after registering its classes."""
    own = (_SEARCH, _ORACLE, _MAX_TRIALS, _EXECUTIONS, _WORKER_TIMEOUT, _OUT)
    further = {flag.name: flags.FLAGS[flag.name].help for flag in own}
    commands.run(main, command_help(__doc__, further))


if __name__ == "__main__":
    run()
