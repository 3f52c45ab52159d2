"""Tests of what is known when a block of a sample begins: it has to be what a longer replay would know."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from consumer.estimate.corpus import Block
from consumer.estimate.recollecting import Recollection, recollections
from consumer.estimate.replay import World, replay
from tests.estimate.world import configured, corpus, event


if TYPE_CHECKING:
    from collections.abc import Sequence

    from consumer.settings import Settings


def plain(**sections: Any) -> Settings:
    routes = [{"name": "all", "services": ["ugc_moderation_byllm"], "when": {"has_images": False}}]
    return configured(**{"routes": routes, "cache": {"seconds": 100}, **sections})


def found(
    values: Sequence[bytes | None],
    start: int,
    *,
    gap_seconds: float = 1.0,
    settings: Settings | None = None,
    partitions: int = 1,
    replicas: int = 1,
) -> list[Recollection]:
    """What is known at the record of this number, where they come so many seconds apart."""
    seconds = [gap_seconds * number for number in range(len(values))]
    with corpus(values, seconds=seconds, partitions=partitions) as records:
        block = Block(0, start, start, len(values), len(values))
        return recollections(records, block, settings or plain(), replicas=replicas)


def ages(known: list[Recollection]) -> dict[str, float]:
    return {one.call.content: one.age_seconds for one in known}


def test_what_was_said_within_the_life_of_the_cache_is_known() -> None:
    """Each content is as old as its judgement, not as its last copy, and what is older than its life is forgotten."""
    values = [event(number, "again" if number % 10 == 0 else f"text {number}") for number in range(91)]
    known = ages(found(values, 90))
    assert known["again"] == 90
    assert known["text 89"] == 1
    assert len(known) == 82
    old = ages(found(values, 90, gap_seconds=2.0))
    assert min(number for number in range(90) if f"text {number}" in old) == 41, "99 s and younger"


def test_what_is_said_all_the_time_is_forgotten_at_all_times() -> None:
    """Contents that come again and again are known since times that are spread over the life of the cache."""
    values = [event(number, f"text {number % 100}") for number in range(4001)]
    known = sorted(ages(found(values, 4000, gap_seconds=0.1, settings=plain(cache={"seconds": 100}))).values())
    assert len(known) == 100
    assert [sum(low <= age < low + 25 for age in known) >= 10 for low in (0, 25, 50, 75)] == [True] * 4


def test_only_what_would_be_called_about_is_known() -> None:
    """Dead letters, null values, what no route takes, and what tasks judge leave nothing behind."""
    values = [b"no JSON", None, b"{}", event(1, "", images=["https://x/1.jpg"]), event(2, "known"), event(3)]
    assert list(ages(found(values, 5))) == ["known"]
    tasks = configured(cache={"seconds": 100})
    posts = [event(1, "a post", kind="post", thread="1"), event(2, "a message"), event(3)]
    assert list(ages(found(posts, 2, settings=tasks))) == ["a message"]


def test_each_replica_knows_what_it_read() -> None:
    """With `share`, what one replica has judged is not known to another."""
    settings = plain(kafka={"scale": "share"})
    values = [event(number, f"text {number // 2}") for number in range(44)]
    known = found(values, 40, settings=settings, partitions=2, replicas=2)
    assert len(known) == 40
    assert {one.replica for one in known} == {0, 1}


def test_a_block_with_its_past_costs_what_it_costs_in_the_whole() -> None:
    """A block that begins with what is known pays for the same texts as a replay of all that came before it."""
    values = [event(number, f"text {number * number % 331}") for number in range(1500)]
    settings = plain(quota={"text_per_second": 50})
    with corpus(values, seconds=[number / 20 for number in range(len(values))]) as records:
        short = Block(0, 900, 1000, 1500, 1500)
        world = World("recorded")
        whole = replay(records, Block(0, 0, 1000, 1500, 1500), settings, world)
        known = recollections(records, short, settings, replicas=1)
        with_past = replay(records, short, settings, world, known=known)
        without = replay(records, short, settings, world)
    assert with_past.units == pytest.approx(whole.units, abs=3)
    assert without.units > 2 * whole.units + 20
