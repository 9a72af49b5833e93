"""Storage of decoded images: in memory if they fit, else in a file that is read on demand.

A data set of any size is decoded only once. Images that do not fit into memory are written to a
NumPy file in the cache folder, from which batches are read image by image. Thus every epoch is
shuffled as a whole, a run can resume at any batch, and the next run starts immediately.
"""

import contextlib
import hashlib
import json
import math
import os
import pathlib
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from amr_tf.data.image_files import Damaged, DamagedFiles, check_damaged, decoded, put_images
from amr_tf.data.lazy import LazyImages
from amr_tf.files import cache_folder, read_json, user_path
from amr_tf.types import Shape

CACHES = ("auto", "memory", "disk")
MOST_IN_MEMORY = 2**30
"""Bytes of decoded images that `cache="auto"` keeps in memory."""
_FORMAT = 1  # Version of the cache's files. Increase it to ignore files in an older format.


class Kept(NamedTuple):
    """Decoded images.

    Attributes:
        read: a function from int64 numbers (N,) to images, uint8 (N, H, W, C).
        damaged: the files that could not be read, by number. They are replaced by black images.
    """

    read: Callable[[np.ndarray], np.ndarray]
    damaged: dict[int, Damaged]


def read_files(
    files: Sequence[pathlib.Path],
    root: pathlib.Path,
    preprocessor: Any,
    on_error: str = "raise",
    cache: str = "auto",
) -> tuple[LazyImages, np.ndarray]:
    """Reads image files, decoding them only once.

    Args:
        files: paths of the files.
        root: the folder that holds them; the images' names are relative to it.
        preprocessor: the `ImagePreprocessor` that reads the files.
        on_error: "raise", or "skip" to leave out files that cannot be read.
        cache: where to keep the images: "memory", "disk" (the cache folder), "auto" for memory up
            to 1 GiB and disk above, or the path of a folder.

    Returns:
        The images of the readable files, and which files could be read, bool (files,).

    Raises:
        ValueError: files cannot be read, and `on_error` is "raise" or none is left.
        OSError: the disk is full or not writable.
    """
    names = [path.relative_to(root).as_posix() for path in files]
    kept = keep_images(
        lambda: decoded(files, preprocessor.pixels),
        len(files),
        preprocessor.image_shape,
        cache,
        # Includes the folder's path, since all files from an archive may have the same time.
        lambda: [repr(preprocessor), os.path.realpath(root), *map(_state_of, names, files)],
        str(root),
    )
    try:
        readable = check_damaged(kept.damaged, len(files), on_error)
    except DamagedFiles as error:
        if on_error != "raise":
            raise
        raise ValueError(
            f"{error} The data set's on_error='skip' leaves such files out."
        ) from error
    numbers = np.flatnonzero(readable)
    return LazyImages(kept.read, numbers, preprocessor.image_shape, names), readable


def keep_images(
    decode: Callable[[], Iterable[Any]],
    count: int,
    image_shape: tuple[int, int, int],
    cache: str,
    identity: Callable[[], Iterable[str]],
    source: str,
) -> Kept:
    """Decodes images into memory, or into a cache file unless it already exists.

    Args:
        decode: returns an iterator of `count` images, uint8 (H, W, C), or `Damaged` for images that
            cannot be read.
        count: number of images.
        image_shape: (H, W, C).
        cache: see `read_files`.
        identity: returns strings that identify the decoded images.
        source: the images' origin, for messages.
    """
    bytes_needed = count * math.prod(image_shape)
    folder = _folder(cache, bytes_needed)
    if folder is None:
        images = np.zeros((count, *image_shape), dtype="uint8")
        return Kept(images.__getitem__, put_images(decode(), images.__setitem__))
    key = _digest([str(_FORMAT), str((count, *image_shape)), *identity()])
    path, note = folder / f"{key}.npy", folder / f"{key}.json"
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        return _kept_before(path, note, (count, *image_shape))
    _check_room(folder, bytes_needed, count)
    # Printed instead of logged as a warning: this may take minutes, but nothing is wrong.
    print(f"Decoding the {count:,} images of '{source}' once, into '{path}'.", file=sys.stderr)
    damaged = _write(decode(), path, (count, *image_shape))
    lost = {str(number): [error.name, error.reason] for number, error in damaged.items()}
    # The note is written after the images, to confirm that they are complete.
    partial = _partial(note)
    text = json.dumps({"source": source, "damaged": lost}, indent=2) + "\n"
    partial.write_text(text, encoding="utf-8")
    partial.replace(note)
    return Kept(_reader(path, (count, *image_shape)), damaged)


def check_cache(cache: str) -> None:
    """Raises a ValueError unless `cache` is one of `CACHES` or the path of a folder."""
    if not isinstance(cache, str) or not (cache in CACHES or os.sep in cache):
        raise ValueError(
            f"cache must be 'auto', 'memory', 'disk' or the path of a folder; got {cache!r}."
        )


def _folder(cache: str, bytes_needed: int) -> pathlib.Path | None:
    """Returns the folder to keep images in, or None for memory."""
    check_cache(cache)
    if cache == "memory" or (cache == "auto" and bytes_needed <= MOST_IN_MEMORY):
        return None
    return cache_folder() if cache in CACHES else user_path(cache)


def _state_of(name: str, path: pathlib.Path) -> str:
    """Returns a file's name, size and modification time, which change if the file does."""
    state = path.stat()
    return f"{name} {state.st_size} {state.st_mtime_ns}"


def _digest(parts: Iterable[str]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(part.encode("utf-8", "surrogateescape") + b"\n")
    return digest.hexdigest()


def _check_room(folder: pathlib.Path, bytes_needed: int, count: int) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(
            f"The {count:,} decoded images cannot be kept in '{folder}' ({error.strerror}): choose "
            "another place with AMR_TF_CACHE or the data set's cache."
        ) from error
    free = shutil.disk_usage(folder).free
    if free < bytes_needed:
        raise OSError(
            f"{count:,} decoded images take {bytes_needed / 1e9:.1f} GB, but '{folder}' has "
            f"{free / 1e9:.1f} GB left: choose another place with AMR_TF_CACHE or the data set's "
            "cache, or a smaller image_size."
        )


def _write(images: Iterable[Any], path: pathlib.Path, shape: Shape) -> dict[int, Damaged]:
    """Writes images to a NumPy file, atomically."""
    size = math.prod(shape[1:])
    partial = _partial(path)
    try:
        with partial.open("wb") as file:
            _write_header(file, shape)
            start = file.tell()
            file.truncate(start + size * shape[0])  # Damaged images stay black.

            def put(number: int, image: np.ndarray) -> None:
                file.seek(start + number * size)
                file.write(np.ascontiguousarray(image, "uint8").data)

            damaged = put_images(images, put)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    return damaged


def _partial(path: pathlib.Path) -> pathlib.Path:
    """Returns a path for a file that is still being written, different for each process."""
    return path.with_name(f"partial-{os.getpid()}-{path.name}")


def _write_header(file: BinaryIO, shape: Shape) -> None:
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)


def _kept_before(path: pathlib.Path, note: pathlib.Path, shape: Shape) -> Kept:
    """Opens the images that an earlier call has kept; raises an error if they are incomplete."""
    lost = read_json(note)["damaged"]
    read = _reader(path, shape)
    return Kept(read, {int(number): Damaged(*said) for number, said in lost.items()})


def _reader(path: pathlib.Path, shape: Shape) -> Callable[[np.ndarray], np.ndarray]:
    """Returns a function that reads images by number.

    It does not use a memory map, whose pages would count as memory of the process.
    """
    size = math.prod(shape[1:])
    file = path.open("rb")
    np.lib.format.read_magic(file)
    found = np.lib.format.read_array_header_1_0(file)
    start = file.tell()
    if found[0] != tuple(shape) or path.stat().st_size != start + size * shape[0]:
        raise ValueError(f"'{path}' is not whole.")

    def read(numbers: np.ndarray) -> np.ndarray:
        images = np.empty((len(numbers), *shape[1:]), dtype="uint8")
        for place, number in zip(images, numbers.tolist()):
            if os.preadv(file.fileno(), [place], start + number * size) != size:
                raise OSError(f"'{path}' was cut short: delete it, and it is made again.")
        return images

    return read
