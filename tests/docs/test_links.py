"""Links between the documentation's pages lead to files, on the site as in the repository."""

import importlib.util
import pathlib
import re
import types

import pytest

ROOT = pathlib.Path(__file__).parents[2]
DOCS = ROOT / "docs"
LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)")
ANCHOR = re.compile(r"\]\(([^)#:\s]*)#([^)\s]+)\)")
SPEC = importlib.util.spec_from_file_location("hooks", DOCS / "hooks.py")
HOOKS = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(HOOKS)


def as_on_the_site(path):
    """A page's text after mkdocs' hook."""
    name = path.relative_to(DOCS).as_posix()
    page = types.SimpleNamespace(file=types.SimpleNamespace(src_uri=name))
    return HOOKS.on_page_markdown(path.read_text(), page)


@pytest.mark.parametrize("path", sorted(DOCS.glob("*.md")), ids=lambda path: path.name)
def test_links_of_a_page(path):
    text = as_on_the_site(path)
    assert len(text) > 500  # No placeholder.
    missing = [target for target in LINK.findall(text) if not (path.parent / target).exists()]
    assert missing == []


def anchors_of(page):
    """The anchors of a page's titles, as mkdocs makes them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\s-]", "", title).strip().lower().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("path", sorted(DOCS.glob("*.md")), ids=lambda path: path.name)
def test_anchors_of_a_page(path):
    missing = [
        f"{target}#{anchor}"
        for target, anchor in ANCHOR.findall(path.read_text())
        if target.endswith(".md") or not target
        if anchor not in anchors_of(path.parent / target if target else path)
    ]
    assert missing == []


@pytest.mark.parametrize("name", sorted(HOOKS.ROOT_PAGES.values()))
def test_links_of_a_page_in_the_root(name):
    targets = LINK.findall((ROOT / name).read_text())
    assert [target for target in targets if not (ROOT / target).exists()] == []
