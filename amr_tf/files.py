"""Files that are whole or not there."""

import pathlib


def write_whole(path, text):
    """Writes beside `path` and moves into place, so that a kill leaves the old file whole."""
    path = pathlib.Path(path)
    partial = path.with_name(f"partial-{path.name}")
    partial.write_text(text)
    partial.replace(path)
