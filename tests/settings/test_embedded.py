"""Settings without Kafka, for those who judge events in a program of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from consumer.errors import SettingsError
from consumer.settings import load_embedded


if TYPE_CHECKING:
    from pathlib import Path


__all__: list[str] = []


KEY = {"access_key_id": "id", "access_key_secret": "secret"}
MODERATION = {"region": "cn-shanghai", "credentials": KEY}


def test_the_moderation_section_is_enough() -> None:
    """A mapping with the section `moderation` is a whole configuration; all else has its defaults."""
    settings = load_embedded({"moderation": MODERATION}, {})
    assert settings.kafka is None
    assert (settings.moderation.region, settings.policy.high, settings.quota.text_per_second) == (
        "cn-shanghai",
        "block",
        50,
    )


def test_the_sidecar_s_file_serves_too(good: str, tmp_path: Path) -> None:
    """The file of the sidecar can be used as it is, by its path or its name."""
    file = tmp_path / "config.yaml"
    file.write_text(good)
    for source in (file, str(file)):
        settings = load_embedded(source, {})
        assert settings.kafka is not None
        assert settings.kafka.group_id == "moderation"


def test_variables_win_as_for_the_sidecar() -> None:
    """The environment is read over the mapping."""
    settings = load_embedded({"moderation": MODERATION}, {"MODERATION__POLICY__HIGH": "review"})
    assert settings.policy.high == "review"


def test_faults_are_told_all_at_once() -> None:
    """What is wrong in a mapping is told like what is wrong in a file, and a section without a value is left out."""
    with pytest.raises(SettingsError) as caught:
        load_embedded(
            {
                "kafka": None,
                "moderation": {"credentials": KEY},
                "routes": [{"name": 1, "services": ("baselineCheck",)}],
            },
            {},
        )
    assert caught.value.problems == [
        "settings: moderation.region: is missing; set it, or `moderation.endpoint`",
        "settings: routes[0].name: found 1, expected text; put it in quotes to have it read as text",
    ]


def test_a_section_of_kafka_that_is_there_must_be_whole() -> None:
    """Half a section `kafka` is a fault here, too."""
    with pytest.raises(SettingsError, match=r"kafka\.bootstrap_servers: required, but not set"):
        load_embedded({"kafka": {"group_id": "g"}, "moderation": MODERATION}, {})
