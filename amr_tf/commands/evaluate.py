"""Evaluates a run: python -m amr_tf.evaluate --run=runs/digits

Prints a table, and writes the results to evaluation.json in the run's folder.
"""

import json

from absl import flags

from amr_tf.commands.running import Command, define_run_flags
from amr_tf.files import user_path, write_whole
from amr_tf.metrics.measure import MEASURES, SPLITS, measure, results_table
from amr_tf.metrics.probes import PROBES
from amr_tf.runs.folder import load_run, load_run_data, which_epoch


def define(values: flags.FlagValues) -> None:
    """Defines the command's own flags."""
    flags.DEFINE_string("run", None, "Folder of a training run.", required=True, flag_values=values)
    flags.DEFINE_list(
        "probes",
        list(PROBES),
        f"Probes on frozen codes: {', '.join(PROBES)}; empty for none.",
        flag_values=values,
    )
    flags.DEFINE_list(
        "measures",
        [],
        f"Further measures: {', '.join(MEASURES)}. Disentanglement needs data with factors, "
        "interpolation the data set lines.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "inception_weights",
        None,
        "Keras' InceptionV3 weights for image_quality: a file, or imagenet to download them. By "
        "default, features are those of a classifier trained on the data set.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "out", None, "JSON to write; defaults to evaluation.json in the run.", flag_values=values
    )
    define_run_flags(values)


def main(given: flags.FlagValues, arguments: list[str]) -> None:
    """Runs the command with parsed flags."""
    del arguments
    config, model = load_run(given.run, given.epoch)
    data = load_run_data(given.run, config, given.data_dir, given.allow_changed_data)
    results = measure(model, data, given.probes, SPLITS, given.measures, given.inception_weights)
    path = user_path(given.out or f"{given.run}/evaluation.json")
    print(f"Of {which_epoch(given.run, given.epoch, model)}:")
    print(results_table(results))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(results, indent=2) + "\n")
    except OSError as error:
        if given.out:
            raise
        print(f"\n{path} could not be written ({error.strerror}); --out names another file.")
    else:
        print(f"\nWrote {path}")


COMMAND = Command("evaluate", __doc__, define, main)
