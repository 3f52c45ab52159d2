"""When a client is to blame for getting nothing done, and when the brokers are."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import pytest

from consumer.errors import StartError
from consumer.kafka.watch import Watch
from consumer.record import Partition
from consumer.settings.models import Kafka
from tests.virtual_time import run


if TYPE_CHECKING:
    from collections.abc import Mapping

    from consumer.kafka.membership import Membership


KAFKA = Kafka(bootstrap_servers=["b:1"], topics=["t"], group_id="g", start="earliest")
ONE = Partition("t", 0)


class World:
    """Brokers and a client, and what of them works."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reaches = True
        self.brokers_answer = True
        self.coordinator_answers = True
        self.ends = {ONE: 0}
        self.consumer = object()
        now = asyncio.get_running_loop().time
        self.watch = Watch(KAFKA, stall_seconds=30.0, coordinator_answers=self.coordinator, now=now)
        monkeypatch.setattr("consumer.kafka.watch.options_to_start", self.options)
        monkeypatch.setattr("consumer.kafka.watch.list_offsets", self.list_offsets)

    async def coordinator(self) -> bool:
        return self.coordinator_answers

    async def reaches_brokers(self, seconds: float) -> bool:
        assert seconds > 0
        return self.reaches

    async def options(self, kafka: Kafka) -> dict[str, Any]:
        if not self.brokers_answer:
            raise StartError(f"nobody answers: {kafka.bootstrap_servers}")
        return {}

    async def list_offsets(self, *_: Any, **__: Any) -> dict[Partition, int]:
        return self.ends

    async def first_complaint(
        self, seconds: float, *, read_to: int | None = None, failing: Mapping[str, tuple[float, float]] | None = None
    ) -> tuple[str | None, float]:
        """What is complained of first within so long, and after how long; nothing, and all of the time, otherwise."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        while loop.time() - began < seconds:
            await asyncio.sleep(5)
            if read_to is not None:
                self.watch.asked(ONE, read_to, 5)
            found = await self.watch.complaint(cast("Membership", self), failing or {})
            if found is not None:
                return found, loop.time() - began
        return None, seconds


def test_brokers_that_are_away_are_not_the_clients_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the brokers are away, and however many commits fail meanwhile, the client is left alone."""

    async def main() -> None:
        world = World(monkeypatch)
        world.ends = {ONE: 100}
        world.reaches = world.brokers_answer = False
        assert await world.first_complaint(3600, read_to=7, failing={"commits_fail": (0, 60)}) == (None, 3600)
        # Back again: it has some time to notice.
        world.brokers_answer = True
        await world.first_complaint(20, read_to=7)
        world.reaches = True
        assert await world.first_complaint(25, read_to=8, failing={"commits_fail": (0, 60)}) == (None, 25)

    run(main())


def test_a_client_that_finds_no_broker_is_told_when_others_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where brokers answer somebody else for longer than a stall, the client is unreachable by its own fault."""

    async def main() -> None:
        world = World(monkeypatch)
        world.reaches = False
        found, after = await world.first_complaint(300)
        assert found == "unreachable"
        assert 30 <= after <= 40

    run(main())


def test_idle_partitions_are_no_stall(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a log holds no more than was read, nothing is missing, however long it is asked for."""

    async def main() -> None:
        world = World(monkeypatch)
        world.ends = {ONE: 7}
        assert await world.first_complaint(3600, read_to=7) == (None, 3600)

    run(main())


def test_records_that_do_not_come_are_a_stall(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where records are there, and were asked for in vain for twice as long as it may take, the client has stalled."""

    async def main() -> None:
        world = World(monkeypatch)
        world.ends = {ONE: 8}
        found, after = await world.first_complaint(300, read_to=7)
        assert found == "stalled"
        assert 60 <= after <= 70

    run(main())


def test_records_that_come_slowly_are_no_stall(monkeypatch: pytest.MonkeyPatch) -> None:
    """A position that moves now and then is no stall, and neither is a partition that is not asked for."""

    async def main() -> None:
        world = World(monkeypatch)
        world.ends = {ONE: 1000}
        for position in range(20):
            assert await world.first_complaint(40, read_to=position) == (None, 40)
        world.watch.forget()
        assert await world.first_complaint(3600) == (None, 3600)

    run(main())


@pytest.mark.parametrize("what", ["commits_fail", "not_joined"])
def test_what_the_coordinator_does_for_others_is_expected_of_it(monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """What fails for too long is a complaint if the coordinator answers others, and none while it is away itself."""

    async def main() -> None:
        world = World(monkeypatch)
        world.coordinator_answers = False
        failing = {what: (asyncio.get_running_loop().time(), 60.0)}
        assert await world.first_complaint(600, failing=failing) == (None, 600)
        world.coordinator_answers = True
        assert await world.first_complaint(600, failing=failing) == (what, 5)
        world.watch.forget()
        found, after = await world.first_complaint(600, failing=failing)
        assert found == what
        assert after >= 60, "as long after the brokers were first reached again"

    run(main())
