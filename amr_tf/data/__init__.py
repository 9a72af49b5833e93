"""Data: named data sets, and the pipeline that feeds them to a model."""

# Importing a module registers its data sets.
from amr_tf.data import (  # noqa: F401
    attribute_folder,
    digits,
    dsprites,
    dsprites_tfds,
    image_folder,
    lines,
    spiral,
    tfds_sets,
)
from amr_tf.data.lazy import LazyImages
from amr_tf.data.pipeline import evaluation_batches, prepared, preprocess, training_batches
from amr_tf.data.preprocessing import ImagePreprocessor
from amr_tf.data.sequences import images_of
from amr_tf.data.sources import DATASETS, ImageData, Source, load
from amr_tf.data.splits import Split

__all__ = [
    "DATASETS",
    "ImageData",
    "ImagePreprocessor",
    "LazyImages",
    "Source",
    "Split",
    "evaluation_batches",
    "images_of",
    "load",
    "prepared",
    "preprocess",
    "training_batches",
]
