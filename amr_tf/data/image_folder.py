"""Folders of image files, with a class a folder or without classes."""

import numpy as np

from amr_tf.data.image_files import EXTENSIONS, read_images
from amr_tf.data.sources import DATASETS, Source
from amr_tf.data.splits import Split
from amr_tf.files import user_path


def existing_folder(folder, name):
    """The path of a folder that a user named for data set `name`.

    Raises:
        FileNotFoundError: there is no such folder, or none was named.
    """
    if folder is None:
        raise FileNotFoundError(f"{name} needs --data_dir=FOLDER with the image files.")
    root = user_path(folder)
    if not root.is_dir():
        raise FileNotFoundError(f"--data_dir '{folder}' is not a folder.")
    return root


def read_image_folder(folder, image_size, crop=None, pad=False, name="image_folder"):
    """Reads image files, cropped to a central square and resized, as RGB.

    Three layouts are understood: `folder/CLASS/*.png`; `folder/train/CLASS/*.png` with
    `folder/test/CLASS/*.png`; and files without class folders, `folder/*.png` (or
    `folder/train/*.png`), which have no labels. Folders may be nested below a class.

    Args:
        folder: path of the folder.
        image_size: width and height of the arrays, in pixels.
        crop: side in pixels of the central square that is cut out before resizing, or None.
        pad: whether an image that is no square is fitted into a white one, and not cropped.
        name: the data set's name, for the error where no folder was named.

    Returns:
        A `Split` of training images, a `Split` of test images or None, and the class names in
        alphabetical order or None.

    Raises:
        FileNotFoundError: there is no such folder, or none was named.
        ValueError: the folder holds no images, one cannot be read or is smaller than `crop`,
            classes differ between train and test, or class folders lie beside train.
    """
    root = existing_folder(folder, name)
    train_root = root / "train" if (root / "train").is_dir() else root
    test_root = root / "test" if train_root != root and (root / "test").is_dir() else None
    if train_root != root:
        _check_no_other_classes(root)
    class_names = _class_names(train_root)
    if test_root is not None and _class_names(test_root) != class_names:
        raise ValueError(
            f"'{train_root}' and '{test_root}' must have the same class folders; got "
            f"{class_names} and {_class_names(test_root)}."
        )
    splits = [
        None if part is None else _read_split(part, class_names, image_size, crop, pad)
        for part in (train_root, test_root)
    ]
    return *splits, class_names


def _check_no_other_classes(root):
    """`train` and `test` are splits, not classes: class folders beside them would be lost."""
    others = [name for name in _folders_of_images(root) if name not in ("train", "test")]
    if others:
        raise ValueError(
            f"'{root}' holds a folder 'train' of training images and, beside it, images in "
            f"'{others[0]}'; rename 'train' if it is a class, or move the others elsewhere."
        )


def _image_files(folder):
    files = folder.rglob("*")
    return sorted(path for path in files if path.suffix.lower() in EXTENSIONS and path.is_file())


def _folders_of_images(root):
    """Sorted names of the subfolders that hold images at any depth."""
    folders = sorted(path for path in root.iterdir() if path.is_dir())
    return tuple(path.name for path in folders if _image_files(path))


def _class_names(root):
    """Names of the subfolders that hold images, or None where the images lie in `root` itself."""
    names = _folders_of_images(root)
    if not names:
        return None
    loose = [path.name for path in root.iterdir() if path.suffix.lower() in EXTENSIONS]
    if loose:
        raise ValueError(
            f"'{root}' holds both class folders ({', '.join(names[:3])}, ...) and loose images "
            f"({loose[0]}, ...); move the images into class folders or the folders elsewhere."
        )
    if len(names) == 1:
        raise ValueError(
            f"'{root}' holds a single class folder ('{names[0]}'); for images without classes "
            "name that folder itself."
        )
    return names


def _read_split(root, class_names, image_size, crop, pad):
    if class_names is None:
        files, labels = _image_files(root), None
    else:
        by_class = [_image_files(root / name) for name in class_names]
        files = [path for paths in by_class for path in paths]
        labels = np.repeat(np.arange(len(by_class)), [len(paths) for paths in by_class])
    if not files:
        raise ValueError(f"'{root}' holds no image files ({', '.join(EXTENSIONS)}).")
    return Split(read_images(files, image_size, crop, pad), labels)


@DATASETS.register("image_folder")
def _image_folder(data_dir, image_size, crop=None):
    """Image files in `data_dir`, one subfolder per class; see `read_image_folder`."""
    image_size = image_size or 32
    return Source(*read_image_folder(data_dir, image_size, crop), image_size)


@DATASETS.register("zappos")
def _zappos(data_dir, image_size):
    """UT-Zap50K's folders, CATEGORY/SUBCATEGORY/BRAND/*.jpg; the categories are the classes.

    Its 136 x 102 photographs on white are fitted into white squares, for a crop would cut the
    tips off the shoes.
    """
    image_size = image_size or 64
    splits = read_image_folder(data_dir, image_size, pad=True, name="zappos")
    return Source(*splits, image_size)
