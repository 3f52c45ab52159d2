"""What goes wrong and when: a schedule of faults, drawn from a seed and printed before anything runs."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Iterator


__all__ = ["SESSION_SECONDS", "Step", "schedule"]


SESSION_SECONDS = 6.0
"""How long the group waits for a silent member."""

_FIRST_SECONDS = 2.0
_NETWORK = ("cut", "delay", "black hole", "half close", "refuse")
_SERVICE = (
    "code=588,share=0.5",
    "code=500,share=0.4",
    "http_500,share=0.5",
    "http_502,share=0.3",
    "hang,share=0.05",
    "reset,share=0.3",
    "reset_billed,share=0.2",
    "garbage,share=0.3",
    "truncated,share=0.2",
    "no_risk_level,share=0.1",
    "no_task_id,share=0.3",
    "slow,share=0.1,seconds=1",
    "code=Throttling.User,share=0.3",
    "code=408",
)


@dataclass(frozen=True, slots=True)
class Step:
    """One fault: when it begins, what it is, whom it befalls, and how long it lasts, in seconds.

    `whom` is a role and not a name, since only the run shows who works: `active`, `standby`, `third`, `everybody`, the
    number of a broker, or `service`. `detail` says where a fault of the network is, and which of the service it is;
    `delay_seconds` is how much later every byte arrives.
    """

    at: float
    kind: str
    whom: str
    seconds: float
    detail: str = ""
    delay_seconds: float = 0.0

    def __str__(self) -> str:
        detail = f" {self.detail}" if self.detail else ""
        if self.delay_seconds:
            detail += f" by {self.delay_seconds * 1000:.0f} ms"
        return f"{self.at:5.1f} s  {self.kind} {self.whom}{detail}, for {self.seconds:.1f} s"


def schedule(seed: int, seconds: float, *, brokers: int = 3) -> list[Step]:
    """The faults of a run, in the order of their time: the same for the same seed.

    Four sorts of trouble take their course beside each other: processes, brokers, the network and the service. Of
    brokers no second one is away while one is, unless all are. All is over a few seconds after the end of `seconds`.
    """
    dice = random.Random(f"faults {seed}")
    steps = [
        *_processes(dice, seconds),
        *_brokers(dice, seconds, brokers),
        *_network(dice, seconds, brokers),
        *_service(dice, seconds),
    ]
    return sorted(steps, key=lambda step: step.at)


def _processes(dice: random.Random, seconds: float) -> Iterator[Step]:
    at = dice.uniform(_FIRST_SECONDS, _FIRST_SECONDS + 2)
    while at < seconds:
        kind = dice.choices(("kill", "freeze", "stop", "join", "kill all"), (5, 4, 4, 2, 1))[0]
        whom = dice.choices(("active", "standby"), (4, 1))[0]
        if kind == "kill":
            step = Step(at, "kill", whom, dice.choice((0.2, 1.0, 3.0, 8.0)))
        elif kind == "freeze":
            step = Step(at, "freeze", whom, SESSION_SECONDS + dice.uniform(0.5, 3))
        elif kind == "stop":
            step = Step(at, "stop", whom, dice.choice((0.0, 0.0, 2.0)))
        elif kind == "join":
            step = Step(at, "join", "third", dice.uniform(1, 6))
        else:
            step = Step(at, "kill", "everybody", dice.uniform(0.2, 2))
        yield step
        at += step.seconds + dice.uniform(1, 4)


def _brokers(dice: random.Random, seconds: float, brokers: int) -> Iterator[Step]:
    if dice.random() < 0.45:
        return
    at = dice.uniform(_FIRST_SECONDS, seconds * 0.7)
    if dice.random() < 0.12:
        yield Step(at, "kill brokers", "everybody", dice.uniform(1, 4))
    else:
        yield Step(at, "kill broker", str(dice.randrange(1, brokers + 1)), dice.uniform(1, 6))


def _network(dice: random.Random, seconds: float, brokers: int) -> Iterator[Step]:
    at = dice.uniform(_FIRST_SECONDS, seconds * 0.6)
    while at < seconds and dice.random() < 0.7:
        kind = dice.choice(_NETWORK)
        place = dice.choice(("to the service", "to all brokers", f"to broker {dice.randrange(1, brokers + 1)}"))
        lasting = {
            "cut": 0.0,
            "delay": dice.uniform(1, 4),
            "black hole": dice.choice((dice.uniform(0.5, 3), SESSION_SECONDS + dice.uniform(0.5, 3))),
            "half close": dice.uniform(0.2, 1.5),
            "refuse": dice.uniform(0.5, 3),
        }[kind]
        whom = dice.choice(("active", "active", "standby"))
        # What bunches calls up must stay within what the consumer is told to reckon with, or the quota is overrun.
        delay = dice.uniform(0.02, 0.2) if kind == "delay" else 0.0
        yield Step(at, kind, whom, lasting, place, delay)
        at += lasting + dice.uniform(1, 5)


def _service(dice: random.Random, seconds: float) -> Iterator[Step]:
    at = dice.uniform(1, seconds * 0.5)
    while at < seconds and dice.random() < 0.8:
        faults = dice.sample(_SERVICE, dice.choice((1, 1, 2)))
        step = Step(at, "fault", "service", dice.uniform(0.5, 3), " ".join(faults))
        yield step
        at += step.seconds + dice.uniform(0.5, 5)
