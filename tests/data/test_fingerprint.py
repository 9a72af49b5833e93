"""Fingerprints: the same data have the same one, and what has changed is named."""

import json
import re

import pytest
from PIL import Image

from amr_tf import data as data_lib
from amr_tf.data.fingerprint import difference, fingerprint


@pytest.fixture
def folder(tmp_path):
    for name in ("cat", "dog"):
        for number in range(10):
            add(tmp_path, name, number)
    return tmp_path


def add(folder, name, number):
    path = folder / name / f"{number}.png"
    path.parent.mkdir(exist_ok=True)
    Image.new("RGB", (8, 8), (number, 0, 0)).save(path)


def of(folder, **arguments):
    return fingerprint(data_lib.load("image_folder", folder, image_size=8, **arguments))


@pytest.mark.parametrize("name", ["digits", "lines", "dsprites", "spiral"])
def test_the_same_data_twice(name):
    first, second = (fingerprint(data_lib.load(name)) for _ in range(2))
    assert difference(json.loads(json.dumps(first)), second) is None


def test_another_seed_splits_otherwise():
    first, second = (fingerprint(data_lib.load("digits", seed=seed)) for seed in (0, 1))
    assert difference(first, second) == "the train split holds other images or labels"


def new_class(folder):
    add(folder, "bird", 0)


def lost_class(folder):
    (folder / "dog").rename(folder / ".dog")
    add(folder, "fox", 0)


def new_image(folder):
    add(folder, "cat", 10)


def other_name(folder):
    (folder / "cat" / "3.png").rename(folder / "cat" / "three.png")


def other_class(folder):
    (folder / "cat" / "3.png").rename(folder / "dog" / "33.png")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (new_class, "class 'bird' is new"),
        (lost_class, "class 'fox' is new, class 'dog' is gone"),
        (new_image, "the train split had 18 images and has 19"),
        (other_name, "the (train|validation) split holds other images or labels"),
        (other_class, "the (train|validation) split holds other images or labels"),
    ],
)
def test_a_change_is_named(folder, change, words):
    before = of(folder)
    assert difference(before, of(folder)) is None
    change(folder)
    assert re.fullmatch(words, difference(before, of(folder)))


def test_pixels_count_where_there_are_no_names():
    data = data_lib.load("digits")
    before = fingerprint(data)
    data.train.images[0, 0, 0] += 1
    assert difference(before, fingerprint(data)) == "the train split holds other images or labels"
