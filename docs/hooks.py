"""What mkdocs does beside its configuration: pages from the root, a menu of what is there."""

import pathlib

_ROOT = pathlib.Path(__file__).resolve().parent.parent
# Pages of the site whose text stands in the root, where people look for it.
ROOT_PAGES = {
    "index.md": "README.md",
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
}


def on_config(config):
    """Leaves out of the menu what has no page."""
    config.nav = _present(config.nav, pathlib.Path(config.docs_dir))
    return config


def on_page_markdown(markdown, page, **_):
    """A root page's text in place of its placeholder, its links as seen from docs/."""
    name = ROOT_PAGES.get(page.file.src_uri)
    if name is None:
        return markdown
    return (_ROOT / name).read_text(encoding="utf-8").replace("](docs/", "](")


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
