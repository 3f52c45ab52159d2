"""The breaker by itself: when it opens, how it tries, and when it closes."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.quota import Breaker


class HandClock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.at = 1000.0

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at

    async def sleep(self, seconds: float) -> None:
        self.at += seconds


class Watched:
    """A breaker with its clock."""

    def __init__(self, longest_pause_seconds: float = 30.0) -> None:
        self.clock = HandClock()
        self.breaker = Breaker(self.clock, longest_pause_seconds=longest_pause_seconds)

    def ended(self, *outcomes: bool, seconds: float = 0.0) -> str:
        """Calls that end like this, each so long after the one before; True is a failure."""
        for failed in outcomes:
            self.clock.at += seconds
            self.breaker.ended(failed=failed, sent_at=self.clock.at)
        return self.breaker.state


def opened() -> Watched:
    watched = Watched()
    assert watched.ended(*[True] * 20) == "open"
    watched.clock.at += 1
    return watched


@pytest.mark.parametrize("answered", [0, 1, 10, 500])
def test_it_opens_when_twenty_more_failed_than_were_answered(answered: int) -> None:
    """Nineteen more failures than answers say nothing yet, and twenty open it, of few as of many."""
    watched = Watched()
    assert watched.ended(*[False] * answered, *[True] * (answered + 19)) == "closed"
    assert watched.ended(True) == "open"


def test_only_the_last_ten_seconds_count() -> None:
    """Failures that lie further apart than that never open it, and old successes do not keep it closed."""
    assert Watched().ended(*[True] * 200, seconds=0.6) == "closed"
    assert Watched().ended(*[True] * 40, seconds=0.45) == "open"
    watched = Watched()
    watched.ended(*[False] * 1000)
    watched.clock.at += 10
    assert watched.ended(*[True] * 20) == "open"


def test_a_good_answer_opens_nothing() -> None:
    """It opens with a failure and not with an answer, even where older answers do not count any more."""
    watched = Watched()
    watched.ended(*[False] * 40)
    watched.clock.at += 5
    watched.ended(*[True] * 40)
    watched.clock.at += 6
    assert watched.ended(False) == "closed"
    assert watched.ended(True) == "open"


def test_pauses_double_up_to_the_longest() -> None:
    """Each call that fails while it is open doubles the pause before the next, up to the longest."""
    watched = opened()
    seen = [watched.breaker.pause_seconds]
    for _ in range(5):
        assert watched.ended(True) == "open"
        seen.append(watched.breaker.pause_seconds)
    assert seen == [5, 10, 20, 30, 30, 30]


def test_no_pause_is_longer_than_the_longest() -> None:
    """Where the longest pause is shorter than the first one would be, it is the first one."""
    watched = Watched(0.5)
    watched.ended(*[True] * 20)
    assert watched.breaker.pause_seconds == 0.5


def test_it_closes_after_five_good_ones() -> None:
    """The first good call makes it half open, without a pause, and the fifth closes it."""
    watched = opened()
    assert [watched.ended(False) for _ in range(5)] == ["half_open"] * 4 + ["closed"]
    assert watched.breaker.pause_seconds == 0


def test_a_failure_takes_a_good_one_back() -> None:
    """While it is half open each failure has to be made good, before it closes."""
    watched = opened()
    assert watched.ended(*[False] * 4, True) == "half_open"
    assert watched.ended(False) == "half_open"
    assert watched.ended(False) == "closed"


@pytest.mark.parametrize("good", [1, 3])
def test_as_many_failures_as_good_ones_open_it_again(good: int) -> None:
    """When no more calls were answered than failed since it was half open it opens, with the first pause."""
    watched = opened()
    watched.ended(True, True)
    assert watched.ended(*[False] * good, *[True] * (good - 1)) == "half_open"
    assert (watched.ended(True), watched.breaker.pause_seconds) == ("open", 5)
    assert watched.ended(*[False] * 4) == "half_open"
    assert watched.ended(False) == "closed"


def test_calls_from_before_say_nothing() -> None:
    """What was sent before it opened neither closes it nor lengthens the pause, and is no news."""
    watched = opened()
    before = watched.clock.at - 2
    for failed in (True, False) * 10:
        assert not watched.breaker.ended(failed=failed, sent_at=before)
    assert (watched.breaker.state, watched.breaker.pause_seconds) == ("open", 5)
    watched.ended(*[False] * 5)
    for _ in range(100):
        watched.breaker.ended(failed=True, sent_at=watched.clock.at - 0.5)
    assert watched.breaker.state == "closed"


def test_it_begins_anew_when_it_has_closed() -> None:
    """The failures that opened it are forgotten: twenty new answers are needed to open it again."""
    watched = opened()
    watched.ended(*[False] * 5)
    assert watched.ended(*[True] * 19) == "closed"
    assert watched.ended(True) == "open"


@settings(deadline=None, max_examples=200)
@given(share=st.floats(0.4, 0.9), gap_seconds=st.sampled_from([0.05, 0.2, 0.4, 0.8]), seed=st.integers(0, 999))
def test_it_opens_exactly_when_it_says(share: float, gap_seconds: float, seed: int) -> None:
    """For any sequence of outcomes it opens with the first failure that makes twenty more within ten seconds."""
    chance = random.Random(seed)
    watched = Watched()
    seen: list[tuple[int, bool]] = []
    for _ in range(100):
        failed = chance.random() < share
        state = watched.ended(failed, seconds=chance.uniform(0, 2 * gap_seconds))
        second = int(watched.clock.at)
        seen.append((second, failed))
        recent = [one for at, one in seen if at > second - 10]
        expected = failed and 2 * sum(recent) - len(recent) >= 20
        assert (state == "open") == expected
        if expected:
            return


@pytest.mark.parametrize("each_second", [2, 5, 10, 50])
def test_a_steady_third_of_failures_never_opens_it(each_second: int) -> None:
    """A service that fails on 30 % of its calls for hours is never held by chance, at any rate of calls."""
    chance = random.Random(each_second)
    watched = Watched()
    for _ in range(min(200_000, 36_000 * each_second)):
        assert watched.ended(chance.random() < 0.3, seconds=chance.expovariate(each_second)) == "closed"
