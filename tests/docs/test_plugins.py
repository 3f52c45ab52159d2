"""The pages on plugins: their modules are imported, their configurations loaded, and their examples run."""

from __future__ import annotations

import doctest
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from consumer.errors import SettingsError
from consumer.plugins import CodecFunction, MappingFunction, PolicyFunction, RuleFunction
from consumer.settings import load_embedded


if TYPE_CHECKING:
    from collections.abc import Iterator


__all__: list[str] = []


DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = ["plugins-mapping", "plugins-rule", "plugins-policy", "plugins-codec"]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
MODERATION = {
    "region": "ap-southeast-1",
    "credentials": {"access_key_id": "testid", "access_key_secret": "testsecret"},
}


def blocks(page: str, language: str) -> list[str]:
    """The page's blocks of code in this language; of Python only those that are files."""
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    return [code for name, code in BLOCK.findall(text) if name == language and not code.startswith(">>>")]


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where a page's `acme.py` is to be put, to be imported from there."""
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path / "acme.py"
    sys.modules.pop("acme", None)


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_shows_works(page: str, module: Path) -> None:
    """The file of the page has the functions that its configurations name, and they do what its examples say."""
    [code] = blocks(page, "python")
    module.write_text(code, encoding="utf-8")
    configurations = blocks(page, "yaml")
    assert configurations
    for configuration in configurations:
        assert "acme:" in configuration
        load_embedded({**yaml.safe_load(configuration), "moderation": MODERATION}, {})
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    examples = doctest.DocTestParser().get_doctest(text, {}, page, page, 0)
    result = doctest.DocTestRunner(optionflags=doctest.REPORT_NDIFF).run(examples)
    assert result.attempted >= 2
    assert result.failed == 0


def test_the_error_on_the_page_is_what_is_said(module: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A typo in the page's configuration is answered with the page's line."""
    module.write_text(blocks("plugins-mapping", "python")[0], encoding="utf-8")
    [configuration], [said] = blocks("plugins", "yaml"), blocks("plugins", "text")
    monkeypatch.chdir(module.parent)
    text = configuration.replace("to_event", "to_evnt") + f"moderation: {MODERATION}\n"
    Path("config.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        load_embedded("config.yaml", {})
    assert caught.value.problems == [said.strip()]


@pytest.mark.parametrize(
    ("kind", "protocol"),
    [
        ("mapping", MappingFunction),
        ("rule", RuleFunction),
        ("policy", PolicyFunction),
        ("codec", CodecFunction),
    ],
)
def test_the_table_tells_how_each_kind_is_called(kind: str, protocol: type) -> None:
    """The overview has a line for each kind, with the arguments of its protocol, and names the entry points' groups."""
    page = (DOCS / "plugins.md").read_text(encoding="utf-8")
    [line] = [line for line in page.splitlines() if line.startswith(f"| [{kind}]")]
    arguments = protocol.__call__.__code__.co_varnames[1 : protocol.__call__.__code__.co_argcount]
    assert f"`({', '.join(arguments)})`" in line
    assert f"`{protocol.__name__}`" in page
    assert f".{kind}`" in page
