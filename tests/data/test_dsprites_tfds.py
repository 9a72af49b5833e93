"""The original dSprites through TFDS: mocked examples, and small real files."""

import pathlib

import numpy as np
import pytest
import tensorflow_datasets as tfds

from amr_tf.data import LazyImages, load
from amr_tf.data.dsprites import FACTOR_NAMES, FACTOR_SIZES, SHAPES, factors_of, index_of, render
from tests.data.prepared import prepare, split_info, write_info


def test_mocked(tmp_path):
    folder = tmp_path / "dsprites" / "2.0.0"
    folder.mkdir(parents=True)
    write_info(folder, "dsprites", "2.0.0", [split_info("train", 100)])
    with tfds.testing.mock_data(num_examples=100, data_dir=str(tmp_path)):
        data = load("dsprites_tfds", data_dir=str(tmp_path))
    assert (len(data.train), len(data.validation), len(data.test)) == (81, 9, 10)
    assert data.class_names == SHAPES
    assert data.image_shape == (64, 64, 1)
    assert data.factor_names == FACTOR_NAMES
    assert data.factor_sizes == FACTOR_SIZES
    for split in (data.train, data.validation, data.test):
        assert (split.labels == split.factors[:, 0]).all()
        assert split.factors.dtype == np.int64
        images = np.asarray(split.images)
        assert images.shape == (len(split), 64, 64, 1)
        assert set(np.unique(images)) == {0, 255}


@pytest.fixture
def prepared(tmp_path):
    """Forty images in a shuffled order, with the ones of the original in place of 255."""
    generator = np.random.default_rng(0)
    indices = generator.choice(737_280, 40, replace=False)
    factors = factors_of(indices)
    examples = []
    for image, row in zip(render(factors) // 255, factors):
        example = {"image": image}
        for name, number in zip(FACTOR_NAMES, row):
            example[f"label_{name}"] = number
            example[f"value_{name}"] = np.float32(number)
        examples.append(example)
    prepare(tmp_path, "dsprites", {"train": examples})
    return str(tmp_path), indices


def test_prepared_files_are_read_into_the_original_order(prepared):
    data_dir, indices = prepared
    data = load("dsprites_tfds", data_dir=data_dir)
    splits = (data.train, data.validation, data.test)
    assert [len(split) for split in splits] == [32, 4, 4]
    found = [index_of(split.factors) for split in splits]
    assert sorted(np.concatenate(found)) == sorted(indices)
    for split, numbers in zip(splits, found):
        assert (np.diff(numbers) > 0).all()
        assert isinstance(split.images, LazyImages)
        np.testing.assert_array_equal(np.asarray(split.images), render(split.factors))


def test_a_damaged_file_is_named(prepared):
    path = next(pathlib.Path(prepared[0]).rglob("*.tfrecord*"))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="^The 'train' split of data set 'dsprites' .* is damaged"):
        load("dsprites_tfds", data_dir=prepared[0])


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere' is not a folder; .* dsprites/"):
        load("dsprites_tfds", data_dir=str(tmp_path / "nowhere"))
