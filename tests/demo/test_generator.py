"""The invented platform: seeded, lifelike, and right about what should become of each record."""

from __future__ import annotations

from collections import Counter
from itertools import islice, takewhile
from typing import TYPE_CHECKING

import pytest

from consumer.demo.generator import Generator, Sample, timeline
from consumer.demo.phrases import LANGUAGES, NICKNAMES, VIRAL, Language
from consumer.demo.spoilt import SPOILT
from consumer.errors import RecordError
from consumer.intake import Intake
from consumer.moderation.protocol.requests import calls, text_of
from consumer.moderation.protocol.services import KNOWN, default_routes
from consumer.record import Partition, Record
from consumer.routing import Router
from consumer.settings.models import Mapping
from consumer.simulator import truth


if TYPE_CHECKING:
    from consumer.simulator.words import Level


RANKS: tuple[Level, ...] = ("none", "low", "medium", "high")


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    generator = Generator(11)
    return [generator.sample() for _ in range(6000)]


def fate(sample: Sample) -> str:
    """What the consumer's own parts make of a record before anything is sent: `judged`, or the stage it fails at."""
    record = Record(Partition("t", 0), 0, 0, sample.key, sample.value, sample.headers)
    try:
        event = Intake(Mapping()).event(record)
        route = Router(default_routes(None)).route(event, "t")
        assert route is not None
        calls(event, [KNOWN[name] for name in route.services])
    except RecordError as error:
        return error.stage
    unusable = any(truth.image(image.name).code != 200 for image in event.images)
    return "moderate" if unusable else "judged"


def risk(sample: Sample) -> str:
    """The riskiest of what the simulated services find in a record."""
    event = Intake(Mapping()).event(Record(Partition("t", 0), 0, 0, sample.key, sample.value, sample.headers))
    levels = [truth.text(text_of(event), "text_international").risk_level] if text_of(event) else []
    levels += [truth.image(image.name).risk_level for image in event.images]
    if event.origin == "ai":
        levels += [truth.image(image.name, "image_aigc").risk_level for image in event.images]
    return max(levels, key=RANKS.index)


def test_the_same_seed_gives_the_same_day() -> None:
    """Two runs with one seed bring the same records at the same times; another seed brings others."""
    first, again, other = (list(islice(timeline(Generator(seed), rate=50, seed=seed), 300)) for seed in (3, 3, 4))
    assert first == again
    assert first != other


def test_every_expectation_is_what_the_consumer_would_find(samples: list[Sample]) -> None:
    """A record that should be judged can be, with the risk it should have; any other fails at the stage it should."""
    for sample in samples:
        expected = sample.expectation
        if expected.outcome == "skipped":
            assert sample.value is None
        elif expected.outcome == "dead_letter":
            assert fate(sample) == expected.stage, sample
        else:
            assert (fate(sample), risk(sample)) == ("judged", expected.risk_level), sample


def test_most_content_is_clean_and_some_is_not(samples: list[Sample]) -> None:
    """A few events in a hundred are risky, of every level; one or two cannot be judged; tombstones are rare."""
    outcomes = Counter(sample.expectation.outcome for sample in samples)
    levels = Counter(sample.expectation.risk_level for sample in samples if sample.expectation.outcome == "verdict")
    assert 0.01 < outcomes["dead_letter"] / len(samples) < 0.02
    assert 0.001 < outcomes["skipped"] / len(samples) < 0.01
    assert 0.02 < 1 - levels["none"] / outcomes["verdict"] < 0.08
    assert all(levels[level] for level in RANKS)


def test_every_way_of_being_spoilt_comes_before_any_comes_again(samples: list[Sample]) -> None:
    """A short demonstration shows as many different malformed records as it can."""
    names = {way.name for way in SPOILT}
    spoilt = [sample.excerpt for sample in samples if sample.excerpt in names]
    assert set(spoilt[: len(SPOILT)]) == names


def test_all_kinds_and_languages_are_there(samples: list[Sample]) -> None:
    """Messages, comments, posts, images and profiles come in all twelve languages, some of it written by models."""
    events = [
        Intake(Mapping()).event(Record(Partition("t", 0), 0, 0, sample.key, sample.value))
        for sample in samples
        if sample.expectation.outcome == "verdict"
    ]
    assert {event.kind for event in events} == {"message", "comment", "post", "image", "profile"}
    assert {event.language for event in events} - {None} == {language.tag for language in LANGUAGES}
    assert {event.origin for event in events} == {"human", "ai"}
    assert len({event.id for event in events}) == len(events)


def test_some_texts_are_copied_around(samples: list[Sample]) -> None:
    """The most copied text comes several times as often as the least copied one."""
    seen = Counter(sample.excerpt for sample in samples)
    assert seen[VIRAL[0]] > 4 * seen[VIRAL[-1]] > 0


def test_a_stream_goes_live() -> None:
    """Within the first seconds one second brings about five times as many events as usual, nearly all in one stream."""
    first = list(takewhile(lambda one: one[0] < 12, timeline(Generator(1), rate=50, seed=1)))
    by_tenth = Counter(int(at * 10) for at, _ in first)
    busiest = max(range(40, 70), key=lambda tenth: sum(by_tenth[tenth + step] for step in range(10)))
    live = [sample for at, sample in first if busiest <= at * 10 < busiest + 10]
    assert len(live) > 3 * (len(first) - len(live)) / 11
    assert Counter(sample.key for sample in live).most_common(1)[0][1] > len(live) / 2


@pytest.mark.parametrize("language", LANGUAGES, ids=lambda language: language.tag)
def test_clean_phrases_are_clean_and_risky_ones_need_their_word(language: Language) -> None:
    """No phrase of the list is risky by accident."""
    posts = [f"{post.title}\n{post.text}" for post in language.posts]
    risky = [phrase.format(word="…") for phrase in language.risky]
    for text in (*language.messages, *language.comments, *posts, *risky, *VIRAL, *NICKNAMES):
        assert truth.text(text, "text_international").risk_level == "none", text
    assert all("{word}" in phrase for phrase in language.risky)
