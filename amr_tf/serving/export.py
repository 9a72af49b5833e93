"""SavedModels that run without this package."""

import os
import pathlib
import shutil

import keras
import tensorflow as tf


def next_version(directory):
    """The number after the highest version folder in `directory`, 1 where there is none."""
    directory = pathlib.Path(directory)
    versions = [int(path.name) for path in directory.glob("*") if path.name.isdigit()]
    return max(versions, default=0) + 1


def export_decoder(model, directory):
    """Writes the decoder as the next version of a SavedModel for TF Serving.

    The signatures `serving_default` and `decode` take `codes`, float32 (N, *latent_shape), and
    return `images`, float32 (N, H, W, C), about -1 to 1.

    Args:
        model: a `ResynthesisModel`.
        directory: the servable's folder, such as "saved_models/digits"; versions are numbered
            subfolders. A version is written aside and moved into place whole.

    Returns:
        The path of the new version.
    """
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    version = directory / str(next_version(directory))
    partial = directory / f".partial-{version.name}-{os.getpid()}"
    signature = [tf.TensorSpec((None, *model.latent_shape), "float32", name="codes")]
    archive = keras.export.ExportArchive()
    archive.track(model.decoder)
    for name in ("serving_default", "decode"):
        archive.add_endpoint(name, _decode(model.decoder), input_signature=signature)
    try:
        archive.write_out(str(partial), verbose=False)
        partial.replace(version)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return version


def _decode(decoder):
    def decode(codes):
        return {"images": decoder(codes, training=False)}

    return decode
