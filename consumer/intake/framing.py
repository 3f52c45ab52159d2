"""Where a record says which schema it was written with: in front of its value or in a header, as Confluent's do."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from consumer.errors import DecodeError


if TYPE_CHECKING:
    from consumer.record import Headers


__all__ = ["HEADER", "Framed", "SchemaId", "message_indexes", "unframed"]


SchemaId = int | UUID
"""A schema's number in its registry, or its name in all registries."""

HEADER = "__value_schema_id"
"""The header that has the schema's id where the value has none."""

_NUMBER, _NAME = 0, 1
_NUMBER_BYTES, _NAME_BYTES = 5, 17
# No file has messages within messages that deep.
_MOST_INDEXES = 32
_VARINT_BYTES = 5


class Framed(NamedTuple):
    """A schema's id, what of its frame is left behind the id, and the value's own bytes.

    With the id in front of the value, `rest` is empty, and `body` is all behind the id.
    """

    schema_id: SchemaId
    rest: bytes
    body: bytes
    in_header: bool


def unframed(value: bytes, headers: Headers) -> Framed:
    """Take the schema's id off a value; a header with one comes before it.

    Raises:
        DecodeError: there is no id.
    """
    for name, content in headers:
        if name == HEADER:
            return _from_header(content, value)
    if len(value) < _NUMBER_BYTES or value[0] != _NUMBER:
        found = "is empty" if not value else f"begins with the byte 0x{value[0]:02x} and has {len(value)}"
        raise DecodeError(
            f"no schema id: the value {found}, and there is no header {HEADER}; a zero byte and the id in 4 bytes "
            "should be in front of it",
            code="no_schema_id",
        )
    return Framed(int.from_bytes(value[1:_NUMBER_BYTES], "big"), b"", value[_NUMBER_BYTES:], in_header=False)


def _from_header(content: bytes | None, value: bytes) -> Framed:
    content = content or b""
    if len(content) >= _NAME_BYTES and content[0] == _NAME:
        return Framed(UUID(bytes=content[1:_NAME_BYTES]), content[_NAME_BYTES:], value, in_header=True)
    if len(content) >= _NUMBER_BYTES and content[0] == _NUMBER:
        number = int.from_bytes(content[1:_NUMBER_BYTES], "big")
        return Framed(number, content[_NUMBER_BYTES:], value, in_header=True)
    raise DecodeError(f"no schema id: the header {HEADER} has {len(content)} bytes that are none", code="no_schema_id")


def message_indexes(framed: Framed) -> tuple[tuple[int, ...], bytes]:
    """Which message of a Protobuf file a value is, as indexes from the outermost inwards, and the message's bytes.

    Raises:
        DecodeError: they are cut off, or are no indexes.
    """
    data = framed.rest if framed.in_header else framed.body
    count, at = _varint(data, 0)
    # A lone zero stands for the first message, which is what most files have.
    indexes = [] if count else [0]
    if not 0 <= count <= _MOST_INDEXES:
        raise DecodeError(f"no Protobuf message: {count} indexes of it are said to follow the schema id")
    for _ in range(count):
        index, at = _varint(data, at)
        indexes.append(index)
    return tuple(indexes), framed.body if framed.in_header else data[at:]


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A zigzag number and where the next one begins."""
    found = 0
    for place, byte in enumerate(data[at : at + _VARINT_BYTES]):
        found |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return (found >> 1) ^ -(found & 1), at + place + 1
    raise DecodeError("no Protobuf message: the indexes behind the schema id are cut off")
