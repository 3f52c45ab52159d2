"""The limits of dead letters: after how many in a row, and from which share on, a deployment is taken for broken."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.engine.letter_limit import LetterLimit


__all__: list[str] = []


EVENTS = st.lists(st.booleans(), max_size=300)


def test_one_more_in_a_row_than_allowed() -> None:
    """So many in a row are taken, one more is not, and a verdict in between starts the count anew."""
    limit = LetterLimit(3, None, 1000)
    assert [limit.failed() for _ in range(3)] == [False, False, False]
    limit.passed()
    assert [limit.failed() for _ in range(5)] == [False, False, False, True, True]
    assert limit.why.startswith("the last 3 events all became dead letters")
    assert limit.why.endswith("or raise dead_letters.max_in_a_row, and start it anew")
    limit.passed()
    assert limit.why == ""
    assert not limit.failed()


def test_share_of_the_last_events() -> None:
    """A tenth of the last 20 may fail: a third failure is refused until one of the two before is 20 events ago."""
    limit = LetterLimit(None, 0.1, 20)
    assert [limit.failed(), limit.failed(), limit.failed()] == [False, False, True]
    assert limit.why.startswith("more than 10.00% of the last 20 events became dead letters")
    assert limit.why.endswith("or raise dead_letters.max_share, and start it anew")
    for _ in range(17):
        limit.passed()
        assert limit.failed()
    limit.passed()
    assert [limit.failed(), limit.failed(), limit.failed()] == [False, False, True]


def test_refused_verdicts_in_a_row() -> None:
    """So many verdicts in a row may be refused, one more is not written, and one that is taken begins the row anew."""
    limit = LetterLimit(3, None, 1000)
    for _ in range(5):
        limit.passed()
    assert [limit.refused() for _ in range(3)] == [False, False, False]
    limit.taken()
    assert [limit.refused() for _ in range(5)] == [False, False, False, True, True]
    assert limit.why.startswith("the brokers have refused the last 3 verdicts, which became dead letters")
    assert limit.why.endswith("or raise dead_letters.max_in_a_row, and start it anew")
    # A record that cannot be judged is no verdict that is refused.
    assert not limit.failed()


def test_a_refused_verdict_takes_the_place_of_one_that_was_counted() -> None:
    """For the share an event counts once, and leaves the last events when its verdict would have."""
    limit = LetterLimit(None, 0.1, 20)
    for _ in range(20):
        limit.passed()
    assert [limit.refused(), limit.refused(), limit.refused()] == [False, False, True]
    for _ in range(18):
        limit.passed()
        assert limit.refused()
    limit.passed()
    assert [limit.refused(), limit.refused()] == [False, True]


def test_no_limits() -> None:
    """Without limits nothing is ever too much."""
    limit = LetterLimit(None, None, 10)
    assert not any(limit.failed() or limit.refused() for _ in range(5000))
    assert limit.why == ""


@given(EVENTS, st.integers(1, 20))
def test_never_more_in_a_row_than_allowed(events: list[bool], most: int) -> None:
    """Whatever comes, the written dead letters never have a longer run than allowed, and none is refused before."""
    limit = LetterLimit(most, None, 10)
    run = 0
    for fails in events:
        if not fails:
            limit.passed()
            run = 0
            continue
        refused = limit.failed()
        assert refused == (run == most) == bool(limit.why)
        run += not refused


@given(EVENTS, st.floats(0.01, 0.99), st.integers(10, 60))
def test_never_a_larger_share_than_allowed(events: list[bool], share: float, of: int) -> None:
    """Whatever comes, no window of so many events holds more dead letters, and none is refused that would fit."""
    limit = LetterLimit(None, share, of)
    written: list[bool] = []
    for fails in events:
        window = [*written, True][-of:]
        if not fails:
            limit.passed()
            written.append(False)
        else:
            refused = limit.failed()
            assert refused == (sum(window) / of > share) == bool(limit.why)
            if not refused:
                written.append(True)


@pytest.mark.parametrize(("in_a_row", "share", "setting"), [(5, 0.9, "max_in_a_row"), (50, 0.2, "max_share")])
def test_the_limit_that_was_met_is_named(in_a_row: int, share: float, setting: str) -> None:
    """Where both limits are set, the words name the setting of the one that was met."""
    limit = LetterLimit(in_a_row, share, 10)
    while not limit.failed():
        pass
    assert f"dead_letters.{setting}" in limit.why
