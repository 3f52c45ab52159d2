"""What a commit says beside its offset: which records above it are done, so that a restart repeats none of them.

The note is base64 of

    version     one byte
    form        one byte: 0 a bitset, 1 gaps
    span        varint: how far the note reaches above the committed offset
    body        a bitset of the unfinished offsets, lowest first; or the gaps between them, as varints

whichever form is shorter. Offsets that were never delivered, since the log has holes, are not unfinished either.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


__all__ = ["BUDGET_BYTES", "LEAST_BUDGET_BYTES", "OffsetMap", "budget_bytes", "decode", "encode", "fits"]


_VERSION = 1
_BITSET, _GAPS = 0, 1
# The two bytes of the head and the varint of the span, which has at most ten.
_HEAD_BYTES = 12
# From here on a gap may take more than three bytes.
_WIDE_SPAN = 1 << 21
_WIDEST_GAP_BYTES = 10


def budget_bytes(metadata_characters: int) -> int:
    """How many bytes a note may have so that its base64 is within a broker's limit on a commit's metadata."""
    return max(0, metadata_characters // 4 * 3 - _HEAD_BYTES)


BUDGET_BYTES = budget_bytes(4096)
"""The budget where a broker has Kafka's own limit, `offset.metadata.max.bytes` = 4096."""

LEAST_BUDGET_BYTES = 32
"""With less than this a note could say nothing worth saying: there are none then."""


class OffsetMap:
    """What was done above a committed offset: everything below `end`, except `unfinished`."""

    __slots__ = ("end", "unfinished")

    def __init__(self, end: int, unfinished: frozenset[int]) -> None:
        self.end = end
        self.unfinished = unfinished

    def done(self, offset: int) -> bool:
        """Whether a record at or above the committed offset is known to be done."""
        return offset < self.end and offset not in self.unfinished


def fits(span: int, unfinished: int, budget: int = BUDGET_BYTES) -> bool:
    """Whether a note about so many unfinished offsets within such a span can never outgrow the budget.

    Finishing makes both forms shorter, so what fits when a record is taken in fits for ever after.
    """
    gap_bytes = 3 if span < _WIDE_SPAN else _WIDEST_GAP_BYTES
    return min(-(-span // 8), gap_bytes * (unfinished + 2)) <= budget


def encode(base: int, end: int, unfinished: Sequence[int]) -> str:
    """The note for a commit at `base`: all below `end` is done except `unfinished`, ascending. Empty says nothing.

    Raises:
        ValueError: an unfinished offset is not within base and end.
    """
    if end <= base:
        return ""
    if unfinished and (unfinished[0] < base or unfinished[-1] >= end):
        raise ValueError(f"unfinished offsets reach from {unfinished[0]} to {unfinished[-1]}, not within {base}..{end}")
    span = end - base
    gaps = b"".join(_varint(offset - before) for before, offset in _pairs(base, unfinished))
    head = bytes((_VERSION,))
    if -(-span // 8) <= len(gaps):
        bits = bytearray(-(-span // 8))
        for offset in unfinished:
            bits[(offset - base) >> 3] |= 1 << ((offset - base) & 7)
        return base64.b64encode(head + bytes((_BITSET,)) + _varint(span) + bits).decode()
    return base64.b64encode(head + bytes((_GAPS,)) + _varint(span) + gaps).decode()


def decode(base: int, note: str) -> OffsetMap | None:
    """What a commit's note says; None where it says nothing, or was not written by us, or is damaged."""
    try:
        raw = base64.b64decode(note, validate=True)
    except (binascii.Error, ValueError):
        return None
    if len(raw) < 3 or raw[0] != _VERSION:
        return None
    try:
        span, at = _read_varint(raw, 2)
        if raw[1] == _BITSET:
            unfinished = _from_bits(base, span, raw[at:])
        elif raw[1] == _GAPS:
            unfinished = _from_gaps(base, span, raw, at)
        else:
            return None
    except ValueError:
        return None
    return OffsetMap(base + span, unfinished)


def _from_bits(base: int, span: int, bits: bytes) -> frozenset[int]:
    if len(bits) != -(-span // 8):
        raise ValueError("the bitset has another length than its span")
    found = frozenset(base + at for at in range(span) if bits[at >> 3] >> (at & 7) & 1)
    if sum(byte.bit_count() for byte in bits) != len(found):
        raise ValueError("bits beyond the span are set")
    return found


def _from_gaps(base: int, span: int, raw: bytes, at: int) -> frozenset[int]:
    found: list[int] = []
    offset = base
    while at < len(raw):
        gap, at = _read_varint(raw, at)
        if found and not gap:
            raise ValueError("an offset stands twice")
        offset += gap
        if offset >= base + span:
            raise ValueError("an offset is beyond the span")
        found.append(offset)
    return frozenset(found)


def _pairs(base: int, offsets: Iterable[int]) -> Iterable[tuple[int, int]]:
    before = base
    for offset in offsets:
        yield before, offset
        before = offset


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _read_varint(raw: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        if at >= len(raw) or shift > 63:
            raise ValueError("the note ends within a number")
        byte = raw[at]
        number |= (byte & 0x7F) << shift
        at += 1
        if not byte & 0x80:
            return number, at
        shift += 7
