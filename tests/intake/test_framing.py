"""Where a record says which schema it was written with."""

from __future__ import annotations

import contextlib
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.errors import DecodeError
from consumer.intake.framing import HEADER, Framed, message_indexes, unframed


IDS = st.integers(0, 2**32 - 1)


def varint(number: int) -> bytes:
    """A zigzag number, as Confluent's Protobuf serializers write it."""
    left = (number << 1) ^ (number >> 31)
    out = bytearray()
    while left > 0x7F:
        out.append(left & 0x7F | 0x80)
        left >>= 7
    return bytes([*out, left])


def indexes_of(indexes: list[int]) -> bytes:
    """A Protobuf message's indexes; those of the first message are one zero."""
    if indexes == [0]:
        return b"\0"
    return varint(len(indexes)) + b"".join(map(varint, indexes))


@given(IDS, st.binary())
def test_an_id_in_front_of_the_value_is_taken_off(schema_id: int, body: bytes) -> None:
    """A zero byte and four bytes are the id; the rest is the value's own, to the last byte."""
    assert unframed(b"\0" + schema_id.to_bytes(4, "big") + body, ()) == Framed(schema_id, b"", body, in_header=False)


@given(IDS | st.uuids(), st.binary())
def test_an_id_in_a_header_leaves_the_value_alone(schema_id: int | UUID, body: bytes) -> None:
    """The header has a number behind a zero byte, or a name for all registries behind a one."""
    in_bytes = b"\1" + schema_id.bytes if isinstance(schema_id, UUID) else b"\0" + schema_id.to_bytes(4, "big")
    headers = (("other", b"x"), (HEADER, in_bytes))
    assert unframed(body, headers) == Framed(schema_id, b"", body, in_header=True)


@given(IDS, st.lists(st.integers(0, 1000), min_size=1, max_size=8), st.binary(), st.booleans())
def test_the_indexes_of_a_message_come_behind_the_id(
    schema_id: int,
    indexes: list[int],
    body: bytes,
    in_header: bool,  # noqa: FBT001  # hypothesis chooses it
) -> None:
    """Wherever the id is, the indexes are read behind it, and what is left is the message."""
    frame = b"\0" + schema_id.to_bytes(4, "big") + indexes_of(indexes)
    framed = unframed(body, ((HEADER, frame),)) if in_header else unframed(frame + body, ())
    assert message_indexes(framed) == (tuple(indexes), body)


@given(st.binary(max_size=40), st.none() | st.binary(max_size=20))
def test_any_bytes_are_framed_or_refused(value: bytes, header: bytes | None) -> None:
    """Whatever a record has, it ends as a schema's id and indexes, or as a DecodeError."""
    headers = () if header is None else ((HEADER, header),)
    with contextlib.suppress(DecodeError):
        indexes, body = message_indexes(unframed(value, headers))
        assert indexes
        assert value.endswith(body)


@pytest.mark.parametrize(
    ("value", "header", "said"),
    [
        (b"", None, "the value is empty, and there is no header __value_schema_id"),
        (b'{"id": 1}', None, "begins with the byte 0x7b and has 9"),
        (b"\0\0\0", None, "begins with the byte 0x00 and has 3"),
        (b"\1" * 20, None, "begins with the byte 0x01"),
        (b"\0\0\0\0\1", b"", "the header __value_schema_id has 0 bytes that are none"),
        (b"\0\0\0\0\1", b"\1" * 16, "has 16 bytes that are none"),
    ],
)
def test_what_has_no_id_is_refused_with_what_was_found(value: bytes, header: bytes | None, said: str) -> None:
    """A record without a schema's id is a dead letter that says what is there instead."""
    with pytest.raises(DecodeError, match=said) as caught:
        unframed(value, () if header is None else ((HEADER, header),))
    assert caught.value.reason == "no_schema_id"


@pytest.mark.parametrize("tail", [b"", b"\x80", b"\x04\x02", b"\x80\x80\x80\x80\x80\x01", b"\x01", b"\xff\x01"])
def test_indexes_that_are_cut_off_or_absurd_are_refused(tail: bytes) -> None:
    """Nothing is read past the end, and a count that cannot be is not believed."""
    with pytest.raises(DecodeError, match="no Protobuf message"):
        message_indexes(unframed(b"\0\0\0\0\1" + tail, ()))
