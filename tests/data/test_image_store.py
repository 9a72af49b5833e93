"""Decoded images: in memory or in a file of the cache, the same ones, decoded once."""

import json
import os
import pathlib
import types

import numpy as np
import pytest
from PIL import Image

from amr_tf import data as data_lib
from amr_tf.data import image_store
from amr_tf.files import read_json


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("AMR_TF_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path):
    generator = np.random.default_rng(0)
    for number in range(20):
        path = tmp_path / "photos" / "ab"[number % 2] / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (9, 9, 3), dtype="uint8")).save(path)
    return tmp_path / "photos"


def load(folder, cache, **parameters):
    call = f"image_folder(cache='{cache}')"
    return data_lib.load(call, folder, image_size=8, **parameters)


@pytest.mark.parametrize("where", ["disk", "own folder"])
def test_the_disk_holds_what_memory_does(folder, tmp_path, where):
    place = "disk" if where == "disk" else f"{tmp_path}/elsewhere"
    in_memory, on_disk = load(folder, "memory"), load(folder, place)
    for name in ("train", "validation"):
        one, two = getattr(in_memory, name), getattr(on_disk, name)
        np.testing.assert_array_equal(one.images, two.images)
        np.testing.assert_array_equal(one.labels, two.labels)
    made = tmp_path / ("cache" if where == "disk" else "elsewhere")
    (images,) = made.glob("*.npy")
    assert np.load(images).shape == (20, 8, 8, 3)


def test_batches_from_the_disk_are_those_from_memory(folder):
    batches = [
        next(iter(data_lib.training_batches(load(folder, cache).train, 4, 8, first_step=3)))
        for cache in ("memory", "disk")
    ]
    np.testing.assert_array_equal(batches[0][0], batches[1][0])
    np.testing.assert_array_equal(batches[0][1], batches[1][1])


def test_a_second_load_decodes_nothing(folder, monkeypatch):
    first = load(folder, "disk")
    monkeypatch.setattr(image_store, "decoded", None)
    np.testing.assert_array_equal(load(folder, "disk").train.images, first.train.images)


@pytest.mark.parametrize("change", ["pixels", "time", "name", "fit"])
def test_what_has_changed_is_decoded_again(folder, cache, change):
    load(folder, "disk")
    path = folder / "a" / "00.png"
    if change == "pixels":
        Image.new("RGB", (9, 9), "red").save(path)
    elif change == "time":
        os.utime(path, (1, 1))
    elif change == "name":
        path.rename(path.with_name("000.png"))
    parameters = {"fit": "stretch"} if change == "fit" else {}
    load(folder, "disk", **parameters)
    assert len(list(cache.glob("*.npy"))) == 2


def test_the_same_names_sizes_and_times_in_another_folder(folder, tmp_path):
    """Archives may give all files one time, and bitmaps of one shape have one size."""
    images = []
    for name, colour in (("one", "red"), ("two", "blue")):
        for number in range(4):
            path = tmp_path / name / f"{number}.bmp"
            path.parent.mkdir(exist_ok=True)
            Image.new("RGB", (8, 8), colour).save(path)
            os.utime(path, (1, 1))
        images.append(
            np.asarray(load(tmp_path / name, "disk", validation_fraction=0.5).train.images)
        )
    assert not np.array_equal(*images)


@pytest.mark.parametrize("damage", ["short", "note", "other note", "no note", "other numbers"])
def test_a_file_that_is_not_whole_is_made_again(folder, cache, damage):
    expected = np.asarray(load(folder, "disk").train.images)
    (images,), (note,) = cache.glob("*.npy"), cache.glob("*.json")
    if damage == "short":
        images.write_bytes(images.read_bytes()[:-1])
    elif damage == "note":
        note.write_text("{")
    elif damage == "other note":
        note.write_text("{}")
    elif damage == "no note":
        note.unlink()
    else:
        np.save(images, np.zeros((3, 8, 8, 3), "uint8"))
    np.testing.assert_array_equal(load(folder, "disk").train.images, expected)


def test_nothing_is_left_of_a_decoding_that_failed(folder, cache):
    (folder / "b" / "01.png").write_bytes(b"no picture")
    for _ in range(2):
        with pytest.raises(ValueError, match=r"b/01.png' cannot be read .* on_error='skip'"):
            load(folder, "disk")
    skipped = load(folder, "disk", on_error="skip")
    assert len(skipped.train) + len(skipped.validation) == 19
    (note,) = cache.glob("*.json")
    assert list(json.loads(note.read_text())["damaged"]) == ["10"]  # b's first.
    assert not list(cache.glob("partial*"))


def test_an_interruption_leaves_no_file(folder, cache, monkeypatch):
    def interrupted(files, read):
        yield np.zeros((8, 8, 3), "uint8")
        raise KeyboardInterrupt

    monkeypatch.setattr(image_store, "decoded", interrupted)
    with pytest.raises(KeyboardInterrupt):
        load(folder, "disk")
    assert not list(cache.iterdir())


@pytest.mark.parametrize(("most", "kept"), [(20 * 8 * 8 * 3, 0), (20 * 8 * 8 * 3 - 1, 1)])
def test_auto_keeps_on_disk_what_is_more_than_the_limit(folder, cache, monkeypatch, most, kept):
    monkeypatch.setattr(image_store, "MOST_IN_MEMORY", most)
    load(folder, "auto")
    assert len(list(cache.glob("*.npy"))) == kept


def test_a_folder_that_cannot_be_made(folder, cache):
    cache.write_text("no folder")
    with pytest.raises(OSError, match=r"^The 20 decoded images cannot be kept in '.*AMR_TF_CACHE"):
        load(folder, "disk")


def test_two_processes_decode_the_same_images(folder, cache, monkeypatch):
    """One ends between the other's last two steps: each moves files of its own into place."""
    replace = pathlib.Path.replace

    def late(path, target):
        if path.suffix == ".json":
            with monkeypatch.context() as patch:
                patch.setattr(pathlib.Path, "replace", replace)
                patch.setattr(os, "getpid", lambda: 1)
                patch.setattr(image_store, "_kept_before", lambda *args: read_json(cache / "none"))
                load(folder, "disk")
        return replace(path, target)

    monkeypatch.setattr(pathlib.Path, "replace", late)
    load(folder, "disk")
    assert {path.suffix for path in cache.iterdir()} == {".npy", ".json"}
    assert len(list(cache.iterdir())) == 2


def test_a_full_disk(folder, cache, monkeypatch):
    usage = types.SimpleNamespace(free=100)
    monkeypatch.setattr(image_store.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(OSError, match=r"20 decoded images take 0.0 GB, but '.*' has 0.0 GB left"):
        load(folder, "disk")


def test_an_unknown_place(folder):
    with pytest.raises(ValueError, match="cache must be 'auto', 'memory', 'disk' or the path of a"):
        load(folder, "dsik")


def test_the_folder_of_the_cache(monkeypatch, tmp_path):
    assert image_store.cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("AMR_TF_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert image_store.cache_folder() == tmp_path / "xdg" / "amr_tf"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert image_store.cache_folder() == tmp_path / ".cache" / "amr_tf"
