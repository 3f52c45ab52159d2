"""Tests of what is tried to save, and that each variant is that saving and no other."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import pytest

from benchmarks.corpora import as_record, chat
from consumer.estimate.corpus import Block
from consumer.estimate.jobs import Replay, run_all
from consumer.estimate.outcome import Outcome
from consumer.estimate.replay import World
from consumer.estimate.savings import AS_CONFIGURED, variants
from tests.estimate.world import configured, corpus, event, replayed


if TYPE_CHECKING:
    from typing import Any

    from consumer.settings import Settings


TEXT = {"routes": [{"name": "all", "services": ["ugc_moderation_byllm"]}]}


def names(settings: Settings, *calls: tuple[str, str]) -> list[str]:
    return [one.name for one in variants(settings, Outcome(calls=dict.fromkeys(calls, 1.0)), risk=0.02)]


TEXTS = ("TextModerationPlus", "ugc_moderation_byllm")
PRO = ("TextModerationPlus", "ugc_moderation_byllm_pro")
IMAGES = ("ImageModeration", "baselineCheck")
POSTS = ("MultimodalAsyncModeration", "post_text_image_detection")
PROFILES = ("MultimodalAsyncModeration", "profile_text_image_detection")


@pytest.mark.parametrize(
    ("sections", "calls", "expected"),
    [
        (
            {},
            [TEXTS, IMAGES, POSTS],
            [
                "without any saving",
                "without the cache",
                "without threads together",
                AS_CONFIGURED,
                "texts normalised, too",
                "images by URL, too",
                "threads waiting up to 10 s",
                "texts packed, too",
                "all of these",
            ],
        ),
        (
            {"cache": {"normalize": ["unicode", "invisible", "repeats"]}},
            [TEXTS],
            ["without any saving", "without the cache", AS_CONFIGURED, "texts packed, too"],
        ),
        ({"cache": {"seconds": 0}}, [TEXTS], ["without any saving", AS_CONFIGURED, "texts packed, too"]),
        ({}, [PRO], ["without any saving", "without the cache", AS_CONFIGURED, "texts normalised, too"]),
        ({}, [IMAGES], ["without any saving", AS_CONFIGURED, "images by URL, too"]),
        (
            {"cache": {"image_urls": True}},
            [IMAGES],
            ["without any saving", "without the cache", AS_CONFIGURED],
        ),
        ({}, [PROFILES], ["without any saving", AS_CONFIGURED]),
        (
            {"threads": {"max_age_seconds": 20}},
            [POSTS],
            ["without any saving", "without threads together", AS_CONFIGURED],
        ),
    ],
)
def test_only_what_can_save_is_tried(
    sections: dict[str, Any], calls: list[tuple[str, str]], expected: list[str]
) -> None:
    """There is a row for each saving that the services called and the settings allow, and none for others."""
    assert names(configured(**sections), *calls) == expected


def test_each_saving_saves_what_it_should() -> None:
    """Of a chat, each saving that is taken away costs, and each that is added costs nothing or saves."""
    settings = configured()
    values = [as_record(posted.event) for posted in islice(chat(3), 900)]
    seen = replayed(values, settings)
    block = Block.whole(len(values))
    with corpus(values) as records:
        tried = list(variants(settings, seen, risk=0.02))
        jobs = [Replay(block, one.settings, World(evidence=one.evidence)) for one in tried]
        found = dict(zip((one.name for one in tried), run_all(records, jobs, workers=2), strict=True))
    units = {name: outcome.units for name, outcome in found.items()}
    now = units[AS_CONFIGURED]
    assert now == seen.units
    assert units["without any saving"] > units["without the cache"] > now
    assert units["without any saving"] > units["without threads together"] > now
    assert units["texts packed, too"] < 0.6 * now, "what was measured is enough for texts to be packed at once"
    assert units["all of these"] < 0.6 * now
    assert found["texts packed, too"].sources["packed"] > 100


def test_packing_that_was_not_measured_is_measured_first() -> None:
    """A new group that is told to pack judges a sample both ways and packs nothing: it costs more, at first."""
    values = [event(number, f"text number {number}") for number in range(800)]
    off = replayed(values, configured(**TEXT))
    on = replayed(values, configured(**TEXT, packed={"mode": "on", "sample": 0.5}))
    assert on.sources["packed"] == 0
    assert on.units > off.units == 800
    part = replayed(values, configured(**TEXT, packed={"mode": "on", "sample": 0.5}), block=Block(0, 0, 400, 800, 800))
    assert 400 < part.units < on.units, "what no verdict carries is counted, too"


def test_jobs_side_by_side_are_those_one_after_the_other() -> None:
    """Several processes come to the same as one, and all progress is told."""
    values = [event(number, f"text number {number % 70}") for number in range(300)]
    settings = configured(**TEXT)
    told: list[int] = []
    with corpus(values) as records:
        jobs = [Replay(Block(at, at, at, at + 100, at + 100), settings, World()) for at in (0, 100, 200)]
        alone = run_all(records, jobs, workers=1)
        beside = run_all(records, jobs, workers=2, tell=told.append)
    assert alone == beside
    assert sum(told) == 300
