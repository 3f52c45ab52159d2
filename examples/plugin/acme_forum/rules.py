"""Which posts go to which services, where that hangs on more than their kind."""

from __future__ import annotations

from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from consumer.event import Event
    from consumer.plugins import RuleFunction


__all__ = ["by_a_newcomer"]


def by_a_newcomer(event: Event, topic: str) -> bool:
    """Whether the author came this year: the forum numbers its members, and wrote the year in front."""
    return topic != "forum.staff" and (event.author.id or "").startswith("2026-")


if TYPE_CHECKING:
    _checked: RuleFunction = by_a_newcomer
