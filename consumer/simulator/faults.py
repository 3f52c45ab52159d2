"""Faults on demand: what may go wrong with a call, to which calls, how often; and the dice that decide.

A fault is written as its kind, then its options, for example `code=588,share=0.1` or
`reset_billed,count=3,service=baselineCheck_global`. The kinds:

    code=N           not judged: answered with this business code (a number) or gateway code (a word)
    http_500         not judged: HTTP 500 without a body
    http_502         not judged: HTTP 502 with a page of HTML
    reset            not judged: the connection is reset (RST)
    hang             not judged: no answer ever comes
    reset_billed     judged and billed, then the connection is reset
    garbage          judged and billed, the answer's body is not JSON
    truncated        judged and billed, the answer's JSON is cut in half
    slow             judged and billed, the answer's body trickles in over `seconds`
    no_risk_level    judged and billed, the answer has code 200 and no risk level
    odd_risk_level   judged and billed, the answer has a risk level that no page knows
    no_task_id       judged and billed, the answer to a submission has code 200 and no task id

A code that the vendor bills (280 of a submission) is judged and billed, and then answered with it. Of a submitted task,
after the call itself was answered as usual:

    task_lost        the service forgets it at once
    task_never       it is in progress for ever
    callback_never   it is not reported; its result can be queried, as ever
    callback_late    it is reported `seconds` after it is ready
    callback_early   it is ready at once, and reported before its submission is answered
    callback_twice   it is reported once more after a successful report
    callback_forged  its reports have a wrong checksum

The options: `share` of the calls it befalls (0 to 1; default all), `count` of times after which it is over (default:
until told otherwise), `service` and `operation` it is limited to (queries and upload tokens have no service but their
operation's name), `seconds` for slow and callback_late (default 5), `retry_after_ms` for a gateway code (header
x-acs-retry-after). Of several faults, the first that befalls a call decides.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from consumer.simulator.latency import NO_LATENCY, Latency


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


__all__ = ["KINDS", "OF_CALLBACKS", "OF_CALLS", "OF_TASKS", "UNBILLED", "Fault", "Faults"]


UNBILLED = frozenset({"code", "http_500", "http_502", "reset", "hang"})
"""Faults that strike before the call is judged."""
OF_CALLS = UNBILLED | {
    "reset_billed",
    "garbage",
    "truncated",
    "slow",
    "no_risk_level",
    "odd_risk_level",
    "no_task_id",
}
"""Faults of a call and its answer."""
OF_TASKS = frozenset({"task_lost", "task_never"})
"""Faults of a submitted task."""
OF_CALLBACKS = frozenset({"callback_never", "callback_late", "callback_early", "callback_twice", "callback_forged"})
"""Faults of a submitted task that is to be reported."""
KINDS = OF_CALLS | OF_TASKS | OF_CALLBACKS


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong; see the module's text for what each kind and option means."""

    kind: str
    code: str | None = None
    share: float = 1.0
    count: int | None = None
    service: str | None = None
    operation: str | None = None
    seconds: float = 5.0
    retry_after_ms: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"{self.kind!r} is no kind of fault; there are {', '.join(sorted(KINDS))}")
        if (self.kind == "code") != (self.code is not None):
            raise ValueError("a code belongs to kind 'code', as in code=588, and to no other")
        if not 0 < self.share <= 1:
            raise ValueError(f"share is {self.share:g}, and must be above 0 and at most 1")
        if self.count is not None and self.count < 1:
            raise ValueError(f"count is {self.count}, and must be at least 1")
        if not 0 < self.seconds < math.inf:
            raise ValueError(f"seconds is {self.seconds:g}, and must be above 0 and finite")

    @classmethod
    def parse(cls, text: str) -> Fault:
        """Read a fault as it is written.

        Raises:
            ValueError: it is not written as the module's text says.
        """
        first, *rest = (part.strip() for part in text.split(","))
        kind, _, code = first.partition("=")
        options: dict[str, Any] = {"code": code} if code else {}
        for part in rest:
            name, equals, value = part.partition("=")
            if name not in _OPTIONS or not equals:
                raise ValueError(f"{part!r} is no option of a fault; there are {', '.join(f'{n}=…' for n in _OPTIONS)}")
            try:
                options[name] = _OPTIONS[name](value)
            except ValueError:
                raise ValueError(f"{value!r} is no value for {name}") from None
        return cls(kind, **options)

    def __str__(self) -> str:
        options = (f"{f.name}={getattr(self, f.name)}" for f in fields(self)[2:] if getattr(self, f.name) != f.default)
        return ",".join([f"code={self.code}" if self.kind == "code" else self.kind, *options])

    def may_befall(self, operation: str, service: str) -> bool:
        """Whether a call of this operation and service is among those it is meant for."""
        return self.service in {None, service} and self.operation in {None, operation}


_OPTIONS: dict[str, Callable[[str], Any]] = {
    "share": float,
    "count": int,
    "service": str,
    "operation": str,
    "seconds": float,
    "retry_after_ms": int,
}


class Faults:
    """The faults in force, the latency, and the dice: the same seed and order of calls give the same faults."""

    __slots__ = ("_dice", "_latency_dice", "_left", "_seed", "fired", "latency", "now")

    def __init__(self, faults: Sequence[Fault] = (), latency: Latency = NO_LATENCY, *, seed: int = 0) -> None:
        self._seed = seed
        self.fired: Counter[str] = Counter()
        self.set(faults)
        self.set_latency(latency)

    def set(self, faults: Sequence[Fault]) -> None:
        """Put these in force, instead of all others, and start the dice anew."""
        self.now: tuple[Fault, ...] = tuple(faults)
        self._left = [fault.count for fault in self.now]
        self._dice = random.Random(self._seed)

    def add(self, *faults: Fault | str) -> None:
        """Put more in force, after the others; a string is parsed."""
        more = tuple(Fault.parse(fault) if isinstance(fault, str) else fault for fault in faults)
        self.now += more
        self._left.extend(fault.count for fault in more)

    def clear(self) -> None:
        """All is well again; the latency stays."""
        self.set(())

    def set_latency(self, latency: Latency) -> None:
        """How long calls take from now on; its dice start anew."""
        self.latency = latency
        self._latency_dice = random.Random(f"latency {self._seed}")

    def draw_latency_seconds(self) -> float:
        """How long the next call takes."""
        return self.latency.draw_seconds(self._latency_dice)

    def strike(self, operation: str, service: str, kinds: frozenset[str] = OF_CALLS) -> Fault | None:
        """The fault of these kinds that befalls this call, or the task it submitted, if any."""
        for position, fault in enumerate(self.now):
            if fault.kind not in kinds or self._left[position] == 0 or not fault.may_befall(operation, service):
                continue
            if fault.share < 1 and self._dice.random() >= fault.share:
                continue
            left = self._left[position]
            if left is not None:
                self._left[position] = left - 1
            self.fired[str(fault)] += 1
            return fault
        return None

    def to_dict(self) -> dict[str, Any]:
        """For `/faults`."""
        return {
            "faults": [str(fault) for fault in self.now],
            "left": self._left,
            "fired": dict(self.fired),
            "latency_ms": str(self.latency),
        }
