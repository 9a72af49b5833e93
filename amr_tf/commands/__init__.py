"""The commands, a module each: `amr train` or `python -m amr_tf.train` runs `train`, and so on."""

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
