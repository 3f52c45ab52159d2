"""The audit of a run: each event has its one outcome, in order, and what was paid twice has an excuse."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

import orjson

from consumer.record import Partition
from tests.simulation.book import ASKS, Finding
from tests.simulation.member import DEAD, VERDICTS
from tests.simulation.world import play


if TYPE_CHECKING:
    from tests.simulation.logs import Raw
    from tests.simulation.schedule import Schedule
    from tests.simulation.world import World


__all__ = ["Report", "audit", "check"]


class Report:
    """What an audit found. It is readable without knowing the simulation."""

    def __init__(self, world: World, findings: list[Finding]) -> None:
        self.schedule = world.schedule
        self.findings = findings
        self.trace = world.book.trace
        self.lines = world.book.lines
        self.events = len(world.book.places)
        self.seconds = world.loop.time()
        self.calls = len(world.vendor.ledger)
        self.submits = len(world.vendor.submitted)
        self.paid_twice = _paid_twice(world)
        self.explained = sum(map(len, world.book.excuses.values())) + sum(
            charge.lost for charge in (*world.vendor.ledger, *world.vendor.submitted)
        )

    @property
    def ok(self) -> bool:
        """Whether every promise was kept."""
        return not self.findings

    @property
    def promises(self) -> set[str]:
        """The promises that were broken."""
        return {finding.promise for finding in self.findings}

    def __str__(self) -> str:
        if self.ok:
            return f"seed {self.schedule.seed}: every promise kept, {self.events} events"
        shown = self.findings[:5]
        parts = [f"BROKEN: {finding.promise}\n    {finding.text}" for finding in shown]
        if len(self.findings) > len(shown):
            parts.append(f"... and {len(self.findings) - len(shown)} more")
        parts += ["", str(self.schedule), "", "what happened:", self.story()]
        return "\n".join(parts)

    def story(self) -> str:
        """What happened to processes and brokers, and of the events only what a finding is about."""
        events = {finding.event for finding in self.findings if finding.event}
        moments = [finding.at for finding in self.findings if finding.at is not None]
        takeovers = [line.at for line in self.lines if line.what in _TAKEOVER]
        chosen = [
            line
            for line in self.lines
            if (line.what not in _ABOUT_EVENTS and line.what != _COMMIT)
            or line.detail.split(" ")[0] in events
            or any(at - _BEFORE_SECONDS <= line.at <= at for at in moments)
            or (line.what == _COMMIT and any(abs(at - line.at) < _NEAR_SECONDS for at in takeovers))
        ]
        return "\n".join(f"  {line}" for line in chosen)


# What may have to do with a moment happened so shortly before it; what crosses a takeover, so near to it.
_BEFORE_SECONDS = 1.2
_NEAR_SECONDS = 0.1
_ABOUT_EVENTS = frozenset({"event", "call", "submit", "query", "billed", "submitted"}) | {
    "answer lost (hang)",
    "answer lost (reset)",
}
_TAKEOVER, _COMMIT = frozenset({ASKS["init"], ASKS["offset_fetch"]}), ASKS["commit"]


def check(schedule: Schedule) -> Report:
    """Play a schedule and audit it."""
    return audit(play(schedule))


def audit(world: World) -> Report:
    """Every promise, one after the other."""
    findings = list(world.book.findings)
    outcomes = _outcomes(world)
    findings += _lost_and_doubled(world, outcomes)
    if world.schedule.ordering != "unordered":
        findings += _disorder(world)
    findings += _paid(world)
    findings += [
        Finding(
            "never over the quota", f"one {quota} more than {world.vendor.limit} in the second before {at:.4f}", at=at
        )
        for at, quota in world.vendor.overruns
    ]
    return Report(world, findings)


def _outcomes(world: World) -> dict[str, list[str]]:
    """What each event became, as a reader sees it who reads committed records only where that is promised."""
    committed = world.schedule.guarantee == "exactly_once"
    by_place = {place: event for event, place in world.book.places.items()}
    found: dict[str, list[str]] = defaultdict(list)
    for topic, word in ((VERDICTS, "verdict"), (DEAD, "dead letter")):
        for _, entry in world.kafka.read(topic, committed=committed):
            if entry.raw is not None:
                found[by_place[_place(topic, entry.raw)]].append(word)
    return found


def _place(topic: str, raw: Raw) -> tuple[Partition, int]:
    if topic == DEAD:
        headers = dict(raw.headers)
        return (
            Partition(headers["moderation-topic"].decode(), int(headers["moderation-partition"])),
            int(headers["moderation-offset"]),
        )
    record = orjson.loads(raw.value or b"")["record"]
    return Partition(record["topic"], record["partition"]), record["offset"]


def _lost_and_doubled(world: World, outcomes: dict[str, list[str]]) -> list[Finding]:
    findings = []
    for event, kind in world.book.kinds.items():
        found = outcomes.get(event, [])
        partition, offset = world.book.places[event]
        where = f"{event} ({kind}, {partition}@{offset})"
        if kind == "null":
            if found:
                findings.append(Finding("nulls are skipped", f"{where} became {', '.join(found)}", event))
            continue
        expected = "verdict" if kind in ("text", "post") else "dead letter"
        if not found:
            done = "committed as done" if world.book.committed(partition, offset) else "not committed"
            findings.append(Finding("nothing is lost", f"{where} has no outcome; it is {done}", event))
        elif set(found) != {expected}:
            findings.append(Finding("one kind of outcome", f"{where} became {', '.join(found)}", event))
        elif len(found) > 1 and world.schedule.guarantee == "exactly_once":
            findings.append(Finding("exactly once", f"{where} has {len(found)} committed outcomes", event))
    return findings


def _disorder(world: World) -> list[Finding]:
    """Verdicts of a key, or of a partition, whose first occurrences do not stand in the order of their events."""
    by_key = world.schedule.ordering == "key"
    committed = world.schedule.guarantee == "exactly_once"
    by_place = {place: event for event, place in world.book.places.items()}
    findings = []
    last: dict[object, tuple[int, str]] = {}
    seen: set[str] = set()
    for out, entry in world.kafka.read(VERDICTS, committed=committed):
        if entry.raw is None:
            continue
        partition, offset = _place(VERDICTS, entry.raw)
        event = by_place[partition, offset]
        key = world.book.keys[event]
        if event in seen or (by_key and key is None):
            continue
        seen.add(event)
        line = (out, partition, key if by_key else None)
        before = last.get(line)
        if before is not None and before[0] > offset:
            findings.append(
                Finding("order is kept", f"{event} ({partition}@{offset}) left after {before[1]}, key {key!r}", event)
            )
        last[line] = max(before or (offset, event), (offset, event))
    return findings


def _paid(world: World) -> list[Finding]:
    """Events that were billed more often than the faults explain."""
    findings = []
    for word, charges, excuses in (
        ("billed", world.vendor.ledger, world.book.excuses),
        ("submitted", world.vendor.submitted, world.book.submit_excuses),
    ):
        times = Counter(charge.event for charge in charges)
        lost = Counter(charge.event for charge in charges if charge.lost)
        for event, count in times.items():
            allowed = 1 + lost[event] + len(excuses[event])
            if count > allowed:
                partition, offset = world.book.places[event]
                why = "; ".join(excuses[event]) or "nothing"
                findings.append(
                    Finding(
                        "nothing is paid twice",
                        f"{event} ({partition}@{offset}) was {word} {count} times; the vendor lost {lost[event]} "
                        f"answers, and its other bills are explained by: {why}",
                        event,
                    )
                )
    return findings


def _paid_twice(world: World) -> int:
    times = Counter(charge.event for charge in (*world.vendor.ledger, *world.vendor.submitted))
    return sum(count - 1 for count in times.values())
