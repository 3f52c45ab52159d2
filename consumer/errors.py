"""Every exception of ours, drawn as a tree.

ModerationConsumerError
├── SettingsError            the configuration cannot be used; carries every problem found
├── StartError               a part that must be there at start is not: broker, topic, credentials
├── RecordError              one record cannot be moderated; it becomes a dead letter
│   ├── DecodeError            its bytes are not what the codec reads
│   ├── MappingError           a field the event needs is missing or of the wrong type
│   ├── RouteError             no route takes it, or its route has nothing to judge in it
│   ├── ContentRefused         the service will never take this content
│   └── DeliveryRefused        the broker will never take its verdict
├── CallError                one request to the service did not give an answer
│   ├── NotSent                no byte of it can have been read by the service
│   │   └── Withheld             the stall guard shut while it was about to be written
│   └── NoAnswer               it was sent, the answer never came whole: it may have been billed
├── BudgetSpent              nothing more may be spent on it in this period, and it is not to wait for the next
├── NothingToJudge           a record says nothing that could be judged, such as a delete; it is skipped
├── NotYet                   what a record is to be read with, such as its schema, has to be fetched first
├── LaneClosed               the event's partition was taken away; nothing more may be started for it
├── TaskLost                 the service does not know a submitted task any more; its result will never come
├── NoteRefused              the broker takes an offset, but not the note beside it
├── Fenced                   another process has taken over what this one was about to write
├── TransactionFailed        a transaction did not end well; whether it was committed has to be looked up
│   └── TransactionRefused     the broker will never take one of its records; nothing of it was committed
└── Stuck                    a part of the program no longer gets on; a supervisor should start it anew
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


__all__ = [
    "BudgetSpent",
    "CallError",
    "ContentRefused",
    "DecodeError",
    "DeliveryRefused",
    "Fenced",
    "LaneClosed",
    "MappingError",
    "ModerationConsumerError",
    "NoAnswer",
    "NotSent",
    "NotYet",
    "NoteRefused",
    "NothingToJudge",
    "RecordError",
    "RouteError",
    "SettingsError",
    "StartError",
    "Stuck",
    "TaskLost",
    "TransactionFailed",
    "TransactionRefused",
    "Withheld",
]


class ModerationConsumerError(Exception):
    """The base of all of them: `except ModerationConsumerError` catches what this program raises on purpose."""


class SettingsError(ModerationConsumerError):
    """The configuration cannot be used. `problems` has one line for each fault, all of them at once."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class StartError(ModerationConsumerError):
    """The program cannot start. `remedy` says what a person can do about it."""

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.remedy = remedy


class RecordError(ModerationConsumerError):
    """One record cannot be moderated: it becomes a dead letter with this error's `stage` and `code` in its headers.

    `attempts` counts the requests sent for it; `request_id` is the service's own name of the last one.
    """

    stage: ClassVar[str] = "record"
    code: ClassVar[str] = "invalid"

    def __init__(
        self, message: str, *, code: str | None = None, request_id: str | None = None, attempts: int = 0
    ) -> None:
        super().__init__(message)
        self.reason = code or type(self).code
        self.request_id = request_id
        self.attempts = attempts


class DecodeError(RecordError):
    """The record's bytes are not what the codec reads."""

    stage = "decode"
    code = "malformed"


class MappingError(RecordError):
    """A field that the event needs is missing, empty or of the wrong type."""

    stage = "map"
    code = "mapping"


class RouteError(RecordError):
    """No route takes this event, or its route finds nothing in it to judge."""

    stage = "route"
    code = "no_route"


class ContentRefused(RecordError):
    """The service refuses this content for good: a missing, invalid or overlong parameter, an unusable image."""

    stage = "moderate"
    code = "refused"


class DeliveryRefused(RecordError):
    """The broker refuses this event's verdict for good, for example because it is too large."""

    stage = "deliver"
    code = "undeliverable"


class CallError(ModerationConsumerError):
    """One request to the service gave no answer that can be read."""


class NotSent(CallError):
    """The connection failed before the service can have read the request: trying again costs nothing."""


class Withheld(NotSent):
    """The process stood still when the request was about to be written, and may have been replaced meanwhile."""


class NoAnswer(CallError):
    """The request was sent and no whole answer came: the service may have judged and billed it.

    `begun` says whether any byte of an answer was seen; None where that is not known.
    """

    def __init__(self, message: str, *, begun: bool | None = None) -> None:
        super().__init__(message)
        self.begun = begun


class BudgetSpent(ModerationConsumerError):
    """What may be spent in this period is spent, and events are not to wait for the next one."""


class NothingToJudge(ModerationConsumerError):
    """The record says nothing that could be judged, such as that a row was deleted: it is skipped and counted."""


class NotYet(ModerationConsumerError):
    """What the record is to be read with has to be fetched first.

    `ready` returns when the record can be tried again. When cancelled, somebody else fetches it, or nobody does.
    """

    def __init__(self, message: str, ready: Callable[[], Awaitable[None]]) -> None:
        super().__init__(message)
        self.ready = ready


class LaneClosed(ModerationConsumerError):
    """The event's partition was taken away while it waited; its next owner judges it."""


class TaskLost(ModerationConsumerError):
    """The service does not know this task any more: its result was deleted, or the task was never there."""


class NoteRefused(ModerationConsumerError):
    """The broker refuses the metadata of a commit as too large; nothing of the commit is sure to be recorded."""


class Fenced(ModerationConsumerError):
    """Another process has taken over the unit of this one: it must not write any more, but leave and join anew."""


class TransactionFailed(ModerationConsumerError):
    """A transaction did not end well. Only fencing anew and looking the offsets up tells whether it was committed."""


class TransactionRefused(TransactionFailed):
    """The broker will never take one of the records: nothing was committed. The fault may be a neighbour's."""


class Stuck(ModerationConsumerError):
    """A part of the program no longer gets on by itself."""
