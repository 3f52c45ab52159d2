"""Record bytes → document."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.errors import DecodeError
from consumer.intake.codec import decode


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (b"", "empty: no JSON in it"),
        (b" \n", "empty: no JSON in it"),
        (b"\xef\xbb\xbf", "empty: no JSON in it"),
        (b'{"text": "\xff"}', "not UTF-8 at byte 10"),
        (b'\xef\xbb\xbf{"text": "\xff"}', "not UTF-8 at byte 13"),
        (b'{"text": }', "not JSON at byte 9 of 10: "),
        ('{"文字": }'.encode(), "not JSON at byte 11 of 12: "),
        (b'\xef\xbb\xbf{"text": }', "not JSON at byte 12 of 13: "),
        (b'{"text": "a"', "not JSON at byte 12 of 12: "),
        (b'{"score": NaN}', "not JSON at byte 10 of 14: "),
        (b'{"text": "\\ud83d", "n": }', "not JSON at byte 24 of 25: "),
        (b"\x00\x00\x00\x00\x07\x02abc", "zero byte, as records written with a schema registry do"),
        (b"[1, 2]", "JSON, but a list instead of an object"),
        (b"17", "JSON, but a number instead of an object"),
        (b'"hello"', "JSON, but a string instead of an object"),
        (b"true", "JSON, but a boolean instead of an object"),
        (b"null", "JSON, but null instead of an object"),
    ],
)
def test_says_what_was_found(value: bytes, said: str) -> None:
    """A value that is no JSON object is refused with what it is, and where it stops being JSON, in bytes."""
    with pytest.raises(DecodeError) as caught:
        decode(value)
    assert said in str(caught.value)
    assert caught.value.stage == "decode"


def test_nesting_beyond_the_parsers_depth_is_refused() -> None:
    """A bomb of brackets is a dead letter, not the end of the process."""
    with pytest.raises(DecodeError, match="depth limit"):
        decode(b'{"a":' * 100_000 + b"1" + b"}" * 100_000)


def test_skips_a_byte_order_mark() -> None:
    """A producer that begins its JSON with a byte order mark is understood."""
    assert decode(b'\xef\xbb\xbf{"id": "a"}') == {"id": "a"}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (rb'{"t": "cut \ud83d"}', "cut \ufffd"),
        (rb'{"t": "\ude00 tail"}', "\ufffd tail"),
        (rb'{"t": "\uD83D\uD83D\uDE00"}', "\ufffd\U0001f600"),
        (rb'{"t": "\ud83d\u0041"}', "\ufffdA"),
        (rb'{"t": "\\ud83d \ud83d"}', r"\ud83d" + " \ufffd"),
        (rb'{"t": "\"\ud83d\n"}', '"\ufffd\n'),
    ],
)
def test_half_a_surrogate_pair_is_replaced(value: bytes, text: str) -> None:
    """A text cut within an emoji is judged with U+FFFD in its place, instead of becoming a dead letter."""
    assert decode(value) == {"t": text}


def test_the_message_has_no_content_and_no_cause() -> None:
    """Neither the message nor a chained exception repeats what a user wrote."""
    with pytest.raises(DecodeError) as caught:
        decode(b'{"text": "my secret", }')
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@given(
    st.binary() | st.text().map(str.encode) | st.from_regex(rb'\{"t": "(\\|u|d83d|\\ud83d|\\ude00)*"\}', fullmatch=True)
)
def test_any_bytes_are_a_document_or_a_decode_error(value: bytes) -> None:
    """Whatever bytes a record has, it gives an object that can be written as UTF-8, or a decode error."""
    try:
        document = decode(value)
    except DecodeError:
        return
    assert orjson.loads(orjson.dumps(document)) == document
