"""Tests of the page on saving money: its tables are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from consumer.batching.normal import INVISIBLE, JOINERS, MARKS, WIDTHS
from consumer.settings import load
from consumer.settings.models import Cache


PAGE = (Path(__file__).resolve().parents[2] / "docs" / "savings.md").read_text(encoding="utf-8")
TABLE = re.compile(r"^\| U\+([0-9A-F]{4,5}) \| (.+) \|$", re.MULTILINE)


def test_every_character_of_normalisation_is_told() -> None:
    """The page lists each character that counts for nothing, or as another, and no other."""
    forms = {"a space": " "}
    told = {chr(int(code, 16)): forms.get(name, name.strip("`")) for code, name in TABLE.findall(PAGE)}
    assert told == {**INVISIBLE, **JOINERS, **WIDTHS}


def test_every_mark_is_told() -> None:
    """The page lists the punctuation marks that count three times at most, each once."""
    marks = next(line for line in PAGE.splitlines() if line.startswith("    ! ?"))
    assert sorted(marks.split()) == sorted(MARKS)


def test_the_defaults_are_told() -> None:
    """The page shows the section with the values it has by itself."""
    shown = dict(re.findall(r"^  (\w+): (\S+)", PAGE.split("```")[1], re.MULTILINE))
    default = Cache()
    assert float(shown["seconds"]) == default.seconds
    assert int(shown["max_bytes"]) == default.max_bytes
    assert (shown["image_urls"], shown["normalize"]) == ("false", "[]")
    assert not default.image_urls
    assert default.normalize == []


@pytest.mark.parametrize("mode", ["off", "shadow", "on"])
def test_modes_need_no_quotes(mode: str, tmp_path: Path) -> None:
    """`packed.mode` is written as the page has it, though YAML takes two of its words for switches."""
    config = tmp_path / "config.yaml"
    config.write_text(
        "kafka: {bootstrap_servers: [broker:9092], topics: [ugc], group_id: moderation, start: latest}\n"
        "moderation: {region: ap-southeast-1, credentials: {access_key_id: testid, access_key_secret: testsecret}}\n"
        f"packed:\n  mode: {mode}\n",
        encoding="utf-8",
    )
    assert load([str(config)], {}).settings.packed.mode == mode
