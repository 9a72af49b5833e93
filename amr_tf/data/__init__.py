"""Data: named sources of images, and the pipeline that feeds them to a model."""

from amr_tf.data.pipeline import evaluation_batches, preprocess, training_batches
from amr_tf.data.sources import DATASETS, ImageData, Split, load

__all__ = [
    "DATASETS",
    "ImageData",
    "Split",
    "evaluation_batches",
    "load",
    "preprocess",
    "training_batches",
]
