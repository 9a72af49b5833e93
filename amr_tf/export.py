"""Exports a run's decoder for TF Serving: python -m amr_tf.export --run=runs/digits

Writes the next version of the SavedModel, saved_models/NAME/1, 2, ...
"""

import pathlib

from absl import flags

from amr_tf import commands
from amr_tf.serving.export import export_decoder
from amr_tf.training.run import load_run

_RUN = flags.DEFINE_string("run", None, "Folder of a training run.", required=True)
_OUT = flags.DEFINE_string(
    "out", None, "The servable's folder; by default saved_models/ and the run folder's name."
)


def main(argv):
    del argv
    _, model = load_run(_RUN.value)
    name = pathlib.Path(_RUN.value).resolve().name
    version = export_decoder(model, _OUT.value or pathlib.Path("saved_models") / name)
    print(f"Exported the decoder to {version}")


def run():
    """Runs the command; a script of your own calls it after registering its classes."""
    commands.run(main)


if __name__ == "__main__":
    run()
