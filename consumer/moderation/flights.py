"""Single flight: events that need the same call at the same time wait for one, which belongs to none of them."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from consumer.errors import ContentRefused, LaneClosed
from consumer.frozen import frozen
from consumer.verdict import Judgement, RiskLevel


if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from consumer.moderation.caller import Caller
    from consumer.moderation.calling.exchange import Stake
    from consumer.moderation.contents import Content
    from consumer.moderation.protocol.requests import Call
    from consumer.routing import Route


__all__ = ["Flights", "Landed", "is_good"]


# So many calls of no use an event waits for, its own among them; what came of the last is then for it, too.
_MOST_FAILURES = 2


@frozen
class Landed:
    """What became of the call that an event waited for. `leads` says whether its bill and its tries are this event's.

    The call need not be this event's own: another event may have asked for it, with a text of the same normal form.
    """

    judgement: Judgement
    call: Call
    content: Content
    leads: bool


def is_good(judgement: Judgement) -> bool:
    """Whether it says how risky the content is, so that it can be said of the same content again."""
    return judgement.risk_level is not RiskLevel.UNKNOWN and judgement.reason is None


@dataclass(slots=True, eq=False)
class _Seat:
    """An event on a flight; it leaves when its wait is cancelled, or its claim turns out to be lost."""

    call: Call
    content: Content
    claim: Stake
    route: Route
    outcome: asyncio.Future[Landed]
    failures: int = 0
    flight: _Flight | None = None

    def give(self, landed: Landed) -> None:
        if not self.outcome.done():
            self.outcome.set_result(landed)

    def fail(self, error: Exception) -> None:
        if not self.outcome.done():
            self.outcome.set_exception(error)


@dataclass(slots=True, eq=False)
class _Flight:
    """One call for all who wait for it; in each of its requests it is the stake of all of them."""

    call: Call
    content: Content
    route: Route
    flights: Flights
    seats: dict[_Seat, None] = field(default_factory=dict)
    task: asyncio.Task[None] | None = None
    sent: bool = False
    on_wire: bool = False
    begun: list[_Seat] = field(default_factory=list)

    def begin(self) -> None:
        self.flights.gather(self)
        self.sent = True
        for seat in self.waiting():
            try:
                self._begin(seat)
            except Exception as error:  # noqa: BLE001  # it is told to the event that it concerns; the others go on
                seat.fail(error)
        if not self.begun:
            self.flights.close(self)
            raise LaneClosed("no event waits for this call any more")
        self.on_wire = True

    def end(self, *, billed: bool) -> None:
        begun, self.begun, self.on_wire = self.begun, [], False
        for seat in begun:
            seat.claim.end(billed=billed)

    def board(self, seat: _Seat) -> None:
        """Let an event wait for this call; raises LaneClosed where it is on the wire and the claim is lost."""
        if self.on_wire:
            self._begin(seat)
        self.seats[seat] = None
        seat.flight = self

    def waiting(self) -> list[_Seat]:
        """The events that still wait, the first of them first."""
        return [seat for seat in self.seats if not seat.outcome.done()]

    def _begin(self, seat: _Seat) -> None:
        seat.claim.begin()
        self.begun.append(seat)


class Flights:
    """Has one call made for all events that need the same. Use it as a context manager: the calls belong to it.

    A call is not the first event's own: it goes on for as long as anybody waits for it, and what is on the wire is not
    thrown away because the event that caused it was given up. Each event that waits has its stake in each request, so
    that a drain of any of their partitions waits for the answer; an event whose claim is lost leaves, the others go
    on; and the last to leave ends the call, as if it had been its own.

    Calls that wait to be sent are one for each route, since it has its place among the routes, its budget and its
    deadline from there; with the first of them that is sent all go. So there is never more than one request on the wire
    for one content.

    What was judged is for all; the bill and the tries are the first event's. A refusal is for all with the same text:
    it is said of the content, and would be said again. What is of no use otherwise (no usable answer, or an error) is
    the first event's alone, and another one calls anew, once: what comes of the second call is for all who waited for
    both, or a content that the service fails on would keep them waiting one after the other.
    """

    def __init__(self, caller: Caller, *, good: Callable[[Content, Call, Judgement], None]) -> None:
        self._caller = caller
        self._good = good
        self._open: dict[bytes, list[_Flight]] = {}
        self._group: asyncio.TaskGroup | None = None
        self._stopped = False
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self._group = await self._stack.enter_async_context(asyncio.TaskGroup())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        self._group, self._stopped = None, True
        for flight in [flight for flights in self._open.values() for flight in flights]:
            for seat in flight.waiting():
                seat.fail(LaneClosed("the judge was stopped"))
            self._end(flight)
        return await self._stack.__aexit__(kind, error, trace)

    def __len__(self) -> int:
        return sum(map(len, self._open.values()))

    async def call(self, call: Call, content: Content, claim: Stake, route: Route) -> Landed:
        """Have a call made, or wait for one that is under way. When cancelled it waits no longer.

        Raises:
            ContentRefused: the service will never take this content.
            LaneClosed: the claim was lost before a request could be started.
        """
        outcome: asyncio.Future[Landed] = asyncio.get_running_loop().create_future()
        seat = _Seat(call, content, claim, route, outcome)
        self._join(seat)
        try:
            return await outcome
        finally:
            if outcome.cancelled():
                self._leave(seat)
            # Without the circle from the event to its call and back, what it holds is freed with it.
            seat.flight = None

    def _join(self, seat: _Seat) -> None:
        key = seat.content.flight
        flights = self._open.get(key)
        for flight in flights or ():
            if flight.sent or flight.route.name == seat.route.name:
                flight.board(seat)
                return
        if self._group is None:
            if self._stopped:
                raise LaneClosed("the judge was stopped")
            raise RuntimeError("the judge is not open: use it with `async with`")
        flight = _Flight(seat.call, seat.content, seat.route, self)
        flight.board(seat)
        if flights is None:
            self._open[key] = [flight]
        else:
            flights.append(flight)
        flight.task = self._group.create_task(self._fly(flight))

    def _leave(self, seat: _Seat) -> None:
        flight = seat.flight
        if flight is not None:
            flight.seats.pop(seat, None)
            if not flight.waiting():
                self._end(flight)

    def gather(self, flight: _Flight) -> None:
        """This flight is about to be sent: whoever waits for another one with the same content goes with it."""
        flights = self._open.get(flight.content.flight, ())
        if len(flights) < 2:
            return
        for other in list(flights):
            if other is not flight:
                for seat in other.waiting():
                    flight.board(seat)
                other.seats.clear()
                self._end(other)

    def _end(self, flight: _Flight) -> None:
        """Nobody waits for this flight any more."""
        self.close(flight)
        if flight.task is not None:
            flight.task.cancel()

    def close(self, flight: _Flight) -> None:
        """Let nobody join this flight any more."""
        key = flight.content.flight
        flights = self._open.get(key)
        if flights is not None and flight in flights:
            flights.remove(flight)
            if not flights:
                del self._open[key]

    async def _fly(self, flight: _Flight) -> None:
        try:
            judgement = await self._caller.call(flight.call, flight, route=flight.route)
        except asyncio.CancelledError:
            self.close(flight)
            self._failed(flight, LaneClosed("the call was given up"))
            raise
        except Exception as error:  # noqa: BLE001  # the events that wait for it are told
            self.close(flight)
            self._failed(flight, error)
        else:
            self.close(flight)
            self._landed(flight, judgement)
        finally:
            flight.seats.clear()
            flight.task = None

    def _landed(self, flight: _Flight, judgement: Judgement) -> None:
        good = is_good(judgement)
        if good:
            self._good(flight.content, flight.call, judgement)
        for number, seat in enumerate(flight.waiting()):
            if good or number == 0 or self._is_enough(seat):
                seat.give(Landed(judgement, flight.call, flight.content, leads=number == 0))
            else:
                self._again(seat)

    def _failed(self, flight: _Flight, error: Exception) -> None:
        # Who has lost a claim has been told already: to all others it says nothing.
        alone = not isinstance(error, LaneClosed)
        for number, seat in enumerate(flight.waiting()):
            if isinstance(error, ContentRefused):
                if seat.content.text == flight.content.text:
                    seat.fail(error if number == 0 else _said_again(error))
                else:
                    self._again(seat)
            elif (alone and number == 0) or self._is_enough(seat):
                seat.fail(error)
            else:
                self._again(seat)

    def _is_enough(self, seat: _Seat) -> bool:
        """Whether this failure is this event's own, after others."""
        seat.failures += 1
        return seat.failures >= _MOST_FAILURES

    def _again(self, seat: _Seat) -> None:
        try:
            self._join(seat)
        except LaneClosed as closed:
            seat.fail(closed)


def _said_again(refused: ContentRefused) -> ContentRefused:
    """The refusal, for an event that sent nothing for it."""
    return ContentRefused(str(refused), code=refused.reason, request_id=refused.request_id)
