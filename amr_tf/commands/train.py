"""Trains a model: python -m amr_tf.train --flagfile=configs/digits.cfg --run_dir=runs/digits

For a folder of photographs, use --flagfile=configs/photos64.cfg --data_dir=FOLDER.

Everything about the run is written to --run_dir. Ctrl-C saves, --resume continues. To use your own
mixers (`amr_tf.mixers.MIXERS`), data sets, losses or methods, register them in a script that then
calls `amr_tf.train.run()`.
"""

from absl import flags

from amr_tf.commands.running import Command, define_allow_changed_data
from amr_tf.experiments import train
from amr_tf.metrics.measure import results_table
from amr_tf.metrics.probes import PROBES
from amr_tf.runs import flagfiles
from amr_tf.runs.config import TrainingConfig
from amr_tf.runs.folder import RunFolder


def define(values: flags.FlagValues) -> None:
    """Defines the command's own flags."""
    flags.DEFINE_bool(
        "resume", False, "Continue the run in --run_dir with its settings.", flag_values=values
    )
    flags.DEFINE_list(
        "final_probes",
        ["linear"],
        f"Probes of frozen codes after training: {', '.join(PROBES)}; or empty.",
        flag_values=values,
    )
    define_allow_changed_data(values)


def main(given: flags.FlagValues, arguments: list[str]) -> int:
    """Runs the command with parsed flags; returns the exit code."""
    del arguments
    saved = None
    if given.resume:
        saved = RunFolder(given.run_dir).read_config()
    config = flagfiles.config_from_flags(TrainingConfig, given, base=saved)
    results = train(config, given.resume, given.final_probes, given.allow_changed_data)
    if results is None:
        return 130
    if not results:  # A worker other than the chief.
        return 0
    print(f"\nResults of the best epoch (also in {config.run_dir}/results.json):")
    print(results_table(results))
    return 0


COMMAND = Command("train", __doc__, define, main, leave_out=())
