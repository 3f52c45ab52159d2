"""Tests of replays: what is counted, and that it is what the quotas, routes and settings make of it."""

from __future__ import annotations

import base64
from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from consumer.estimate.corpus import Block
from consumer.estimate.outcome import Outcome
from consumer.estimate.replay import World, replay
from tests.estimate.world import configured, corpus, event, replayed


if TYPE_CHECKING:
    from collections.abc import Sequence


PLAIN = {"routes": [{"name": "all", "services": ["ugc_moderation_byllm"]}]}
RECORDED = World("recorded")


def texts(count: int) -> list[bytes | None]:
    return [event(number, f"text number {number}") for number in range(count)]


def test_a_backlog_takes_as_long_as_the_quota_lets_it() -> None:
    """With a limit of 10 calls in 1.03 s, 200 texts take 20 s, and not a second of real time is waited."""
    found = replayed(texts(200), configured(**PLAIN, quota={"text_per_second": 10}))
    assert found.seconds == pytest.approx(200 / 10 * 1.03, abs=1.1)
    assert found.units == 200
    assert found.money == {"CNY": Decimal("0.4")}
    assert found.calls == {("TextModerationPlus", "ugc_moderation_byllm"): 200}
    assert found.tokens == {"text": 200}
    assert (found.records, sum(found.routes.values())) == (200, 200)


def test_recorded_events_come_in_their_own_time() -> None:
    """Spread over ten minutes they take ten minutes, wait for nothing, and are paid for in their own minutes."""
    seconds = [3.0 * number for number in range(200)]
    found = replayed(texts(200), configured(**PLAIN, quota={"text_per_second": 10}), RECORDED, seconds=seconds)
    assert found.seconds == pytest.approx(597, abs=2)
    assert max(found.wait_seconds) < 1
    assert len(found.requests) in (10, 11)
    assert set(list(found.requests.values())[1:-1]) == {20}


def test_recorded_events_that_the_quota_cannot_keep_up_with_wait() -> None:
    """Three times as many as the limit allows wait up to two thirds of the time."""
    seconds = [number / 30 for number in range(300)]
    found = replayed(texts(300), configured(**PLAIN, quota={"text_per_second": 10}), RECORDED, seconds=seconds)
    assert max(found.wait_seconds) == pytest.approx(300 * 1.03 / 10 - 10, abs=2)


def test_what_is_remembered_is_forgotten_in_time() -> None:
    """The same text is paid for once within the life of the cache, and again after it."""
    settings = configured(**PLAIN, cache={"seconds": 60})
    seconds = [0.0, 30.0, 90.0]
    found = replayed([event(number) for number in range(3)], settings, RECORDED, seconds=seconds)
    assert found.units == 2
    assert found.sources == Counter(service=2, cache=1)


def test_dead_letters_are_told_with_the_first_of_them() -> None:
    """Each stage and reason counts its records, and names the first; a hold for too many is foreseen."""
    values = [b"no JSON", event(1), b"{}", b'{"x": 1}', event(2, ""), event(3, kind="video"), event(4)]
    settings = configured(**PLAIN, dead_letters={"max_in_a_row": 2})
    found = replayed(values, settings)
    assert {at: (letters.count, letters.number) for at, letters in found.letters.items()} == {
        ("decode", "malformed"): (1, 0),
        ("map", "mapping"): (2, 2),
        ("map", "unsupported_kind"): (1, 5),
        ("route", "nothing_to_judge"): (1, 4),
    }
    assert "id: nothing" in found.letters["map", "mapping"].said
    assert "the last 2 events" in found.held
    assert sum(found.routes.values()) == 2


def test_no_route_is_a_dead_letter() -> None:
    """An event that no route takes is told as such."""
    routes = [{"name": "posts", "services": ["ugc_moderation_byllm"], "when": {"kind": ["post"]}}]
    found = replayed([event(1)], configured(routes=routes))
    assert list(found.letters) == [("route", "no_route")]
    assert found.costs == {}


def test_null_values_are_skipped_or_not_as_configured() -> None:
    """A record without a value is skipped and counted, or a dead letter."""
    values = [None, event(1), None]
    assert replayed(values, configured(**PLAIN)).skipped == 2
    letters = replayed(values, configured(**PLAIN, delivery={"on_null": "dead_letter"}))
    assert letters.letters["decode", "malformed"].count == 2


def test_local_images_are_checked_and_uploaded_in_no_time() -> None:
    """A picture that no service would take is a dead letter; another one is judged and billed."""
    png = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x40\x00\x00\x00\x40\x08\x02\x00\x00\x00" + bytes(64)
    images = [[{"content": base64.b64encode(content).decode()}] for content in (png, b"no picture")]
    settings = configured(routes=[{"name": "images", "services": ["baselineCheck"]}])
    found = replayed([event(number, "", images=one) for number, one in enumerate(images)], settings)
    assert found.units == 1
    assert [letters.count for letters in found.letters.values()] == [1]


def test_threads_share_calls_and_their_bill() -> None:
    """The comments of a post that come together are one task, billed once to their route."""
    values = [event("p", kind="post", thread="p", title="title")]
    values += [event(number, f"comment {number}", kind="comment", thread="p") for number in range(30)]
    found = replayed(values, configured())
    assert found.units == 1
    assert found.sources == Counter(thread=31)
    assert {at.route for at in found.costs} == {"threads"}
    assert found.calls["DescribeMultimodalModerationResult", ""] == 1


def test_events_past_their_deadline_cost_nothing() -> None:
    """Of a backlog, what is too old for its route goes unjudged to people, and is counted as late."""
    routes = [{"name": "chat", "services": ["ugc_moderation_byllm"], "deadline_seconds": 60}]
    seconds = [0.0, 100.0, 190.0, 200.0]
    values = texts(4)
    found = replayed(values, configured(routes=routes), seconds=seconds)
    assert found.late == 2
    assert found.units == 2


def test_replicas_that_share_have_a_cache_each_and_the_quota_together() -> None:
    """The same text in every partition is paid for by each replica, and the limit holds for all of them."""
    kafka = {"scale": "share"}
    repeated: list[bytes | None] = [event(number, f"text {number // 4}") for number in range(800)]
    settings = configured(**PLAIN, kafka=kafka, quota={"text_per_second": 20})
    outcomes = {
        replicas: replayed(repeated, settings, World(replicas=replicas), partitions=4) for replicas in (1, 2, 4, 8)
    }
    assert {replicas: found.units for replicas, found in outcomes.items()} == {1: 200, 2: 400, 4: 800, 8: 800}
    assert outcomes[4].seconds == pytest.approx(800 / 20 * 1.03, rel=0.1)


def test_only_a_part_of_a_block_is_counted() -> None:
    """What comes before it is known already, and what it says itself is counted once, with its events."""
    values: Sequence[bytes | None] = [event(number, f"text {number % 50}") for number in range(200)]
    settings = configured(**PLAIN)
    cold = replayed(values, settings, block=Block(100, 100, 100, 150, 150))
    warm = replayed(values, settings, block=Block(50, 50, 100, 150, 200))
    fresh = replayed(texts(200), settings, block=Block(50, 50, 100, 150, 200))
    assert (cold.records, warm.records, fresh.records) == (50, 50, 50)
    assert sum(warm.routes.values()) == 50
    assert (cold.units, warm.units, fresh.units) == (50, 0, 50)
    assert sum(fresh.calls.values()) == pytest.approx(50)
    assert fresh.tokens["text"] == pytest.approx(50)


def test_outcomes_of_blocks_add_up() -> None:
    """Two blocks together are what one replay of both would count, where they have nothing in common."""
    values = [*texts(40), b"no JSON", None]
    settings = configured(**PLAIN)
    whole = replayed(values, settings)
    both = Outcome()
    for block in (Block(0, 0, 0, 20, 20), Block(20, 20, 20, 42, 42)):
        both.plus(replayed(values, settings, block=block))
    assert both.money == whole.money
    assert both.routes == whole.routes
    assert (both.records, both.skipped) == (whole.records, whole.skipped) == (42, 1)
    assert {at: one.count for at, one in both.letters.items()} == {at: one.count for at, one in whole.letters.items()}
    assert sum(both.requests.values()) == 40


def test_progress_is_told_to_the_end() -> None:
    """Whoever shows it hears of all records, some hundreds at a time."""
    told: list[int] = []
    with corpus(texts(1200)) as records:
        replay(records, Block.whole(1200), configured(**PLAIN), World(), tell=told.append)
    assert sum(told) == 1200
    assert len(told) > 1
