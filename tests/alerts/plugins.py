"""Plugins as careless people write them, for the scenario in which they fail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from consumer.event import Event
    from consumer.record import Record
    from consumer.verdict import Action, Judgement


__all__ = ["no_round_numbers", "undecided"]


def no_round_numbers(document: dict[str, Any], _record: Record, /) -> dict[str, Any]:
    """A mapping that fails at each tenth message."""
    if document["id"].endswith("0"):
        del document["what is not there"]
    return document


def undecided(_judgement: Judgement, _event: Event, _action: Action, /) -> Action:
    """A policy that fails at each event."""
    raise NotImplementedError
