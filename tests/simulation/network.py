"""The network between processes and brokers: delays from a seed, answers that are lost, brokers that are away."""

from __future__ import annotations

import contextvars
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from tests.simulation.loop import PROCESS


if TYPE_CHECKING:
    import asyncio
    import random
    from collections.abc import Callable, Mapping

    from tests.simulation.loop import Process, SimLoop


__all__ = ["Call", "Disconnected", "Network", "Node", "Refused"]


Node = Literal["log", "group", "transactions", "state"]
"""Which broker a request goes to: the leader of events and outcomes, the coordinator of the group, that of
transactions, or the leader of the state topic."""


class Refused(Exception):
    """A broker's error. `code` is its name in the protocol."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Disconnected(Exception):
    """No answer came: the request may have taken effect, or not."""


@dataclass(slots=True)
class _Cut:
    """Some nodes, or some clients, that nothing gets through to until a moment."""

    until: float
    nodes: frozenset[str]
    client: str | None

    def stops(self, client: str, node: str) -> bool:
        return node in self.nodes and (self.client is None or client.partition("/")[0] == self.client)


class Call:
    """A request on its way through the world: whoever serves it answers it once, at once or later."""

    __slots__ = ("_network", "client", "future", "name", "node", "process")

    def __init__(self, network: Network, client: str, node: Node, name: str, future: asyncio.Future[Any]) -> None:
        self._network = network
        self.client = client
        self.node = node
        self.name = name
        self.future = future
        self.process: Process | None = PROCESS.get()

    def answer(self, value: Any = None) -> None:
        """Send the answer."""
        self._network._answer(self, value, None)

    def refuse(self, code: str) -> None:
        """Send an error."""
        self._network._answer(self, None, Refused(code))


class Network:
    """Carries requests. A client's requests to one node arrive in their order; nothing else about times is sure.

    `loss` is the share of answers that never arrive. Whoever waits for one, or for a node that is away, is told so at
    once where the connection breaks, or when `timeout_seconds` are over.
    """

    def __init__(self, loop: SimLoop, chance: random.Random, *, timeout_seconds: float = 2.0) -> None:
        self.loop = loop
        self.chance = chance
        self.timeout_seconds = timeout_seconds
        self.loss = 0.0
        self.world = contextvars.Context()
        self.arriving: Callable[[Call], None] = lambda _: None
        """Told of each request when it arrives, before it is served."""
        self.on_back: list[Callable[[frozenset[str]], None]] = []
        self._cuts: list[_Cut] = []
        self._arrivals: dict[tuple[str, str], float] = {}

    def request(
        self, client: str, node: Node, serve: Callable[..., None], *args: Any, **more: Any
    ) -> asyncio.Future[Any]:
        """Send a request; `serve(call, *args, **more)` runs when it arrives. The request is called what that is called.

        The future brings the answer, or fails with Refused or Disconnected. Giving it up calls nothing back.
        """
        loop = self.loop
        call = Call(self, client, node, serve.__name__, loop.create_future())
        now = loop.time()
        arrival = max(now + self.delay_seconds(), self._arrivals.get((client, node), 0.0))
        self._arrivals[client, node] = arrival
        loop.call_at(arrival, self._arrive, call, serve, args, more, context=self.world)
        return call.future

    def delay_seconds(self) -> float:
        """How long one message takes: about a millisecond, now and then fifty, and seldom half a second."""
        drawn = self.chance.random()
        if drawn < 0.97:
            return 0.0003 + 0.002 * drawn
        return (drawn - 0.96) * 1.7 if drawn < 0.998 else (drawn - 0.997) * 200

    def cut(self, seconds: float, *nodes: Node, client: str | None = None) -> None:
        """Let nothing through to these nodes, or from one client to them, for a while.

        A client's name goes up to its first slash; behind it is which of its connections this is.
        """
        cut = _Cut(self.loop.time() + seconds, frozenset(nodes), client)
        self._cuts.append(cut)
        self.loop.call_later(seconds, self._mend, cut, context=self.world)

    @property
    def troubled(self) -> bool:
        """Whether anything may be lost now."""
        return bool(self._cuts) or self.loss > 0

    def away(self, client: str, node: str) -> bool:
        """Whether nothing gets through between the two now."""
        return any(cut.stops(client, node) for cut in self._cuts)

    def _mend(self, cut: _Cut) -> None:
        self._cuts.remove(cut)
        if cut.client is None:
            for tell in self.on_back:
                tell(cut.nodes)

    def _arrive(self, call: Call, serve: Callable[..., None], args: tuple[Any, ...], more: Mapping[str, Any]) -> None:
        self.arriving(call)
        if self._cuts and self.away(call.client, call.node):
            self._lose(call)
        else:
            serve(call, *args, **more)

    def _answer(self, call: Call, value: Any, error: Exception | None) -> None:
        if call.future.done():
            return
        if (self._cuts and self.away(call.client, call.node)) or (self.loss and self.chance.random() < self.loss):
            self._lose(call)
        else:
            self.loop.call_later(self.delay_seconds(), self._deliver, call, value, error, context=self.world)

    def _lose(self, call: Call) -> None:
        """A broken connection is noticed at once, a silent one when the time-out is over."""
        seconds = self.timeout_seconds if self.chance.random() < 0.3 else 0.02 * self.chance.random()
        self.loop.call_later(seconds, self._time_out, call, context=self.world)

    def _time_out(self, call: Call) -> None:
        self._deliver(call, None, Disconnected(f"{call.node} did not answer"))

    def _deliver(self, call: Call, value: Any, error: Exception | None) -> None:
        future = call.future
        if future.done() or (call.process is not None and not call.process.alive):
            return
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(error)
            future.exception()  # whoever asked may be gone; then nobody needs to hear of it
