"""The moderation service of a run: the simulator in a process of its own, which keeps a journal of every call.

usage: python -m chaos.service JOURNAL SEED TEXT_PER_SECOND LATENCY_MS   prints its port, serves until SIGTERM

A line of the journal is what arrived (`in`) or how it was answered (`out`), with the time, and with the port that the
caller took it to be at: each consumer comes through a proxy of its own, and so is known by it. Where the process itself
stood still, `late` says for how long.
"""

from __future__ import annotations

import asyncio
import re
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus

import orjson

from chaos.events import TAG
from chaos.stalls import watch
from consumer.simulator import Latency, Simulator, SimulatorSettings
from consumer.simulator.backend import Backend, Call, Reply
from consumer.simulator.callbacks import Callbacks


if TYPE_CHECKING:
    from typing import TextIO

    from consumer.clock import Clock
    from consumer.simulator.backend import Request


__all__ = ["MULTIMODAL_PER_SECOND", "Journalled"]


MULTIMODAL_PER_SECOND = 20
"""The quota of submissions, and that of queries."""

_PORT = re.compile(r":(\d+)$")


class _WatchedBackend(Backend):
    """A backend that writes down what it is asked, and what it answers."""

    def __init__(self, settings: SimulatorSettings, clock: Clock, journal: TextIO) -> None:
        super().__init__(settings, clock)
        self._journal = journal

    def receive(self, request: Request) -> Call | Reply:
        """Let a request in, or turn it away."""
        received = super().receive(request)
        parameters = unquote_plus(request.target.partition("?")[2] + "&" + request.body.decode(errors="replace"))
        port = _PORT.search(request.headers.get("host", ""))
        line: dict[str, Any] = {
            "at": time.time(),
            "port": int(port[1]) if port else 0,
            "operation": request.headers.get("x-acs-action", ""),
            "tags": list(dict.fromkeys(TAG.findall(parameters))),
        }
        if isinstance(received, Call):
            line |= {"in": received.request_id, "task": received.parameters.get("ReqId")}
        else:
            answer = orjson.loads(received.body)
            line |= {"in": answer["RequestId"], "code": str(answer["Code"])}
        _write(self._journal, line)
        return received

    def answer(self, call: Call) -> Reply:
        """Judge a call that was let in, and bill it."""
        reply = super().answer(call)
        bill = {line.moderation_type: line.units for line in self.ledger.calls}
        self.ledger.calls.clear()  # the journal has them now
        line: dict[str, Any] = {"out": call.request_id, "at": time.time(), "way": reply.way, "units": bill}
        if call.fault is not None:
            line["fault"] = call.fault.kind
        elif reply.way == "whole":
            answer = orjson.loads(reply.body)
            line |= {"code": str(answer.get("Code")), "task": (answer.get("Data") or {}).get("ReqId")}
        _write(self._journal, line)
        return reply


def _write(journal: TextIO, line: dict[str, Any]) -> None:
    journal.write(orjson.dumps(line).decode() + "\n")


class Journalled(Simulator):
    """A simulator with a journal."""

    def __init__(self, settings: SimulatorSettings, journal: TextIO) -> None:
        super().__init__(settings)
        self._backend = _WatchedBackend(settings, self._clock, journal)
        self._callbacks = Callbacks(settings, self._clock, self._backend.stats, self._backend.report)


async def _serve(journal: Path, seed: int, text_per_second: int, latency: str) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    settings = SimulatorSettings(
        text_per_second=text_per_second,
        multimodal_submit_per_second=MULTIMODAL_PER_SECOND,
        multimodal_query_per_second=MULTIMODAL_PER_SECOND,
        latency=Latency.parse(latency),
        seed=seed,
        keep_calls=True,
    )
    with journal.open("w", buffering=1) as lines:
        async with Journalled(settings, lines) as simulator:
            print(simulator.url.rpartition(":")[2], flush=True)
            watching = asyncio.create_task(watch(lambda at, late: _write(lines, {"late": late, "at": at})))
            await stop.wait()
            watching.cancel()


if __name__ == "__main__":
    import uvloop

    uvloop.run(_serve(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]))
