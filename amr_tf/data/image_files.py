"""Finding, opening and decoding image files.

The decoded images are preprocessed by `amr_tf.data.preprocessing`.
"""

import concurrent.futures
import contextlib
import io
import os
import pathlib
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from absl import logging
from PIL import Image, ImageOps, UnidentifiedImageError

EXTENSIONS = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".webp"),
    *(".tif", ".tiff", ".gif"),
)
# Pictures that Pillow cannot read, or cannot read safely. A warning reports their number.
_OTHER_PICTURES = (
    *(".heic", ".heif", ".avif", ".jxl", ".jp2", ".svg", ".eps", ".psd", ".ico", ".tga"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".pcx", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raw"),
)
# Allowed formats, whatever a file's extension: Pillow would pass PostScript to Ghostscript.
_FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "TIFF", "GIF")
# Created by operating systems. Names that begin with a dot are ignored too.
_SYSTEM_NAMES = ("__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found")
MOST_PIXELS = 150_000_000
"""Default limit of the pixels of an image. Even a small file can declare any number."""
# Images with more pixels are decoded one at a time, since a few at once would fill the memory.
_LARGE = 25_000_000
_NAMED = 10  # Number of damaged files that an error names.
_AT_ONCE = 4096
ON_ERROR = ("raise", "skip")

_pillows_limit = threading.RLock()


def is_hidden(name: str) -> bool:
    """Returns whether a file or folder is hidden or was created by an operating system."""
    return name.startswith(".") or name.lower() in _SYSTEM_NAMES


def find_images(folder: pathlib.Path, root: pathlib.Path | None = None) -> list[pathlib.Path]:
    """Returns the sorted paths of the image files in a folder, at any depth.

    Hidden files and folders are ignored. Links are followed, except to a folder that contains the
    link. Each folder is visited once.

    Args:
        folder: the folder to search.
        root: the data set's folder, which contains `folder`; links to it are not followed either.
    """
    return sorted(_walk(folder, root, EXTENSIONS))


def holds_images(folder: pathlib.Path, root: pathlib.Path | None = None) -> bool:
    """Returns whether `find_images` finds any image files."""
    return next(_walk(folder, root, EXTENSIONS), None) is not None


def warn_of_other_pictures(folder: pathlib.Path, root: pathlib.Path | None = None) -> None:
    """Logs a warning with the number of pictures in unsupported formats."""
    others = list(_walk(folder, root, _OTHER_PICTURES))
    if others:
        logging.warning(
            "%d pictures in '%s' are left out: their kinds (%s) cannot be read.",
            len(others),
            folder,
            ", ".join(sorted({path.suffix.lower() for path in others})),
        )


def _walk(
    folder: pathlib.Path, root: pathlib.Path | None, extensions: tuple[str, ...]
) -> Iterator[pathlib.Path]:
    """Yields the paths of files with one of the extensions, in no particular order."""
    real = _real(folder)
    above = {*real.parents}
    if root is not None and folder != root:
        above |= {_real(root), *_real(root).parents}
    if real in above:
        return
    seen = set()
    # Folders to visit, each with its real path and all folders that contain it or lead to it.
    waiting = [(folder, real, above)]
    while waiting:
        place, real, above = waiting.pop()
        if real in seen:
            continue
        seen.add(real)
        for entry in _entries(place):
            if _is_folder(entry):
                target = _real(entry) if entry.is_symlink() else real / entry.name
                if target not in above and target != real:
                    waiting.append((place / entry.name, target, above | {real, *target.parents}))
            elif entry.name.lower().endswith(extensions) and _is_file(entry):
                yield place / entry.name


def _real(path: str | os.PathLike) -> pathlib.Path:
    return pathlib.Path(os.path.realpath(path))


def _entries(folder: pathlib.Path) -> list[os.DirEntry]:
    """Returns the entries of a folder that are not hidden, sorted by name."""
    # Unlike paths, `os.DirEntry`s usually know their type without another disk access.
    with os.scandir(folder) as entries:
        return sorted(
            (entry for entry in entries if not is_hidden(entry.name)), key=lambda entry: entry.name
        )


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # A link to itself.
        return False


def _is_file(entry: os.DirEntry) -> bool:
    try:
        return entry.is_file()
    except OSError:
        return False


def subfolders(folder: pathlib.Path) -> list[pathlib.Path]:
    """Returns the sorted paths of a folder's subfolders, without hidden ones."""
    return [folder / entry.name for entry in _entries(folder) if _is_folder(entry)]


def loose_images(folder: pathlib.Path) -> list[pathlib.Path]:
    """Returns the sorted paths of the image files directly in a folder, without hidden ones."""
    return [
        folder / entry.name
        for entry in _entries(folder)
        if entry.name.lower().endswith(EXTENSIONS) and _is_file(entry)
    ]


@contextlib.contextmanager
def opened(source: Any, max_pixels: int = MOST_PIXELS) -> Iterator[Image.Image]:
    """Opens an image file. Its pixels are read only when needed.

    Args:
        source: a path, or the bytes of a file.
        max_pixels: the largest number of pixels allowed.

    Raises:
        ValueError: the image has more than `max_pixels` pixels, or its format is not supported.
    """
    with contextlib.ExitStack() as stack:
        file: Any
        if isinstance(source, bytes):
            file = io.BytesIO(source)
        else:
            file = stack.enter_context(pathlib.Path(source).open("rb"))
            file.peek(1)  # Threads wait for the disk in parallel here, not in turn under the lock.
        with _without_pillows_limit():
            try:
                image = stack.enter_context(Image.open(file, formats=_FORMATS))
            except UnidentifiedImageError:
                raise ValueError(f"it is not one of {', '.join(_FORMATS)}") from None
        pixels = image.width * image.height
        if pixels > max_pixels:
            raise ValueError(
                f"it has {image.width} x {image.height} pixels; at most max_pixels = "
                f"{max_pixels:,} are allowed"
            )
        if pixels > _LARGE:
            stack.enter_context(_without_pillows_limit())
        yield image


@contextlib.contextmanager
def _without_pillows_limit() -> Iterator[None]:
    """Disables Pillow's own pixel limit, which is global, for one thread at a time."""
    with _pillows_limit:
        limit = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def upright(image: Image.Image, background: tuple[int, int, int], channels: int) -> Image.Image:
    """Applies an image's EXIF orientation and removes its transparency.

    Args:
        image: an image of any mode.
        background: background colour for transparency: red, green and blue from 0 to 255.
        channels: 1 for luminance, 3 for red, green and blue.

    Returns:
        An image of mode "L" or "RGB".

    Raises:
        ValueError: its pixels are floating point, or integers of more than 16 bits.
    """
    image = _eight_bits(ImageOps.exif_transpose(image))
    if image.has_transparency_data:
        ground = Image.new("RGBA", image.size, (*background, 255))
        image = Image.alpha_composite(ground, image.convert("RGBA"))
    if channels == 1:
        return image if image.mode == "L" else image.convert("RGB").convert("L")
    return image.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Scales a 16-bit greyscale image to 8 bits; Pillow's own conversion would clip it."""
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers, whose range is not known")
    if not image.mode.startswith("I"):
        return image
    pixels = np.asarray(image)
    if pixels.size and (pixels.min() < 0 or pixels.max() > 65535):
        raise ValueError("its pixels have more than 16 bits")
    grey = Image.fromarray(np.round(pixels / 257).astype("uint8"))
    transparent = image.info.get("transparency")
    if not isinstance(transparent, int):
        return grey
    alpha = np.where(pixels == transparent, 0, 255).astype("uint8")
    return Image.merge("LA", (grey, Image.fromarray(alpha)))


def decoded(files: Sequence[Any], read: Callable[[Any], np.ndarray]) -> Iterator[Any]:
    """Reads image files in threads.

    Args:
        files: paths, or the bytes of files.
        read: returns the pixels of a file, or raises `Damaged` if it cannot be read as an image.

    Yields:
        The pixels of each file, or `Damaged`.
    """

    def attempt(file: Any) -> Any:
        try:
            return read(file)
        except Damaged as error:
            return error

    # Pillow releases the GIL while it decodes and resizes, so threads run in parallel.
    with concurrent.futures.ThreadPoolExecutor() as pool:
        # Submits parts of the list, since the pool keeps all its inputs and unread results.
        for start in range(0, len(files), _AT_ONCE):
            yield from pool.map(attempt, files[start : start + _AT_ONCE])


def put_images(
    images: Iterable[Any], put: Callable[[int, np.ndarray], Any]
) -> dict[int, "Damaged"]:
    """Stores the images that `decoded` yields.

    Args:
        images: pixels, or `Damaged`.
        put: called with the number and the pixels of each image.

    Returns:
        The `Damaged` entries, by number.
    """
    damaged = {}
    for number, image in enumerate(images):
        if isinstance(image, Damaged):
            damaged[number] = image
        else:
            put(number, image)
    return damaged


def check_damaged(damaged: Mapping[int, "Damaged"], count: int, on_error: str) -> np.ndarray:
    """Reports the files that cannot be read, with a `DamagedFiles` error or a warning.

    Args:
        damaged: the files that could not be read, by number.
        count: number of files.
        on_error: "raise", or "skip" to only warn, unless no file can be read.

    Returns:
        Whether each file could be read, bool (count,).
    """
    if on_error not in ON_ERROR:
        raise ValueError(f"on_error must be 'raise' or 'skip'; got {on_error!r}.")
    readable = np.ones(count, dtype=bool)
    if not damaged:
        return readable
    found = list(damaged.values())
    if on_error == "raise" or len(found) == count:
        raise _all_damaged(found, count) from found[0]
    logging.warning("%s They are left out.", _all_damaged(found, count))
    readable[list(damaged)] = False
    return readable


class Damaged(ValueError):
    """Raised for a file that cannot be read as an image."""

    def __init__(self, name: Any, reason: Any) -> None:
        reason = " ".join(str(reason).split())
        super().__init__(f"'{name}' cannot be read as an image: {reason}")
        self.name = name
        self.reason = reason


class DamagedFiles(ValueError):
    """Raised for all files that cannot be read, in one message."""


def _all_damaged(damaged: list["Damaged"], count: int) -> DamagedFiles:
    if len(damaged) == 1:
        return DamagedFiles(f"{damaged[0]}.")
    named = ", ".join(f"'{error.name}'" for error in damaged[:_NAMED])
    more = f" and {len(damaged) - _NAMED} more" if len(damaged) > _NAMED else ""
    return DamagedFiles(
        f"{len(damaged)} of {count} files cannot be read as images: {named}{more}; the first "
        f"because {damaged[0].reason}."
    )
