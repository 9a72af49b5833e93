"""Numbered version folders that are created atomically, even if an export is killed.

A servable's folder has subfolders 1, 2, ... for its versions. TF Serving loads the highest and
ignores names that are not numbers. A new version is written to a hidden folder next to them,
`.partial-PID-HOST-TOKEN`, and then renamed, so that a numbered folder is always complete. For the
same reason, a version is renamed to a hidden name before it is removed.

A killed process leaves its hidden folder behind, and the next export removes it. A hidden folder is
considered a leftover if its process no longer runs on this host, or if it is older than a day,
which covers other hosts with a shared disk and reused process numbers.
"""

import contextlib
import errno
import os
import pathlib
import re
import secrets
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

from amr_tf import checks

_HIDDEN = re.compile(r"\.partial-(?P<pid>\d+)-(?P<host>.+)-[0-9a-f]{8}")
_DAY = 24 * 60 * 60
_TAKEN = (errno.ENOTEMPTY, errno.EEXIST)


def versions(directory: str | pathlib.Path) -> list[int]:
    """Returns the version numbers in a folder, in increasing order; [] if it does not exist."""
    directory = pathlib.Path(directory)
    # `isdigit` would accept "²", which int() rejects.
    names = [path.name for path in directory.glob("*") if path.is_dir()]
    return sorted(int(name) for name in names if re.fullmatch("[0-9]+", name))


def next_version(directory: str | pathlib.Path) -> int:
    """Returns the number after the highest version in `directory`, or 1 if there is none."""
    return max(versions(directory), default=0) + 1


def check_directory(directory: str | pathlib.Path) -> None:
    """Raises a FileExistsError if `directory` exists but is not a folder."""
    if pathlib.Path(directory).exists() and not pathlib.Path(directory).is_dir():
        raise FileExistsError(f"'{directory}' is a file; versions are written into a folder.")


def check_keep(keep: int | None) -> None:
    """Raises a ValueError unless `keep` is None or an integer of at least 1."""
    if keep is not None:
        checks.check_positive_integer("keep", keep)


@contextlib.contextmanager
def partial_folder(directory: str | pathlib.Path) -> Iterator[pathlib.Path]:
    """Creates a hidden folder in `directory`, and always removes it at the end.

    Args:
        directory: the servable's folder; created if it does not exist. Leftovers of killed exports
            in it are removed.

    Yields:
        The hidden folder's path.

    Raises:
        FileExistsError: `directory` is a file.
    """
    directory = pathlib.Path(directory)
    check_directory(directory)
    directory.mkdir(parents=True, exist_ok=True)
    remove_leftovers(directory)
    partial = _hidden(directory)
    partial.mkdir()
    try:
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def publish(
    folder: str | pathlib.Path,
    directory: str | pathlib.Path,
    finish: Callable[[int], Any] | None = None,
) -> pathlib.Path:
    """Moves a complete folder into place as the next version.

    If two exports run at the same time, both get a version: a rename to an existing version fails,
    and the later export takes the next number.

    Args:
        folder: the folder to move, not empty and on the same disk as `directory`.
        directory: the servable's folder.
        finish: called with each number that is tried, before the move, to write files that contain
            the number; or None.

    Returns:
        The path of the version.
    """
    folder, directory = pathlib.Path(folder), pathlib.Path(directory)
    number = next_version(directory)
    while True:
        if finish is not None:
            finish(number)
        version = directory / str(number)
        try:
            folder.rename(version)
        except OSError as error:
            # The name may also be that of a file, for which rename fails with ENOTDIR.
            if error.errno not in _TAKEN and not version.exists():
                raise
            number += 1
        else:
            return version


def prune(directory: str | pathlib.Path, keep: int | None) -> None:
    """Removes the oldest versions, so that `keep` remain; None keeps all.

    Raises:
        ValueError: `keep` is below 1.
    """
    check_keep(keep)
    directory = pathlib.Path(directory)
    for number in versions(directory)[:-keep] if keep is not None else ():
        hidden = _hidden(directory)
        try:
            (directory / str(number)).rename(hidden)
        except FileNotFoundError:  # Another export has removed it.
            continue
        shutil.rmtree(hidden, ignore_errors=True)


def remove_leftovers(directory: str | pathlib.Path) -> None:
    """Removes the hidden folders of killed exports; see the module's docstring."""
    for path in pathlib.Path(directory).glob(".partial-*"):
        match = _HIDDEN.fullmatch(path.name)
        if match and (_is_dead(match) or _is_old(path)):
            shutil.rmtree(path, ignore_errors=True)


def _hidden(directory: pathlib.Path) -> pathlib.Path:
    token = secrets.token_hex(4)
    return directory / f".partial-{os.getpid()}-{socket.gethostname()}-{token}"


def _is_dead(match: re.Match[str]) -> bool:
    """Whether the process in a hidden folder's name ran on this host and has ended."""
    if match["host"] != socket.gethostname():
        return False
    try:
        os.kill(int(match["pid"]), 0)  # Signal 0 only checks that the process exists.
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False


def _is_old(path: pathlib.Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime > _DAY
    except FileNotFoundError:
        return False
