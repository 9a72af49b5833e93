"""Exports a run for TF Serving: python -m amr_tf.export --run=runs/digits

Writes the next version (saved_models/NAME/1, 2, ...): a SavedModel with signatures to encode,
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
        "Folder of the servable; defaults to saved_models/ and the run folder's name.",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "keep", None, "Number of newest versions to keep; defaults to all.", flag_values=values
    )
    flags.DEFINE_list(
        "formats",
        ["keras"],
        f"Formats besides the SavedModel: {', '.join(FORMATS)}; onnx needs tf2onnx and onnx.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "hub",
        None,
        "Also upload the model to the Hugging Face Hub as USER/NAME, for "
        "keras.saving.load_model('hf://USER/NAME'); needs huggingface_hub.",
        flag_values=values,
    )
    flags.DEFINE_bool(
        "hub_private",
        None,
        "Whether --hub creates a private repository; defaults to the account's setting.",
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
