"""Writes whole files or none, and reads files that someone else may have written."""

import json
import os
import pathlib
from typing import Any, NoReturn

_MOST_BYTES = 10 * 2**20  # Limit for texts read whole; those of a run have a few kilobytes.


def write_whole(path: str | pathlib.Path, content: str | bytes) -> None:
    """Writes beside `path` and then moves the file, so that a kill leaves the old one whole."""
    path = pathlib.Path(path)
    partial = path.with_name(f"partial-{path.name}")
    if isinstance(content, bytes):
        partial.write_bytes(content)
    else:
        partial.write_text(content, encoding="utf-8")
    partial.replace(path)


def cache_folder() -> pathlib.Path:
    """Returns the folder for caches: `$AMR_TF_CACHE`, or `amr_tf` in the user's cache folder."""
    own = os.environ.get("AMR_TF_CACHE")
    if own:
        return user_path(own)
    return user_path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "amr_tf"


def user_path(text: str | os.PathLike) -> pathlib.Path:
    """Returns a `pathlib.Path` with ~ and ~NAME expanded; unknown names are left as they are."""
    path = pathlib.Path(text)
    try:
        return path.expanduser()
    except RuntimeError:
        return path


def read_text(path: str | os.PathLike) -> str:
    """Reads a UTF-8 text file of at most 10 MiB.

    Raises:
        ValueError: the file is larger, or is not UTF-8 text.
    """
    path = pathlib.Path(path)
    if path.stat().st_size > _MOST_BYTES:
        raise ValueError(
            f"'{path}' has {path.stat().st_size:,} bytes; at most {_MOST_BYTES:,} are read."
        )
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"'{path}' is not text in UTF-8.") from error


def parse_json(text: str | bytes, finite: bool = True, what: str = "it") -> dict[str, Any]:
    """Parses a JSON document from someone else, which must hold an object.

    Args:
        text: the document.
        finite: whether to reject NaN and Infinity, which are not JSON but which Python reads and
            writes.
        what: name of the text in error messages, which are sentences without a full stop.

    Returns:
        A dictionary.

    Raises:
        ValueError: the text is not JSON, is nested too deeply, is not an object, or holds a number
            that is not finite.
    """

    def refuse(name: str) -> NoReturn:
        raise ValueError(f"{what} holds {name}, but numbers must be finite")

    try:
        values = json.loads(text, parse_constant=refuse if finite else None)
    except RecursionError as error:
        raise ValueError(f"{what} is nested too deeply") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"{what} is not JSON: {error}") from error
    if not isinstance(values, dict):
        raise ValueError(f"{what} must hold a JSON object; got {type(values).__name__}")
    return values


def read_json(path: str | os.PathLike, finite: bool = True) -> dict[str, Any]:
    """Reads the object in a JSON file; errors name the file. See `read_text` and `parse_json`."""
    text = read_text(path)
    try:
        return parse_json(text, finite)
    except ValueError as error:
        raise ValueError(f"'{path}' is damaged: {error}.") from error
