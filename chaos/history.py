"""What happened in a run, as plain data: what went in, what came out, who called, what was committed, what went wrong.

All times are seconds since the epoch, of one machine's clock.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal


if TYPE_CHECKING:
    from collections.abc import Mapping

    from consumer.engine.offset_map import OffsetMap


__all__ = [
    "Call",
    "Commit",
    "Exit",
    "Guarantee",
    "Happening",
    "History",
    "Input",
    "Order",
    "Outcome",
    "Place",
    "Recorded",
    "Scale",
    "Stall",
    "Terms",
]


Guarantee = Literal["at_least_once", "exactly_once"]
Scale = Literal["failover", "share"]
Order = Literal["unordered", "key", "partition"]
Place = tuple[int, int]
"""A record of the input topic: its partition and its offset."""


@dataclass(frozen=True, slots=True)
class Input:
    """A record of the input topic.

    `event_id` is None where it cannot be read as an event: then it has to become a dead letter. `tag` is a word in its
    content, by which the service's journal knows it.
    """

    place: Place
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    event_id: str | None = None
    tag: str = ""
    risky: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """A verdict or a dead letter, as who reads committed records sees it.

    `place` is the input's, as the outcome itself says; `at` when the broker wrote it; `where` its own topic, partition
    and offset.
    """

    kind: Literal["verdict", "dead letter"]
    place: Place
    where: tuple[str, int, int]
    at: float
    key: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    value: bytes = b""
    """Of a dead letter."""
    event_id: str = ""
    action: str = ""
    request_ids: tuple[str, ...] = ()
    task_id: str | None = None
    units: Mapping[str, int] = field(default_factory=dict)
    known: bool = False
    """Whether the answer was known already, and cost nothing more."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request as the service saw it.

    `asked` is when it arrived; `answered` when its answer was made, None if never. `code` is how it ended in the
    service's words; `fault` is what was made to go wrong with it. `units` were billed, by moderation type. `task_id`
    was submitted or asked for.
    """

    request_id: str
    member: str
    asked: float
    answered: float | None
    operation: str
    tags: tuple[str, ...] = ()
    code: str = ""
    fault: str | None = None
    refused: bool = False
    """Turned away since the account's quota was used up."""
    units: Mapping[str, int] = field(default_factory=dict)
    task_id: str | None = None

    @property
    def billed(self) -> bool:
        """Whether it cost anything."""
        return bool(self.units)

    @property
    def spoilt(self) -> bool:
        """Whether its answer was made unusable or was lost on purpose, so that it has to be made again."""
        return self.fault is not None and self.fault != "slow"


@dataclass(frozen=True, slots=True)
class Commit:
    """A committed position of an input partition, with the map of what is done above it, if there was one."""

    at: float
    partition: int
    offset: int
    above: OffsetMap | None = None

    def covers(self, offset: int) -> bool:
        """Whether it says that a record is done."""
        return offset < self.offset or (self.above is not None and self.above.done(offset))


@dataclass(frozen=True, slots=True)
class Recorded:
    """A record of the state topic about the task of an event."""

    at: float
    place: Place
    task_id: str


@dataclass(frozen=True, slots=True)
class Happening:
    """A fault as it really happened, from its beginning to the moment when it was taken back.

    `member` is whose process or connection it befell; None for those that befall all.
    """

    kind: str
    member: str | None
    at: float
    until: float
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Stall:
    """This machine stood still for so many seconds, up to a moment: the brokers, the service and the consumers too."""

    at: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Exit:
    """The end of a process: `code` is as the operating system has it, `asked` whether we wanted it to end.

    `ran` says whether it had come so far as to say that it runs; `seconds` is how long it took from the signal to the
    end.
    """

    member: str
    at: float
    code: int
    asked: bool
    ran: bool = True
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Terms:
    """What was promised, and the settings that the promise depends on."""

    guarantee: Guarantee = "at_least_once"
    scale: Scale = "failover"
    order: Order = "unordered"
    on_null: Literal["skip", "dead_letter"] = "skip"
    max_in_flight: int = 64
    text_per_second: int = 200
    commit_interval_seconds: float = 0.1


@dataclass(frozen=True, slots=True)
class History:
    """All of it, since `began`. `starts` are when processes were started, by member and time."""

    terms: Terms
    began: float = 0.0
    inputs: tuple[Input, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    calls: tuple[Call, ...] = ()
    commits: tuple[Commit, ...] = ()
    recorded: tuple[Recorded, ...] = ()
    happenings: tuple[Happening, ...] = ()
    starts: tuple[tuple[str, float], ...] = ()
    exits: tuple[Exit, ...] = ()
    stalls: tuple[Stall, ...] = ()
