"""The note beside a committed offset: what is done above it, and how the lives of this group ended that got nowhere.

The note is base64 of

    version     one byte
    deaths      one byte: starts in a row after which nothing was done before the process died
    suspect     varint: 0, or 1 and the distance from the committed offset to the record that is tried alone
    map         what is done above the committed offset (`consumer.engine.offset_map`); nothing where nothing is

An empty note says that there is nothing to say.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

from consumer.engine import offset_map
from consumer.engine.offset_map import OffsetMap, read_varint, varint


__all__ = ["Note", "budget_bytes", "read", "write"]


_VERSION = 2
# Version, deaths, the suspect's ten bytes, the map's form and the ten bytes of its span; and one to spare.
_HEAD_BYTES = 24
_MOST_DEATHS = 255


@dataclass(frozen=True, slots=True)
class Note:
    """What is said beside an offset."""

    done: OffsetMap | None = None
    deaths: int = 0
    suspect: int | None = None


def budget_bytes(metadata_characters: int) -> int:
    """How many bytes a map may have so that its note is within a broker's limit on a commit's metadata."""
    return max(0, metadata_characters // 4 * 3 - _HEAD_BYTES)


def write(base: int, note: Note) -> str:
    """The note for a commit at `base`.

    Raises:
        ValueError: an offset that it names is below the base.
    """
    if note.done is None and not note.deaths and note.suspect is None:
        return ""
    if note.suspect is not None and note.suspect < base:
        raise ValueError(f"the suspect {note.suspect} is below {base}")
    raw = bytes((_VERSION, min(note.deaths, _MOST_DEATHS)))
    raw += varint(0 if note.suspect is None else note.suspect - base + 1)
    if note.done is not None:
        raw += offset_map.encode(base, note.done)
    return base64.b64encode(raw).decode()


def read(base: int, text: str) -> Note | None:
    """What a commit's note says; None where it was not written by us, or is damaged."""
    if not text:
        return Note()
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    if len(raw) < 3 or raw[0] != _VERSION:
        return None
    try:
        suspect, at = read_varint(raw, 2)
        done = offset_map.decode(base, raw[at:]) if at < len(raw) else None
    except ValueError:
        return None
    return Note(done, raw[1], base + suspect - 1 if suspect else None)
