"""The way of one event: record → event → route → judgement → action → verdict, or a dead letter with the reason."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

import structlog

from consumer.engine.letters import dead_letter, shortened
from consumer.errors import LaneClosed, NothingToJudge, NotYet, RecordError, RouteError
from consumer.record import OutRecord
from consumer.verdict import Verdict


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from consumer.clock import Clock
    from consumer.engine.lane import Work
    from consumer.engine.ports import Judge, Trace
    from consumer.errors import DeliveryRefused
    from consumer.event import Event
    from consumer.policy import Policy
    from consumer.record import Record
    from consumer.routing import Router


__all__ = ["Outcome", "Way"]


_log = structlog.get_logger(__name__)

# What stands in the outcome of a record that is skipped.
_NOTHING = OutRecord("", None, b"")


class Outcome:
    """What became of a record: what is to be written, and what to count once it is.

    Without a verdict and an error, the record had nothing to judge, and nothing is written.
    """

    __slots__ = ("error", "out", "route", "trace", "verdict")

    def __init__(
        self, out: OutRecord, *, route: str = "", verdict: Verdict | None = None, error: RecordError | None = None
    ) -> None:
        self.out = out
        self.route = route
        self.verdict = verdict
        self.error = error
        self.trace: Trace | None = None


class Way:
    """The steps every record takes, with the parts that take them."""

    def __init__(
        self,
        *,
        intake: Callable[[Record], Event],
        router: Router,
        judge: Judge,
        policy: Policy,
        topics: Mapping[str, str],
        dead_letters: str,
        clock: Clock,
    ) -> None:
        self._intake = intake
        self._router = router
        self._judge = judge
        self._policy = policy
        self._topics = topics
        self._dead_letters = dead_letters
        self._clock = clock

    def decide_by(self, policy: Policy) -> None:
        """Have every verdict that is not made yet decided by this policy."""
        self._policy = policy

    async def walk(self, work: Work) -> Outcome:
        """Take one record to what is to be written for it.

        When cancelled it abandons what it waits for and writes nothing.

        Raises:
            LaneClosed: the record's partition was revoked before it could be judged.
        """
        record = work.record
        route_name = ""
        try:
            try:
                event = self._intake(record)
            except NotYet as not_yet:
                event = await self._read_later(record, not_yet)
            route = self._router.route(event, record.partition.topic)
            if route is None:
                raise RouteError(f"no route takes an event of kind {event.kind!r} and origin {event.origin!r}")  # noqa: TRY301  # the one place that makes dead letters
            route_name = route.name
            judgement = await self._judge.judge(event, route, work)
            route_name = judgement.route or route.name
            action, judgement = self._policy.decide(judgement, event)
            verdict = Verdict(
                event_id=event.id,
                kind=event.kind,
                route=route_name,
                action=action,
                judgement=judgement,
                record=record,
                judged_at=self._clock.now(),
                latency_ms=(self._clock.monotonic() - work.slot.since) * 1000,
            )
            out = OutRecord(self._topics[action], record.key, verdict.to_json(), record.headers)
        except RecordError as error:
            return self.refuse(work, error, route_name)
        except LaneClosed:
            raise
        except NothingToJudge:
            return Outcome(_NOTHING)
        except Exception as error:  # noqa: BLE001  # a bug met by one record must not stop all others; it is kept, with the reason
            where = traceback.extract_tb(error.__traceback__)[-1]
            name = type(error).__name__
            # The message and the values of an unforeseen error may hold content: only its name and place are said.
            _log.error("unexpected_error", record=str(record), error=name, file=where.filename, line=where.lineno)
            return self.refuse(work, RecordError(f"unexpected {name}", code="unexpected"), route_name)
        return Outcome(out, route=route_name, verdict=verdict)

    async def _read_later(self, record: Record, not_yet: NotYet) -> Event:
        """Read a record once all is there that it needs; see `NotYet`."""
        while True:
            await not_yet.ready()
            try:
                return self._intake(record)
            except NotYet as more:
                not_yet = more

    def condemn(self, work: Work) -> Outcome:
        """The dead letter of a record that has killed the process again and again."""
        return self.refuse(work, RecordError("the process died each time that it was tried", code="kills_process"))

    def retell(self, work: Work, error: DeliveryRefused) -> bool:
        """The broker will never take a record's outcome: another takes its place. False where there is none left.

        A verdict becomes a dead letter. A dead letter becomes a shorter one, half as long each time.
        """
        outcome = work.outcome
        if outcome is None:
            return False
        if outcome.error is None:
            work.outcome = self.refuse(work, error, outcome.route)
            return True
        whole = dead_letter(self._dead_letters, work.record, outcome.error)
        shorter = shortened(whole, _size_bytes(outcome.out) // 2, _size_bytes)
        if _size_bytes(shorter) >= _size_bytes(outcome.out):
            return False
        work.outcome = Outcome(shorter, route=outcome.route, error=outcome.error)
        return True

    def refuse(self, work: Work, error: RecordError, route: str = "") -> Outcome:
        """The dead letter of a record that cannot be moderated, or whose verdict cannot be delivered."""
        # The error stays until the letter is committed: with its frames it would hold on to all that the record met.
        error.__traceback__ = error.__context__ = error.__cause__ = None
        return Outcome(dead_letter(self._dead_letters, work.record, error), route=route, error=error)


def _size_bytes(out: OutRecord) -> int:
    """What a record is counted as when it has to become shorter."""
    headers = sum(len(name) + len(value or b"") for name, value in out.headers)
    return len(out.key or b"") + len(out.value or b"") + headers
