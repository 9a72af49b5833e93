"""Evaluates a run: python -m amr_tf.evaluate --run=runs/digits

Prints a table and writes the same figures as JSON, evaluation.json in the run's folder.
"""

import json

from absl import flags

from amr_tf import commands
from amr_tf.evaluation.evaluate import MEASURES, SPLITS, measure, results_table
from amr_tf.evaluation.probes import PROBES
from amr_tf.files import user_path, write_whole
from amr_tf.training.folder import load_run, load_run_data, which_epoch

_RUN = flags.DEFINE_string("run", None, "Folder of a training run.", required=True)
_DATA_DIR = flags.DEFINE_string("data_dir", None, "As of amr_tf.train; by default the run's.")
_EPOCH = flags.DEFINE_string(
    "epoch", "best", "best: the best epoch's model; last: the newest checkpoint's."
)
_PROBES = flags.DEFINE_list(
    "probes", list(PROBES), f"Probes on frozen codes: {', '.join(PROBES)}; empty for none."
)
_MEASURES = flags.DEFINE_list(
    "measures",
    [],
    f"What else to measure: {', '.join(MEASURES)}. Disentanglement needs data with factors, "
    "interpolation the data set lines.",
)
_INCEPTION = flags.DEFINE_string(
    "inception_weights",
    None,
    "Keras' InceptionV3 weights for image_quality: a file, or imagenet to download them; by "
    "default features of a classifier that is trained on the data set.",
)
_OUT = flags.DEFINE_string("out", None, "JSON to write; by default evaluation.json in the run.")
_ALLOW = commands.define_allow_changed_data()


def main(argv):
    del argv
    config, model = load_run(_RUN.value, _EPOCH.value)
    data = load_run_data(_RUN.value, config, _DATA_DIR.value, _ALLOW.value)
    results = measure(model, data, _PROBES.value, SPLITS, _MEASURES.value, _INCEPTION.value)
    path = user_path(_OUT.value or f"{_RUN.value}/evaluation.json")
    print(f"Of {which_epoch(_RUN.value, _EPOCH.value, model)}:")
    print(results_table(results))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(results, indent=2) + "\n")
    except OSError as error:
        if _OUT.value:
            raise
        print(f"\n{path} could not be written ({error.strerror}); --out names another file.")
    else:
        print(f"\nWrote {path}")


def run():
    """Runs the command; a script of your own calls it after registering its classes."""
    commands.run(main)


if __name__ == "__main__":
    run()
