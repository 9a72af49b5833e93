"""The original dSprites [Matthey et al. 2017], as prepared by TensorFlow Datasets."""

from typing import Any

import numpy as np

from amr_tf.data.dsprites import FACTOR_NAMES, IMAGE_SHAPE, factor_source, index_of
from amr_tf.data.lazy import LazyImages
from amr_tf.data.sources import DATASETS, Source
from amr_tf.data.tfds_sets import naming_damage, prepared_builder

_BATCH = 1024
_LABELS = tuple(f"label_{name}" for name in FACTOR_NAMES)


@DATASETS.register("dsprites_tfds")
def _dsprites_tfds(data_dir: str | None) -> Source:
    """The original 737,280 sprites, labelled by shape, in the order and splits of `dsprites`.

    They are stored with one bit per pixel (377 MB instead of 3 GB) and unpacked on demand.
    """
    bits, factors = _read(prepared_builder("dsprites", data_dir))
    # TFDS shuffles the images that it prepares.
    order = np.argsort(index_of(factors), kind="stable")
    images = LazyImages(lambda chosen: _unpack(bits[chosen]), order, IMAGE_SHAPE)
    return factor_source(images, factors[order])


def _read(builder: Any) -> tuple[np.ndarray, np.ndarray]:
    """Reads the pixels of all images, uint8 (N, 512), eight per byte, and int64 factors (N, 5)."""
    import tensorflow_datasets as tfds

    wanted = tfds.decode.PartialDecoding(dict.fromkeys(("image", *_LABELS), True))
    bits, factors = [], []
    with naming_damage(builder, "train"):
        dataset = builder.as_dataset(split="train", decoders=wanted, batch_size=_BATCH)
        for batch in tfds.as_numpy(dataset):
            lit = batch["image"].reshape(len(batch["image"]), -1) > 0
            bits.append(np.packbits(lit, axis=1))
            factors.append(np.stack([batch[label] for label in _LABELS], axis=1))
    return np.concatenate(bits), np.concatenate(factors).astype("int64")


def _unpack(bits: np.ndarray) -> np.ndarray:
    return np.unpackbits(bits, axis=1).reshape(-1, *IMAGE_SHAPE) * np.uint8(255)
