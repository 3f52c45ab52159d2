"""The simulator over its sockets: connections that break, bodies that trickle, its own pages."""

from __future__ import annotations

import asyncio
import io
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from consumer.clock import SystemClock
from consumer.simulator import Fault, Latency, Simulator, SimulatorSettings
from consumer.simulator.objects import MAX_UPLOAD_BYTES
from tests.simulator.plain import StillClock, form, signed


if TYPE_CHECKING:
    from collections.abc import AsyncIterator


BODY = form("ugc_moderation_byllm", content="good morning")


class Client:
    """A session that signs text calls to one simulator."""

    def __init__(self, simulator: Simulator, clock: StillClock | SystemClock, session: aiohttp.ClientSession) -> None:
        self.simulator = simulator
        self.clock = clock
        self.session = session

    async def call(self) -> tuple[int, bytes, Any]:
        """One text call: status, body and headers of the answer."""
        headers = signed(
            "TextModerationPlus",
            BODY,
            now=self.clock.now(),
            host=self.simulator.url.removeprefix("http://"),
        )
        async with self.session.post(self.simulator.url, data=BODY, headers=headers) as answer:
            return answer.status, await answer.read(), answer.headers

    async def page(self, method: str, name: str, body: Any = None) -> tuple[int, Any]:
        """One of the simulator's own pages: status and JSON."""
        async with self.session.request(method, self.simulator.url + name, json=body) as answer:
            return answer.status, await answer.json()


@asynccontextmanager
async def simulated(clock: StillClock | SystemClock | None = None, **settings: Any) -> AsyncIterator[Client]:
    """A running simulator and a client of it."""
    clock = clock or SystemClock()
    async with (
        Simulator(SimulatorSettings(**settings), clock) as simulator,
        aiohttp.ClientSession() as session,
    ):
        yield Client(simulator, clock, session)


def test_a_signed_call_is_answered() -> None:
    """A signed call over HTTP gets its verdict, and ledger, statistics and the clock's date show it."""

    async def main() -> None:
        async with simulated(StillClock()) as client:
            status, body, headers = await client.call()
            assert (status, json.loads(body)["Data"]["RiskLevel"]) == (200, "none")
            assert headers["Date"] == "Fri, 02 Jan 2026 03:04:05 GMT"
            assert client.simulator.ledger.billed_units == 1
            assert client.simulator.stats.codes == {"TextModerationPlus": {"200": 1}}

    asyncio.run(main())


def test_a_very_long_target_is_read() -> None:
    """A request target of 200 kB reaches the service: multimodal calls carry their content there."""

    async def main() -> None:
        async with simulated(StillClock()) as client:
            url = f"{client.simulator.url}/?ServiceParameters={'x' * 200_000}"
            async with client.session.post(url, headers={"x-acs-action": "Unheard"}) as answer:
                assert (await answer.json())["Code"] == "InvalidAction.NotFound"

    asyncio.run(main())


@pytest.mark.parametrize(("kind", "billed"), [("reset", 0), ("reset_billed", 1)])
def test_a_reset_connection(kind: str, billed: int) -> None:
    """The connection is reset before or after the bill, and the next call is fine."""

    async def main() -> None:
        async with simulated(faults=(Fault(kind, count=1),)) as client:
            with pytest.raises(aiohttp.ClientOSError) as error:
                await client.call()
            assert error.value.errno == 104  # ECONNRESET, not a tidy end of the connection
            assert client.simulator.ledger.billed_calls == billed
            assert (await client.call())[0] == 200

    asyncio.run(main())


def test_a_call_that_hangs() -> None:
    """No answer comes; the simulator still stops at once, and the client then sees its connection reset."""

    async def main() -> None:
        async with aiohttp.ClientSession() as session:
            simulator = Simulator(SimulatorSettings(faults=(Fault("hang"),)))
            await simulator.start()
            call = asyncio.create_task(Client(simulator, SystemClock(), session).call())
            while not simulator.stats.count("hang"):
                await asyncio.sleep(0)
            assert simulator.stats.in_flight == 1
            async with asyncio.timeout(1):
                await simulator.stop()
            with pytest.raises(aiohttp.ClientError):
                await call
            assert (simulator.stats.in_flight, simulator.ledger.billed_calls) == (0, 0)

    asyncio.run(main())


def test_a_client_that_leaves_a_hanging_call_frees_it() -> None:
    """A call that hangs is forgotten when its client goes away."""

    async def main() -> None:
        async with simulated(faults=(Fault("hang"),)) as client:
            call = asyncio.create_task(client.call())
            while not client.simulator.stats.count("hang"):
                await asyncio.sleep(0)
            call.cancel()
            async with asyncio.timeout(2):
                while client.simulator.stats.in_flight:
                    await asyncio.sleep(0.01)

    asyncio.run(main())


def test_a_slow_body_trickles_in() -> None:
    """The body comes whole, in pieces over the time that was asked for."""

    async def main() -> None:
        clock = StillClock()
        async with simulated(clock, faults=(Fault("slow", seconds=8.0),)) as client:
            _, body, _ = await client.call()
            assert json.loads(body)["Code"] == 200
            assert sum(clock.slept) == pytest.approx(8.0, rel=0.06)
            assert len(clock.slept) >= 10

    asyncio.run(main())


def test_a_client_that_leaves_is_billed_all_the_same() -> None:
    """A call whose client gives up while the service thinks is judged and billed: its answer reaches nobody."""

    class Thinking(SystemClock):
        """A clock whose sleepers wait for the test."""

        def __init__(self) -> None:
            self.asleep, self.wake = asyncio.Event(), asyncio.Event()

        async def sleep(self, seconds: float) -> None:
            self.asleep.set()
            await self.wake.wait()

    async def main() -> None:
        clock = Thinking()
        async with simulated(clock, latency=Latency(50)) as client:
            call = asyncio.create_task(client.call())
            await clock.asleep.wait()
            call.cancel()
            await asyncio.wait([call])
            await client.session.close()
            assert client.simulator.ledger.billed_calls == 0
            clock.wake.set()
            async with asyncio.timeout(2):
                while client.simulator.stats.in_flight:
                    await asyncio.sleep(0)
            assert client.simulator.ledger.billed_calls == 1

    asyncio.run(main())


def test_calls_take_the_latency_they_are_told() -> None:
    """Each call waits as long as the latency says; what the gateway turns away does not wait."""

    async def main() -> None:
        clock = StillClock()
        async with simulated(clock, latency=Latency(50)) as client:
            await client.call()
            assert clock.slept == [0.05]
            client.simulator.faults.set_latency(Latency(0))
            await client.call()
            assert clock.slept == [0.05]

    asyncio.run(main())


def test_the_ledger_and_the_statistics_can_be_fetched() -> None:
    """`/ledger` and `/stats` are the live books as JSON, and are no calls themselves."""

    async def main() -> None:
        async with simulated(text_per_second=1, clock=StillClock()) as client:
            for _ in range(3):
                await client.call()
            assert await client.page("GET", "/ledger") == (200, client.simulator.ledger.to_dict())
            status, stats = await client.page("GET", "/stats")
            assert (status, stats["requests"]) == (200, 3)
            assert stats["codes"] == {"TextModerationPlus": {"200": 1, "588": 2}}
            assert stats["quota"]["text"]["most_arrived_in_a_second"] == 3
            assert stats["tasks"] == client.simulator.tasks.to_dict()
            assert stats["uploads"] == client.simulator.uploads.to_dict()
            assert stats["callbacks"] == {}

    asyncio.run(main())


def test_faults_can_be_set_and_reset_while_it_runs() -> None:
    """`POST /faults` replaces faults and latency, `POST /reset` brings the first ones back."""

    async def main() -> None:
        clock = StillClock()
        async with simulated(clock) as client:
            wanted = {"faults": ["code=581,count=1", "hang,service=other"], "latency_ms": "20"}
            assert await client.page("POST", "/faults", wanted) == (200, {**wanted, "left": [1, None], "fired": {}})
            assert json.loads((await client.call())[1])["Code"] == 581
            assert clock.slept == [0.02]
            _, faults = await client.page("GET", "/faults")
            assert (faults["left"], faults["fired"]) == ([0, None], {"code=581,count=1": 1})
            assert await client.page("POST", "/reset") == (200, {"reset": True})
            assert (await client.page("GET", "/faults"))[1]["faults"] == []
            assert client.simulator.stats.requests == 0

    asyncio.run(main())


@pytest.mark.parametrize(
    "body", [{"faults": ["explode"]}, {"faults": [5]}, {"faults": 5}, {"latency_ms": "x"}, {"fault": []}, [], None]
)
def test_bad_faults_change_nothing(body: Any) -> None:
    """What cannot be read is a 400 that says why, and what was in force stays."""

    async def main() -> None:
        async with simulated(faults=(Fault("garbage"),)) as client:
            status, answer = await client.page("POST", "/faults", body)
            assert status == 400
            assert answer["error"]
            assert client.simulator.faults.now == (Fault("garbage"),)

    asyncio.run(main())


@pytest.mark.parametrize(("method", "name"), [("POST", "/ledger"), ("DELETE", "/faults"), ("GET", "/reset")])
def test_pages_take_their_own_methods_only(method: str, name: str) -> None:
    """A page asked in another way says which ways there are."""

    async def main() -> None:
        async with simulated() as client:
            status, answer = await client.page(method, name)
            assert status == 405
            assert name in answer["error"]

    asyncio.run(main())


def test_a_port_that_is_taken_is_an_error() -> None:
    """A second simulator on the same port fails to start and leaves nothing behind."""

    async def main() -> None:
        async with simulated() as client:
            port = int(client.simulator.url.rpartition(":")[2])
            with pytest.raises(OSError, match="address already in use"):
                await Simulator(SimulatorSettings(port=port)).start()

    asyncio.run(main())


@pytest.mark.parametrize(
    "settings",
    [
        {"dialect": "klingon"},
        {"task_polls": -1},
        {"too_early_seconds": -1},
        {"callback_interval_seconds": 0},
        {"upload_token_seconds": 0},
    ],
)
def test_settings_that_make_no_sense_are_an_error(settings: dict[str, Any]) -> None:
    """What cannot be is refused where it is chosen."""
    with pytest.raises(ValueError, match=next(iter(settings))):
        SimulatorSettings(**settings)


def test_a_body_that_is_too_large_is_not_kept() -> None:
    """An upload above what the stand-in takes is refused, and the connection is of use for the next call."""

    async def main() -> None:
        async with simulated(verify=False) as client:
            url = f"{client.simulator.url}/simulator-uploads/upload/x"
            content = bytes(MAX_UPLOAD_BYTES + 1)
            async with client.session.put(url, data=io.BytesIO(content)) as answer:
                assert (answer.status, b"EntityTooLarge" in await answer.read()) == (400, True)
            assert client.simulator.uploads.uploads == 0
            assert (await client.call())[0] == 200

    asyncio.run(main())


@pytest.mark.parametrize("kind", ["reset", "hang"])
def test_an_upload_that_gets_no_answer(kind: str) -> None:
    """A fault of an upload breaks its connection like that of a call."""

    async def main() -> None:
        async with simulated(faults=(Fault(kind, operation="PutObject"),), verify=False) as client:
            url = f"{client.simulator.url}/simulator-uploads/upload/x"
            put = asyncio.create_task(client.session.put(url, data=b"x").__aenter__())
            while not client.simulator.stats.count(kind):
                await asyncio.sleep(0)
            await client.simulator.stop()
            with pytest.raises(aiohttp.ClientError):
                await put

    asyncio.run(main())
