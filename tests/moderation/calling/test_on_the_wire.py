"""The client and the simulator, written apart from each other, agree on signatures, verdicts and bills."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from consumer.clock import SystemClock
from consumer.event import Event, Image
from consumer.metrics import Metrics
from consumer.moderation.calling.client import ModerationClient
from consumer.moderation.calling.lean import LeanTransport
from consumer.moderation.credentials import FixedCredentials
from consumer.moderation.judge import ServiceJudge
from consumer.moderation.protocol.billing import LIST_PRICES
from consumer.moderation.protocol.endpoints import Endpoint
from consumer.moderation.protocol.services import KNOWN, QUOTAS
from consumer.moderation.protocol.signing import Credentials
from consumer.moderation.tasks.board import TaskBoard
from consumer.moderation.tasks.store import MemoryTaskStore
from consumer.moderation.thread_judge import ThreadJudge
from consumer.routing import Route
from consumer.settings.models import Retry, Tasks, Threads, Timeouts
from consumer.simulator import Fault, Simulator, SimulatorSettings
from consumer.simulator.latency import NO_LATENCY
from consumer.simulator.settings import DIALECTS
from consumer.verdict import Judgement, RiskLevel
from tests.moderation.support import Claim, Tokens


if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from consumer.simulator.settings import Dialect


TEXTS = ("ugc_moderation_byllm", "ugc_moderation_byllm_pro", "ugc_moderation_byllm_cb", "aigc_moderation_byllm")
IMAGES = ("baselineCheck_global", "aigcDetector_global")
LONG = Event("a/b:1", "post", title="标题", text="a+b=c&d~*/ 世界 😀 " * 120)
RISKY = Event("2", "image", images=(Image("https://img.example/high/violent_explosion.jpg?x=1&y=2"),))


def client_of(simulator: Simulator, transport: LeanTransport) -> ModerationClient:
    settings = simulator.settings
    return ModerationClient(
        transport,
        endpoint=Endpoint.parse(simulator.url),
        credentials=FixedCredentials(
            Credentials(settings.access_key_id, settings.access_key_secret, settings.security_token)
        ),
        tokens={quota: Tokens() for quota in QUOTAS},
        prices=LIST_PRICES,
        retry=Retry(base_seconds=0.001),
        hold_probe_seconds=1.0,
        clock=SystemClock(),
        metrics=Metrics(),
    )


async def judged_by(simulator: Simulator, event: Event, services: tuple[str, ...]) -> Judgement:
    async with LeanTransport(Timeouts()) as transport:
        judge = ServiceJudge(client_of(simulator, transport), KNOWN)
        return await judge.judge(event, Route("all", services), Claim())


def judge(event: Event, services: tuple[str, ...], settings: SimulatorSettings) -> tuple[Judgement, Simulator]:
    async def main() -> tuple[Judgement, Simulator]:
        async with Simulator(settings) as simulator:
            return await judged_by(simulator, event, services), simulator

    return asyncio.run(main())


@pytest.mark.parametrize("dialect", ["sdk", "seed"])
@pytest.mark.parametrize("token", [None, "token"])
@pytest.mark.parametrize(("event", "services"), [(LONG, TEXTS), (RISKY, IMAGES)])
def test_all_services_judge_and_bill(event: Event, services: tuple[str, ...], token: str | None, dialect: str) -> None:
    """With an AccessKey and with a token, in both dialects, each service judges, and the ledger has what we count."""
    settings = SimulatorSettings(security_token=token, dialect="sdk" if dialect == "sdk" else "seed")
    judged, simulator = judge(event, services, settings)
    assert judged.risk_level is (RiskLevel.HIGH if event is RISKY else RiskLevel.NONE)
    assert set(judged.services) == set(services)
    assert judged.attempts == len(judged.billed) == simulator.ledger.billed_calls
    units: Counter[str] = Counter()
    cost: dict[str, Decimal] = defaultdict(Decimal)
    for bill in judged.billed:
        units[bill.moderation_type] += bill.units
        cost[bill.moderation_type] += bill.cost
    ledger = simulator.ledger.moderation_types
    assert units == {name: total.units for name, total in ledger.items()}
    assert cost == {name: total.cost for name, total in ledger.items()}


@asynccontextmanager
async def by_tasks(simulator: Simulator) -> AsyncIterator[ServiceJudge]:
    """A judge of multimodal services that asks for results every twentieth of a second."""
    tasks = Tasks(first_poll_seconds=0.05, poll_interval_seconds=0.05)
    clock, metrics = SystemClock(), Metrics()
    async with LeanTransport(Timeouts()) as transport, asyncio.TaskGroup() as group:
        client = client_of(simulator, transport)
        board = TaskBoard(
            store=MemoryTaskStore(), query=client, settings=tasks, callbacks=False, clock=clock, metrics=metrics
        )
        polling = group.create_task(board.run())
        threads = Threads(quiet_seconds=0.05)
        async with ThreadJudge(
            client, board, tokens=Tokens(), threads=threads, tasks=tasks, clock=clock, metrics=metrics
        ) as judge:
            yield ServiceJudge(client, KNOWN, judge)
        polling.cancel()


THREAD = (
    Event("p", "post", title="标题", text="a+b=c&d~*/ 世界 😀" * 100, images=RISKY.images, thread="t"),
    Event("c1", "comment", text="hello", thread="t", parent="p"),
    Event("r1", "comment", images=(Image("https://img.example/high/violent_explosion.jpg"),), thread="t", parent="c1"),
    Event("c2", "comment", text="hello", thread="t"),
)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("kind", [None, "code=403", "reset"])
def test_a_thread_is_judged_and_billed_as_one_task(dialect: Dialect, kind: str | None) -> None:
    """In every dialect, and through faults, each event of a thread has its own labels, and the ledger has our bill."""
    faults = () if kind is None else (Fault.parse(f"{kind},count=1"),)
    settings = SimulatorSettings(dialect=dialect, task_latency=NO_LATENCY, task_polls=2, faults=faults)

    async def main() -> tuple[list[Judgement], Simulator]:
        async with Simulator(settings) as simulator, by_tasks(simulator) as judge, asyncio.TaskGroup() as group:
            route = Route("threads", ("post_text_image_detection",))
            works = [group.create_task(judge.judge(one, route, Claim(at))) for at, one in enumerate(THREAD)]
        return [work.result() for work in works], simulator

    judged, simulator = asyncio.run(main())
    categories = [[label.category for label in one.labels] for one in judged]
    assert categories == [["violent"], [], ["violent"], []]
    levels = [RiskLevel.HIGH, RiskLevel.NONE, RiskLevel.HIGH, RiskLevel.NONE]
    assert [one.risk_level for one in judged] == levels
    assert {one.source for one in judged} == {"thread"}
    units = {bill.moderation_type: bill.units for one in judged for bill in one.billed}
    assert units == {"text_llm_standard": 2, "image_vl_standard": 2}
    assert units == {name: total.units for name, total in simulator.ledger.moderation_types.items()}


@pytest.mark.parametrize(
    "kind", ["code=500", "code=581", "code=588", "code=Throttling.User", "http_500", "http_502", "reset", "garbage"]
)
def test_the_clients_way_through_faults(kind: str) -> None:
    """After two faults of a kind the third try is judged, whoever pays for the first two."""
    fault = Fault.parse(f"{kind},count=2")
    judged, _ = judge(RISKY, IMAGES[:1], SimulatorSettings(faults=(fault,)))
    assert (judged.risk_level, judged.attempts) == (RiskLevel.HIGH, 3)
    assert [label.category for label in judged.labels] == ["violent"]
