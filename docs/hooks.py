"""What mkdocs does beside its configuration: the README as first page, a menu of what is there."""

import pathlib

_ROOT = pathlib.Path(__file__).resolve().parent.parent


def on_config(config):
    """Leaves out of the menu what has no page."""
    config.nav = _present(config.nav, pathlib.Path(config.docs_dir))
    return config


def on_page_markdown(markdown, page, **_):
    """The README in place of the first page's text, its links as seen from docs/."""
    if page.file.src_uri != "index.md":
        return markdown
    return (_ROOT / "README.md").read_text(encoding="utf-8").replace("](docs/", "](")


def _present(entries, folder):
    """The entries of a menu whose pages exist."""
    kept = []
    for entry in entries:
        title, target = next(iter(entry.items())) if isinstance(entry, dict) else (None, entry)
        if isinstance(target, list):
            target = _present(target, folder)
            there = bool(target)
        else:
            there = (folder / target).is_file()
        if there:
            kept.append(target if title is None else {title: target})
    return kept
