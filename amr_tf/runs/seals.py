"""Seals that show whether archives are whole: a note and a SHA-256 at the end of a zip file.

The seal is the archive's comment, which every reader of zip files ignores, so a sealed `.keras`
file is still one. File and seal are moved into place together, so a kill cannot separate them.
"""

import hashlib
import json
import os
import pathlib
import zipfile
from typing import Any, BinaryIO

from amr_tf.files import parse_json

_TAG = b"\nsha256:"
_DIGITS = 64
_CHUNK = 1 << 20


class Damaged(ValueError):
    """Raised if a file is not what was written."""


def seal(path: str | pathlib.Path, note: dict[str, Any]) -> None:
    """Appends a note and the SHA-256 of everything before the digest to a zip archive.

    When it returns, the file is on the disk, not only in the system's memory.

    Args:
        path: the archive.
        note: a JSON-serialisable dictionary of less than 60,000 characters.
    """
    path = pathlib.Path(path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = json.dumps(note).encode() + _TAG + b"0" * _DIGITS
    with path.open("r+b") as file:
        digest = _digest(file, path.stat().st_size - _DIGITS)
        file.write(digest)  # Where `_digest` stopped reading.
        file.flush()
        os.fsync(file.fileno())


def read_note(path: str | pathlib.Path) -> dict[str, Any] | None:
    """Verifies a zip archive and returns its note.

    Returns:
        The dictionary passed to `seal`; or None for an archive without a seal (saved by Keras
        itself, or before seals existed) whose members match their own checksums.

    Raises:
        Damaged: the archive was cut off or changed since it was saved.
        FileNotFoundError: there is no such file.
    """
    path = pathlib.Path(path)
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(size - _DIGITS - len(_TAG), 0))
        tail = file.read()
        sealed = tail.startswith(_TAG)
        if sealed:
            file.seek(0)
            if _digest(file, size - _DIGITS) != tail[len(_TAG) :]:
                raise Damaged("its SHA-256 is not the one that it was saved with")
    try:
        with zipfile.ZipFile(path) as archive:
            if sealed:
                return parse_json(archive.comment[: -_DIGITS - len(_TAG)].decode())
            broken = archive.testzip()
            comment = archive.comment
    except Exception as error:  # For damaged files, zipfile and zlib raise nearly anything.
        raise Damaged("it is not a whole .keras archive") from error
    if comment:
        raise Damaged("its seal is broken")
    if broken is not None:
        raise Damaged(f"the checksum of its part '{broken}' is wrong")
    return None


def _digest(file: BinaryIO, count: int) -> bytes:
    """Returns the SHA-256 of the first `count` bytes, as hexadecimal digits."""
    file.seek(0)
    found = hashlib.sha256()
    while count > 0:
        chunk = file.read(min(_CHUNK, count))
        if not chunk:
            break
        found.update(chunk)
        count -= len(chunk)
    return found.hexdigest().encode()
