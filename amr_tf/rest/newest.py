"""Follows the newest version in a model's folder while another is served, as TF Serving does."""

import contextlib
import pathlib
import sys
import threading
from collections.abc import Iterator
from typing import Any, TypeAlias

from amr_tf.rest.servable import load_servable, warm_up, whole_versions

_SECONDS = 1.0  # Between looks at the folder: TF Serving's default.

_Files: TypeAlias = list[tuple[str, int, int]]
_Look: TypeAlias = tuple[int, _Files]
"""The number of a version, and its files."""


class Newest:
    """Loads the newest version, and lets the app serve it once it is ready.

    Until then, the previous version is served, which also completes the requests it has begun. A
    version that is still being copied into the folder is ignored until two checks in a row find the
    same files. If a version cannot be loaded, this is reported, and loading is tried again when its
    files change. If the served version is removed, the newest remaining one replaces it; if there
    is none, it is served on.

    Args:
        folder: the model's.
        state: what holds the `Servable` as `servable`, such as `app.state`.
    """

    def __init__(self, folder: str | pathlib.Path, state: Any) -> None:
        self.folder = pathlib.Path(folder)
        self.state = state
        self._seen: _Look | None = None  # The version at the last look.
        self._failed: _Look | None = None

    def look(self) -> None:
        """Looks at the folder once, and loads a version that is another, whole, and settled."""
        found = whole_versions(self.folder)
        if not found or found[-1] == self.state.servable.version:
            self._seen = None
            return
        before, self._seen = self._seen, (found[-1], _files(self.folder / str(found[-1])))
        if self._seen == before and self._seen != self._failed:
            self._replace(found[-1])

    def _replace(self, version: int) -> None:
        try:
            servable = load_servable(self.folder, version)
            warm_up(servable)
        # Whatever TensorFlow raises at someone's files: the server goes on with what it has.
        except Exception as error:
            self._failed = self._seen
            reason = str(error).partition("\n")[0]  # TensorFlow guesses at causes behind it.
            print(
                f"warning: version {version} cannot be served, version "
                f"{self.state.servable.version} still is: {reason}",
                file=sys.stderr,
            )
        else:
            self.state.servable = servable
            print(f"Serving {servable.name}, version {version}, from now on.", flush=True)


def _files(path: pathlib.Path) -> _Files:
    """Each file's path, size and time of change."""
    files = []
    for file in sorted(path.rglob("*")):
        with contextlib.suppress(FileNotFoundError):  # Removed meanwhile.
            status = file.stat()
            files.append((str(file), status.st_size, status.st_mtime_ns))
    return files


@contextlib.contextmanager
def following(newest: Newest, seconds: float = _SECONDS) -> Iterator[None]:
    """Looks every `seconds` in a thread, until the block ends.

    Args:
        newest: a `Newest`.
        seconds: between two looks.
    """
    ended = threading.Event()

    def run() -> None:
        while not ended.wait(seconds):
            with contextlib.suppress(OSError):  # The disk may be back at the next look.
                newest.look()

    thread = threading.Thread(target=run, name="newest version", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()  # TensorFlow may crash a process that ends while it loads.
