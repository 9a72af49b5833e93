"""Data sets by name, and `load`, which prepares one for training.

A data set is registered as a function that returns a `Source`. `load` passes `data_dir` and
`image_size`, which may be None, if the function takes them. Its other parameters can be set in the
call string:

    from amr_tf.data import DATASETS, Source, Split

    @DATASETS.register("mine")
    def mine(data_dir, colour=True):
        train = Split(images, labels)  # uint8 (N, H, W, C) and int64 (N,), or None
        return Source(train, test=None, class_names=("cat", "dog"), image_size=32)

    data = load("mine(colour=False)", data_dir="photographs")
"""

import dataclasses
from typing import Any

from amr_tf import checks
from amr_tf.data.preprocessing import ImagePreprocessor, for_arrays
from amr_tf.data.splits import Split, check_fraction, draw_subset, hide_labels, split_off
from amr_tf.registry import Call, Registry

DATASETS = Registry("data set", context={"data_dir": "--data_dir", "image_size": "--image_size"})
"""Functions that return a `Source`, by the names that `--dataset` takes."""


@dataclasses.dataclass(frozen=True)
class Source:
    """A data set before it is split for training.

    Attributes:
        train: the training `Split`.
        test: the test `Split`, or None.
        class_names: one name per class, or per attribute of multi-label data; None for unlabelled
            images.
        image_size: default width in pixels of the resized images; None for points.
        multi_label: whether the labels are binary attributes (N, A) instead of class numbers.
        factor_names: one name per ground-truth factor, or None.
        factor_sizes: number of values of each factor, or None.
        validation: the validation `Split`, or None to let `load` split it off `train`.
        preprocessor: the `ImagePreprocessor` that read the images from files; None for arrays and
            points. For arrays, `load` creates one if possible.
    """

    train: Split
    test: Split | None
    class_names: tuple | None
    image_size: int | None
    multi_label: bool = False
    factor_names: tuple | None = None
    factor_sizes: tuple | None = None
    validation: Split | None = None
    preprocessor: ImagePreprocessor | None = None


@dataclasses.dataclass(frozen=True)
class ImageData:
    """A data set ready to train on: three disjoint splits.

    Attributes:
        name: the data set's registered name.
        train: `Split` to train on.
        validation: `Split` for choices made during training.
        test: `Split` for final results only, or None.
        class_names: one name per class, or per attribute of multi-label data; None for unlabelled
            images.
        image_size: width and height in pixels of the model's images; None for points.
        multi_label: whether the labels are binary attributes (N, A) instead of class numbers.
        factor_names: one name per ground-truth factor, or None.
        factor_sizes: number of values of each factor, or None.
        preprocessor: the `ImagePreprocessor` that converts files for the model; None for points,
            and for arrays without 1 or 3 channels.
    """

    name: str
    train: Split
    validation: Split
    test: Split | None
    class_names: tuple | None
    image_size: int | None
    multi_label: bool = False
    factor_names: tuple | None = None
    factor_sizes: tuple | None = None
    preprocessor: ImagePreprocessor | None = None

    @property
    def held_out(self) -> Split:
        """The `Split` to evaluate a trained model on: test if there is one, else validation."""
        return self.validation if self.test is None else self.test

    @property
    def num_classes(self) -> int | None:
        """Number of classes or attributes, or None for unlabelled images."""
        return None if self.class_names is None else len(self.class_names)

    @property
    def image_shape(self) -> tuple[int, ...]:
        """(H, W, C) of the model's images, or (D,) of points."""
        own = tuple(self.train.images.shape[1:])
        return own if self.image_size is None else (self.image_size, self.image_size, own[-1])


def load(
    name: str = "digits",
    data_dir: str | None = None,
    image_size: int | None = None,
    validation_fraction: float = 0.1,
    train_subset: int | None = None,
    seed: int = 0,
    labelled: int | None = None,
    **parameters: Any,
) -> ImageData:
    """Loads a data set and splits off validation images.

    Args:
        name: a call string of `DATASETS`, such as "digits" or "image_folder(crop=140)": "digits"
            (embedded); "dsprites", "dsprites_attributes", "lines", "spiral" (generated); "mnist",
            "kmnist", "fashion_mnist", "svhn_cropped", "cifar10", "dsprites_tfds" (TFDS); "celeba"
            (TFDS or a folder); "celeba_hq", "attribute_folder", "image_folder", "zappos"
            (folders).
        data_dir: TFDS' folder of prepared data sets, or the folder of image files; None for TFDS'
            default folder, to which it downloads.
        image_size: width to which images are resized; None for the data set's default, and for
            points.
        validation_fraction: share of the training images to hold out, above 0 and below 1,
            stratified by class. Ignored if the data set has its own validation images, such as a
            folder with `val/`.
        train_subset: number of training images to keep, stratified by class, after validation
            images are held out; None for all.
        seed: seed of the split, the subset and the choice of labelled images.
        labelled: number of training images that keep their labels, stratified by class; the
            others get the label -1 (semi-supervised learning). None for all. Validation and test
            images keep their labels.
        **parameters: parameters of the data set, overriding those in its call string, such as
            `attributes=("Male", "Smiling")` or `crop=140`.

    Returns:
        `ImageData`.

    Raises:
        ValueError: a name or parameter is unknown, or numbers do not fit the data.
        FileNotFoundError: the data do not exist and cannot be downloaded.
    """
    check_request(name, data_dir, image_size, validation_fraction, train_subset, labelled)
    call = DATASETS.parse(name)
    call = Call(call.name, {**call.arguments, **parameters})
    source = DATASETS.build(call, data_dir=data_dir, image_size=image_size)
    if image_size is not None and source.image_size is None:
        raise ValueError(
            f"Data set '{call.name}' holds points, which have no image_size; got {image_size}."
        )
    if source.validation is None:
        train, validation = split_off(source.train, validation_fraction, seed)
    else:
        train, validation = source.train, source.validation
    if train_subset is not None:
        train = draw_subset(train, train_subset, seed)
    if labelled is not None:
        train = hide_labels(train, labelled, seed)
    image_size = source.image_size if image_size is None else image_size
    preprocessor = source.preprocessor
    if preprocessor is None and image_size is not None:
        preprocessor = for_arrays(tuple(train.images.shape[1:]), image_size)
    return ImageData(
        name=call.name,
        train=train,
        validation=validation,
        test=source.test,
        class_names=source.class_names,
        image_size=image_size,
        multi_label=source.multi_label,
        factor_names=source.factor_names,
        factor_sizes=source.factor_sizes,
        preprocessor=preprocessor,
    )


def check_request(
    name: str,
    data_dir: str | None = None,
    image_size: int | None = None,
    validation_fraction: float = 0.1,
    train_subset: int | None = None,
    labelled: int | None = None,
) -> None:
    """Raises a ValueError for arguments of `load` that are wrong for any data."""
    call = DATASETS.parse(name)
    if data_dir is not None and not DATASETS.takes(call.name, "data_dir"):
        raise ValueError(
            f"Data set '{call.name}' reads no files: leave out data_dir (got {data_dir!r})."
        )
    integers = {"image_size": image_size, "train_subset": train_subset, "labelled": labelled}
    for option, value in integers.items():
        if value is not None:
            checks.check_positive_integer(option, value)
    check_fraction(validation_fraction)
