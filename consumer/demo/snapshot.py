"""What the viewer sees at one moment, as plain data: rates out of readings, and the answers worth a row."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from consumer.demo.reading import Latency, Reading, latency


if TYPE_CHECKING:
    from collections.abc import Sequence

    from consumer.demo.outputs import Shown


__all__ = ["History", "Row", "Showcase", "Snapshot"]


# Rates are taken over so long: short enough to follow a burst, long enough to be read, and no whole number of seconds:
# a limit's worth of calls is sent early in each of its seconds, and 2 s would hold three such beginnings.
_SPAN_SECONDS = 2.1
_LAG_POINTS = 200
# A clean verdict gets a row at most this often, so that rows can be read; all others get one at once.
_CLEAN_EVERY_SECONDS = 0.7


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the list of answers; `clock` is the time of day."""

    clock: str
    kind: str
    risk_level: str
    action: str
    labels: str
    excerpt: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One moment.

    Attributes:
        elapsed_seconds: since the first event.
        phase: what is going on, in a few words.
        sent: events written so far.
        sent_rate: events written a second.
        judged_rate: events done a second.
        quota_rates: calls a second, by quota.
        calls: how long the latest calls took; None where there were none.
        reading: the consumer's metrics.
        lags: the lag now and before, oldest first, one for each reading.
        on_the_wire: calls that the service has not answered yet.
        weather: how the service is doing.
        rows: the last answers, newest first.
        note: the last warning of the log.
    """

    elapsed_seconds: float
    phase: str
    sent: int
    sent_rate: float
    judged_rate: float
    quota_rates: dict[str, float]
    calls: Latency | None
    reading: Reading
    lags: Sequence[int]
    on_the_wire: int
    weather: str
    rows: Sequence[Row]
    note: str = ""

    @property
    def lag(self) -> int:
        """Events written and not done."""
        return self.lags[-1] if self.lags else 0


class History:
    """The readings of the last seconds."""

    def __init__(self) -> None:
        self._kept: deque[tuple[float, int, Reading]] = deque()
        self.lags: deque[int] = deque(maxlen=_LAG_POINTS)

    def add(self, at_seconds: float, sent: int, reading: Reading) -> None:
        """One more."""
        self._kept.append((at_seconds, sent, reading))
        # The last one that is old enough is where rates are counted from.
        while len(self._kept) > 1 and self._kept[1][0] <= at_seconds - _SPAN_SECONDS:
            self._kept.popleft()
        self.lags.append(max(0, sent - reading.counts.total))

    def snapshot(self, *, phase: str, on_the_wire: int, weather: str, rows: Sequence[Row], note: str) -> Snapshot:
        """The moment of the last reading."""
        then, sent_then, earlier = self._kept[0]
        now, sent, reading = self._kept[-1]
        span = max(now - then, 0.001)
        return Snapshot(
            elapsed_seconds=now,
            phase=phase,
            sent=sent,
            sent_rate=(sent - sent_then) / span,
            judged_rate=(reading.counts.total - earlier.counts.total) / span,
            quota_rates={
                name: (used - earlier.quota_used.get(name, 0)) / span for name, used in reading.quota_used.items()
            },
            calls=latency(earlier, reading),
            reading=reading,
            lags=tuple(self.lags),
            on_the_wire=on_the_wire,
            weather=weather,
            rows=rows,
            note=note,
        )


class Showcase:
    """Which answers get a row: all that are not clean, and a clean one now and then."""

    def __init__(self, *, keep: int = 60) -> None:
        self._rows: deque[Row] = deque(maxlen=keep)
        self._clean_at = float("-inf")

    @property
    def rows(self) -> tuple[Row, ...]:
        """Newest first."""
        return tuple(self._rows)

    def offer(self, shown: Shown, excerpt: str, *, at_seconds: float, clock: str) -> Row | None:
        """An answer came; its row, if it gets one."""
        if shown.action == "pass":
            if at_seconds - self._clean_at < _CLEAN_EVERY_SECONDS:
                return None
            self._clean_at = at_seconds
        row = Row(clock, shown.kind, shown.risk_level, shown.action, ", ".join(shown.labels), excerpt)
        self._rows.appendleft(row)
        return row
