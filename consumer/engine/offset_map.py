"""Which records above a committed offset are done, in as few bytes as can be.

A map is

    form        one byte: 0 a bitset, 1 gaps
    span        varint: how far the map reaches above the committed offset
    body        a bitset of the unfinished offsets, lowest first; or the gaps between them, as varints

whichever form is shorter. Offsets that were never delivered, since the log has holes, are not unfinished either.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


__all__ = ["BUDGET_BYTES", "LEAST_BUDGET_BYTES", "OffsetMap", "decode", "encode", "fits", "read_varint", "varint"]


_BITSET, _GAPS = 0, 1
# From here on a gap may take more than three bytes.
_WIDE_SPAN = 1 << 21
_WIDEST_GAP_BYTES = 10

BUDGET_BYTES = 3048
"""What a map may have where a broker has Kafka's own limit, `offset.metadata.max.bytes` = 4096."""

LEAST_BUDGET_BYTES = 32
"""With less than this a map could say nothing worth saying: there are none then."""


class OffsetMap:
    """What was done above a committed offset: everything below `end`, except `unfinished`, which ascends."""

    __slots__ = ("end", "unfinished")

    def __init__(self, end: int, unfinished: Sequence[int]) -> None:
        self.end = end
        self.unfinished = tuple(unfinished)

    def done(self, offset: int) -> bool:
        """Whether a record at or above the committed offset is known to be done."""
        if offset >= self.end:
            return False
        at = bisect_left(self.unfinished, offset)
        return at == len(self.unfinished) or self.unfinished[at] != offset

    def unfinished_from(self, offset: int) -> tuple[int, ...]:
        """The unfinished offsets at or above this one."""
        return self.unfinished[bisect_left(self.unfinished, offset) :]


def fits(span: int, unfinished: int, budget: int = BUDGET_BYTES) -> bool:
    """Whether a map of so many unfinished offsets within such a span can never outgrow the budget.

    Finishing makes both forms shorter, so what fits when a record is taken in fits for ever after.
    """
    gap_bytes = 3 if span < _WIDE_SPAN else _WIDEST_GAP_BYTES
    return min(-(-span // 8), gap_bytes * (unfinished + 2)) <= budget


def encode(base: int, found: OffsetMap) -> bytes:
    """The map for a commit at `base`.

    Raises:
        ValueError: an unfinished offset is not within base and end.
    """
    end, unfinished = found.end, found.unfinished
    if unfinished and (unfinished[0] < base or unfinished[-1] >= end):
        raise ValueError(f"unfinished offsets reach from {unfinished[0]} to {unfinished[-1]}, not within {base}..{end}")
    span = end - base
    gaps = b"".join(varint(offset - before) for before, offset in _pairs(base, unfinished))
    if -(-span // 8) <= len(gaps):
        bits = bytearray(-(-span // 8))
        for offset in unfinished:
            bits[(offset - base) >> 3] |= 1 << ((offset - base) & 7)
        return bytes((_BITSET,)) + varint(span) + bits
    return bytes((_GAPS,)) + varint(span) + gaps


def decode(base: int, raw: bytes) -> OffsetMap:
    """The map that was written for a commit at `base`.

    Raises:
        ValueError: it is not one of ours, or damaged.
    """
    if not raw:
        raise ValueError("there is no form")
    span, at = read_varint(raw, 1)
    if raw[0] == _BITSET:
        return OffsetMap(base + span, _from_bits(base, span, raw[at:]))
    if raw[0] == _GAPS:
        return OffsetMap(base + span, _from_gaps(base, span, raw, at))
    raise ValueError("the form is unknown")


def varint(number: int) -> bytes:
    """A number that is not negative, seven bits a byte, lowest first."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def read_varint(raw: bytes, at: int) -> tuple[int, int]:
    """The number that stands at this place, and the place behind it.

    Raises:
        ValueError: it does not end.
    """
    number = shift = 0
    while True:
        if at >= len(raw) or shift > 63:
            raise ValueError("the bytes end within a number")
        byte = raw[at]
        number |= (byte & 0x7F) << shift
        at += 1
        if not byte & 0x80:
            return number, at
        shift += 7


def _from_bits(base: int, span: int, bits: bytes) -> list[int]:
    if len(bits) != -(-span // 8):
        raise ValueError("the bitset has another length than its span")
    found = [base + at for at in range(span) if bits[at >> 3] >> (at & 7) & 1]
    if sum(byte.bit_count() for byte in bits) != len(found):
        raise ValueError("bits beyond the span are set")
    return found


def _from_gaps(base: int, span: int, raw: bytes, at: int) -> list[int]:
    found: list[int] = []
    offset = base
    while at < len(raw):
        gap, at = read_varint(raw, at)
        if found and not gap:
            raise ValueError("an offset stands twice")
        offset += gap
        if offset >= base + span:
            raise ValueError("an offset is beyond the span")
        found.append(offset)
    return found


def _pairs(base: int, offsets: Iterable[int]) -> Iterable[tuple[int, int]]:
    before = base
    for offset in offsets:
        yield before, offset
        before = offset
