"""Tests of the pages that people read: what they point to is there, and each of them can be found."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, ROOT, name_of, prose


__all__: list[str] = []


LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.+?) *$", re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as they are made of their words; a second one of a name has a number."""
    found: set[str] = set()
    for heading in HEADING.findall(prose(page)):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        anchor = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
        number = sum(one == anchor or re.fullmatch(rf"{re.escape(anchor)}-\d+", one) is not None for one in found)
        found.add(f"{anchor}-{number}" if anchor in found else anchor)
    return found


def links(page: Path) -> list[str]:
    """Where a page's links lead within the project."""
    return [link for link in LINK.findall(prose(page)) if "://" not in link and not link.startswith("mailto:")]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_somewhere(page: Path) -> None:
    """Each relative link names a file that exists, and each anchor a heading in it."""
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or target.suffix == ".md", link
        if anchor:
            assert anchor in anchors(target), link


def test_every_page_can_be_found() -> None:
    """From README.md and the site's first page, links lead to every page of the documentation."""
    found, new = set[str](), {"README.md", "docs/index.md"}
    while new:
        found |= new
        targets = {
            posixpath.normpath(posixpath.join(posixpath.dirname(page), link.partition("#")[0]))
            for page in new
            for link in links(ROOT / page)
            if not link.startswith("#")
        }
        new = {target for target in targets if target.endswith(".md") and (ROOT / target).is_file()} - found
    assert {name_of(page) for page in PAGES if page.is_relative_to(ROOT / "docs")} - found == set()


def test_every_picture_is_shown() -> None:
    """No picture of the documentation is left over: each stands on a page."""
    shown = {Path(link).name for page in PAGES for link in links(page)}
    pictures = {path.name for path in (ROOT / "docs" / "pictures").iterdir() if path.suffix in {".png", ".svg"}}
    assert pictures - shown == set()
