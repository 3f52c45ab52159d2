"""Tests of what is drawn from a seed: faults and events."""

from __future__ import annotations

from itertools import pairwise

import pytest

from chaos.__main__ import plan
from chaos.events import MALFORMED, TAG, malformed, posted
from chaos.timeline import SESSION_SECONDS, schedule
from consumer.errors import RecordError
from consumer.intake import Intake
from consumer.record import Partition, Record
from consumer.settings.models import Mapping


SEEDS = range(300)


def test_a_seed_gives_the_same_schedule_and_the_same_events() -> None:
    """What goes wrong and what is posted depend on the seed alone, and another seed has others."""
    assert schedule(7, 15) == schedule(7, 15) != schedule(8, 15)
    assert posted(7, 5) == posted(7, 5) != posted(8, 5)


def test_every_kind_of_fault_comes_up() -> None:
    """A hundred seeds have every kind of fault, and freezes outlast the session."""
    steps = [step for seed in SEEDS[:100] for step in schedule(seed, 15)]
    assert {step.kind for step in steps} == {
        *("kill", "freeze", "stop", "join", "kill broker", "kill brokers", "fault"),
        *("cut", "delay", "black hole", "half close", "refuse"),
    }
    assert all(step.seconds > SESSION_SECONDS for step in steps if step.kind == "freeze")
    assert {step.whom for step in steps} >= {"active", "standby", "third", "everybody", "1", "2", "3"}


def test_troubles_of_one_sort_come_one_after_the_other() -> None:
    """No second process is harmed while one is, no second broker is away, and all is over soon after the end."""
    processes = {"kill", "freeze", "stop", "join"}
    for seed in SEEDS:
        steps = schedule(seed, 15)
        assert steps == sorted(steps, key=lambda step: step.at)
        assert all(step.at < 15 and step.at + step.seconds < 25 for step in steps)
        assert sum("broker" in step.kind for step in steps) <= 1
        for one, other in pairwise(step for step in steps if step.kind in processes):
            assert one.at + one.seconds < other.at


def test_events_are_a_few_hundred_with_skewed_keys() -> None:
    """Fifteen seconds have 400 to 1,800 events, of which the commonest key has more than a tenth."""
    for seed in SEEDS[:50]:
        events = posted(seed, 15)
        assert 400 <= len(events) <= 1800
        keys = [one.key for one in events]
        assert max(map(keys.count, set(keys))) > len(events) / 10
        assert 10 < len(set(keys)) <= 21
        assert all(one.tag in (one.value or b"").decode() and TAG.fullmatch(one.tag) for one in events if one.tag)


@pytest.mark.parametrize("way", MALFORMED)
def test_what_is_malformed_is_no_event(way: str) -> None:
    """The consumer's intake refuses the record, or finds nothing in it to judge."""
    record = Record(Partition("t", 0), 0, 0, None, malformed(way, 7))
    try:
        event = Intake(Mapping()).event(record)
    except RecordError:
        return
    assert not event.text.strip()
    assert not event.images


def test_twelve_seeds_have_each_promise_once() -> None:
    """Each guarantee comes with each scale and each order, unless one is chosen."""
    drawn = [plan(seed).terms for seed in range(1, 13)]
    assert len({(one.guarantee, one.scale, one.order) for one in drawn}) == 12
    assert {plan(seed, guarantee="exactly_once").terms.guarantee for seed in range(1, 13)} == {"exactly_once"}
