"""TFDS' data sets of labelled images, and what is said where one is not there."""

import pathlib

import numpy as np
import pytest
import tensorflow_datasets as tfds

from amr_tf.data import load, tfds_sets
from tests.data.common import rows
from tests.data.prepared import prepare, split_info, write_info

SHARED = pathlib.Path(__file__).resolve().parents[3] / "shared" / "tfds"
MOCKED = 40
VERSIONS = {"svhn_cropped": "3.1.0", "fashion_mnist": "3.0.1", "cifar10": "3.0.2"}


@pytest.fixture
def mocked_tfds(tmp_path):
    """Random examples in place of the real ones, with real metadata: names and sizes of splits."""
    for name, version in VERSIONS.items():
        folder = tmp_path / name / version
        folder.mkdir(parents=True)
        splits = [split_info(split, MOCKED) for split in ("train", "test")]
        write_info(folder, name, version, splits)
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

    monkeypatch.setattr(tfds_sets.socket, "getaddrinfo", resolve)
    monkeypatch.setattr(tfds_sets.urllib.request, "getproxies", dict)
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

    monkeypatch.setattr(tfds_sets.socket, "getaddrinfo", no_network)
    message = "^Data set 'kmnist' is not prepared .* could not be downloaded .*--data_dir"
    with pytest.raises(FileNotFoundError, match=message):
        load("kmnist", data_dir=str(tmp_path))
    assert network == []


def test_behind_a_proxy_names_are_not_looked_up(tmp_path, monkeypatch, network):
    proxies = {"https": "http://proxy.invalid:3128"}
    monkeypatch.setattr(tfds_sets.urllib.request, "getproxies", lambda: proxies)
    with pytest.raises(FileNotFoundError, match="could not be downloaded"):
        load("kmnist", data_dir=str(tmp_path))
    assert network == ["kmnist"]


@pytest.fixture
def prepared_mnist(tmp_path):
    """A small prepared data set in real files; image n and its label come from n."""

    def example(number):
        return {"image": np.full((28, 28, 1), 8 * number, dtype="uint8"), "label": number % 10}

    examples = {"train": 30, "test": 10}
    prepare(tmp_path, "mnist", {name: list(map(example, range(n))) for name, n in examples.items()})
    return tmp_path


def test_prepared_files_are_read(prepared_mnist, monkeypatch):
    def no_network(host, port):
        raise AssertionError("prepared data need no network")

    monkeypatch.setattr(tfds_sets.socket, "getaddrinfo", no_network)
    data = load("mnist", data_dir=str(prepared_mnist), validation_fraction=0.2)
    assert (len(data.train), len(data.validation), len(data.test)) == (24, 6, 10)
    assert data.test.labels.tolist() == list(range(10))
    assert data.test.images[:, 0, 0, 0].tolist() == [8 * number for number in range(10)]
    for split in (data.train, data.validation):
        assert (split.images[:, 5, 5, 0] // 8 % 10 == split.labels).all()


@pytest.mark.parametrize("kept", ("nothing", "half", "an empty file"))
@pytest.mark.parametrize("name", ("dataset_info.json", "features.json", "*test.tfrecord*"))
def test_a_copy_that_was_broken_off(prepared_mnist, name, kept, network):
    """Whatever file is not whole: one sentence that names the data set."""
    path = next(prepared_mnist.rglob(name))
    content = path.read_bytes()
    path.unlink()
    if kept != "nothing":
        path.write_bytes(content[: len(content) // 2] if kept == "half" else b"")
    with pytest.raises((FileNotFoundError, ValueError)) as caught:
        load("mnist", data_dir=str(prepared_mnist))
    message = str(caught.value)
    assert "mnist" in message
    assert str(prepared_mnist) in message
    assert message.count("\n") == 0
    assert len(message) < 500


@pytest.mark.parametrize("how", ("cut off", "missing"))
def test_a_damaged_prepared_data_set(prepared_mnist, how):
    path = next(prepared_mnist.rglob("*train.tfrecord*"))
    content = path.read_bytes()
    path.unlink()
    if how == "cut off":
        path.write_bytes(content[: len(content) // 2])
    with pytest.raises((FileNotFoundError, ValueError), match="mnist"):
        load("mnist", data_dir=str(prepared_mnist))
