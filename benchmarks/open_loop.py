"""How long does an event wait longer than the service takes, when events come at their own pace?

usage: python -m benchmarks.open_loop [--shares 0.2,0.5,0.8,0.95] [--limits 100,1000] [--stretches 6,3] [--repeats 3]

Events come at a share of the quota, whether or not earlier ones are done, and each waits from the moment at which it
was meant to be written until its verdict is in the topic, by the broker's clock, in whole milliseconds rounded up: no
delay of the writer, the broker or the consumer is left out. What the service took by itself is taken off. Of that wait,
"before the topic" is what went by until the event itself was in its topic: no consumer can see it earlier; "since then"
is the rest. Events come in equal distances; in the last rows like those of many users (Poisson), where even the best
sender has to let some wait for the quota: "the quota itself" is the wait that no sender can avoid. The bare window has
no quota to keep to. What has a bar is asked several times, and the median of each figure counts.
"""

from __future__ import annotations

import http.client
import statistics
import time
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from benchmarks.arrivals import even, least_waits, percentile, poisson, post, quick_producer
from benchmarks.bench import Bench, Question, ask
from benchmarks.contenders import BARE, PRODUCT, bare, product
from benchmarks.harness import Verdicts, service
from benchmarks.results import Bound, Chart, Found, Line


if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.contenders import Contender


__all__ = ["QUESTION", "Plan", "own_seconds", "run"]


_JITTER_SECONDS = 0.03
_LIMIT_SECONDS = 30.0
_POISSON_SHARE = 0.8
_BAR_SHARE = 0.8
_ASKED = 60
# The broker's clock tells whole milliseconds.
_CLOCK_SECONDS = 0.001


@dataclass(frozen=True, slots=True)
class Plan:
    """Its numbers: limits in calls a second, and for each of them how many seconds a share of it lasts."""

    shares: tuple[float, ...] = (0.2, 0.5, 0.8, 0.95)
    limits: tuple[int, ...] = (100, 1000)
    stretches: tuple[float, ...] = (6.0, 3.0)
    repeats: int = 3
    latency_ms: float = 50.0
    warm_seconds: float = 2.0


@dataclass(frozen=True, slots=True)
class _Stretch:
    limit: int
    share: float
    how: str
    moments: Sequence[float]

    @property
    def has_bar(self) -> bool:
        return self.how == "even" and self.share == _BAR_SHARE


@dataclass(frozen=True, slots=True)
class _Waits:
    """How long events waited beyond the service, until they were in their topic, and from then on; in seconds."""

    all: Sequence[float]
    before_topic: Sequence[float]
    since_then: Sequence[float]


def run(bench: Bench, plan: Plan) -> Found:
    """Let events come at each share of both limits, to each contender."""
    rows: list[tuple[str, ...]] = []
    bounds: list[Bound] = []
    lines: list[Line] = []
    with service(plan.latency_ms) as endpoint:
        own = own_seconds(endpoint)
        for limit, seconds in zip(plan.limits, plan.stretches, strict=True):
            warm = even(limit / 4, plan.warm_seconds)
            stretches = [_Stretch(limit, share, "even", even(limit * share, seconds)) for share in plan.shares]
            rate = limit * _POISSON_SHARE
            stretches.append(_Stretch(limit, _POISSON_SHARE, "Poisson", poisson(rate, seconds)))
            waits = {
                name: _waits(bench, contender, endpoint, warm, stretches, own, plan.repeats)
                for name, contender in ((BARE, bare), (PRODUCT, product))
            }
            for at, stretch in enumerate(stretches):
                least = percentile(least_waits(stretch.moments, limit, _JITTER_SECONDS), 0.99)
                for name, of_all in waits.items():
                    cells = [f"{1000 * _median(of_all[at], share):.0f}" for share in (0.5, 0.99, 0.999)]
                    before = statistics.median(percentile(one.before_topic, 0.99) for one in of_all[at])
                    since = statistics.median(percentile(one.since_then, 0.99) for one in of_all[at])
                    what = (f"{limit}/s", f"{stretch.share:.0%} {stretch.how}", f"{len(stretch.moments):,}")
                    runs = str(len(of_all[at]))
                    parts = [f"{1000 * one:.0f}" for one in (before, since, least)]
                    rows.append((*what, name, *cells, *parts, runs))
                    if name == PRODUCT and stretch.has_bar:
                        late = 1000 * _median(of_all[at], 0.99)
                        bounds.append(Bound(f"added p99 at 80 % of {limit} calls/s, ms", late, 10, at_most=True))
            for name, of_all in waits.items():
                points = tuple(
                    (100 * stretch.share, max(0.0, 1000 * _median(of_all[at], 0.99)))
                    for at, stretch in enumerate(stretches)
                    if stretch.how == "even"
                )
                lines.append(Line(f"{name}, {limit}/s", points))
    chart = Chart("Added latency, p99", "% of the quota", "ms", tuple(lines))
    columns = (
        "quota",
        "share",
        "events",
        "contender",
        "p50 ms",
        "p99 ms",
        "p99.9 ms",
        "before the topic, p99 ms",
        "since then, p99 ms",
        "the quota itself, p99 ms",
        "runs",
    )
    title = f"Open loop: what is added to the service's own {1000 * own:.1f} ms"
    return Found(title, columns, tuple(rows), (chart,), tuple(bounds))


def _median(several: Sequence[_Waits], share: float) -> float:
    return statistics.median(percentile(one.all, share) for one in several)


def _waits(
    bench: Bench,
    contender: Contender,
    endpoint: str,
    warm: Sequence[float],
    stretches: Sequence[_Stretch],
    own: float,
    repeats: int,
) -> list[list[_Waits]]:
    """How long events waited, by stretch and run."""
    topic = bench.topic("events")
    producer = quick_producer(bench.bootstrap)
    quota = {"text_per_second": stretches[0].limit, "jitter_seconds": _JITTER_SECONDS}
    job = bench.job(topic, endpoint, settings={"quota": quota})
    order = [at for at, stretch in enumerate(stretches) for _ in range(repeats if stretch.has_bar else 1)]
    meant: list[dict[str, float]] = []
    with bench.working(contender, job) as (children, verdicts):
        for number, moments in enumerate((warm, *(stretches[at].moments for at in order))):
            meant.append(post(producer, topic, f"s{number}", moments))
            verdicts.wait(sum(map(len, meant)), _LIMIT_SECONDS, *children)
            # The window of the quota is empty when the next stretch begins.
            time.sleep(1 + 2 * _JITTER_SECONDS)
        written = dict(verdicts.events())
    with closing(Verdicts(bench.bootstrap, topic, before_id=b'"id":"')) as events:
        events.wait(sum(map(len, meant)), _LIMIT_SECONDS)
        there = dict(events.events())
    found: list[list[_Waits]] = [[] for _ in stretches]
    for at, one in zip(order, meant[1:], strict=True):
        waits = [written[name] + _CLOCK_SECONDS - due - own for name, due in one.items()]
        before = [there[name] + _CLOCK_SECONDS - due for name, due in one.items()]
        since = [written[name] + _CLOCK_SECONDS - there[name] - own for name in one]
        found[at].append(_Waits(waits, before, since))
    return found


def own_seconds(endpoint: str) -> float:
    """What the service takes by itself: the median of calls one after the other, on one connection."""
    at = urlsplit(endpoint)
    connection = http.client.HTTPConnection(at.hostname or "", at.port)
    took = []
    for _ in range(_ASKED):
        began = time.perf_counter()
        connection.request("POST", "/", b"{}")
        connection.getresponse().read()
        took.append(time.perf_counter() - began)
    connection.close()
    return statistics.median(took)


QUESTION = Question("open_loop", __doc__ or "", 170, Plan(), run)


if __name__ == "__main__":
    ask(QUESTION)
