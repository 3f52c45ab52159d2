"""What MkDocs is told beyond mkdocs.yml: the files outside docs/ that pages link to become pages of the site."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from mkdocs.structure.files import File, InclusionLevel


if TYPE_CHECKING:
    from collections.abc import Iterator

    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page


__all__ = ["on_config", "on_files", "on_page_markdown"]


_ROOT = Path(__file__).resolve().parents[1]
_LINK = re.compile(r"(?<=\]\()(?!\w+:|#)([^)\s#]+)")
_FENCED = re.compile(r"^( *`{3,}).*?^\1$", re.DOTALL | re.MULTILINE)
_LANGUAGES = {".json": "json", ".py": "python", ".toml": "toml", ".yaml": "yaml", ".yml": "yaml"}
_HEAD = "---\nsearch:\n  exclude: true\n---\n\n"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put all pages of a folder in the place of `folder/*` in the navigation."""
    config.nav = _expanded(config.nav)
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for each file and folder outside docs/ that a page links to, and for those that these link to."""
    found = [
        target
        for file in files.documentation_pages()
        for target in _targets(f"docs/{file.src_uri}", file.content_string)
        if not target.startswith("docs/")
    ]
    while found:
        path = found.pop()
        if (_ROOT / path).exists() and files.get_file_from_path(_place(path)) is None:
            text = _text(path)
            files.append(File.generated(config, _place(path), content=text, inclusion=InclusionLevel.NOT_IN_NAV))
            if path.endswith(".md"):
                found += [target for target in _targets(path, text) if not target.startswith("docs/")]
    return files


def on_page_markdown(markdown: str, page: Page, files: Files, **_: Any) -> str:
    """Have the links of a page lead to where their files are in the site."""
    path = _origin(page.file.src_uri)

    def moved(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(path), match[1]))
        place = _place(target)
        if files.get_file_from_path(place) is None:
            return match[1]  # MkDocs says that it leads nowhere
        return posixpath.relpath(place, posixpath.dirname(page.file.src_uri) or ".")

    return "".join(part if code else _LINK.sub(moved, part) for part, code in _parts(markdown))


def _expanded(item: Any) -> Any:
    if isinstance(item, list):
        return [_expanded(one) for one in item]
    if isinstance(item, dict):
        return {title: _expanded(one) for title, one in item.items()}
    if isinstance(item, str) and item.endswith("/*"):
        return [f"{item[:-1]}{page.name}" for page in sorted((_ROOT / "docs" / item[:-2]).glob("*.md"))]
    return item


def _targets(path: str, text: str) -> Iterator[str]:
    """Where the links of a page lead, from the top of the project."""
    for part, code in _parts(text):
        if not code:
            for link in _LINK.findall(part):
                yield posixpath.normpath(posixpath.join(posixpath.dirname(path), link))


def _parts(text: str) -> Iterator[tuple[str, bool]]:
    """The text in pieces, each with whether it is a block of code."""
    end = 0
    for match in _FENCED.finditer(text):
        yield text[end : match.start()], False
        yield match[0], True
        end = match.end()
    yield text[end:], False


def _place(path: str) -> str:
    """Where a file or folder of the project is in the site's sources."""
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    return f"project/{path}" if path.endswith(".md") else f"project/{path}.md"


def _origin(place: str) -> str:
    """The reverse of `_place` for pages."""
    return place.removeprefix("project/") if place.startswith("project/") else f"docs/{place}"


def _text(path: str) -> str:
    source = _ROOT / path
    if source.is_dir():
        names = sorted(one.name for one in source.iterdir() if not one.name.startswith((".", "__")))
        return f"{_HEAD}# {path}\n\n" + "\n".join(f"- `{name}`" for name in names) + "\n"
    text = source.read_text(encoding="utf-8")
    if path.endswith(".md"):
        return _HEAD + text
    language = _LANGUAGES.get(PurePosixPath(path).suffix, "text")
    return f"{_HEAD}# {path}\n\n````{language}\n{text.rstrip()}\n````\n"
