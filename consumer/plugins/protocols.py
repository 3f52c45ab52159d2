"""What each kind of plugin is called with, and what it has to return: protocols for type checkers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol


if TYPE_CHECKING:
    from consumer.event import Event
    from consumer.record import Headers, Record
    from consumer.verdict import Action, Judgement


__all__ = ["CodecFunction", "MappingFunction", "PolicyFunction", "RuleFunction"]


class MappingFunction(Protocol):
    """Document → event, named in `mapping.plugin`."""

    def __call__(self, document: dict[str, Any], record: Record, /) -> Event | dict[str, Any]:
        """The event in a document, or another document that the rest of the section `mapping` is applied to.

        Args:
            document: What the codec read out of the record's value. It is the function's own to change.
            record: The record that it came in: its topic, key, headers and timestamp.

        Raises:
            MappingError: the record has no event; it becomes a dead letter with this message.
            NothingToJudge: there is nothing to judge in the record; it is skipped and counted.
        """
        ...


class RuleFunction(Protocol):
    """Event → whether a route takes it, named in `routes[].when.plugin`."""

    def __call__(self, event: Event, topic: str, /) -> bool:
        """Whether the route takes this event. It is asked where all other conditions of the route hold.

        Args:
            event: What was posted; it must not be changed.
            topic: The topic that its record came from; empty in an embedded moderator.

        Raises:
            RouteError: the event can go nowhere; it becomes a dead letter with this message.
        """
        ...


class PolicyFunction(Protocol):
    """Judgement → action, named in `policy.plugin`."""

    def __call__(self, judgement: Judgement, event: Event, action: Action, /) -> Action:
        """What is to be done. `pass` becomes `review` where a part of the event went unjudged.

        Args:
            judgement: What the services found; it must not be changed.
            event: What was judged; it must not be changed.
            action: What the rest of the section `policy` says.
        """
        ...


class CodecFunction(Protocol):
    """Bytes → document, named in `format.plugin` or `format.topics.<topic>.plugin`."""

    def __call__(self, value: bytes, headers: Headers, /) -> dict[str, Any]:
        """The document in a record's value.

        Args:
            value: The value as it was read; empty where the record has none.
            headers: The record's headers in their order, as pairs of a name and bytes.

        Raises:
            DecodeError: the bytes are no document; the record becomes a dead letter with this message.
            NothingToJudge: there is nothing to judge in the record; it is skipped and counted.
        """
        ...
