"""Prints a run's figures as JSON: python -m amr_tf.evaluate --run=runs/digits"""

import json

from absl import flags

from amr_tf import commands
from amr_tf.evaluation.evaluate import evaluate
from amr_tf.training.run import load_data, load_run

_RUN = flags.DEFINE_string("run", None, "Folder of a training run.", required=True)
_DATA_DIR = flags.DEFINE_string("data_dir", None, "As of amr_tf.train; by default the run's.")


def main(argv):
    del argv
    config, model = load_run(_RUN.value)
    if _DATA_DIR.value is not None:
        config = config.replace(data_dir=_DATA_DIR.value)
    print(json.dumps(evaluate(model, load_data(config)), indent=2))


def run():
    """Runs the command; a script of your own calls it after registering its classes."""
    commands.run(main)


if __name__ == "__main__":
    run()
