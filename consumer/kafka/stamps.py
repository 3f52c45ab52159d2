"""What stands in front of the metadata of a commit: how many partitions the topic had when its group first started."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Mapping

    from consumer.record import Position


__all__ = ["STAMP_CHARACTERS", "Survey", "stamp", "survey", "unstamped"]


# The longest stamp: no topic has a million partitions.
STAMP_CHARACTERS = len("p999999;")

STAMP = re.compile(r"p([1-9][0-9]{0,5});", re.ASCII)


@dataclass(frozen=True, slots=True)
class Survey:
    """What the group's offsets say of one topic.

    `count` is how many partitions the topic had when the group first started; `new` are the numbers of those that came
    later, and of which nothing was committed yet. With nothing committed at all it is `unknown` to the group.
    """

    count: int
    new: frozenset[int] = frozenset()
    unknown: bool = False


def stamp(count: int, note: str) -> str:
    """A commit's metadata: the count, then the note."""
    return f"p{count};{note}"


def unstamped(metadata: str) -> tuple[int | None, str]:
    """The count and the note of a commit's metadata; no count where no stamp of ours can be read."""
    found = STAMP.match(metadata)
    return (None, metadata) if found is None else (int(found[1]), metadata[found.end() :])


def survey(committed: Mapping[int, Position | None]) -> Survey:
    """Read what is committed for all partitions of a topic, by number; None where nothing is.

    Where no offset has a readable stamp, every partition without an offset is taken as new: that may cost, but loses
    nothing. Of stamps that differ, which we never write, the smallest counts, for the same reason.
    """
    without = frozenset(number for number, position in committed.items() if position is None)
    if without == committed.keys():
        return Survey(len(committed), unknown=True)
    stamps = [unstamped(position.metadata)[0] for position in committed.values() if position is not None]
    counts = [count for count in stamps if count is not None]
    count = min(counts) if counts else min(without, default=len(committed))
    return Survey(count, frozenset(number for number in without if number >= count))
