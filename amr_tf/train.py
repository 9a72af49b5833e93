"""Trains a model: python -m amr_tf.train --flagfile=configs/digits.cfg --run_dir=runs/digits

Everything about the run lands in --run_dir. Ctrl-C saves; --resume continues. A script of your own
that registers mixers (`amr_tf.mixers.MIXERS`), data sets, losses or methods and then calls
`amr_tf.train.run()` is this command with these names allowed, too.
"""

from absl import flags

from amr_tf import commands
from amr_tf.evaluation.evaluate import results_table
from amr_tf.evaluation.probes import PROBES
from amr_tf.experiments import train
from amr_tf.training import flagfiles
from amr_tf.training.config import TrainingConfig
from amr_tf.training.folder import RunFolder
from amr_tf.training.help import command_help

flagfiles.define_flags(TrainingConfig)
_RESUME = flags.DEFINE_bool("resume", False, "Continue the run in --run_dir with its own settings.")
_ALLOW = commands.define_allow_changed_data()
_FINAL_PROBES = flags.DEFINE_list(
    "final_probes",
    ["linear"],
    f"Probes on frozen codes after training: {', '.join(PROBES)}; empty for none.",
)


def main(argv):
    del argv
    saved = None
    if _RESUME.value:
        saved = RunFolder(flags.FLAGS.run_dir).read_config()
    config = flagfiles.config_from_flags(TrainingConfig, base=saved)
    results = train(config, _RESUME.value, _FINAL_PROBES.value, _ALLOW.value)
    if results is None:
        return 130
    if not results:  # Another worker than the chief.
        return 0
    print(f"\nResults of the best epoch (also in {config.run_dir}/results.json):")
    print(results_table(results))
    return 0


def run():
    """Runs the command; a script calls it after registering mixers or data sets of its own."""
    further = {
        **{flag.name: flags.FLAGS[flag.name].help for flag in (_RESUME, _FINAL_PROBES, _ALLOW)},
        "flagfile=FILE": "Read flags, one a line; those behind it win.",
    }
    commands.run(main, command_help(__doc__, further))


if __name__ == "__main__":
    run()
