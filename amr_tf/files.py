"""Files that are whole or not there, and files that someone else may have written."""

import json
import os
import pathlib
from typing import Any, NoReturn

_MOST_BYTES = 10 * 2**20  # Of a text that is read whole: a run's have a few kilobytes.


def write_whole(path: str | pathlib.Path, content: str | bytes) -> None:
    """Writes beside `path` and moves into place, so that a kill leaves the old file whole."""
    path = pathlib.Path(path)
    partial = path.with_name(f"partial-{path.name}")
    if isinstance(content, bytes):
        partial.write_bytes(content)
    else:
        partial.write_text(content, encoding="utf-8")
    partial.replace(path)


def cache_folder() -> pathlib.Path:
    """Where what can be made again is kept: `$AMR_TF_CACHE`, or `amr_tf` in the user's caches."""
    own = os.environ.get("AMR_TF_CACHE")
    if own:
        return user_path(own)
    return user_path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "amr_tf"


def user_path(text: str | os.PathLike) -> pathlib.Path:
    """A `pathlib.Path` with ~ and ~NAME replaced; a NAME that is not a user is left as it is."""
    path = pathlib.Path(text)
    try:
        return path.expanduser()
    except RuntimeError:
        return path


def read_text(path: str | os.PathLike) -> str:
    """The text of a file of at most 10 MiB in UTF-8.

    Raises:
        ValueError: it is larger, or no such text.
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
    """The object of a JSON document from someone else.

    Args:
        text: the document.
        finite: whether NaN and Infinity, which are no JSON but which Python reads and writes, are
            refused.
        what: what the text is called in errors, which are sentences without a full stop.

    Returns:
        A dictionary.

    Raises:
        ValueError: the text is no JSON, nested too deeply, no object, or holds a number that is
            not finite.
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
    """The object of a JSON file, see `read_text` and `parse_json`; errors name the file."""
    text = read_text(path)
    try:
        return parse_json(text, finite)
    except ValueError as error:
        raise ValueError(f"'{path}' is damaged: {error}.") from error
