"""What was judged: labels and bills of one event, and the verdict that leaves for Kafka."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Literal, get_args

import orjson

from consumer.frozen import frozen


if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from consumer.record import Record


__all__ = [
    "ACTIONS",
    "SCHEMA",
    "Action",
    "Billed",
    "CustomHit",
    "Judgement",
    "Label",
    "RiskLevel",
    "RiskPosition",
    "Source",
    "Verdict",
    "joined_extra",
    "merge",
]


SCHEMA = "moderation-verdict/1"

Action = Literal["pass", "review", "block"]
Source = Literal["service", "cache", "joined", "packed", "thread"]
ACTIONS: tuple[Action, ...] = get_args(Action)
_FREE: frozenset[Source] = frozenset({"cache", "joined"})
From = Literal["text", "image", "text_in_image", "text_and_image", "library"]


class RiskLevel(IntEnum):
    """How risky the service finds the content, lowest first.

    `UNKNOWN` is ours: the service gave no usable answer. It ranks above what may pass by default and below what a
    person would look at anyway.
    """

    NONE = 0
    LOW = 1
    UNKNOWN = 2
    MEDIUM = 3
    HIGH = 4

    @property
    def word(self) -> str:
        """The level as it stands in verdicts and metrics."""
        return _WORDS[self]


_WORDS = {level: level.name.lower() for level in RiskLevel}


@dataclass(frozen=True, slots=True)
class RiskPosition:
    """Where a risk word stands in the event's text, as the service counts: for display only."""

    word: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class CustomHit:
    """A hit in one of the account's own libraries."""

    library: str
    keywords: tuple[str, ...] = ()


@frozen
class Label:
    """One reason the service gave.

    `confidence` is 0 to 100, and `risk_level` this label's own; each is None where the service gives none.
    """

    label: str
    category: str
    service: str
    found_in: From
    description: str = ""
    confidence: float | None = None
    risk_words: tuple[str, ...] = ()
    positions: tuple[RiskPosition, ...] = ()
    custom_hits: tuple[CustomHit, ...] = ()
    risk_level: RiskLevel | None = None

    def to_dict(self) -> dict[str, Any]:
        """The label as a verdict carries it."""
        return {
            "label": self.label,
            "category": self.category,
            "description": self.description,
            "confidence": self.confidence,
            "risk_level": None if self.risk_level is None else self.risk_level.word,
            "risk_words": self.risk_words,
            "positions": [{"word": p.word, "start": p.start, "end": p.end} for p in self.positions],
            "custom_hits": [{"library": hit.library, "keywords": hit.keywords} for hit in self.custom_hits],
            "service": self.service,
            "from": self.found_in,
        }


@frozen
class Billed:
    """What one answer cost. `cost` is in whole units of `currency`; `plan_units` is what a resource plan loses."""

    moderation_type: str
    units: int
    cost: Decimal
    currency: str
    plan_units: Decimal = Decimal(0)

    def to_dict(self) -> dict[str, Any]:
        """The bill as a verdict carries it; amounts are JSON numbers."""
        return {
            "moderation_type": self.moderation_type,
            "units": self.units,
            "cost": float(self.cost),
            "currency": self.currency,
            "plan_units": float(self.plan_units),
        }


@frozen
class Judgement:
    """What the services said of one event, before any policy. `attempts` counts requests sent, retries included.

    `reason` is set where the level is unknown: why no usable answer could be had. `route` names the route it was judged
    by, where that is not the one that took the event.
    """

    risk_level: RiskLevel
    services: tuple[str, ...]
    labels: tuple[Label, ...] = ()
    source: Source = "service"
    request_ids: tuple[str, ...] = ()
    task_id: str | None = None
    attempts: int = 1
    billed: tuple[Billed, ...] = ()
    reason: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    route: str | None = None


def merge(parts: tuple[Judgement, ...]) -> Judgement:
    """One judgement out of several of the same event: the highest risk wins, everything else is joined.

    It comes from memory, or from another event's call, only if all of its parts do.

    Raises:
        ValueError: `parts` is empty; an event that nothing judged has no judgement.
    """
    if not parts:
        raise ValueError("nothing to merge: no part of the event was judged")
    if len(parts) == 1:
        return parts[0]
    unknown = [part for part in parts if part.reason is not None or part.risk_level is RiskLevel.UNKNOWN]
    reasons = [part.reason or f"{', '.join(part.services)}: no usable answer" for part in unknown]
    return Judgement(
        risk_level=max(part.risk_level for part in parts),
        services=tuple(dict.fromkeys(name for part in parts for name in part.services)),
        labels=tuple(label for part in parts for label in part.labels),
        source=next((part.source for part in parts if part.source not in _FREE), parts[0].source),
        request_ids=tuple(dict.fromkeys(one for part in parts for one in part.request_ids)),
        task_id=next((part.task_id for part in parts if part.task_id is not None), None),
        attempts=sum(part.attempts for part in parts),
        billed=tuple(bill for part in parts for bill in part.billed),
        reason="; ".join(dict.fromkeys(reasons)) if reasons else None,
        extra=joined_extra(part.extra for part in parts),
    )


def joined_extra(extras: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """All members of all of these. Where two have a member of one name, both values are in it.

    Lists are put together, objects member by member, different strings a line each. Token counts are added up, and of
    other numbers the largest stays. The shape of a member is the same whether one answer had it or several.
    """
    joined: dict[str, Any] = {}
    for extra in extras:
        for name, value in extra.items():
            joined[name] = _both(name, joined[name], value) if name in joined else value
    return joined


def _both(name: str, one: Any, other: Any) -> Any:
    if isinstance(one, dict) and isinstance(other, dict):
        return joined_extra([one, other])
    if isinstance(one, list) and isinstance(other, list):
        return one + [value for value in other if value not in one]
    if isinstance(one, str) and isinstance(other, str):
        return one if other in one.split("\n") else f"{one}\n{other}"
    if _is_number(one) and _is_number(other):
        return one + other if name.endswith("_tokens") else max(one, other)
    return one if other is None else other


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


@frozen
class Verdict:
    """The answer to one event, as it is written to Kafka. `judged_at` is seconds since the epoch."""

    event_id: str
    kind: str
    route: str
    action: Action
    judgement: Judgement
    record: Record
    judged_at: float
    latency_ms: float

    def to_json(self) -> bytes:
        """The verdict in the shape of `config/verdict.schema.json`."""
        judged = self.judgement
        record = self.record
        written = orjson.dumps(
            {
                "schema": SCHEMA,
                "event_id": self.event_id,
                "kind": self.kind,
                "route": self.route,
                "services": judged.services,
                "risk_level": judged.risk_level.word,
                "action": self.action,
                "labels": [label.to_dict() for label in judged.labels],
                "source": judged.source,
                "request_ids": judged.request_ids,
                "task_id": judged.task_id,
                "attempts": judged.attempts,
                "billed": [bill.to_dict() for bill in judged.billed],
                "reason": judged.reason,
                "extra": judged.extra,
                "judged_at": round(self.judged_at, 3),
                "latency_ms": round(self.latency_ms, 1),
                "record": {
                    "topic": record.partition.topic,
                    "partition": record.partition.partition,
                    "offset": record.offset,
                    "timestamp": record.timestamp,
                },
            }
        )
        # A copy, since what orjson gives occupies 8 KiB for as long as it is kept: until the broker has it.
        return memoryview(written).tobytes()
