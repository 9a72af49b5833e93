"""Named data sets: the digits, TFDS' and folders; and what is said where one is not there."""

import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image

from amr_tf.data import DATASETS, load, sources
from amr_tf.data.sources import ImageData

SHARED = pathlib.Path(__file__).resolve().parents[3] / "shared" / "tfds"
MOCKED = 40
VERSIONS = {"svhn_cropped": "3.1.0", "fashion_mnist": "3.0.1", "cifar10": "3.0.2"}


def rows(split):
    """Each image with its label, as bytes."""
    return [bytes(image) + bytes([label]) for image, label in zip(split.images, split.labels)]


def test_the_names():
    assert DATASETS.names() == [
        "cifar10",
        "digits",
        "fashion_mnist",
        "image_folder",
        "kmnist",
        "mnist",
        "svhn_cropped",
    ]


def test_digits():
    data = load("digits")
    assert isinstance(data, ImageData)
    assert (len(data.train), len(data.validation), len(data.test)) == (1294, 144, 359)
    assert data.image_shape == (16, 16, 1)
    assert data.class_names == tuple("0123456789")
    assert data.num_classes == 10
    for split in (data.train, data.validation, data.test):
        assert split.images.shape == (len(split), 8, 8, 1)
        assert split.images.dtype == np.uint8
        assert split.labels.dtype == np.int64
        assert (split.images.min(), split.images.max()) == (0, 255)
        # All classes are about as frequent: 174 to 183 of 1797.
        shares = np.bincount(split.labels, minlength=10) / len(split)
        assert (abs(shares - 0.1) < 0.015).all()


def test_digits_are_those_of_scikit_learn():
    from sklearn.datasets import load_digits

    data, digits = load("digits"), load_digits()
    splits = (data.train, data.validation, data.test)
    ours = sorted(row for split in splits for row in rows(split))
    images = np.round(digits.images / 16 * 255).astype("uint8")
    theirs = [bytes(image) + bytes([label]) for image, label in zip(images, digits.target)]
    assert ours == sorted(theirs)


def test_the_digits_of_the_test_split_do_not_depend_on_the_seed():
    one, two = load("digits", seed=1), load("digits", seed=2)
    np.testing.assert_array_equal(one.test.images, two.test.images)
    np.testing.assert_array_equal(one.test.labels, two.test.labels)
    assert rows(one.validation) != rows(two.validation)
    # No two digits of the data set are alike, so a row in two splits would be a leak.
    test = set(rows(one.test))
    for data in (one, two):
        train, validation = set(rows(data.train)), set(rows(data.validation))
        assert not train & validation
        assert not train & test
        assert not validation & test


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
        ({"train_subset": 0}, "train_subset must lie in 1 to 1294"),
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


def test_an_image_folder(tmp_path):
    generator = np.random.default_rng(0)
    for label, name in enumerate(("cat", "dog")):
        (tmp_path / name).mkdir()
        for number in range(10):
            pixels = generator.integers(0, 256, (20, 20, 3), dtype="uint8")
            pixels[..., 2] = 255 * label
            Image.fromarray(pixels).save(tmp_path / name / f"{number}.png")
    data = load("image_folder", data_dir=str(tmp_path), validation_fraction=0.2)
    assert data.class_names == ("cat", "dog")
    assert data.image_shape == (32, 32, 3)
    assert (len(data.train), len(data.validation), data.test) == (16, 4, None)
    assert np.bincount(data.validation.labels).tolist() == [2, 2]
    for split in (data.train, data.validation):
        assert (split.images[:, 16, 16, 2] == 255 * split.labels).all()
    smaller = load("image_folder", data_dir=str(tmp_path), image_size=16)
    assert smaller.train.images.shape[1:] == (16, 16, 3)
    assert smaller.image_shape == (16, 16, 3)


def test_an_image_folder_without_classes(tmp_path):
    for number in range(10):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / f"{number}.png")
    data = load("image_folder", data_dir=str(tmp_path), image_size=8)
    assert data.class_names is None
    assert data.num_classes is None
    assert (len(data.train), len(data.validation)) == (9, 1)
    assert data.train.labels is None


def _split_info(name, count):
    return {
        "name": name,
        "shardLengths": [str(count)],
        "numBytes": "1",
        "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
    }


def _write_info(folder, name, version, splits):
    info = {"name": name, "version": str(version), "fileFormat": "tfrecord", "splits": splits}
    (folder / "dataset_info.json").write_text(json.dumps(info))


@pytest.fixture
def mocked_tfds(tmp_path):
    """Random examples in place of the real ones, with real metadata: names and sizes of splits."""
    for name, version in VERSIONS.items():
        folder = tmp_path / name / version
        folder.mkdir(parents=True)
        splits = [_split_info(split, MOCKED) for split in ("train", "test")]
        _write_info(folder, name, version, splits)
    names = "airplane automobile bird cat deer dog frog horse ship truck"
    (folder / "label.labels.txt").write_text(names.replace(" ", "\n"))  # CIFAR10's, the last.
    with tfds.testing.mock_data(num_examples=MOCKED, data_dir=str(tmp_path)):
        yield str(tmp_path)


@pytest.mark.parametrize(
    ("name", "shape", "classes"),
    [
        ("svhn_cropped", (32, 32, 3), tuple("0123456789")),
        ("fashion_mnist", (28, 28, 1), ("T-shirt/top", "Trouser", "Pullover")),
        ("cifar10", (32, 32, 3), ("airplane", "automobile", "bird")),
    ],
)
def test_tfds(mocked_tfds, name, shape, classes):
    data = load(name, data_dir=mocked_tfds, validation_fraction=0.25)
    assert data.name == name
    assert (len(data.train), len(data.validation), len(data.test)) == (30, 10, MOCKED)
    assert data.image_shape == (32, 32, shape[-1])
    assert data.num_classes == 10
    assert data.class_names[: len(classes)] == classes
    for split in (data.train, data.validation, data.test):
        assert split.images.shape == (len(split), *shape)
        assert split.images.dtype == np.uint8
        assert split.labels.dtype == np.int64
        assert split.labels.shape == (len(split),)
        assert len(np.unique(split.images)) > 200
    # The mock's train and test split are alike; what is held out comes from train alone.
    assert sorted(rows(data.train) + rows(data.validation)) == sorted(rows(data.test))


@pytest.mark.skipif(not SHARED.is_dir(), reason="no prepared TFDS data sets beside the repository")
@pytest.mark.parametrize(
    ("name", "train", "test", "shape", "first_class"),
    [
        ("mnist", 8_000, 2_000, (28, 28, 1), "0"),
        ("kmnist", 8_000, 2_000, (28, 28, 1), "o"),
        ("cifar10", 50_000, 10_000, (32, 32, 3), "airplane"),
    ],
)
def test_real_images(name, train, test, shape, first_class):
    data = load(name, data_dir=str(SHARED), seed=1)
    assert (len(data.train), len(data.validation), len(data.test)) == (
        train * 9 // 10,
        train // 10,
        test,
    )
    assert data.train.images.shape[1:] == shape
    assert data.image_shape == (32, 32, shape[-1])
    assert data.class_names[0] == first_class
    assert data.num_classes == 10
    for split in (data.train, data.validation, data.test):
        shares = np.bincount(split.labels, minlength=10) / len(split)
        assert (abs(shares - 0.1) < 0.02).all()
        assert (split.images.min(), split.images.max()) == (0, 255)


def test_a_folder_of_data_sets_that_is_not_there(tmp_path):
    message = r"^--data_dir '.*/nowhere' is not a folder; .*such as mnist/"
    with pytest.raises(FileNotFoundError, match=message):
        load("mnist", data_dir=str(tmp_path / "nowhere"))


@pytest.fixture
def network(monkeypatch):
    """A network that answers nothing but names; counts what is asked of it."""
    asked = []

    def resolve(host, port):
        asked.append(host)
        return [host]

    def unreachable(self, *args, **kwargs):
        asked.append(self.name)
        raise ConnectionError("HTTPSConnectionPool(host='nowhere', port=443):\nno route to host")

    monkeypatch.setattr(sources.socket, "getaddrinfo", resolve)
    monkeypatch.setattr(sources.urllib.request, "getproxies", dict)
    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", unreachable)
    return asked


@pytest.mark.parametrize("given", (True, False))
def test_a_data_set_that_cannot_be_downloaded(tmp_path, network, given):
    with pytest.raises(FileNotFoundError) as caught:
        load("kmnist", data_dir=str(tmp_path) if given else None)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("Data set 'kmnist' is not prepared in '")
    assert "could not be downloaded (ConnectionError)" in message
    assert "Pass --data_dir=FOLDER with a prepared 'kmnist'" in message
    assert (str(tmp_path) in message) == given
    assert network[-1] == "kmnist"
    assert not list(tmp_path.iterdir())


def test_without_a_network_no_download_is_tried(tmp_path, monkeypatch, network):
    def no_network(host, port):
        raise OSError("Temporary failure in name resolution")

    monkeypatch.setattr(sources.socket, "getaddrinfo", no_network)
    message = "^Data set 'kmnist' is not prepared .* could not be downloaded .*--data_dir"
    with pytest.raises(FileNotFoundError, match=message):
        load("kmnist", data_dir=str(tmp_path))
    assert network == []


def test_behind_a_proxy_names_are_not_looked_up(tmp_path, monkeypatch, network):
    proxies = {"https": "http://proxy.invalid:3128"}
    monkeypatch.setattr(sources.urllib.request, "getproxies", lambda: proxies)
    with pytest.raises(FileNotFoundError, match="could not be downloaded"):
        load("kmnist", data_dir=str(tmp_path))
    assert network == ["kmnist"]


@pytest.fixture
def prepared_mnist(tmp_path):
    """A small prepared data set in real files; image n and its label come from n."""
    builder = tfds.builder("mnist", data_dir=str(tmp_path))
    folder = pathlib.Path(builder.data_dir)
    folder.mkdir(parents=True)
    builder.info.features.save_config(str(folder))
    splits = []
    for split, count in (("train", 30), ("test", 10)):
        path = folder / f"mnist-{split}.tfrecord-00000-of-00001"
        with tf.io.TFRecordWriter(str(path)) as writer:
            for number in range(count):
                image = np.full((28, 28, 1), 8 * number, dtype="uint8")
                example = {"image": image, "label": number % 10}
                writer.write(builder.info.features.serialize_example(example))
        splits.append(_split_info(split, count))
    _write_info(folder, "mnist", builder.info.version, splits)
    return tmp_path


def test_prepared_files_are_read(prepared_mnist, monkeypatch):
    def no_network(host, port):
        raise AssertionError("prepared data need no network")

    monkeypatch.setattr(sources.socket, "getaddrinfo", no_network)
    data = load("mnist", data_dir=str(prepared_mnist), validation_fraction=0.2)
    assert (len(data.train), len(data.validation), len(data.test)) == (24, 6, 10)
    assert data.test.labels.tolist() == list(range(10))
    assert data.test.images[:, 0, 0, 0].tolist() == [8 * number for number in range(10)]
    for split in (data.train, data.validation):
        assert (split.images[:, 5, 5, 0] // 8 % 10 == split.labels).all()


@pytest.mark.parametrize("how", ("cut off", "missing"))
def test_a_damaged_prepared_data_set(prepared_mnist, how):
    path = next(prepared_mnist.rglob("*train.tfrecord*"))
    content = path.read_bytes()
    path.unlink()
    if how == "cut off":
        path.write_bytes(content[: len(content) // 2])
    with pytest.raises((FileNotFoundError, ValueError), match="mnist"):
        load("mnist", data_dir=str(prepared_mnist))
