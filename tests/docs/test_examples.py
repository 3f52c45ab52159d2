"""The configurations on the pages: each is taken by the program as it stands."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from consumer.errors import SettingsError
from consumer.settings import load
from tests.docs.pages import PAGES, ROOT, Block, blocks, name_of


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


__all__: list[str] = []


KEYS = {f"MODERATION__MODERATION__CREDENTIALS__ACCESS_KEY_{name}": f"test{name.lower()}" for name in ("ID", "SECRET")}
OMITTED = """\
kafka: {{bootstrap_servers: [localhost:9092], topics: [{topics}], group_id: moderation, start: latest}}
moderation: {{region: {region}}}
"""
SECRETS = {
    "sasl_username": "MODERATION__KAFKA__SECURITY__SASL_PASSWORD",
    "oauth_client_id": "MODERATION__KAFKA__SECURITY__OAUTH_CLIENT_SECRET",
}
"""Which secret the environment has to give where an example names this key."""
OTHERS = ("apiVersion", "config", "{{", "moderation-consumer", "tests", "rrsa", "secretConfig")
"""How YAML begins that is no configuration of the program: manifests, values of the chart, cases."""
PLUGINS = "acme"
"""What the pages' plugins are called; tests/docs/test_plugins.py has them."""


def configurations() -> Iterator[Block]:
    """The blocks of YAML that are configurations, whole or in part."""
    for page in PAGES:
        for block in blocks(page):
            if block.language == "yaml" and PLUGINS not in block.text:
                text = re.sub(r"^#.*\n", "", block.text, flags=re.MULTILINE)
                if not text.startswith(OTHERS):
                    yield block


@pytest.mark.parametrize("block", list(configurations()), ids=str)
def test_a_configuration_on_a_page_can_be_used(block: Block, tmp_path: Path) -> None:
    """Each example is taken without a fault where what it leaves out is said elsewhere, in one region or the other."""
    (tmp_path / "secret").write_text("a secret of more than sixteen characters", encoding="utf-8")
    text = re.sub(r"\b(\w*(?:secret|password)_file): [^\s#,}]+", rf"\1: {tmp_path / 'secret'}", block.text)
    (tmp_path / "config.yaml").write_text(text, encoding="utf-8")
    named = {variable: "test" for key, variable in SECRETS.items() if f"{key}:" in text}
    if "password_file:" in text:
        named.pop(SECRETS["sasl_username"], None)
    topics = ", ".join(["ugc.events", *re.findall(r"^    ([\w.-]+):(?= \{)", text, re.MULTILINE)])
    problems = [refused(tmp_path, region, topics, {**KEYS, **named}) for region in ("ap-southeast-1", "cn-shanghai")]
    assert [] in problems, problems[0]


def refused(folder: Path, region: str, topics: str, environ: dict[str, str]) -> list[str]:
    """What is wrong with a configuration in this region."""
    (folder / "omitted.yaml").write_text(OMITTED.format(region=region, topics=topics), encoding="utf-8")
    try:
        load([str(folder / "omitted.yaml"), str(folder / "config.yaml")], environ)
    except SettingsError as error:
        return error.problems
    return []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_json_on_a_page_is_json(page: Path) -> None:
    """Each block of JSON can be read, by itself or line by line."""
    for block in blocks(page):
        if block.language == "json" and "…" not in block.text:
            try:
                json.loads(block.text)
            except ValueError:
                assert [json.loads(line) for line in block.text.splitlines() if line], str(block)


def test_there_are_examples_on_the_pages() -> None:
    """The pages have many configurations, and none is passed over for how it begins."""
    found = list(configurations())
    assert len(found) > 40
    assert {name_of(block.page) for block in found} > {"README.md", "docs/configuration.md", "docs/formats.md"}
    assert (ROOT / "tests" / "docs" / "test_plugins.py").exists()
