"""Exports a run for TF Serving: python -m amr_tf.export --run=runs/digits

Writes the next version, saved_models/NAME/1, 2, ...: a SavedModel with signatures that encode,
decode, mix and interpolate, a model card, and the model in further formats.
"""

from absl import flags

from amr_tf import commands
from amr_tf.serving.export import FORMATS
from amr_tf.serving.run_export import export_run

_RUN = flags.DEFINE_string("run", None, "Folder of a training run.", required=True)
_OUT = flags.DEFINE_string(
    "out", None, "The servable's folder; by default saved_models/ and the run folder's name."
)
_KEEP = flags.DEFINE_integer("keep", None, "Versions that remain, the newest; by default all.")
_FORMATS = flags.DEFINE_list(
    "formats",
    ["keras"],
    f"Formats beside the SavedModel: {', '.join(FORMATS)}; onnx needs tf2onnx and onnx.",
)
_EPOCH = flags.DEFINE_string(
    "epoch", "best", "best: the best epoch's model; last: the newest checkpoint's."
)
_DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "As of amr_tf.train, for the sheet of samples; by default the run's."
)
_ALLOW = commands.define_allow_changed_data()


def main(argv):
    del argv
    version = export_run(
        _RUN.value,
        _OUT.value,
        keep=_KEEP.value,
        formats=_FORMATS.value,
        epoch=_EPOCH.value,
        data_dir=_DATA_DIR.value,
        allow_changed_data=_ALLOW.value,
    )
    print(f"Exported {version}")


def run():
    """Runs the command; a script of your own calls it after registering its classes."""
    commands.run(main)


if __name__ == "__main__":
    run()
