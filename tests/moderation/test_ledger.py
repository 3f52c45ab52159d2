"""Verdicts, metrics and the simulator's ledger say the same of what was paid, whatever goes wrong."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from consumer.embedding import Moderated, Moderator
from consumer.errors import RecordError
from consumer.event import Event, Image
from consumer.simulator import Fault, Simulator, SimulatorSettings
from consumer.simulator.faults import KINDS, OF_CALLBACKS, OF_CALLS, OF_TASKS
from consumer.simulator.latency import Latency
from tests.ports import free_port


if TYPE_CHECKING:
    from consumer.metrics import Metrics


__all__: list[str] = []


CODES = (
    *("400", "401", "403", "404", "408", "500", "581", "588", "280", "999"),
    *("Throttling.User", "ServiceUnavailable", "SignatureNonceUsed", "InvalidTimeStamp.Expired", "Forbidden.RAM"),
    *("InvalidAccessKeyId.NotFound", "MissingService", "Unheard.Of"),
)
TEXT = "ugc_moderation_byllm"
ADVANCED = "ugc_moderation_byllm_cb"
IMAGE = "baselineCheck_global"
POST = "post_text_image_detection"
LIMITS = [f"{name}_per_second" for name in ("text", "image", "image_llm", "multimodal_submit", "multimodal_query")]
# What one call of each service is billed: the text of the advanced one is longer than a thousand characters.
UNITS = {
    TEXT: {"text_llm_standard": 1},
    ADVANCED: {"text_llm_advanced": 2},
    IMAGE: {"image_standard": 1},
    POST: {"text_llm_standard": 1, "image_vl_standard": 1},
}
# These were billed, and their answers never came, cannot be read, or name no task that could be asked for.
UNSURE = {"reset_billed", "garbage", "truncated", "no_task_id"}
CALLS = [
    *(Fault.parse(f"code={code},count=3") for code in CODES),
    *(Fault.parse(f"{kind},count=3,seconds=0.05") for kind in sorted(OF_CALLS - {"code"})),
]
TASKS = [Fault.parse(f"{kind},count=2,seconds=0.05") for kind in sorted(OF_TASKS | OF_CALLBACKS)]


@dataclass
class Paid:
    """What was paid in each moderation type: units, and money with what a plan loses."""

    units: Counter[str] = field(default_factory=Counter)
    cost: dict[str, Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    plan: dict[str, Decimal] = field(default_factory=lambda: defaultdict(Decimal))


def by_verdicts(judged: list[Moderated]) -> Paid:
    paid = Paid()
    for bill in (bill for one in judged for bill in one.billed):
        paid.units[bill.moderation_type] += bill.units
        paid.cost[bill.moderation_type] += bill.cost
        paid.plan[bill.moderation_type] += bill.plan_units
    return paid


def by_metrics(metrics: Metrics) -> Paid:
    paid = Paid()
    names = {"billed_units": paid.units, "billed_cost": paid.cost, "billed_plan_units": paid.plan}
    for family in metrics.registry.collect():
        kept: Any = names.get(family.name.removeprefix("moderation_"))
        for sample in family.samples if kept is not None else ():
            if sample.name.endswith("_total"):
                # Floats: rounded to what a bill can have, a millionth.
                kept[sample.labels["moderation_type"]] += Decimal(str(round(sample.value, 6)))
    return paid


def by_ledger(simulator: Simulator) -> Paid:
    paid = Paid()
    for name, total in simulator.ledger.moderation_types.items():
        paid.units[name], paid.cost[name], paid.plan[name] = total.units, total.cost, total.plan_units
    return paid


def unknown_bills(metrics: Metrics) -> int:
    return round(
        sum(
            sample.value
            for family in metrics.registry.collect()
            if family.name == "moderation_bill_unknown_calls"
            for sample in family.samples
            if sample.name.endswith("_total")
        )
    )


def events(service: str, count: int = 4, thread: str | None = None) -> list[Event]:
    text = "" if service == IMAGE else "good morning " * (100 if service == ADVANCED else 1)
    images = (Image(url="https://img.example/a.jpg"),) if service in {IMAGE, POST} else ()
    return [Event(f"e{number}", "comment", text=text, images=images, thread=thread) for number in range(count)]


async def judged(
    fault: Fault, given: list[Event], service: str, *, read_seconds: float = 0.3
) -> tuple[Paid, Paid, Paid, int, int]:
    """What verdicts, metrics and ledger say, how many bills are unknown, and how many the simulator lost."""
    simulated = SimulatorSettings(
        faults=(fault,),
        task_latency=Latency(10.0),
        too_early_seconds=0.0,
        text_per_second=None,
        image_per_second=None,
        image_llm_per_second=None,
        multimodal_submit_per_second=None,
        multimodal_query_per_second=None,
    )
    async with Simulator(simulated) as simulator:
        port = free_port()
        settings = {
            "moderation": {
                "endpoint": simulator.url,
                "credentials": {"access_key_id": "testid", "access_key_secret": "testsecret"},
                "timeouts": {"connect_seconds": 1, "read_seconds": read_seconds, "total_seconds": 5},
                "retry": {"base_seconds": 0.001, "max_seconds": 0.01},
                "hold_probe_seconds": 0.01,
            },
            "routes": [{"name": "all", "services": [service]}],
            "quota": dict.fromkeys(LIMITS, 1000),
            "tasks": {"first_poll_seconds": 0.03, "poll_interval_seconds": 0.03, "deadline_seconds": 0.5},
            "threads": {"max_age_seconds": 0.02},
            "callbacks": {
                "url": f"http://127.0.0.1:{port}/moderation",
                "account_id": simulated.account_id,
                "secret": "0123456789abcdef",
                "host": "127.0.0.1",
                "port": port,
            },
        }
        async with Moderator.from_settings(settings, {}) as moderator:
            ends = await asyncio.gather(*map(moderator.moderate, given), return_exceptions=True)
            good = [one for one in ends if isinstance(one, Moderated)]
            assert [one for one in ends if not isinstance(one, Moderated | RecordError)] == []
            metrics = moderator.metrics
        assert sum(simulator.faults.fired.values()) > 0
        return (
            by_verdicts(good),
            by_metrics(metrics),
            by_ledger(simulator),
            unknown_bills(metrics),
            simulator.ledger.lost,
        )


def test_every_kind_of_fault_is_among_the_scenarios() -> None:
    """No fault that the simulator knows is left out."""
    assert {fault.kind for fault in CALLS + TASKS} == KINDS


@pytest.mark.parametrize(
    ("fault", "service"),
    [
        pytest.param(fault, service, id=f"{fault}-{service}")
        for fault in CALLS
        for service in (TEXT, ADVANCED, IMAGE, POST)
        if fault.kind != "no_task_id" or service == POST
    ],
)
def test_what_was_paid_is_known_after_every_fault_of_a_call(fault: Fault, service: str) -> None:
    """Verdicts and metrics have the same sums; so has the ledger, beside bills that are counted as unknown."""
    verdicts, metrics, ledger, unknown, lost = asyncio.run(judged(fault, events(service), service))
    assert (verdicts.units, verdicts.plan) == (metrics.units, metrics.plan)
    assert verdicts.cost == pytest.approx(metrics.cost)
    missing = lost if fault.kind in UNSURE else 0
    if fault.kind in UNSURE:
        assert 0 < lost <= unknown
    for name, units in UNITS[service].items():
        assert ledger.units[name] == metrics.units[name] + missing * units
    if not missing:
        assert ledger.cost == verdicts.cost
        assert ledger.plan == verdicts.plan


@pytest.mark.parametrize("service", [TEXT, POST])
def test_an_answer_that_comes_too_late_is_a_bill_that_nobody_knows(service: str) -> None:
    """What the ledger has beyond the metrics is at most what is counted as unknown."""
    fault = Fault.parse("slow,count=3,seconds=30")
    verdicts, metrics, ledger, unknown, _ = asyncio.run(judged(fault, events(service), service, read_seconds=0.1))
    assert verdicts.units == metrics.units
    for name, units in UNITS[service].items():
        assert metrics.units[name] < ledger.units[name] <= metrics.units[name] + unknown * units


@pytest.mark.parametrize("fault", TASKS, ids=str)
def test_what_becomes_of_a_task_costs_nothing(fault: Fault) -> None:
    """A task is paid for once, when it is submitted, whatever becomes of it and of its callback."""
    verdicts, metrics, ledger, unknown, _ = asyncio.run(judged(fault, events(POST), POST))
    assert verdicts.units == metrics.units == ledger.units == {"text_llm_standard": 4, "image_vl_standard": 4}
    assert (ledger.cost, ledger.plan, unknown) == (verdicts.cost, verdicts.plan, 0)


@pytest.mark.parametrize("fault", ["code=500,count=2", "no_risk_level", "code=588,count=2", "task_lost,count=1"])
def test_a_shared_bill_adds_up(fault: str) -> None:
    """Events that are judged together share one bill, and their shares are what the ledger has."""
    given = events(POST, 6, thread="post-1")
    verdicts, metrics, ledger, unknown, _ = asyncio.run(judged(Fault.parse(fault), given, POST))
    assert verdicts.units == metrics.units == ledger.units
    assert (verdicts.cost, verdicts.plan, unknown) == (ledger.cost, ledger.plan, 0)
    assert ledger.units["text_llm_standard"] < 6
