"""Switches a running server to the newest version in a model's folder, as TF Serving does."""

import contextlib
import pathlib
import sys
import threading
from collections.abc import Iterator
from typing import Any, TypeAlias

from amr_tf.rest.servable import load_servable, warm_up, whole_versions

_SECONDS = 1.0  # Between checks of the folder: TF Serving's default.

_Files: TypeAlias = list[tuple[str, int, int]]
_Look: TypeAlias = tuple[int, _Files]
"""The number of a version, and its files."""


class Newest:
    """Loads the newest version, and makes the app serve it once it is ready.

    Until then, the app serves the previous version, which also completes the requests that it has
    begun. A version that is still being copied into the folder is ignored until two checks in a row
    find the same files. If a version cannot be loaded, a warning is printed, and loading is tried
    again when its files change. If the served version is removed, the newest remaining one replaces
    it; if none remains, the app continues to serve the loaded one.

    Args:
        folder: the model's folder.
        state: the object that holds the `Servable` as `servable`, such as `app.state`.
    """

    def __init__(self, folder: str | pathlib.Path, state: Any) -> None:
        self.folder = pathlib.Path(folder)
        self.state = state
        self._seen: _Look | None = None  # The version found by the last check.
        self._failed: _Look | None = None

    def look(self) -> None:
        """Checks the folder once, and loads the newest version if it is new, complete and stable.

        A version is stable if its files have not changed since the last check.
        """
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
        # TensorFlow may raise anything for damaged files; the server keeps the version it has.
        except Exception as error:
            self._failed = self._seen
            reason = str(error).partition("\n")[0]  # Further lines are TensorFlow's guesses.
            print(
                f"warning: version {version} cannot be served, version "
                f"{self.state.servable.version} still is: {reason}",
                file=sys.stderr,
            )
        else:
            self.state.servable = servable
            print(f"Serving {servable.name}, version {version}, from now on.", flush=True)


def _files(path: pathlib.Path) -> _Files:
    """Returns each file's path, size and modification time."""
    files = []
    for file in sorted(path.rglob("*")):
        with contextlib.suppress(FileNotFoundError):  # Removed in the meantime.
            status = file.stat()
            files.append((str(file), status.st_size, status.st_mtime_ns))
    return files


@contextlib.contextmanager
def following(newest: Newest, seconds: float = _SECONDS) -> Iterator[None]:
    """Checks for new versions in a thread until the block ends.

    Args:
        newest: a `Newest`.
        seconds: time between two checks.
    """
    ended = threading.Event()

    def run() -> None:
        while not ended.wait(seconds):
            with contextlib.suppress(OSError):  # The disk may be available again at the next check.
                newest.look()

    thread = threading.Thread(target=run, name="newest version", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()  # A process that ends while TensorFlow loads a model may crash.
