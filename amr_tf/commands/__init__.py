"""The commands, one per module: `train` is run by `amr train` or `python -m amr_tf.train`.

This file must not import anything, since the console script reads it without the package.
"""

# Descriptions for `amr --help`.
COMMANDS = {
    "train": "train a model, or resume training",
    "evaluate": "evaluate a run's model: losses, probes, image quality",
    "interpolate": "draw mixes of held-out images, for one run or several side by side",
    "sample": "generate new images",
    "export": "export a SavedModel for TF Serving, optionally also TFLite or ONNX",
    "serve": "serve an exported model on this machine, with a web page and REST API",
    "tune": "search for the best flags",
    "reproduce": "reproduce a table of the paper",
}

HELP = ("--help", "-help", "-h", "--helpshort", "--helpfull")


def usage() -> str:
    """Returns the text of `amr --help`."""
    return "\n".join(
        [
            "amr_tf: auto-encoders whose latent codes can be mixed.",
            "",
            *(f"  amr {name:<12} {text}" for name, text in COMMANDS.items()),
            "",
            "amr COMMAND --help lists a command's flags, amr --version prints the versions, and",
            "amr --completion=bash (or zsh) prints a script for completion in a shell.",
        ]
    )
