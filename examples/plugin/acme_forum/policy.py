"""What is done about what was found, where that hangs on who wrote it."""

from __future__ import annotations

from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from consumer.event import Event
    from consumer.plugins import PolicyFunction
    from consumer.verdict import Action, Judgement


__all__ = ["trust_staff"]


def trust_staff(judgement: Judgement, event: Event, action: Action) -> Action:
    """People look at what the staff wrote before it is blocked, unless it is about drugs."""
    staff = (event.author.id or "").endswith("-staff")
    drugs = any(label.category == "contraband" for label in judgement.labels)
    return "review" if staff and action == "block" and not drugs else action


if TYPE_CHECKING:
    _checked: PolicyFunction = trust_staff
