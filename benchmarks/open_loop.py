"""How long does an event wait longer than the service takes, when events come at their own pace?

usage: python -m benchmarks.open_loop [--shares 0.2,0.5,0.8,0.95] [--limits 100,1000] [--stretches 8,4]

Events come at a share of the quota, whether or not earlier ones are done, and each waits from the moment at which it
was meant to be written until its verdict is in the topic, by the broker's clock, in whole milliseconds rounded up: no
delay of the writer, the broker or the consumer is left out. What the service took by itself is taken off. Events come
in equal distances; in the last rows like those of many users (Poisson), where even the best sender has to let some wait
for the quota: "the quota itself" is the wait that no sender can avoid. The bare window has no quota to keep to.
"""

from __future__ import annotations

import http.client
import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from benchmarks.arrivals import even, least_waits, percentile, poisson, post, quick_producer
from benchmarks.bench import Bench, Question, ask
from benchmarks.contenders import BARE, PRODUCT, bare, product
from benchmarks.harness import service
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


@dataclass(frozen=True, slots=True)
class Plan:
    """Its numbers: limits in calls a second, and for each of them how many seconds a share of it lasts."""

    shares: tuple[float, ...] = (0.2, 0.5, 0.8, 0.95)
    limits: tuple[int, ...] = (100, 1000)
    stretches: tuple[float, ...] = (8.0, 4.0)
    latency_ms: float = 50.0
    warm_seconds: float = 2.0


@dataclass(frozen=True, slots=True)
class _Stretch:
    limit: int
    share: float
    how: str
    moments: Sequence[float]


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
                name: _waits(bench, contender, endpoint, warm, stretches, own)
                for name, contender in ((BARE, bare), (PRODUCT, product))
            }
            for at, stretch in enumerate(stretches):
                least = percentile(least_waits(stretch.moments, limit, _JITTER_SECONDS), 0.99)
                for name, of_all in waits.items():
                    cells = [f"{1000 * percentile(of_all[at], share):.0f}" for share in (0.5, 0.99, 0.999)]
                    what = (f"{limit}/s", f"{stretch.share:.0%} {stretch.how}", f"{len(stretch.moments):,}")
                    rows.append((*what, name, *cells, f"{1000 * least:.0f}"))
                    if name == PRODUCT and stretch.how == "even" and stretch.share == _BAR_SHARE:
                        late = 1000 * percentile(of_all[at], 0.99)
                        bounds.append(Bound(f"added p99 at 80 % of {limit} calls/s, ms", late, 10, at_most=True))
            for name, of_all in waits.items():
                points = tuple(
                    (100 * stretch.share, max(0.0, 1000 * percentile(of_all[at], 0.99)))
                    for at, stretch in enumerate(stretches)
                    if stretch.how == "even"
                )
                lines.append(Line(f"{name}, {limit}/s", points))
    chart = Chart("Added latency, p99", "% of the quota", "ms", tuple(lines))
    columns = ("quota", "share", "events", "contender", "p50 ms", "p99 ms", "p99.9 ms", "the quota itself, p99 ms")
    title = f"Open loop: what is added to the service's own {1000 * own:.1f} ms"
    return Found(title, columns, tuple(rows), (chart,), tuple(bounds))


def _waits(
    bench: Bench,
    contender: Contender,
    endpoint: str,
    warm: Sequence[float],
    stretches: Sequence[_Stretch],
    own: float,
) -> list[list[float]]:
    """How long each event waited beyond the service, in seconds, by stretch."""
    topic = bench.topic("events")
    producer = quick_producer(bench.bootstrap)
    quota = {"text_per_second": stretches[0].limit, "jitter_seconds": _JITTER_SECONDS}
    job = bench.job(topic, endpoint, settings={"quota": quota})
    meant: list[dict[str, float]] = []
    with bench.working(contender, job) as (children, verdicts):
        for number, moments in enumerate((warm, *(stretch.moments for stretch in stretches))):
            meant.append(post(producer, topic, f"s{number}", moments))
            verdicts.wait(sum(map(len, meant)), _LIMIT_SECONDS, *children)
            # The window of the quota is empty when the next stretch begins.
            time.sleep(1 + 2 * _JITTER_SECONDS)
        written = dict(verdicts.events())
    return [[written[name] + 0.001 - at - own for name, at in one.items()] for one in meant[1:]]


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
