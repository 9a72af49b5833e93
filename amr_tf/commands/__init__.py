"""The commands, a module each: `amr train` or `python -m amr_tf.train` runs `train`, and so on.

The console script reads this file without the package: it imports nothing.
"""

# What `amr --help` says of each.
COMMANDS = {
    "train": "train a model, or resume its training",
    "evaluate": "measure a run's model: losses, probes, image quality",
    "interpolate": "draw mixes of held-out images, of one run or of several side by side",
    "sample": "draw new images",
    "export": "write a SavedModel for TF Serving, and TFLite or ONNX",
    "serve": "a web page and REST API of an exported model, on this machine",
    "tune": "search for the best flags",
    "reproduce": "fill a table of the paper",
}

HELP = ("--help", "-help", "-h", "--helpshort", "--helpfull")


def usage() -> str:
    """What `amr --help` prints."""
    return "\n".join(
        [
            "amr_tf: auto-encoders whose latent codes can be mixed.",
            "",
            *(f"  amr {name:<12} {text}" for name, text in COMMANDS.items()),
            "",
            "amr COMMAND --help lists a command's flags, amr --version the versions, and",
            "amr --completion=bash or zsh prints a script that completes both in a shell.",
        ]
    )
