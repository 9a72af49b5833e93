"""Reads a folder of image files into memory."""

import pathlib

import numpy as np

from amr_tf.data.splits import Split

EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".webp")


def read_image_folder(folder, image_size):
    """Reads image files, cropped to a central square and resized, as RGB.

    Three layouts are understood: `folder/CLASS/*.png`; `folder/train/CLASS/*.png` with
    `folder/test/CLASS/*.png`; and files without class folders, `folder/*.png` (or
    `folder/train/*.png`), which have no labels. Folders may be nested below a class.

    Args:
        folder: path of the folder.
        image_size: width and height of the arrays, in pixels.

    Returns:
        A `Split` of training images, a `Split` of test images or None, and the class names in
        alphabetical order or None.

    Raises:
        FileNotFoundError: there is no such folder, or none was named.
        ValueError: the folder holds no images, one cannot be read, classes differ between train
            and test, or class folders lie beside train.
    """
    if folder is None:
        raise FileNotFoundError("image_folder needs --data_dir=FOLDER with the image files.")
    root = pathlib.Path(folder).expanduser()
    if not root.is_dir():
        raise FileNotFoundError(f"--data_dir '{folder}' is not a folder.")
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
    train = _read_split(train_root, class_names, image_size)
    test = None if test_root is None else _read_split(test_root, class_names, image_size)
    return train, test, class_names


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


def _read_split(root, class_names, image_size):
    if class_names is None:
        files, labels = _image_files(root), None
    else:
        by_class = [_image_files(root / name) for name in class_names]
        files = [path for paths in by_class for path in paths]
        labels = np.repeat(np.arange(len(by_class)), [len(paths) for paths in by_class])
    if not files:
        raise ValueError(f"'{root}' holds no image files ({', '.join(EXTENSIONS)}).")
    return Split(np.stack([_read_image(path, image_size) for path in files]), labels)


def _read_image(path, image_size):
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as image:
            # Applies the camera's orientation, which viewers do and decoders do not.
            image = _eight_bits(ImageOps.exif_transpose(image)).convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"'{path}' cannot be read as an image: {error}") from error
    square = ImageOps.fit(image, (image_size, image_size), Image.Resampling.LANCZOS)
    return np.asarray(square, dtype="uint8")


def _eight_bits(image):
    """A 16-bit grayscale image scaled to 8 bits, where Pillow's own conversion would clip it."""
    from PIL import Image

    if not image.mode.startswith("I"):
        return image
    return Image.fromarray(np.round(np.asarray(image) / 257).astype("uint8"))
