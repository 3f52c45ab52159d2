"""Results are reported to their callbacks, signed, until they are received; by faults also in every wrong way."""

from __future__ import annotations

import asyncio
import hashlib
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web

from consumer.simulator import Fault, Latency, Simulator, SimulatorSettings
from consumer.simulator.callbacks import REDELIVERIES, checksum
from tests.simulator.plain import StillClock, query, signed


if TYPE_CHECKING:
    from collections.abc import AsyncIterator


ACCOUNT = "1234567890123456"
SEED = "abc_123"
# The worked example of the page of callbacks, and its digests.
EXAMPLE = (
    b'{"RequestId":"R","Code":200,"Msg":"OK","Data":{"ReqId":"AAAAA-BBBBB","DataId":"mm-1","RiskLevel":"none"}}',
    "53a1fa5aed4f29c8eec94681ed30cd41a9da3c9b0118e2cd5030450d57960b39",
    "fbbdf5e68bbb51437f4a6946bfcb02f44caed6b0ab726973475a0b5f4351c978",
)


class Scene:
    """A simulator, a receiver of its callbacks, and a client, all on one clock."""

    def __init__(self, simulator: Simulator, session: aiohttp.ClientSession, clock: StillClock) -> None:
        self.simulator = simulator
        self.session = session
        self.clock = clock
        self.url = ""
        self.received: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.statuses: list[int] = []

    async def receive(self, request: web.BaseRequest) -> web.Response:
        """Take a report; `statuses` has what to answer to the first ones."""
        form = dict(await request.post())
        self.received.put_nowait({"path": request.raw_path, "at": self.clock.seconds, **form})
        return web.Response(status=self.statuses.pop(0) if self.statuses else 200)

    async def call(self, action: str, **parameters: str) -> Any:
        """The parsed answer to a signed call."""
        text = query(parameters)
        host = self.simulator.url.removeprefix("http://")
        headers = signed(action, b"", now=self.clock.now(), host=host, query=text)
        async with self.session.post(f"{self.simulator.url}/?{text}", headers=headers) as answer:
            return await answer.json()

    async def submit(self, path: str = "/callback", **more: str) -> str:
        """The id of a new task."""
        parameters = {
            "mainData": {"mainContent": "buy cocaine"},
            "callback": f"{self.url}{path}",
            "seed": SEED,
            **more,
        }
        answer = await self.call(
            "MultimodalAsyncModeration",
            Service="post_text_image_detection",
            ServiceParameters=json.dumps(parameters),
        )
        task_id: str = answer["Data"]["ReqId"]
        return task_id

    async def report(self) -> dict[str, Any]:
        """The next report that comes."""
        async with asyncio.timeout(5):
            return await self.received.get()

    async def settled(self, name: str, count: int = 1) -> None:
        """Wait until the statistics have seen so many of these."""
        async with asyncio.timeout(5):
            while self.simulator.stats.callbacks[name] < count:
                await asyncio.sleep(0)


class Yielding(StillClock):
    """Time moves on for whoever sleeps, after the others had a turn."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)
        await super().sleep(seconds)


@asynccontextmanager
async def scene(clock: StillClock | None = None, **settings: Any) -> AsyncIterator[Scene]:
    """A running scene."""
    clock = clock or Yielding()
    chosen = SimulatorSettings(**({"task_latency": Latency(30_000)} | settings))
    async with Simulator(chosen, clock) as simulator, aiohttp.ClientSession() as session:
        here = Scene(simulator, session, clock)
        runner = web.ServerRunner(web.Server(here.receive))
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            here.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            yield here
        finally:
            await runner.cleanup()


def verified(report: dict[str, Any], algorithm: str = "sha256") -> bool:
    """Whether a report's checksum is right, reckoned without the simulator's help."""
    expected = hashlib.new(algorithm, f"{ACCOUNT}{SEED}{report['Content']}".encode()).hexdigest()
    return bool(report["Checksum"] == expected)


@pytest.mark.parametrize(("crypt_type", "digest"), [("SHA256", EXAMPLE[1]), ("SM3", EXAMPLE[2])])
def test_the_checksum_is_that_of_the_worked_example(crypt_type: str, digest: str) -> None:
    """The digest of account, seed and content, plain, in both algorithms."""
    assert checksum(ACCOUNT, SEED, EXAMPLE[0], crypt_type) == digest


def test_a_result_is_reported_when_it_is_ready() -> None:
    """The report comes once, when the task is ready, with the answer a query gets, and the query still works."""

    async def main() -> None:
        async with scene() as here:
            task_id = await here.submit("/callback/dG9waWM%2F1?partition=2%26x")
            report = await here.report()
            assert report["ReqId"] == task_id
            assert report["path"] == "/callback/dG9waWM%2F1?partition=2%26x"
            assert report["at"] == pytest.approx(30)
            assert verified(report)
            content = json.loads(report["Content"])
            queried = await here.call("DescribeMultimodalModerationResult", ReqId=task_id)
            assert {**content, "RequestId": ""} == {**queried, "RequestId": ""}
            assert (content["Code"], content["Data"]["RiskLevel"]) == (200, "high")
            await here.settled("delivered")
            assert here.simulator.stats.callbacks == {"posted": 1, "delivered": 1}

    asyncio.run(main())


def test_content_may_be_the_data_alone() -> None:
    """Without the envelope Content is what stands in Data, in the dialect of the answers."""

    async def main() -> None:
        async with scene(callback_envelope=False, dialect="seed") as here:
            parameters = json.dumps({"mainData": {"mainContent": "x"}, "callback": here.url, "seed": SEED})
            service = "post_text_image_detection"
            await here.call("MultimodalAsyncModeration", Service=service, ServiceParameters=parameters)
            report = await here.report()
            assert verified(report)
            assert json.loads(report["Content"]).keys() == {"RiskLevel", "MainData", "Usage"}

    asyncio.run(main())


def test_the_checksum_may_be_sm3() -> None:
    """A task that asks for SM3 gets it."""

    async def main() -> None:
        async with scene() as here:
            await here.submit(cryptType="SM3")
            assert verified(await here.report(), "sm3")

    asyncio.run(main())


def test_a_report_is_delivered_again_until_it_is_received() -> None:
    """Anything but 200 brings the same report again after the interval; after a 200 there is no more."""

    async def main() -> None:
        async with scene(callback_interval_seconds=7.0) as here:
            here.statuses = [500, 204, 302]
            await here.submit()
            await here.settled("delivered")
            reports = [await here.report() for _ in range(4)]
            assert [report["at"] for report in reports] == pytest.approx([30, 37, 44, 51])
            assert len({report["ReqId"] for report in reports}) == 1
            assert all(map(verified, reports))
            await here.call("DescribeMultimodalModerationResult", ReqId="another round over the sockets")
            assert here.simulator.stats.callbacks == {"posted": 4, "delivered": 1}

    asyncio.run(main())


def test_a_report_is_given_up_in_the_end() -> None:
    """After 16 re-deliveries nothing more comes, and the result can still be queried."""

    async def main() -> None:
        async with scene() as here:
            here.statuses = [500] * 100
            task_id = await here.submit()
            await here.settled("given_up")
            assert here.simulator.stats.callbacks == {"posted": 1 + REDELIVERIES, "given_up": 1}
            assert here.received.qsize() == 17
            assert (await here.call("DescribeMultimodalModerationResult", ReqId=task_id))["Code"] == 200

    asyncio.run(main())


def test_a_receiver_that_is_not_there_is_tried_again() -> None:
    """A refused connection is an unsuccessful delivery."""

    async def main() -> None:
        async with scene() as here:
            here.url = "http://127.0.0.1:9"
            await here.submit()
            await here.settled("given_up")
            assert here.simulator.stats.callbacks["delivered"] == 0

    asyncio.run(main())


def test_a_forged_report_has_a_wrong_checksum() -> None:
    """All is as usual but for the checksum, each time it is delivered; the result can be queried."""

    async def main() -> None:
        async with scene(faults=(Fault("callback_forged", count=1),)) as here:
            here.statuses = [403]
            task_id = await here.submit()
            for _ in range(2):
                report = await here.report()
                assert (report["ReqId"], verified(report)) == (task_id, False)
            assert (await here.call("DescribeMultimodalModerationResult", ReqId=task_id))["Code"] == 200
            await here.submit()
            assert verified(await here.report())

    asyncio.run(main())


def test_a_report_may_come_twice() -> None:
    """What was received comes again, the same."""

    async def main() -> None:
        async with scene(faults=(Fault("callback_twice"),)) as here:
            await here.submit()
            await here.settled("delivered", 2)
            first, second = await here.report(), await here.report()
            assert first["ReqId"] == second["ReqId"]
            assert verified(first)
            assert verified(second)

    asyncio.run(main())


def test_a_report_may_never_come() -> None:
    """A withheld report leaves the result to be queried."""

    async def main() -> None:
        async with scene(faults=(Fault("callback_never", count=1),)) as here:
            withheld = await here.submit()
            reported = await here.submit()
            assert (await here.report())["ReqId"] == reported
            assert here.received.empty()
            assert here.simulator.stats.callbacks["withheld"] == 1
            assert (await here.call("DescribeMultimodalModerationResult", ReqId=withheld))["Code"] == 200

    asyncio.run(main())


def test_a_report_may_be_late() -> None:
    """A delayed report comes so many seconds after the result was ready."""

    async def main() -> None:
        async with scene(faults=(Fault("callback_late", seconds=600.0),)) as here:
            await here.submit()
            assert (await here.report())["at"] == pytest.approx(630)

    asyncio.run(main())


def test_a_report_may_come_before_its_task_is_known() -> None:
    """The report of a task is received before the answer to its submission is; if it is refused it comes again."""

    async def main() -> None:
        async with scene(faults=(Fault("callback_early"),)) as here:
            task_id = await here.submit()
            assert here.received.qsize() == 1
            assert (await here.report())["ReqId"] == task_id
            here.statuses = [404]
            task_id = await here.submit()
            assert here.received.qsize() >= 1
            await here.settled("delivered", 2)
            assert [(await here.report())["ReqId"] for _ in range(2)] == [task_id, task_id]

    asyncio.run(main())


def test_a_task_without_a_result_is_not_reported() -> None:
    """Neither a lost task nor one that never ends has anything to report."""

    async def main() -> None:
        async with scene(faults=(Fault("task_lost", count=1), Fault("task_never", count=1))) as here:
            for _ in range(2):
                await here.submit()
            fine = await here.submit()
            assert (await here.report())["ReqId"] == fine
            assert here.received.empty()

    asyncio.run(main())


def test_a_task_whose_submission_was_lost_is_reported_all_the_same() -> None:
    """A client whose connection was reset after the bill gets a report of a task it never heard of."""

    async def main() -> None:
        async with scene(faults=(Fault("reset_billed", count=1),)) as here:
            with pytest.raises(aiohttp.ClientError):
                await here.submit()
            assert verified(await here.report())
            assert here.simulator.ledger.lost == 1

    asyncio.run(main())


class Waiting(StillClock):
    """Who sleeps waits for the test."""

    def __init__(self) -> None:
        super().__init__()
        self.wake = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        await self.wake.wait()
        self.seconds = max(self.seconds, seconds)


def test_a_reset_forgets_reports() -> None:
    """What was submitted before a reset is reported no more, what comes after it is."""

    async def main() -> None:
        clock = Waiting()
        async with scene(clock) as here:
            await here.submit()
            here.simulator.reset()
            task_id = await here.submit()
            clock.wake.set()
            assert (await here.report())["ReqId"] == task_id
            await here.settled("delivered")
            assert here.simulator.stats.callbacks["posted"] == 1

    asyncio.run(main())


def test_callbacks_end_with_the_simulator() -> None:
    """A simulator with reports to come stops at once, and nothing of them is left in the event loop."""

    async def main() -> None:
        async with asyncio.timeout(5):
            async with scene(Waiting()) as here:
                await here.submit()
                assert "simulator callbacks" in {task.get_name() for task in asyncio.all_tasks()}
            assert "simulator callbacks" not in {task.get_name() for task in asyncio.all_tasks()}
            assert here.received.empty()

    asyncio.run(main())
