"""The documentation as a site: it builds without a warning, has all pages, and asks no other host."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest

from tests.docs.pages import ROOT


if TYPE_CHECKING:
    from pathlib import Path


__all__: list[str] = []


LOADED = {"action", "data", "href", "poster", "src", "srcset"}
OUTSIDE = re.compile(r"(?:https?:)?//")


class Tags(HTMLParser):
    """What a page has a browser load, and where its links lead."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in LOADED and value:
                (self.links if tag == "a" else self.loaded).append(value)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; a warning is a failure."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    env = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_every_page_is_in_the_site(site: Path) -> None:
    """Each page of docs/ is a page of the site, in its navigation, and can be searched."""
    pages = [path.relative_to(ROOT / "docs").with_suffix(".html") for path in (ROOT / "docs").rglob("*.md")]
    assert [str(page) for page in pages if not (site / page).is_file()] == []
    index = (site / "search" / "search_index.json").read_text(encoding="utf-8")
    assert [str(page) for page in pages if f'"{page}"' not in index] == []


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    """No page of the site, and no style of it, has a browser ask another host."""
    for page in site.rglob("*.html"):
        loaded = Tags(page.read_text(encoding="utf-8")).loaded
        assert [address for address in loaded if OUTSIDE.match(address)] == [], page.name
    for style in site.rglob("*.css"):
        text = style.read_text(encoding="utf-8")
        assert not re.search(r"@import|url\(['\"]?(?:https?:)?//", text), style.name


def test_what_lies_beside_the_documentation_is_in_the_site_too(site: Path) -> None:
    """Links to examples, rules and other files of the project lead to pages of the site."""
    for page in site.rglob("*.html"):
        for link in Tags(page.read_text(encoding="utf-8")).links:
            path = link.partition("#")[0]
            if path and not re.match(r"\w+:", path) and page.name != "404.html":
                assert (page.parent / path).resolve().exists(), f"{page.relative_to(site)}: {link}"
    assert "bootstrap_servers" in (site / "project" / "config" / "minimal.yaml.html").read_text(encoding="utf-8")
