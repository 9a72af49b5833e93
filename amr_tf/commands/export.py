"""Exports a run for TF Serving: python -m amr_tf.export --run=runs/digits

Writes the next version, saved_models/NAME/1, 2, ...: a SavedModel with signatures that encode,
decode, mix and interpolate, a model card, and the model in further formats.
"""

from absl import flags

from amr_tf.commands.running import Command, define_run_flags
from amr_tf.savedmodel.export import FORMATS
from amr_tf.savedmodel.run_export import export_run


def define(values: flags.FlagValues) -> None:
    """Defines the command's own flags."""
    flags.DEFINE_string("run", None, "Folder of a training run.", required=True, flag_values=values)
    flags.DEFINE_string(
        "out",
        None,
        "The servable's folder; by default saved_models/ and the run folder's name.",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "keep", None, "Versions that remain, the newest; by default all.", flag_values=values
    )
    flags.DEFINE_list(
        "formats",
        ["keras"],
        f"Formats beside the SavedModel: {', '.join(FORMATS)}; onnx needs tf2onnx and onnx.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "hub",
        None,
        "USER/NAME on the Hugging Face Hub, where the model is uploaded as well, for "
        "keras.saving.load_model('hf://USER/NAME'); needs huggingface_hub.",
        flag_values=values,
    )
    flags.DEFINE_bool(
        "hub_private",
        None,
        "Whether a repository that --hub makes is private; by default as the account has it set.",
        flag_values=values,
    )
    define_run_flags(values)


def main(given: flags.FlagValues, arguments: list[str]) -> None:
    """Runs the command with parsed flags."""
    del arguments
    version = export_run(
        given.run,
        given.out,
        keep=given.keep,
        formats=given.formats,
        epoch=given.epoch,
        data_dir=given.data_dir,
        allow_changed_data=given.allow_changed_data,
        hub=given.hub,
        hub_private=given.hub_private,
    )
    print(f"Exported {version}")


COMMAND = Command("export", __doc__, define, main)
