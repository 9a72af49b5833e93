"""TensorFlow Datasets (TFDS): prepared builders, and data sets of labelled images."""

import contextlib
import pathlib
import socket
import urllib.request
from collections.abc import Iterator
from typing import Any

from amr_tf.data.sources import DATASETS, Source
from amr_tf.data.splits import Split
from amr_tf.files import user_path

_TFDS_HOST = "storage.googleapis.com"  # Holds TFDS' own copies of data sets.


def prepared_builder(name: str, data_dir: str | None) -> Any:
    """Returns a TFDS builder with prepared data, downloading them if necessary.

    Args:
        name: the data set's name in TFDS.
        data_dir: folder of prepared data sets; None for TFDS' default.

    Raises:
        FileNotFoundError: the data do not exist and cannot be downloaded.
        ValueError: the metadata are damaged.
    """
    import tensorflow_datasets as tfds

    if data_dir is not None and not user_path(data_dir).is_dir():
        raise FileNotFoundError(
            f"--data_dir '{data_dir}' is not a folder; it must hold prepared TFDS data sets "
            f"(such as {name}/), or be an existing folder to download to."
        )
    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except Exception as error:  # Damaged metadata may raise nearly any exception.
        raise _damaged(f"Data set '{name}'", data_dir or "TFDS' folder", error) from error
    try:
        if not pathlib.Path(builder.data_path).exists():
            _check_network()
        builder.download_and_prepare()
    except Exception as error:  # TFDS, requests and the checksum code raise different ones.
        raise FileNotFoundError(
            f"Data set '{name}' is not prepared in '{builder.data_dir_root}' and could not be "
            f"downloaded ({type(error).__name__}). Pass --data_dir=FOLDER with a prepared "
            f"'{name}', or connect to the network."
        ) from error
    return builder


@contextlib.contextmanager
def naming_damage(builder: Any, split: str | None = None) -> Iterator[None]:
    """Converts any error while reading prepared files to a ValueError that names them.

    Args:
        builder: a builder returned by `prepared_builder`.
        split: the split being read, or None for the metadata.
    """
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:  # After an interrupted copy, files or parts of them are missing.
        whole = f"data set '{builder.name}'"
        what = f"Data set '{builder.name}'" if split is None else f"The '{split}' split of {whole}"
        raise _damaged(what, builder.data_path, error) from error


def _damaged(what: str, place: Any, error: Exception) -> ValueError:
    return ValueError(
        f"{what} in '{place}' is damaged ({type(error).__name__}): files are missing or not whole; "
        "copy or prepare it again."
    )


def _check_network() -> None:
    """Raises an OSError if there is no network. TFDS would retry for over three minutes."""
    if not urllib.request.getproxies():
        socket.getaddrinfo(_TFDS_HOST, 443)


def _register(name: str, image_size: int) -> None:
    @DATASETS.register(name)
    def source(data_dir: str | None) -> Source:
        builder = prepared_builder(name, data_dir)
        train, test = (_read_split(builder, split) for split in ("train", "test"))
        with naming_damage(builder):
            names = tuple(builder.info.features["label"].names)
        return Source(train, test, names, image_size)


def _read_split(builder: Any, split: str) -> Split:
    import tensorflow_datasets as tfds

    with naming_damage(builder, split):
        dataset = builder.as_dataset(split=split, as_supervised=True, batch_size=-1)
        images, labels = tfds.as_numpy(dataset)
    return Split(images, labels.astype("int64"))


for _name in ("mnist", "kmnist", "fashion_mnist", "svhn_cropped", "cifar10"):
    _register(_name, image_size=32)
