"""Schedules: what happens in one simulated run, drawn from a seed, or written down by hand."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args


if TYPE_CHECKING:
    from tests.simulation.vendor import Mishap


__all__ = ["Fault", "Guarantee", "Input", "Kind", "Ordering", "Scale", "Schedule", "What", "draw"]


Guarantee = Literal["at_least_once", "exactly_once"]
Scale = Literal["failover", "share"]
Ordering = Literal["unordered", "key", "partition"]
What = Literal["kill", "freeze", "zombie", "stop", "join", "brokers", "isolate", "lossy"]
Kind = Literal["text", "post", "malformed", "refused", "null", "poison"]
Written = Literal["plain", "transaction", "after_abort"]


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that happens at a moment; times are in seconds.

    kill: kill -9, and another start `seconds` later. freeze: SIGSTOP for `seconds`. zombie: SIGSTOP until another
    process has taken over and sends a request `until`, and `seconds` more. These three strike when the process's next
    request `on` arrives, if that is given. stop: a planned stop, and another start `seconds` later. join: one more
    process starts. brokers: the `nodes` are away for `seconds`. isolate: the same for one process only. lossy: a fifth
    of all answers is lost for `seconds`.
    """

    at: float
    what: What
    member: int = 0
    seconds: float = 0.0
    nodes: tuple[str, ...] = ()
    on: str = ""
    until: str = ""

    def __str__(self) -> str:
        words = {
            "kill": f"kill -9 of m{self.member}, started again {self.seconds:.3f} s later",
            "freeze": f"m{self.member} frozen for {self.seconds:.3f} s",
            "zombie": f"m{self.member} frozen until {self.seconds:.4f} s after its successor sent {self.until}",
            "stop": f"planned stop of m{self.member}, started again {self.seconds:.3f} s later",
            "join": f"m{self.member} joins",
            "brokers": f"brokers away for {self.seconds:.3f} s: {', '.join(self.nodes)}",
            "isolate": f"m{self.member} cut off for {self.seconds:.3f} s from {', '.join(self.nodes)}",
            "lossy": f"a fifth of all answers lost for {self.seconds:.3f} s",
        }
        return f"{self.at:8.3f}  {words[self.what]}" + (f", when its next {self.on} arrives" if self.on else "")


@dataclass(frozen=True, slots=True)
class Input:
    """A record that is written to the input topic, by itself, in a transaction, or behind one that was aborted.

    `gap` offsets before it are left out, as compaction does. A post is judged by a task, a poison kills the process.
    """

    at: float
    partition: int
    key: int | None
    kind: Kind
    gap: int = 0
    written: Written = "plain"


@dataclass(frozen=True, slots=True)
class Schedule:
    """One run. `trouble` is the share of calls to the vendor with one of the `mishaps`.

    `salt` changes all that is drawn while it runs, such as delays, and nothing else.
    """

    seed: int
    guarantee: Guarantee
    scale: Scale
    ordering: Ordering
    members: int
    partitions: int
    inputs: tuple[Input, ...]
    faults: tuple[Fault, ...]
    limit: int
    max_in_flight: int
    latency_seconds: tuple[float, float]
    trouble: float = 0.0
    mishaps: tuple[Mishap, ...] = ()
    salt: int = 0

    def __str__(self) -> str:
        kinds = [f"{sum(one.kind == kind for one in self.inputs)} {kind}" for kind in get_args(Kind)]
        (shortest, longest), mishaps = self.latency_seconds, ", ".join(self.mishaps) or "no mishap"
        lines = [
            f"seed {self.seed}: {self.guarantee}, {self.scale}, order {self.ordering}",
            f"{self.members} processes, {self.partitions} partitions, {len(self.inputs)} events ({', '.join(kinds)})",
            f"vendor: {self.limit} calls a second of {shortest:g} to {longest:g} s, {self.trouble:.0%} with {mishaps}",
            "faults:" if self.faults else "no faults",
        ]
        return "\n".join(lines + [f"    {fault}" for fault in self.faults])


def draw(seed: int, *, faults: tuple[What, ...] = get_args(What), **pinned: Any) -> Schedule:
    """The schedule of a seed, with faults of these kinds; what is `pinned` (such as `guarantee`) is not drawn."""
    chance = random.Random(seed)
    members = chance.choice((1, 2, 2, 3))
    partitions = chance.choice((1, 2, 3, 4))
    slow = chance.random() < 0.3
    mishaps: tuple[Mishap, ...] = ("error", "reset", "hang", "throttle")
    drawn: dict[str, Any] = {
        "guarantee": chance.choice(get_args(Guarantee)),
        "scale": chance.choice(get_args(Scale)),
        "ordering": chance.choice(get_args(Ordering)),
        "members": members,
        "partitions": partitions,
        "limit": chance.choice((6, 10, 20)),
        "max_in_flight": chance.choice((2, 8, 30)),
        "latency_seconds": (0.3, 1.2) if slow else (0.02, 0.3),
        "trouble": chance.choice((0.0, 0.05, 0.2)),
        "mishaps": tuple(chance.sample(mishaps, chance.randint(1, 4))),
        "inputs": _inputs(chance, partitions),
        "faults": _faults(chance, members, faults),
    }
    return Schedule(seed, **(drawn | pinned))


def _inputs(chance: random.Random, partitions: int) -> tuple[Input, ...]:
    kinds: tuple[Kind, ...] = ("text",) * 16 + ("malformed", "refused", "null")
    if chance.random() < 0.25:
        kinds += ("post",) * 8
    poison = chance.randrange(20) if chance.random() < 0.05 else -1
    transactions = chance.random() < 0.3
    at_once, last = chance.random() < 0.4, chance.uniform(1, 4)
    keys = chance.choice((3, 10))
    return tuple(
        sorted(
            (
                Input(
                    at=0.0 if at_once else round(chance.uniform(0, last), 3),
                    partition=chance.randrange(partitions),
                    # A third of the keys have most of the events.
                    key=None if chance.random() < 0.1 else int(keys * chance.random() ** 2),
                    kind="poison" if number == poison else chance.choice(kinds),
                    gap=chance.choice((0,) * 12 + (1, 3)),
                    written=chance.choice(get_args(Written)) if transactions else "plain",
                )
                for number in range(chance.randint(20, 60))
            ),
            key=lambda one: one.at,
        )
    )


def _faults(chance: random.Random, members: int, kinds: tuple[What, ...]) -> tuple[Fault, ...]:
    faults = [_fault(chance, members, chance.choice(kinds)) for _ in range(chance.choice((0, 1, 1, 2, 2, 3, 4)))]
    return tuple(sorted(faults, key=lambda fault: fault.at))


_ALL_NODES = ("log", "group", "transactions", "state")
# Requests in the midst of which a process is hit, and those of its successor at which it wakes.
_REQUESTS = ("commit", "heartbeat", "join", "sync", "init", *("add", "write", "commit_in_transaction", "end") * 2)
_OF_TAKEOVERS = ("offset_fetch", "offset_fetch", "init", "init", "add", "commit", "commit_in_transaction", "end")


def _fault(chance: random.Random, members: int, what: What) -> Fault:
    at = round(chance.uniform(0.2, 5.0), 4)
    member = chance.randrange(members)
    on = chance.choice(_REQUESTS) if chance.random() < (0.8 if what == "zombie" else 0.5) else ""
    match what:
        case "kill":
            return Fault(at, what, member, _pause(chance), on=on)
        case "stop":
            return Fault(at, what, member, _pause(chance))
        case "freeze":
            long = chance.random() < 0.6
            return Fault(
                at, what, member, round(chance.uniform(2.0, 4.5) if long else chance.uniform(0.1, 1.8), 4), on=on
            )
        case "zombie":
            until = chance.choice(_OF_TAKEOVERS)
            return Fault(at, what, member, round(chance.random() ** 6 * 1.5, 5), on=on, until=until)
        case "join":
            return Fault(at, what, members + chance.randrange(2))
        case "brokers" | "isolate":
            nodes = chance.choice(
                (_ALL_NODES, _ALL_NODES[1:3], *((node,) for node in _ALL_NODES)),
            )
            return Fault(at, what, member, round(chance.uniform(0.1, 3.0), 3), nodes)
        case "lossy":
            return Fault(at, what, 0, round(chance.uniform(0.5, 3.0), 3))


def _pause(chance: random.Random) -> float:
    return round(chance.choice((chance.uniform(0.05, 0.5), chance.uniform(0.5, 4))), 3)
