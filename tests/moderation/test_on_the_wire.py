"""The client and the simulator, written apart from each other, agree on signatures, verdicts and bills."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from decimal import Decimal

import pytest

from consumer.clock import SystemClock
from consumer.event import Event, Image
from consumer.metrics import Metrics
from consumer.moderation.billing import LIST_PRICES
from consumer.moderation.client import ModerationClient
from consumer.moderation.credentials import FixedCredentials
from consumer.moderation.endpoints import Endpoint
from consumer.moderation.judge import ServiceJudge
from consumer.moderation.services import KNOWN, QUOTAS
from consumer.moderation.signing import Credentials
from consumer.moderation.transport import AiohttpTransport
from consumer.routing import Route
from consumer.settings.models import Retry, Timeouts
from consumer.simulator import Fault, Simulator, SimulatorSettings
from consumer.verdict import Judgement, RiskLevel
from tests.moderation.support import Claim, Tokens


TEXTS = ("ugc_moderation_byllm", "ugc_moderation_byllm_pro", "ugc_moderation_byllm_cb", "aigc_moderation_byllm")
IMAGES = ("baselineCheck_global", "aigcDetector_global")
LONG = Event("a/b:1", "post", title="标题", text="a+b=c&d~*/ 世界 😀 " * 120)
RISKY = Event("2", "image", images=(Image("https://img.example/high/violent_explosion.jpg?x=1&y=2"),))


async def judged_by(simulator: Simulator, event: Event, services: tuple[str, ...]) -> Judgement:
    settings = simulator.settings
    async with AiohttpTransport(Timeouts()) as transport:
        client = ModerationClient(
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
        return await ServiceJudge(client, KNOWN).judge(event, Route("all", services), Claim())


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


@pytest.mark.parametrize(
    "kind", ["code=500", "code=581", "code=588", "code=Throttling.User", "http_500", "http_502", "reset", "garbage"]
)
def test_the_clients_way_through_faults(kind: str) -> None:
    """After two faults of a kind the third try is judged, whoever pays for the first two."""
    fault = Fault.parse(f"{kind},count=2")
    judged, _ = judge(RISKY, IMAGES[:1], SimulatorSettings(faults=(fault,)))
    assert (judged.risk_level, judged.attempts) == (RiskLevel.HIGH, 3)
    assert [label.category for label in judged.labels] == ["violent"]
