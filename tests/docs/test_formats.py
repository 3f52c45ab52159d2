"""The page about formats: its configurations are whole, and are taken."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from consumer.settings import load
from tests.intake.test_platforms import PLATFORMS


if TYPE_CHECKING:
    from collections.abc import Mapping


PAGE = (Path(__file__).parents[2] / "docs" / "formats.md").read_text(encoding="utf-8")
SECTIONS = (part.partition("\n")[::2] for part in PAGE.split("\n## ")[1:])
SHOWN = [(title, shown) for title, text in SECTIONS for shown in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)]


def test_each_format_is_shown() -> None:
    """There is a configuration for each of the five platforms, for a registry, and for topics that differ."""
    assert [title for title, _ in SHOWN] == [
        "Nested JSON",
        "CloudEvents",
        "Debezium",
        "Avro",
        "Protobuf",
        "The schema registry",
        "Topics that differ",
    ]


@pytest.mark.parametrize(("title", "shown"), SHOWN, ids=[title for title, _ in SHOWN])
def test_what_is_shown_is_taken(title: str, shown: str, tmp_path: Path) -> None:
    """Each configuration on the page is taken as it is, beside the brokers and the service."""
    secret, path = tmp_path / "registry", tmp_path / "config.yaml"
    secret.write_text("secret", encoding="utf-8")
    path.write_text(shown.replace("/run/secrets/registry", str(secret)), encoding="utf-8")
    topics: Mapping[str, str] = {"MODERATION__KAFKA__TOPICS": "ugc,chat"}
    settings = load([PLATFORMS / "base.yaml", path], topics).settings
    assert settings.mapping.id != "id" or title in {"CloudEvents", "The schema registry"}
