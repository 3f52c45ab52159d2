"""Tests of when tasks are asked for."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.moderation.tasks.schedule import PollTimes
from consumer.settings.models import Tasks


PLAIN = PollTimes.of(Tasks(), callbacks=False)


def test_by_default_it_is_as_the_page_says() -> None:
    """The first query comes after 30 s, then one every 30 s, for 24 hours."""
    assert PollTimes(30.0, 30.0, 86_400.0) == PLAIN


def test_under_callbacks_polls_are_half_as_often() -> None:
    """With callbacks the interval is doubled, and the first poll waits for it too, unless it waits longer anyway."""
    assert PollTimes.of(Tasks(), callbacks=True) == PollTimes(60.0, 60.0, 86_400.0)
    assert PollTimes.of(Tasks(first_poll_seconds=200), callbacks=True) == PollTimes(200.0, 60.0, 86_400.0)


@given(st.floats(0.001, 1e6))
def test_a_first_poll_still_to_come_is_kept(ahead: float) -> None:
    """A task found again before its first poll is asked for when it would have been, or in a first poll's time."""
    assert PLAIN.found_again(1e9 + ahead, 1e9) == pytest.approx(min(ahead, 30.0), abs=1e-3)


@given(st.floats(0, 1e6))
def test_a_task_that_may_just_have_been_asked_for_waits_a_whole_interval(age: float) -> None:
    """Whenever the earlier process asked last, the next query is at least one interval later, and at most two."""
    assert 30.0 <= PLAIN.found_again(1e9 - age, 1e9) <= 60.0


def test_tasks_come_back_as_spread_as_they_were() -> None:
    """300 tasks submitted over half a minute are asked for over half a minute after a restart, not at once."""
    waits = sorted(PLAIN.found_again(1e9 + n / 10, 1e9 + 500) for n in range(300))
    gaps = [later - earlier for earlier, later in itertools.pairwise(waits)]
    assert max(gaps) < 0.11
    assert min(gaps) > 0.09


@given(st.integers(1, 10_000))
def test_a_failed_query_is_repeated_soon_but_not_at_once(failures: int) -> None:
    """After a query without an answer it is asked again after 2 s, later after longer, at most after the interval."""
    assert 2.0 <= PLAIN.repeat(failures) <= PLAIN.repeat(failures + 1) <= 30.0
    assert PLAIN.repeat(1) == 2.0


def test_a_task_is_asked_for_at_least_once_before_it_is_given_up() -> None:
    """A task found again after its deadline has time for one query and its answer."""
    assert PLAIN.patience(1e9, 1e9 + 100, 30.0) == 86_300.0
    assert PLAIN.patience(1e9, 1e9 + 90_000, 42.0) == 72.0
