"""`load`: names, options, splits, and sources of one's own."""

import dataclasses

import numpy as np
import pytest

from amr_tf.data import DATASETS, Source, Split, load
from tests.data.common import rows


def test_the_names():
    assert DATASETS.names() == [
        "attribute_folder",
        "celeba",
        "celeba_hq",
        "cifar10",
        "digits",
        "dsprites",
        "dsprites_attributes",
        "dsprites_tfds",
        "fashion_mnist",
        "image_folder",
        "kmnist",
        "lines",
        "mnist",
        "spiral",
        "svhn_cropped",
        "zappos",
    ]


def test_the_same_seed_gives_the_same_images():
    one, two = load("digits", seed=4, train_subset=100), load("digits", seed=4, train_subset=100)
    assert rows(one.train) == rows(two.train)
    assert rows(one.validation) == rows(two.validation)


def test_a_subset_is_drawn_after_the_validation_images():
    whole, part = load("digits"), load("digits", train_subset=200)
    assert len(part.train) == 200
    assert set(rows(part.train)) < set(rows(whole.train))
    assert rows(part.validation) == rows(whole.validation)
    assert np.bincount(part.train.labels, minlength=10).min() >= 19


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"train_subset": 1295}, "train_subset must lie in 1 to 1294"),
        ({"train_subset": 0}, "^train_subset must be a positive integer; got 0"),
        ({"validation_fraction": 1.0}, "validation_fraction must be above 0 and below 1"),
    ],
)
def test_numbers_that_do_not_fit(arguments, message):
    with pytest.raises(ValueError, match=message):
        load("digits", **arguments)


def test_another_size():
    data = load("digits", image_size=32)
    assert data.image_shape == (32, 32, 1)
    assert data.train.images.shape[1:] == (8, 8, 1)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("mnits", "mnist"), ("MNIST", "mnist"), ("svhn", "svhn_cropped"), ("cifar100", "cifar10")],
)
def test_an_unknown_name_gives_the_nearest(name, nearest):
    with pytest.raises(ValueError, match=f"^Unknown data set '{name}'. Did you mean '{nearest}'?"):
        load(name)


@pytest.mark.parametrize("option", ("image_size", "labelled", "train_subset"))
@pytest.mark.parametrize("value", (0, -3, 1.5, True))
def test_options_that_are_no_positive_integers(option, value):
    with pytest.raises(ValueError, match=f"^{option} must be a positive integer; got {value}"):
        load("digits", **{option: value})


@pytest.mark.parametrize(("option", "value"), [("attributes", "Male"), ("crop", 140)])
@pytest.mark.parametrize("name", ("digits", "mnist", "lines", "spiral"))
@pytest.mark.parametrize("in_call", (False, True))
def test_options_that_a_data_set_does_not_take(name, option, value, in_call):
    message = f"^Unknown parameter of data set '{name}': '{option}'. It takes none.$"
    with pytest.raises(ValueError, match=message):
        if in_call:
            load(f"{name}({option}={value!r})")
        else:
            load(name, **{option: value})


def test_a_misspelt_option_gives_the_nearest():
    message = (
        r"^Unknown parameter of data set 'celeba': 'attribute'. Did you mean 'attributes'\? "
        r"Allowed: attributes, background, cache, crop, fit, max_pixels, on_error\.$"
    )
    with pytest.raises(ValueError, match=message):
        load("celeba(attribute=('Male',))")


@pytest.mark.parametrize("option", ("data_dir", "image_size"))
def test_what_the_run_sets_is_not_set_in_a_call(option):
    message = f"^{option} of data set 'image_folder' is set by --{option}, not in a call.$"
    with pytest.raises(ValueError, match=message):
        load(f"image_folder({option}=5)")


@pytest.mark.parametrize("name", ("digits", "dsprites", "dsprites_attributes", "lines", "spiral"))
def test_a_folder_that_a_data_set_does_not_read(name):
    message = rf"^Data set '{name}' reads no files: leave out data_dir \(got 'photographs'\).$"
    with pytest.raises(ValueError, match=message):
        load(name, data_dir="photographs")


@pytest.mark.parametrize("subset", (None, 300))
def test_few_labels(subset):
    whole = load("digits", train_subset=subset)
    few = load("digits", train_subset=subset, labelled=50)
    assert few.train.images.tobytes() == whole.train.images.tobytes()
    kept = few.train.labels != -1
    assert kept.sum() == 50
    assert (few.train.labels[kept] == whole.train.labels[kept]).all()
    assert (np.bincount(few.train.labels[kept], minlength=10) == 5).all()
    assert rows(few.validation) == rows(whole.validation)
    assert rows(few.test) == rows(whole.test)
    again = load("digits", train_subset=subset, labelled=50)
    assert (again.train.labels == few.train.labels).all()


def test_more_labels_than_images():
    with pytest.raises(ValueError, match="^labelled must lie in 1 to 300, .*; got 301"):
        load("digits", train_subset=300, labelled=301)


@pytest.fixture
def own_sources():
    """Registers data sets for one test."""
    before = set(DATASETS.names())
    yield DATASETS.register
    for name in set(DATASETS.names()) - before:
        del DATASETS._entries[name]


def make_source(**changes):
    images = np.zeros((20, 8, 8, 3), dtype="uint8")
    source = Source(Split(images, np.arange(20) % 2), None, ("cat", "dog"), image_size=16)
    return dataclasses.replace(source, **changes)


def test_what_is_held_out(own_sources):
    whole = load("digits")
    assert whole.held_out is whole.test
    own_sources("mine")(lambda data_dir, image_size: make_source())
    data = load("mine")
    assert data.held_out is data.validation


def test_a_source_of_ones_own(own_sources):
    asked = []

    @own_sources("mine")
    def mine(data_dir, image_size):
        asked.append((data_dir, image_size))
        return make_source()

    data = load("mine", data_dir="somewhere", image_size=32)
    assert asked == [("somewhere", 32)]
    assert data.image_shape == (32, 32, 3)
    assert data.class_names == ("cat", "dog")
    assert (data.multi_label, data.factor_names, data.factor_sizes) == (False, None, None)
    with pytest.raises(ValueError, match="^Unknown parameter of data set 'mine': 'crop'"):
        load("mine", crop=4)


def test_a_source_of_ones_own_with_options(own_sources):
    asked = []

    @own_sources("mine")
    def mine(data_dir, image_size, crop=7, attributes=None):
        asked.append((crop, attributes))
        return make_source(multi_label=True, factor_names=("size",), factor_sizes=(3,))

    data = load("mine")
    load("mine", crop=5, attributes=("dog",))
    load("mine(crop=5, attributes=('dog',))")
    load("mine(crop=9)", crop=5)
    assert asked == [(7, None), (5, ("dog",)), (5, ("dog",)), (5, None)]
    assert (data.multi_label, data.factor_names, data.factor_sizes) == (True, ("size",), (3,))


def test_a_source_takes_only_what_it_uses(own_sources):
    asked = []

    @own_sources("mine")
    def mine(colour=True):
        asked.append(colour)
        return make_source()

    assert load("mine(colour=False)", image_size=32).image_shape == (32, 32, 3)
    assert asked == [False]
    message = "^colour of data set 'mine' must be True or False, such as True; got 1.$"
    with pytest.raises(ValueError, match=message):
        load("mine(colour=1)")
    with pytest.raises(ValueError, match="^Data set 'mine' reads no files"):
        load("mine", data_dir="photographs")


def test_a_parameter_that_a_source_needs(own_sources):
    @own_sources("mine")
    def mine(classes):
        return make_source(class_names=classes)

    assert load("mine(classes=('cat', 'dog'))").class_names == ("cat", "dog")
    message = r"^data set 'mine' needs its parameter classes: mine\(classes=\.\.\.\)\.$"
    with pytest.raises(ValueError, match=message):
        load("mine")


def test_points(own_sources):
    @own_sources("points")
    def points(data_dir, image_size):
        return make_source(train=Split(np.zeros((20, 3), dtype="float32"), None), image_size=None)

    data = load("points")
    assert data.image_size is None
    assert data.image_shape == (3,)
    with pytest.raises(ValueError, match="^Data set 'points' holds points, .*; got 8"):
        load("points", image_size=8)


@pytest.mark.parametrize("name", ("lines", "spiral"))
def test_labels_cannot_be_kept_where_there_are_none(name):
    with pytest.raises(ValueError, match="^labelled = 5 needs labels, but the data set has none"):
        load(name, labelled=5)
