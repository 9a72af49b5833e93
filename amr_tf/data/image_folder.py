"""Folders of image files, with one subfolder per class or without classes."""

import pathlib
from collections.abc import Sequence

import numpy as np
from absl import logging

from amr_tf.data.image_files import (
    EXTENSIONS,
    MOST_PIXELS,
    find_images,
    holds_images,
    loose_images,
    subfolders,
    warn_of_other_pictures,
)
from amr_tf.data.image_store import read_files
from amr_tf.data.preprocessing import ImagePreprocessor
from amr_tf.data.sources import DATASETS, Source
from amr_tf.data.splits import Split
from amr_tf.files import user_path

# Common names of split folders, in lower case.
SPLIT_NAMES = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}


def existing_folder(folder: str | pathlib.Path | None, name: str) -> pathlib.Path:
    """Returns the path of the folder given for data set `name`.

    Raises:
        FileNotFoundError: the folder does not exist or was not given.
    """
    if folder is None:
        raise FileNotFoundError(f"{name} needs --data_dir=FOLDER with the image files.")
    root = user_path(folder)
    if not root.is_dir():
        raise FileNotFoundError(f"--data_dir '{folder}' is not a folder.")
    return root


def read_image_folder(
    folder: str | pathlib.Path | None,
    preprocessor: ImagePreprocessor,
    on_error: str = "raise",
    name: str = "image_folder",
    cache: str = "auto",
) -> Source:
    """Reads image files.

    Three layouts are supported: `folder/CLASS/*.png`; `folder/train/CLASS/*.png`, optionally with
    `folder/val/CLASS/*.png` and `folder/test/CLASS/*.png`; and unlabelled files without class
    folders, `folder/*.png` (or `folder/train/*.png`). Class folders may contain further folders.
    Variants such as `Train`, `training` and `validation` are recognised.

    Hidden files and folders, and those created by operating systems or tools (`__MACOSX`,
    `.ipynb_checkpoints`), are ignored. Links are followed, but not in circles.

    Args:
        folder: path of the folder.
        preprocessor: the `ImagePreprocessor` that reads the files.
        on_error: "raise", or "skip" to leave out files that cannot be read.
        name: the data set's name, for the error if no folder is given.
        cache: where to keep the decoded images: "memory", "disk" (a file in `$AMR_TF_CACHE`, by
            default `~/.cache/amr_tf`), "auto" for memory up to 1 GiB and disk above, or the path
            of a folder.

    Returns:
        A `Source`, with class names in alphabetical order or None.

    Raises:
        FileNotFoundError: the folder does not exist or was not given.
        ValueError: the folder holds no images, files cannot be read or are smaller than `crop`,
            classes differ between splits, or there are class folders next to the split folders.
    """
    root = existing_folder(folder, name)
    splits = _split_folders(root)
    class_names = _class_names(splits["train"], root)
    for part in ("validation", "test"):
        if part in splits and _class_names(splits[part], root) != class_names:
            raise ValueError(
                f"'{splits['train']}' and '{splits[part]}' must have the same class folders; got "
                f"{class_names} and {_class_names(splits[part], root)}."
            )
    read = {
        part: _read_split(splits[part], root, class_names, preprocessor, on_error, cache)
        for part in splits
    }
    return Source(
        read["train"],
        read.get("test"),
        class_names,
        preprocessor.image_size,
        validation=read.get("validation"),
        preprocessor=preprocessor,
    )


def _split_folders(root: pathlib.Path) -> dict[str, pathlib.Path]:
    """Finds the folders of the splits; without split folders, the root is "train"."""
    folders = subfolders(root)
    found = {
        part: [path for path in folders if path.name.lower() in names]
        for part, names in SPLIT_NAMES.items()
    }
    if not found["train"]:
        return {"train": root}
    for part, paths in found.items():
        if len(paths) > 1:
            both = " and ".join(f"'{path.name}'" for path in paths)
            raise ValueError(f"'{root}' holds {both}: put the {part} images into one folder.")
    splits = {part: paths[0] for part, paths in found.items() if paths}
    # Class folders next to split folders would be ignored.
    others = [path.name for path in _folders_of_images(root, root) if path not in splits.values()]
    if others:
        train = splits["train"].name
        raise ValueError(
            f"'{root}' holds a folder '{train}' of training images and, beside it, images in "
            f"'{others[0]}'; rename '{train}' if it is a class, or move the others elsewhere."
        )
    beside = loose_images(root)
    if beside:
        logging.warning(
            "%d images that lie beside '%s' in '%s' are left out.",
            len(beside),
            splits["train"].name,
            root,
        )
    return splits


def _folders_of_images(folder: pathlib.Path, root: pathlib.Path) -> list[pathlib.Path]:
    """Returns the sorted paths of the subfolders in which `find_images` finds images."""
    return [path for path in subfolders(folder) if holds_images(path, root)]


def _class_names(folder: pathlib.Path, root: pathlib.Path) -> tuple[str, ...] | None:
    """Returns the names of the subfolders that hold images, or None if there are none."""
    names = tuple(path.name for path in _folders_of_images(folder, root))
    if not names:
        return None
    loose = loose_images(folder)
    if loose:
        raise ValueError(
            f"'{folder}' holds both class folders ({', '.join(names[:3])}, ...) and loose images "
            f"({loose[0].name}, ...); move the images into class folders or the folders elsewhere."
        )
    if len(names) == 1:
        raise ValueError(
            f"'{folder}' holds a single class folder ('{names[0]}'); for images without classes "
            "name that folder itself."
        )
    return names


def _read_split(
    folder: pathlib.Path,
    root: pathlib.Path,
    class_names: Sequence[str] | None,
    preprocessor: ImagePreprocessor,
    on_error: str,
    cache: str,
) -> Split:
    warn_of_other_pictures(folder, root)
    if class_names is None:
        files, labels = find_images(folder, root), None
    else:
        by_class = [find_images(folder / name, root) for name in class_names]
        files = [path for paths in by_class for path in paths]
        labels = np.repeat(np.arange(len(by_class)), [len(paths) for paths in by_class])
    if not files:
        raise ValueError(f"'{folder}' holds no image files ({', '.join(EXTENSIONS)}).")
    images, readable = read_files(files, root, preprocessor, on_error, cache)
    return Split(images, None if labels is None else labels[readable])


@DATASETS.register("image_folder")
def _image_folder(
    data_dir: str | None,
    image_size: int | None,
    fit: str = "crop",
    crop: int | None = None,
    background: str = "white",
    on_error: str = "raise",
    max_pixels: int = MOST_PIXELS,
    cache: str = "auto",
) -> Source:
    """Image files in `data_dir`, one subfolder per class; see `read_image_folder`."""
    preprocessor = ImagePreprocessor(image_size or 32, 3, fit, crop, background, max_pixels)
    return read_image_folder(data_dir, preprocessor, on_error, cache=cache)


@DATASETS.register("zappos")
def _zappos(
    data_dir: str | None,
    image_size: int | None,
    fit: str = "pad",
    crop: int | None = None,
    background: str = "white",
    on_error: str = "raise",
    max_pixels: int = MOST_PIXELS,
    cache: str = "auto",
) -> Source:
    """UT-Zap50K's folders, CATEGORY/SUBCATEGORY/BRAND/*.jpg; the categories are the classes.

    By default its 136 x 102 photographs on white are padded to squares, since cropping would cut
    off the tips of the shoes.
    """
    preprocessor = ImagePreprocessor(image_size or 64, 3, fit, crop, background, max_pixels)
    return read_image_folder(data_dir, preprocessor, on_error, "zappos", cache)
