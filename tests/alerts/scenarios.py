"""What each alert is for, as scenarios that are played with the running product; most of them raise one or two."""

from __future__ import annotations

import asyncio
import signal
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import web

from consumer.demo.generator import Generator, timeline
from consumer.simulator import Fault, Latency, SimulatorSettings, truth
from tests.alerts.stage import Stage, chat, post
from tests.moderation.credentials.places import DOCUMENT, serving


if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine


__all__ = ["HEALTHY", "SCENARIOS", "Scenario"]


# Times are those of the rules divided by the factor that the scenarios are played with; a scenario that has done its
# part goes on until it is cancelled.
_EVER = 3600.0
_RISKY = [word.text for word in truth.WORDS if word.language == "en" and word.level == "high"]
_STS_ID = "STS.id"
_CHINA: dict[str, Any] = {"moderation": {"region": "cn-shanghai"}}
# What is in flight is no part of what is scaled: a few hundred events at a slow pace would seem to be stuck.
_FEW_AT_A_TIME: dict[str, Any] = {"delivery": {"max_in_flight": 16}}
# What is usual is what was so half an hour ago and earlier.
_USUAL_SECONDS = 27.0
_PLUGINS = "tests.alerts.plugins"


@dataclass(frozen=True, slots=True)
class Scenario:
    """One thing that happens, the alerts that must fire over it, and those that may.

    Attributes:
        job: what it is called.
        play: has it happen, until it is cancelled.
        fires: the alerts it is for.
        may_fire: alerts that come with it, or not, as chance and time have it.
        service: how the simulated service is at first.
        own_broker: whether it needs a broker to itself, since it spoils it.
    """

    job: str
    play: Callable[[Stage], Coroutine[None, None, None]]
    fires: frozenset[str]
    may_fire: frozenset[str] = frozenset()
    service: SimulatorSettings = field(default_factory=lambda: SimulatorSettings(latency=Latency.parse("60~0.3")))
    own_broker: bool = False


async def _healthy(stage: Stage) -> None:
    """Users post all kinds of things, some of them risky, and one call in a hundred fails.

    No record is spoilt: in a quarter of an hour that lasts 15 s a single one would be more than the share of an hour.
    """
    samples = timeline(Generator(7, epoch_seconds=time.time()), rate=25, seed=7)
    loop = asyncio.get_running_loop()
    async with stage.product({**_CHINA, "tasks": {"first_poll_seconds": 2, "poll_interval_seconds": 2}}):
        began = loop.time()
        for at, sample in samples:
            await asyncio.sleep(max(0.0, began + at - loop.time()))
            if sample.expectation.outcome == "verdict" and sample.value is not None:
                stage.write(sample.value)


async def _down(stage: Stage) -> None:
    async with stage.product():
        await stage.feed(5, chat, seconds=6)
    await asyncio.sleep(_EVER)


async def _restarting(stage: Stage) -> None:
    while True:
        async with stage.starting(until=lambda app: app.metrics.totals("takeovers")[()] > 0):
            await asyncio.sleep(1.5)


async def _own_code(stage: Stage) -> None:
    """Plugins fail, a policy at each event and a mapping at some; the file that should mend it names none there is."""
    async with stage.product({"mapping": {"plugin": f"{_PLUGINS}:no_round_numbers"}, **_policy("undecided")}):
        stage.config(_policy("decided"))
        await stage.feed(5, chat)


async def _no_owner(stage: Stage) -> None:
    """The brokers go away while the group is being joined."""
    async with stage.starting(until=lambda app: app.status()["state"] == "running"):
        # The group waits 3 s for more members before it assigns anything.
        await asyncio.sleep(1)
        await asyncio.to_thread(stage.broker.stop)
        await asyncio.sleep(_EVER)


async def _frozen(stage: Stage) -> None:
    """The process stands still again and again, for longer than the guard allows and shorter than its session."""
    stage.write(*map(chat, range(100)))
    async with stage.process() as process:
        while True:
            await asyncio.sleep(4)
            process.send_signal(signal.SIGSTOP)
            await asyncio.sleep(2.6)
            process.send_signal(signal.SIGCONT)


async def _stuck(stage: Stage) -> None:
    """The service takes calls and never answers, and the time-outs are far too long."""
    patient = {"read_seconds": 900, "total_seconds": 900}
    async with stage.product({"moderation": {"timeouts": patient}}):
        await stage.feed(5, chat, seconds=3)
        stage.faults("hang")
        await stage.feed(2, chat)


async def _tasks_never_end(stage: Stage) -> None:
    """Messages are judged as ever, and results of tasks do not come."""
    stage.faults("task_never")
    async with stage.product({**_CHINA, "quota": {"multimodal_submit_per_second": 40}}), asyncio.TaskGroup() as tasks:
        tasks.create_task(stage.feed(10, chat))
        tasks.create_task(stage.feed(15, post, seconds=10))


async def _tasks_are_lost(stage: Stage) -> None:
    stage.faults("task_lost")
    async with stage.product({**_CHINA, "tasks": {"first_poll_seconds": 1, "poll_interval_seconds": 1}}):
        await stage.feed(2, post)


async def _too_much(stage: Stage) -> None:
    """More is posted than the account may have judged."""
    async with stage.product({"quota": {"text_per_second": 10}, **_FEW_AT_A_TIME}):
        stage.write(*map(chat, range(10_000, 11_500)))
        await stage.feed(40, chat)


async def _topic_made_anew(stage: Stage) -> None:
    """A partition ends before the group's offset, and somebody else writes to the state topic."""
    await stage.commit(1_000_000)
    async with stage.product():
        stage.write(b"what does not belong here", topic=f"{stage.group_id}.state")
        await stage.feed(5, chat)


async def _old_and_spoilt(stage: Stage) -> None:
    """The topic's retention was faster than we, and what is left is no JSON."""
    # The broker keeps 5 MiB of a partition.
    stage.write(*[bytes(60_000)] * 120, partition=0)
    await stage.flush()
    await stage.commit(3)
    async with stage.product({"dead_letters": {"max_in_a_row": None}}):
        await stage.feed(5, lambda number: chat(number) if number % 2 else b"{")


async def _denied(stage: Stage) -> None:
    async with stage.product():
        await stage.feed(5, chat, seconds=3)
        stage.faults("code=408")
        await stage.feed(5, chat)


async def _outage(stage: Stage) -> None:
    async with stage.product():
        await stage.feed(10, chat, seconds=3)
        stage.faults("http_500")
        await stage.feed(10, chat)


async def _errors(stage: Stage) -> None:
    """Three calls in ten fail: too few for the breaker, and all events are judged in the end."""
    stage.faults("code=500,share=0.3")
    async with stage.product({"moderation": {"retry": {"attempts": 20, "max_seconds": 1}}}):
        await stage.feed(15, chat)


async def _throttled(stage: Stage) -> None:
    stage.faults("code=588,share=0.1")
    async with stage.product(_FEW_AT_A_TIME):
        await stage.feed(10, chat)


async def _spent(stage: Stage) -> None:
    """Of one budget everything is spent, and events wait; of the other not yet."""
    common = {"unit": "units", "period": "month"}
    budgets = [{"name": "all", "limit": 120, **common}, {"name": "more", "limit": 140, **common}]
    async with stage.product({"budgets": budgets}):
        await stage.feed(10, chat)


async def _wave(stage: Stage) -> None:
    """Usually one message in ten is risky, then most."""

    def risky(share: float) -> Callable[[int], bytes]:
        def make(number: int) -> bytes:
            if number % 10 >= 10 * share:
                return chat(number)
            return orjson.dumps({"id": f"r{number}", "text": f"{_RISKY[number % len(_RISKY)]}, the {number}th"})

        return make

    async with stage.product():
        await stage.feed(15, risky(0.1), seconds=_USUAL_SECONDS)
        await stage.feed(25, risky(0.8))


async def _not_renewed(stage: Stage) -> None:
    """The role's credentials have minutes left, and the STS gives no newer ones."""

    async def sts(_: web.BaseRequest) -> web.StreamResponse:
        end = datetime.fromtimestamp(time.time() + 250, UTC).isoformat()
        return web.json_response({"Credentials": {**DOCUMENT, "AccessKeyId": _STS_ID, "Expiration": end}})

    token = stage.folder / "token"
    token.write_text("a.service.account.token")
    async with serving(sts) as url:
        role: dict[str, Any] = {
            "provider": "oidc",
            "access_key_id": None,
            "access_key_secret": None,
            "role_arn": "acs:ram::1:role/r",
            "oidc_provider_arn": "acs:ram::1:oidc-provider/p",
            "oidc_token_file": str(token),
            "sts_endpoint": url,
        }
        async with stage.product({"moderation": {"credentials": role}}):
            await stage.feed(2, chat)


def _policy(function: str) -> dict[str, Any]:
    return {"policy": {"plugin": f"{_PLUGINS}:{function}"}}


def _of(*names: str) -> frozenset[str]:
    return frozenset(f"Moderation{name}" for name in names)


_GENEROUS = SimulatorSettings(latency=Latency.parse("60~0.3"), text_per_second=None, multimodal_submit_per_second=None)

HEALTHY = Scenario(
    "healthy",
    _healthy,
    frozenset(),
    service=SimulatorSettings(
        latency=Latency.parse("130~0.35"),
        faults=(Fault("code", code="500", share=0.006), Fault("http_502", share=0.003), Fault("reset", share=0.003)),
    ),
)
"""Nothing happens that anybody should be told of."""

SCENARIOS = (
    HEALTHY,
    Scenario("down", _down, _of("ConsumerDown", "ConsumerAbsent")),
    Scenario(
        "restarting",
        _restarting,
        _of("ConsumerRestarting", "TakeoversOften"),
        _of("ConsumerDown", "ConsumerAbsent", "NoOwner"),
    ),
    Scenario("own-code", _own_code, _of("PolicyPluginFailing", "DeadLetters", "SettingsRefused")),
    Scenario("no-owner", _no_owner, _of("NoOwner", "KafkaRefused"), own_broker=True),
    Scenario("frozen", _frozen, _of("StandsStill"), _of("ConsumerDown")),
    Scenario("stuck", _stuck, _of("Stuck"), _of("EventStuck")),
    Scenario("tasks-never-end", _tasks_never_end, _of("TaskBacklog", "EventStuck"), service=_GENEROUS),
    Scenario("tasks-are-lost", _tasks_are_lost, _of("TasksGivenUp", "Unjudged")),
    Scenario("too-much", _too_much, _of("LagGrowing", "QuotaSaturated")),
    Scenario("topic-made-anew", _topic_made_anew, _of("PartitionHeld", "StateTopic")),
    Scenario("old-and-spoilt", _old_and_spoilt, _of("RecordsExpired", "DeadLetters")),
    Scenario("denied", _denied, _of("Holding")),
    Scenario("outage", _outage, _of("ServiceFailing", "CallErrors")),
    Scenario("errors", _errors, _of("CallErrors")),
    Scenario("throttled", _throttled, _of("Throttled"), _of("LagGrowing")),
    Scenario("spent", _spent, _of("BudgetNearlySpent", "BudgetSpent"), _of("LagGrowing")),
    Scenario("wave", _wave, _of("RiskShareUnusual"), service=_GENEROUS),
    Scenario(
        "not-renewed",
        _not_renewed,
        _of("CredentialsExpiring"),
        service=SimulatorSettings(
            access_key_id=_STS_ID,
            access_key_secret=DOCUMENT["AccessKeySecret"],
            security_token=DOCUMENT["SecurityToken"],
        ),
    ),
)
"""All that happens side by side."""
