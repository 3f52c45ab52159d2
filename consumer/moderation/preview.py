"""What an event would cost: the calls that would judge it if it came alone. Nothing is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from consumer.batching.thread import plan
from consumer.moderation.judge import beside_tasks
from consumer.moderation.protocol.multimodal import prepared, submission
from consumer.moderation.protocol.requests import calls


if TYPE_CHECKING:
    from collections.abc import Sequence

    from consumer.event import Event
    from consumer.moderation.protocol.requests import Call
    from consumer.moderation.protocol.services import Service


__all__ = ["preview"]


def preview(event: Event, services: Sequence[Service]) -> list[Call]:
    """The calls by all services of a route; those of a thread would be shared with other events of it.

    Raises:
        RecordError: the event would become a dead letter.
    """
    found = [
        submission(batch, service, event.id)
        for service in services
        if service.media == "multimodal"
        for batch in plan([prepared(event, service)])
    ]
    rest = beside_tasks(event, services)
    return found if rest is None else [*found, *calls(rest, services)]
