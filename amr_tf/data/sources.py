"""Where images come from: scikit-learn's digits, TFDS data sets, and folders of image files.

A source is a function from `data_dir` and `image_size` to a `Source`: uint8 images and integer
labels in memory. `load` cuts a source's training images into training and validation splits.
"""

import dataclasses
import pathlib
import socket
import urllib.request

import numpy as np

from amr_tf.data.image_folder import read_image_folder
from amr_tf.data.splits import Split, draw_subset, split_off
from amr_tf.registry import Registry

DATASETS = Registry("data set")
_DIGITS_TEST_FRACTION = 0.2
_TFDS_HOST = "storage.googleapis.com"  # Where TFDS keeps its own copies of data sets.


@dataclasses.dataclass(frozen=True)
class Source:
    """A data set as it comes.

    Attributes:
        train: a `Split`.
        test: a `Split`, or None where the source has none.
        class_names: one name per class, or None for unlabelled images.
        image_size: the width in pixels to which the pipeline resizes by default.
    """

    train: Split
    test: Split | None
    class_names: tuple | None
    image_size: int


@dataclasses.dataclass(frozen=True)
class ImageData:
    """A data set ready to train on: three disjoint splits.

    Attributes:
        name: the data set's registered name.
        train: `Split` to train on.
        validation: `Split` for choices made while training.
        test: `Split` for the last figure only, or None.
        class_names: one name per class, or None for unlabelled images.
        image_size: width and height in pixels of the images that the model sees.
    """

    name: str
    train: Split
    validation: Split
    test: Split | None
    class_names: tuple | None
    image_size: int

    @property
    def num_classes(self):
        """Number of classes, or None for unlabelled images."""
        return None if self.class_names is None else len(self.class_names)

    @property
    def image_shape(self):
        """(H, W, C) of the images that the model sees."""
        return (self.image_size, self.image_size, self.train.images.shape[-1])


def load(
    name="digits",
    data_dir=None,
    image_size=None,
    validation_fraction=0.1,
    train_subset=None,
    seed=0,
):
    """Loads a data set and splits off validation images.

    Args:
        name: a name registered in `DATASETS`: "digits" (embedded), "mnist", "kmnist",
            "fashion_mnist", "svhn_cropped", "cifar10" (TFDS), or "image_folder".
        data_dir: TFDS' folder of prepared data sets, or the folder of image files; None for TFDS'
            default, where it downloads to.
        image_size: width to which images are resized; None for the data set's usual one.
        validation_fraction: share of the training images held out, above 0 and below 1;
            stratified by label.
        train_subset: number of training images to keep, stratified by label, after the validation
            images are held out; None for all.
        seed: of the split and the subset; the same seed gives the same images.

    Returns:
        `ImageData`.

    Raises:
        ValueError: unknown name, or numbers that do not fit the data.
        FileNotFoundError: the data are not there and cannot be downloaded.
    """
    source = DATASETS.get(name)(data_dir, image_size)
    train, validation = split_off(source.train, validation_fraction, seed)
    if train_subset is not None:
        train = draw_subset(train, train_subset, seed)
    return ImageData(
        name=name,
        train=train,
        validation=validation,
        test=source.test,
        class_names=source.class_names,
        image_size=source.image_size if image_size is None else image_size,
    )


@DATASETS.register("digits")
def _digits(data_dir, image_size):
    """1,797 real handwritten digits of 8x8 pixels that scikit-learn ships; a fifth is for tests."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    # Ink counts of 0 to 16 per pixel.
    images = np.round(digits.images * (255 / 16)).astype("uint8")[..., None]
    everything = Split(images, digits.target.astype("int64"))
    train, test = split_off(everything, _DIGITS_TEST_FRACTION, seed=0)
    return Source(train, test, tuple("0123456789"), image_size=16)


@DATASETS.register("image_folder")
def _image_folder(data_dir, image_size):
    """Image files in `data_dir`, one subfolder per class; see `read_image_folder`."""
    image_size = 32 if image_size is None else image_size
    train, test, class_names = read_image_folder(data_dir, image_size)
    return Source(train, test, class_names, image_size)


def _register_tfds(name, image_size):
    @DATASETS.register(name)
    def source(data_dir, _):
        builder = _tfds_builder(name, data_dir)
        splits = [_tfds_split(builder, split) for split in ("train", "test")]
        return Source(*splits, tuple(builder.info.features["label"].names), image_size)

    return source


def _tfds_builder(name, data_dir):
    """A TFDS builder whose data are prepared."""
    import tensorflow_datasets as tfds

    if data_dir is not None and not pathlib.Path(data_dir).expanduser().is_dir():
        raise FileNotFoundError(
            f"--data_dir '{data_dir}' is not a folder; it must hold prepared TFDS data sets "
            f"(such as {name}/), or be an existing folder to download to."
        )
    builder = tfds.builder(name, data_dir=data_dir)
    try:
        if not pathlib.Path(builder.data_path).exists():
            _check_network()
        builder.download_and_prepare()
    except Exception as error:  # TFDS, requests and the checksum code each raise their own.
        raise FileNotFoundError(
            f"Data set '{name}' is not prepared in '{builder.data_dir_root}' and could not be "
            f"downloaded ({type(error).__name__}). Pass --data_dir=FOLDER with a prepared "
            f"'{name}', or connect to the network."
        ) from error
    return builder


def _check_network():
    """Raises an OSError without a network: TFDS itself would retry for more than three minutes."""
    if not urllib.request.getproxies():
        socket.getaddrinfo(_TFDS_HOST, 443)


def _tfds_split(builder, split):
    import tensorflow as tf
    import tensorflow_datasets as tfds

    try:
        dataset = builder.as_dataset(split=split, as_supervised=True, batch_size=-1)
        images, labels = tfds.as_numpy(dataset)
    except tf.errors.OpError as error:
        raise ValueError(
            f"The '{split}' split of data set '{builder.name}' in '{builder.data_path}' is damaged "
            f"({type(error).__name__}); prepare it again."
        ) from error
    return Split(images, labels.astype("int64"))


for _name in ("mnist", "kmnist", "fashion_mnist", "svhn_cropped", "cifar10"):
    _register_tfds(_name, image_size=32)
