"""Data sets by name, and `load`, which makes one ready to train on.

A source is a function from `data_dir` and `image_size` (both may be None) to a `Source`. It may
take two more keyword parameters, `attributes` and `crop`, which `load` passes on where a user
gives them; a source without them lets `load` say that the data set knows no such thing. A source
of your own needs a name and nothing else:

    from amr_tf.data import DATASETS, Source, Split

    @DATASETS.register("mine")
    def mine(data_dir, image_size):
        train = Split(images, labels)  # uint8 (N, H, W, C) and int64 (N,), or None
        return Source(train, test=None, class_names=("cat", "dog"), image_size=32)
"""

import dataclasses
import inspect

from amr_tf import checks
from amr_tf.data.splits import Split, draw_subset, hide_labels, split_off
from amr_tf.registry import Registry

DATASETS = Registry("data set")
"""Functions to a `Source` by the names that `--dataset` takes."""


@dataclasses.dataclass(frozen=True)
class Source:
    """A data set as it comes.

    Attributes:
        train: a `Split`.
        test: a `Split`, or None where the source has none.
        class_names: one name per class, or per attribute of multi-label data; None for unlabelled
            images.
        image_size: the width in pixels to which the pipeline resizes by default; None for points.
        multi_label: whether the labels are binary attributes, (N, A), and no class numbers.
        factor_names: one name per ground-truth factor, or None.
        factor_sizes: number of values of each factor, or None.
    """

    train: Split
    test: Split | None
    class_names: tuple | None
    image_size: int | None
    multi_label: bool = False
    factor_names: tuple | None = None
    factor_sizes: tuple | None = None


@dataclasses.dataclass(frozen=True)
class ImageData:
    """A data set ready to train on: three disjoint splits.

    Attributes:
        name: the data set's registered name.
        train: `Split` to train on.
        validation: `Split` for choices made while training.
        test: `Split` for the last figure only, or None.
        class_names: one name per class, or per attribute of multi-label data; None for unlabelled
            images.
        image_size: width and height in pixels of the images that the model sees; None for points.
        multi_label: whether the labels are binary attributes, (N, A), and no class numbers.
        factor_names: one name per ground-truth factor, or None.
        factor_sizes: number of values of each factor, or None.
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

    @property
    def held_out(self):
        """The `Split` to show a finished model: the test split, or without one validation."""
        return self.validation if self.test is None else self.test

    @property
    def num_classes(self):
        """Number of classes or attributes, or None for unlabelled images."""
        return None if self.class_names is None else len(self.class_names)

    @property
    def image_shape(self):
        """(H, W, C) of the images that the model sees, or (D,) of points."""
        own = tuple(self.train.images.shape[1:])
        return own if self.image_size is None else (self.image_size, self.image_size, own[-1])


def load(
    name="digits",
    data_dir=None,
    image_size=None,
    validation_fraction=0.1,
    train_subset=None,
    seed=0,
    labelled=None,
    attributes=None,
    crop=None,
):
    """Loads a data set and splits off validation images.

    Args:
        name: a name registered in `DATASETS`: "digits" (embedded); "dsprites",
            "dsprites_attributes", "lines", "spiral" (generated); "mnist", "kmnist",
            "fashion_mnist", "svhn_cropped", "cifar10", "dsprites_tfds" (TFDS); "celeba" (TFDS or
            a folder); "celeba_hq", "attribute_folder", "image_folder", "zappos" (folders).
        data_dir: TFDS' folder of prepared data sets, or the folder of image files; None for TFDS'
            default, where it downloads to.
        image_size: width to which images are resized; None for the data set's usual one, and for
            points.
        validation_fraction: share of the training images held out, above 0 and below 1;
            stratified by class.
        train_subset: number of training images to keep, stratified by class, after the validation
            images are held out; None for all.
        seed: of the split, the subset and the labelled images; the same seed gives the same
            images.
        labelled: number of training images, stratified by class, that keep their labels, while
            the others get -1 (semi-supervised learning); None for all. Validation and test
            images keep theirs.
        attributes: names of attributes to choose as labels, in order, of a data set that has
            some: a tuple, or a string with commas; None for all.
        crop: side in pixels of the central square that is cut out of each file before resizing,
            for folders of images and CelebA; None for the data set's usual one.

    Returns:
        `ImageData`.

    Raises:
        ValueError: unknown name, numbers that do not fit the data, or an option that the data set
            does not know.
        FileNotFoundError: the data are not there and cannot be downloaded.
    """
    integers = {"image_size": image_size, "labelled": labelled, "crop": crop}
    for option, value in integers.items():
        if value is not None:
            checks.check_positive_integer(option, value)
    source = _read(name, data_dir, image_size, attributes=attributes, crop=crop)
    if image_size is not None and source.image_size is None:
        raise ValueError(
            f"Data set '{name}' holds points, which have no image_size; got {image_size}."
        )
    train, validation = split_off(source.train, validation_fraction, seed)
    if train_subset is not None:
        train = draw_subset(train, train_subset, seed)
    if labelled is not None:
        train = hide_labels(train, labelled, seed)
    return ImageData(
        name=name,
        train=train,
        validation=validation,
        test=source.test,
        class_names=source.class_names,
        image_size=source.image_size if image_size is None else image_size,
        multi_label=source.multi_label,
        factor_names=source.factor_names,
        factor_sizes=source.factor_sizes,
    )


def _read(name, data_dir, image_size, **options):
    """Calls a source with those of the options that are given.

    Raises:
        ValueError: the source does not take one of them.
    """
    source = DATASETS.get(name)
    options = {option: value for option, value in options.items() if value is not None}
    for option, value in options.items():
        if not _takes(source, option):
            able = [other for other in DATASETS.names() if _takes(DATASETS.get(other), option)]
            raise ValueError(
                f"Data set '{name}' takes no {option} (got {value!r}); only {', '.join(able)} do."
            )
    return source(data_dir, image_size, **options)


def _takes(source, option):
    return option in inspect.signature(source).parameters
