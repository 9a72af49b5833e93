"""Folders of image files with a table of attributes: CelebA, CelebA-HQ, and custom ones."""

import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from amr_tf.data.attributes import (
    AttributeTable,
    choose_attributes,
    find_table,
    read_table,
    read_test_files,
)
from amr_tf.data.image_files import EXTENSIONS, MOST_PIXELS
from amr_tf.data.image_folder import existing_folder
from amr_tf.data.image_store import keep_images, read_files
from amr_tf.data.lazy import LazyImages
from amr_tf.data.preprocessing import ImagePreprocessor
from amr_tf.data.sources import DATASETS, Source
from amr_tf.data.splits import Split
from amr_tf.data.tfds_sets import naming_damage, prepared_builder
from amr_tf.files import user_path

# Folders that may hold the image files: in custom layouts, in CelebA (with and without its outer
# folder), in Kaggle's copy of CelebA, and in CelebA-HQ.
IMAGE_FOLDERS = (
    ".",
    "images",
    "img_align_celeba",
    "img_align_celeba/img_align_celeba",
    "Img",
    "Img/img_align_celeba",
    "Img/img_align_celeba_png",
    "CelebA-HQ-img",
)
CELEBA_CROP = 140  # Of 178 x 218 pixels. Keeps the face without most of the background.
_TFDS_CELEBA = "celeb_a"


def read_attribute_folder(
    folder: str | pathlib.Path | None,
    preprocessor: ImagePreprocessor,
    attributes: Sequence[str] | str | None = None,
    on_error: str = "raise",
    name: str = "attribute_folder",
    cache: str = "auto",
) -> Source:
    """Reads image files and a table of their attributes.

    Args:
        folder: path of a folder with an attribute table (`attributes.find_table`, `read_table`),
            image files in any of `IMAGE_FOLDERS`, and optionally a partition file
            (`read_test_files`). Images that are not in the table are left out.
        preprocessor: the `ImagePreprocessor` that reads the files.
        attributes: names of the attributes to use, in order: a tuple or a comma-separated string;
            None for all.
        on_error: "raise", or "skip" to leave out files that cannot be read.
        name: the data set's name, for the error if no folder is given.
        cache: where to keep the decoded images; see `read_image_folder`.

    Returns:
        A multi-label `Source`.

    Raises:
        FileNotFoundError: the folder does not exist or was not given.
        ValueError: the table is missing or invalid, the partition is invalid, an attribute is
            unknown, or a file is missing, cannot be read as an image, or is smaller than `crop`.
    """
    root = existing_folder(folder, name)
    table = read_table(find_table(root))
    names, columns = choose_attributes(table.names, attributes)
    paths = _locate(root, table)
    in_test = read_test_files(root, table)
    values = table.values[:, columns]

    def read(rows: np.ndarray) -> Split:
        chosen = [paths[row] for row in np.flatnonzero(rows)]
        images, readable = read_files(chosen, root, preprocessor, on_error, cache)
        return Split(images, values[rows][readable])

    test = read(in_test) if in_test.any() else None
    return Source(
        read(~in_test),
        test,
        names,
        preprocessor.image_size,
        multi_label=True,
        preprocessor=preprocessor,
    )


def _locate(root: pathlib.Path, table: AttributeTable) -> list[pathlib.Path]:
    """Returns the path of each file in the table."""
    listed: dict[str, pathlib.Path] = {}
    for folder in reversed([root / name for name in IMAGE_FOLDERS]):  # The first takes precedence.
        if folder.is_dir():
            listed.update((path.name, path) for path in folder.iterdir())
    missing = [file for file in table.files if file not in listed]
    if missing:
        raise ValueError(
            f"'{table.path}' names {len(missing)} of {len(table.files)} files that are not in "
            f"'{root}' or its {', '.join(IMAGE_FOLDERS[1:])}; the first is '{missing[0]}'."
        )
    paths = [listed[file] for file in table.files]
    for path in paths:
        if path.suffix.lower() not in EXTENSIONS:
            raise ValueError(
                f"'{table.path}' names '{path.name}', which is not an image file "
                f"({', '.join(EXTENSIONS)})."
            )
    return paths


@DATASETS.register("attribute_folder")
def _attribute_folder(
    data_dir: str | None,
    image_size: int | None,
    attributes: Sequence[str] | str | None = None,
    fit: str = "crop",
    crop: int | None = None,
    background: str = "white",
    on_error: str = "raise",
    max_pixels: int = MOST_PIXELS,
    cache: str = "auto",
) -> Source:
    """Image files in `data_dir`, with a table of attributes; see `read_attribute_folder`."""
    preprocessor = ImagePreprocessor(image_size or 32, 3, fit, crop, background, max_pixels)
    return read_attribute_folder(data_dir, preprocessor, attributes, on_error, cache=cache)


@DATASETS.register("celeba_hq")
def _celeba_hq(
    data_dir: str | None,
    image_size: int | None,
    attributes: Sequence[str] | str | None = None,
    fit: str = "crop",
    crop: int | None = None,
    background: str = "white",
    on_error: str = "raise",
    max_pixels: int = MOST_PIXELS,
    cache: str = "auto",
) -> Source:
    """CelebA-HQ's image files in `data_dir`, with their attributes."""
    preprocessor = ImagePreprocessor(image_size or 128, 3, fit, crop, background, max_pixels)
    return read_attribute_folder(data_dir, preprocessor, attributes, on_error, "celeba_hq", cache)


@DATASETS.register("celeba")
def _celeba(
    data_dir: str | None,
    image_size: int | None,
    attributes: Sequence[str] | str | None = None,
    fit: str = "crop",
    crop: int | None = CELEBA_CROP,
    background: str = "white",
    on_error: str = "raise",
    max_pixels: int = MOST_PIXELS,
    cache: str = "auto",
) -> Source:
    """Aligned CelebA (178 x 218 pixels): TFDS' `celeb_a`, or a folder with the original files."""
    preprocessor = ImagePreprocessor(image_size or 64, 3, fit, crop, background, max_pixels)
    if data_dir is None or _holds_prepared_celeba(data_dir):
        return _tfds_celeba(data_dir, preprocessor, attributes, cache)
    return read_attribute_folder(data_dir, preprocessor, attributes, on_error, "celeba", cache)


def _holds_prepared_celeba(data_dir: str) -> bool:
    folder = user_path(data_dir) / _TFDS_CELEBA
    return any(folder.glob("*/dataset_info.json"))


def _tfds_celeba(
    data_dir: str | None,
    preprocessor: ImagePreprocessor,
    attributes: Sequence[str] | str | None,
    cache: str,
) -> Source:
    builder = prepared_builder(_TFDS_CELEBA, data_dir)
    with naming_damage(builder):
        known = sorted(builder.info.features["attributes"])
    names, _ = choose_attributes(known, attributes)
    train, test = (
        _read_tfds(builder, split, names, preprocessor, cache)
        for split in ("train+validation", "test")
    )
    return Source(
        train,
        test,
        names,
        preprocessor.image_size,
        multi_label=True,
        preprocessor=preprocessor,
    )


def _read_tfds(
    builder: Any, split: str, names: Sequence[str], preprocessor: ImagePreprocessor, cache: str
) -> Split:
    """Reads a split image by image, since its unresized images would not fit into memory."""
    from PIL import Image

    def decode() -> Iterator[np.ndarray]:
        for number, example in enumerate(_examples(builder, split, {"image": True})):
            image = Image.fromarray(example["image"])
            yield preprocessor.pixels(image, f"{builder.name} {split} {number}")

    attributes = {"attributes": dict.fromkeys(names, True)}
    labels = np.array(
        [
            [example["attributes"][name] for name in names]
            for example in _examples(builder, split, attributes)
        ],
        dtype="int64",
    )
    kept = keep_images(
        decode,
        len(labels),
        preprocessor.image_shape,
        cache,
        lambda: [repr(preprocessor), str(builder.data_path), split],
        f"{builder.name} {split}",
    )
    return Split(LazyImages(kept.read, np.arange(len(labels)), preprocessor.image_shape), labels)


def _examples(builder: Any, split: str, features: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yields the chosen features of each example in a prepared data set."""
    import tensorflow_datasets as tfds

    wanted = tfds.decode.PartialDecoding(features)
    with naming_damage(builder, split):
        examples = iter(tfds.as_numpy(builder.as_dataset(split=split, decoders=wanted)))
    while True:
        with naming_damage(builder, split):
            example = next(examples, None)
        if example is None:
            return
        yield example
