"""Dead letters: what they keep of a record, what they say of it, and how much of one fits where it is too large."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from aiokafka.record.default_records import DefaultRecordBatchBuilder
from hypothesis import given
from hypothesis import strategies as st

from consumer.engine.letters import HEADERS_BYTES, LEAST_LIMIT_BYTES, dead_letter, letter_of, shortened
from consumer.errors import ContentRefused, DecodeError, RecordError
from consumer.record import OutRecord, Partition, Record


if TYPE_CHECKING:
    from consumer.record import Headers


__all__: list[str] = []


DEAD = "dead"

BYTES = st.binary(max_size=40)
NAMES = st.sampled_from(
    ["trace", "", "moderation-topic", "moderation-null-value", "moderation-truncated", "moderation-replay-count"]
) | st.text(st.characters(codec="utf-8"), max_size=20)
RECORDS = st.builds(
    Record,
    st.builds(Partition, st.text("ab.-_", min_size=1, max_size=249), st.integers(0, 10_000)),
    st.integers(0, 2**63 - 1),
    st.integers(-1, 2**63 - 1),
    st.none() | BYTES,
    st.none() | BYTES,
    st.lists(st.tuples(NAMES, BYTES), max_size=6).map(tuple),
)
ERRORS = st.builds(
    ContentRefused,
    st.text(max_size=200) | st.text(st.characters(), min_size=2000, max_size=4000),
    code=st.text(max_size=60),
    request_id=st.none() | st.text(max_size=700),
    attempts=st.integers(0, 20),
)


def size(record: OutRecord) -> int:
    """What the sink counts a record for."""
    return int(DefaultRecordBatchBuilder.estimate_size_in_bytes(record.key, record.value, list(record.headers)))


def record(value: bytes | None = b"{}", key: bytes | None = b"k", headers: Headers = ()) -> Record:
    return Record(Partition("ugc", 3), 1042, 1_767_323_044_891, key, value, headers)


def read_back(letter: OutRecord) -> Record:
    """The letter as a consumer of its topic has it."""
    return Record(Partition(letter.topic, 0), 7, 1_767_323_099_000, letter.key, letter.value, letter.headers)


@given(RECORDS, ERRORS)
def test_original_comes_back_byte_for_byte(original: Record, error: RecordError) -> None:
    """Key, value and headers of any record come back from its dead letter, headers named like ours included."""
    letter = letter_of(read_back(dead_letter(DEAD, original, error)))
    assert letter is not None
    assert (letter.record.key, letter.value, letter.headers) == (original.key, original.value, original.headers)
    assert (letter.origin, letter.offset) == (original.partition, original.offset)
    assert int(letter.notes["timestamp"]) == original.timestamp
    assert (letter.notes["stage"], int(letter.notes["attempts"])) == ("moderate", error.attempts)
    assert ("request-id" in letter.notes) == (error.request_id is not None)
    assert not letter.truncated


def test_headers_that_others_add_stay() -> None:
    """What a mirror puts behind our headers is kept with those of the original, in its place behind them."""
    letter = dead_letter(DEAD, record(headers=(("trace", b"1"),)), DecodeError("no JSON"))
    mirrored = Record(Partition(DEAD, 0), 7, 0, letter.key, letter.value, (*letter.headers, ("mirrored", b"yes")))
    found = letter_of(mirrored)
    assert found is not None
    assert found.headers == (("trace", b"1"), ("mirrored", b"yes"))


def test_other_records_are_no_letters() -> None:
    """A record without our headers, or with headers that name no place, is none of our letters."""
    assert letter_of(record(headers=(("trace", b"1"),))) is None
    assert letter_of(record(headers=(("moderation-topic", b"ugc"),))) is None
    assert letter_of(record(headers=(("moderation-topic", b"u"), ("moderation-partition", b"x")))) is None


def test_text_that_is_no_unicode_is_written() -> None:
    """An error with half a surrogate pair in it, as broken JSON may have, is written with it escaped."""
    letter = letter_of(read_back(dead_letter(DEAD, record(), DecodeError("found '\ud800'"))))
    assert letter is not None
    assert letter.notes["error"] == r"found '\ud800'"


def test_long_errors_end_in_an_ellipsis() -> None:
    """An error of any length takes at most 2,048 bytes, and is cut between two characters."""
    letter = letter_of(read_back(dead_letter(DEAD, record(), DecodeError("é" * 5000))))
    assert letter is not None
    assert len(letter.notes["error"].encode()) <= 2048
    assert letter.notes["error"] == "é" * 1022 + "…"


@given(RECORDS, ERRORS)
def test_our_headers_fit_in_what_check_asks_for(original: Record, error: RecordError) -> None:
    """A topic that takes 16 KiB more than the one that is read takes every dead letter whole."""
    plain = OutRecord(DEAD, original.key, original.value or b"", original.headers)
    letter = dead_letter(DEAD, original, error)
    assert size(letter) - size(plain) <= HEADERS_BYTES
    assert shortened(letter, size(plain) + HEADERS_BYTES, size) is letter


HUGE = st.integers(0, 30_000).map(lambda length: b"x" * length)


@given(
    st.none() | HUGE,
    st.none() | HUGE,
    st.lists(st.tuples(NAMES, HUGE), max_size=4).map(tuple),
    ERRORS,
    st.integers(LEAST_LIMIT_BYTES, 100_000),
)
def test_shortened_letter_always_fits(
    key: bytes | None, value: bytes | None, headers: Headers, error: RecordError, limit: int
) -> None:
    """However large key, value, headers and error are, the letter fits, keeps our headers, and tells what it lacks."""
    original = record(value, key, headers)
    whole = dead_letter(DEAD, original, error)
    short = shortened(whole, limit, size)
    assert size(short) <= limit
    if size(whole) <= limit:
        assert short is whole
        return
    letter = letter_of(read_back(short))
    assert letter is not None
    assert letter.truncated
    before = letter_of(read_back(whole))
    assert before is not None
    assert before.notes.items() <= letter.notes.items()
    assert letter.notes["truncated"] == str(len(value or b""))
    assert letter.notes["sha256"] == hashlib.sha256(value or b"").hexdigest()
    assert (value or b"").startswith(short.value or b"")
    assert letter.headers == (() if "headers-dropped" in letter.notes else headers)
    assert short.key == (None if "key-dropped" in letter.notes else key)
    if "headers-dropped" in letter.notes:
        assert letter.notes["headers-dropped"] == str(len(headers))
    if "key-dropped" in letter.notes:
        assert letter.notes["key-dropped"] == str(len(key or b""))


@given(HUGE, st.integers(LEAST_LIMIT_BYTES, 40_000))
def test_as_much_of_the_value_is_kept_as_fits(value: bytes, limit: int) -> None:
    """One more byte of the value than a shortened letter keeps would not have fitted."""
    short = shortened(dead_letter(DEAD, record(value), DecodeError("no JSON")), limit, size)
    kept = short.value or b""
    if kept == value:
        return
    longer = OutRecord(DEAD, short.key, value[: len(kept) + 6], short.headers)  # its length may take more bytes too
    assert size(longer) > limit


def test_value_goes_before_headers_and_headers_before_the_key() -> None:
    """The original's headers are kept for as long as they fit without a value, and the key for as long as it fits."""
    large = b"x" * 9_000
    error = DecodeError("no JSON")
    for original, lacks in (
        (record(large, b"k", (("trace", b"1"),)), set()),
        (record(b"{}", b"k", (("trace", large),)), {"headers-dropped"}),
        (record(b"{}", large, (("trace", b"1"),)), {"headers-dropped", "key-dropped"}),
        (record(b"{}", large), {"key-dropped"}),
    ):
        letter = letter_of(read_back(shortened(dead_letter(DEAD, original, error), LEAST_LIMIT_BYTES, size)))
        assert letter is not None
        assert {name for name in letter.notes if name.endswith("-dropped")} == lacks


@given(st.integers(0, 10**9))
def test_replays_are_counted_in_the_record(count: int) -> None:
    """A replayed record carries its count once, one higher than before, behind its own headers in their order."""
    headers = (("a", b"1"), ("moderation-replay-count", b"%d" % count), ("a", b"2"))
    letter = letter_of(read_back(dead_letter(DEAD, record(headers=headers), DecodeError("no JSON"))))
    assert letter is not None
    before = count if count < 10**9 else 0
    assert letter.replays == before
    assert letter.replayed_headers == (("a", b"1"), ("a", b"2"), ("moderation-replay-count", b"%d" % (before + 1)))


def test_count_that_is_no_number_counts_for_nothing() -> None:
    """A header of this name with anything but digits in it is as good as none."""
    for value in (b"", b"-1", b"two", b"\xff", b"1" * 5000):
        found = letter_of(
            read_back(dead_letter(DEAD, record(headers=(("moderation-replay-count", value),)), DecodeError("")))
        )
        assert found is not None
        assert found.replays == 0
