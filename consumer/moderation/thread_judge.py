"""Judges events of the multimodal services: gathers them by thread, submits them as tasks, waits for their results."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, Self

from consumer.batching.thread import plan
from consumer.batching.window import Windows
from consumer.errors import ContentRefused, LaneClosed
from consumer.moderation.joined import joined, or_refused, together
from consumer.moderation.protocol.multimodal import prepared, submission
from consumer.moderation.savings import Savings
from consumer.moderation.shares import Share, no_task, share_judgement, spared
from consumer.moderation.tasks.task import Place, Task, fingerprint
from consumer.routing import ANY


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Coroutine, Sequence
    from types import TracebackType

    from consumer.batching.thread import Batch
    from consumer.batching.window import Tokens
    from consumer.clock import Clock
    from consumer.engine.ports import Claim
    from consumer.event import Event
    from consumer.metrics import Metrics
    from consumer.moderation.calling.client import Submitted
    from consumer.moderation.calling.exchange import Stake
    from consumer.moderation.protocol.requests import Call
    from consumer.moderation.protocol.responses import Answer
    from consumer.moderation.protocol.services import Service
    from consumer.moderation.tasks.seeds import CallbackAddresses
    from consumer.record import Record
    from consumer.routing import Route
    from consumer.settings.models import Tasks, Threads
    from consumer.verdict import Judgement


__all__ = ["Board", "Submits", "ThreadJudge"]


class Submits(Protocol):
    """Has calls accepted as tasks; `consumer.moderation.calling.client.ModerationClient` does."""

    async def submit(self, call: Call, claims: Sequence[Stake], *, route: Route = ANY) -> Submitted:
        """Have one call accepted; raises ContentRefused or LaneClosed."""
        ...


class Board(Protocol):
    """Remembers tasks and waits for their results; `consumer.moderation.tasks.board.TaskBoard` does."""

    async def room(self) -> None:
        """Return when another task may be submitted; results could not be asked for in time if there were more."""
        ...

    async def add(self, tasks: Sequence[Task]) -> None:
        """Return when all of these are recorded so that a restart finds them."""
        ...

    async def result(self, task: Task) -> Answer | None:
        """The answer that has the task's result; None when it is given up. A cancelled wait changes nothing."""
        ...

    def find(self, place: Place, fingerprint: str) -> Task | None:
        """What is remembered of this record, or None."""
        ...

    async def forget(self, places: Collection[Place]) -> None:
        """Nothing about these is needed any more."""
        ...


@dataclass(slots=True, eq=False)
class _Seat:
    """An event on its way into a task: its stake in the submission. It leaves when its wait is cancelled."""

    event: Event
    claim: Claim
    mark: str
    route: Route
    came_at: float
    outcome: asyncio.Future[Share | Judgement]
    on_wire: int = 0
    flight: _Flight | None = None

    def begin(self) -> None:
        if self.outcome.done():
            raise LaneClosed("the event has left the call")
        self.claim.begin()
        self.on_wire += 1

    def end(self, *, billed: bool) -> None:
        self.on_wire -= 1
        self.claim.end(billed=billed)

    def stays(self) -> bool:
        """Whether somebody still waits for it, and it may still be paid for."""
        if not self.outcome.done() and not self.claim.held:
            self.fail(LaneClosed("the event's partition was taken away before it was submitted"))
        return not self.outcome.done()

    def give(self, outcome: Share | Judgement) -> None:
        if not self.outcome.done():
            self.outcome.set_result(outcome)

    def fail(self, error: BaseException) -> None:
        if not self.outcome.done():
            self.outcome.set_exception(error)


@dataclass(slots=True, eq=False)
class _Flight:
    """The submission of some seats, from the closing of their window until their tasks are recorded."""

    task: asyncio.Task[Any] | None
    seats: Sequence[_Seat]
    recording: bool = False

    def land_if_empty(self) -> None:
        """Nobody waits for it any more: end it, unless it is on the wire or already paid for."""
        idle = all(seat.outcome.done() and not seat.on_wire for seat in self.seats)
        if idle and not self.recording and self.task is not None:
            self.task.cancel()


class ThreadJudge:
    """Judges events by tasks. Use it as a context manager: submissions belong to it, events only wait for them.

    What is submitted is recorded before anything else is done with it, so that an event that comes again, after a
    restart, waits for its old task. A call is never given up while any of its events waits: one that is cancelled, or
    whose partition is taken away, leaves the call if it has not been sent, and is ignored if it has.

    `group_id` is the consumer group that events are read in; what is remembered is for it alone. `place` puts local
    images where the service reads them, and returns the event with their places; without it, events with local images
    are refused.
    """

    def __init__(
        self,
        client: Submits,
        board: Board,
        *,
        tokens: Tokens,
        threads: Threads,
        tasks: Tasks,
        clock: Clock,
        metrics: Metrics,
        callbacks: CallbackAddresses | None = None,
        group_id: str = "",
        place: Callable[[Event], Awaitable[Event]] | None = None,
    ) -> None:
        self._client = client
        self._board = board
        self._tasks = tasks
        self._clock = clock
        self._callbacks = callbacks
        self._group_id = group_id
        self._place = place
        self._wait_seconds = metrics.histogram("batch_wait_seconds")
        self._events = metrics.counter("batched_events")
        self._resumed = metrics.counter("tasks_resumed")
        self._savings = Savings(metrics)
        self._gathers = threads.max_age_seconds > 0
        self._group: asyncio.TaskGroup | None = None
        self._stopped = False
        self._owned: set[asyncio.Task[None]] = set()
        self._seats: set[_Seat] = set()
        self._stack = AsyncExitStack()
        self._windows: Windows[tuple[Service, str], _Seat] = Windows(
            own=self._own,
            send=lambda key, seats: self._fly(key[0], seats),
            tokens=tokens,
            max_age_seconds=threads.max_age_seconds,
            quiet_seconds=threads.quiet_seconds,
            clock=clock,
        )

    async def __aenter__(self) -> Self:
        self._group = await self._stack.enter_async_context(asyncio.TaskGroup())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        for task in tuple(self._owned):
            task.cancel()
        for seat in self._seats:
            seat.fail(LaneClosed("the judge was stopped"))
        self._group, self._stopped = None, True
        return await self._stack.__aexit__(kind, error, trace)

    async def judge(self, event: Event, service: Service, claim: Claim, scope: str, *, route: Route = ANY) -> Judgement:
        """Judge one event by one multimodal service.

        An event that no call takes whole is judged by several of its own. When cancelled it waits no longer; what it
        had submitted is remembered.

        Args:
            event: what to judge.
            service: the multimodal service.
            claim: the event's claim. It is parked while the result is waited for.
            scope: what the event's task is remembered under, and found again: the route's name.
            route: the event's route. A call of several events goes by the route of the first.

        Raises:
            RouteError: there is nothing to judge.
            ContentRefused: the service will never take this content.
            LaneClosed: the claim was lost before it was submitted.
        """
        if self._place is not None:
            event = await self._place(event)
        event = prepared(event, service)
        pieces = [part for batch in plan([event]) for part in batch.parts]
        if len(pieces) == 1:
            found = [await or_refused(self._submitted(event, service, claim, scope, route))]
        else:
            parts = [replace(event, title="", text=one.text, images=one.images, thread=None) for one in pieces]
            found = await together(
                self._submitted(part, service, claim, f"{scope}#{number}", route) for number, part in enumerate(parts)
            )
        return joined([(service.name, one) for one in await self._results(found, claim)])

    def submitted(self, record: Record, scope: str) -> bool:
        """Whether a task was submitted for this record, or for its first part where no call takes all of it."""
        place = Place.of(record)
        marks = (fingerprint(record, one, self._group_id) for one in (scope, f"{scope}#0"))
        return any(self._board.find(place, mark) is not None for mark in marks)

    async def forget(self, places: Collection[Place]) -> None:
        """The verdicts of the records at these places are committed: their tasks are needed no more."""
        await self._board.forget(places)

    async def _submitted(
        self, event: Event, service: Service, claim: Claim, scope: str, route: Route
    ) -> Share | Judgement:
        """The event's share in a task that was submitted now, or before a restart; or why it could not be."""
        mark = fingerprint(claim.record, scope, self._group_id)
        known = self._board.find(Place.of(claim.record), mark)
        if known is not None:
            self._resumed.labels(known.service).inc()
            return Share(known, tuple(dict.fromkeys((known.path, known.last_path or known.path))))
        seat = _Seat(event, claim, mark, route, self._clock.monotonic(), asyncio.get_running_loop().create_future())
        self._seats.add(seat)
        try:
            if service.threads and self._gathers and event.thread is not None:
                self._windows.join((service, event.thread), event, seat)
            else:
                self._own(self._fly(service, [seat]))
            return await seat.outcome
        finally:
            self._seats.discard(seat)
            if seat.outcome.cancelled() and seat.flight is not None:
                seat.flight.land_if_empty()

    async def _results(
        self, found: Sequence[Share | Judgement | ContentRefused], claim: Claim
    ) -> list[Judgement | ContentRefused]:
        if not any(isinstance(one, Share) for one in found):
            return [one for one in found if not isinstance(one, Share)]
        claim.park()
        try:
            answers = [await self._board.result(one.task) if isinstance(one, Share) else None for one in found]
        finally:
            claim.unpark()
        deadline = self._tasks.deadline_seconds
        return [
            share_judgement(one, answer, deadline) if isinstance(one, Share) else one
            for one, answer in zip(found, answers, strict=True)
        ]

    # Submitting, owned by the judge

    def _own(self, work: Coroutine[Any, Any, None]) -> None:
        if self._group is None:
            work.close()
            if self._stopped:
                raise LaneClosed("the judge was stopped")
            raise RuntimeError("the judge is not open: use it with `async with`")
        task = self._group.create_task(work)
        self._owned.add(task)
        task.add_done_callback(self._owned.discard)

    async def _fly(self, service: Service, seats: Sequence[_Seat]) -> None:
        flight = _Flight(asyncio.current_task(), seats)
        now = self._clock.monotonic()
        for seat in seats:
            seat.flight = flight
            self._wait_seconds.labels(service.name).observe(now - seat.came_at)
        try:
            await self._send(service, flight, seats, sent=0)
        except Exception as error:  # noqa: BLE001  # the events that wait for it are told; the judge goes on with others
            for seat in seats:
                seat.fail(error)

    async def _send(self, service: Service, flight: _Flight, seats: Sequence[_Seat], *, sent: int) -> None:
        """Submit these, in their order. A call that is refused is halved until what cannot be taken stands alone."""
        while seats:
            await self._board.room()
            seats = [seat for seat in seats if seat.stays()]
            if not seats:
                return
            batch = plan([seat.event for seat in seats])[0]
            aboard, later = seats[: len(batch.parts)], seats[len(batch.parts) :]
            try:
                submitted = await self._client.submit(self._call(service, batch, aboard), aboard, route=aboard[0].route)
            except LaneClosed:
                if all(seat.stays() for seat in aboard):
                    raise
                continue
            except ContentRefused as refused:
                tries = sent + refused.attempts
                if len(aboard) == 1:
                    aboard[0].fail(_with_attempts(refused, tries))
                else:
                    middle = len(aboard) // 2
                    await self._send(service, flight, aboard[:middle], sent=tries)
                    await self._send(service, flight, aboard[middle:], sent=tries)
            else:
                flight.recording = True
                await self._record(service, batch, aboard, replace(submitted, attempts=sent + submitted.attempts))
                flight.recording = False
            seats = later

    def _call(self, service: Service, batch: Batch, aboard: Sequence[_Seat]) -> Call:
        main = aboard[0]
        address = None if self._callbacks is None else self._callbacks.of(Place.of(main.claim.record))
        return submission(batch, service, main.event.id, address)

    async def _record(self, service: Service, batch: Batch, aboard: Sequence[_Seat], submitted: Submitted) -> None:
        """Remember the task for each of its events, then let them wait for it."""
        if submitted.task_id is None:
            for seat in aboard:
                seat.give(no_task(service.name, submitted, company=len(aboard) > 1, pays=seat is aboard[0]))
            return
        now = self._clock.now()
        paths = tuple(part.path for part in batch.parts)
        tasks = [
            Task(
                place=Place.of(seat.claim.record),
                fingerprint=seat.mark,
                service=service.name,
                task_id=submitted.task_id,
                path=path,
                submitted_at=now,
                next_poll_at=now + self._tasks.first_poll_seconds,
                attempts=submitted.attempts,
                billed=submitted.billed if seat is aboard[0] else (),
                request_id=submitted.request_id,
                last_path=max(one for one in paths if len(one) == len(path) and one[:-1] == path[:-1]),
            )
            for seat, path in zip(aboard, paths, strict=True)
        ]
        await self._board.add(tasks)
        self._events.labels(service.name).inc(len(tasks))
        self._savings.add("thread", spared(service, batch, submitted.billed))
        for seat, task in zip(aboard, tasks, strict=True):
            seat.give(Share(task, paths))


def _with_attempts(refused: ContentRefused, attempts: int) -> ContentRefused:
    return ContentRefused(str(refused), code=refused.reason, request_id=refused.request_id, attempts=attempts)
