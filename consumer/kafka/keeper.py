"""Staying in the group: a membership that no longer gets on is left, and another one begun."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Protocol

import structlog
from aiokafka.errors import KafkaError

from consumer.errors import StartError
from consumer.kafka.membership import Membership


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from aiokafka.coordinator.assignors.abstract import AbstractPartitionAssignor

    from consumer.kafka.membership import Owner
    from consumer.metrics import Metrics
    from consumer.settings.models import Kafka


__all__ = ["Keeper", "Part"]


_log = structlog.get_logger(__name__)

# How long to wait before joining anew: doubled each time, and forgotten after a while without trouble.
REJOIN_SECONDS = 0.5
LONGEST_REJOIN_SECONDS = 15.0
# "asked", and what the source and its watch complain of.
_REASONS = ("asked", "unreachable", "stalled", "polls_fail", "commits_fail", "not_joined")


class Part(Protocol):
    """What works through one membership after the other."""

    def attach(self, membership: Membership) -> None:
        """Work through this membership from now on."""
        ...

    async def detach(self) -> None:
        """The membership is over."""
        ...


class Keeper:
    """Has the one membership of a process, and replaces it.

    Args:
        kafka: Brokers and group.
        parts: What works through the membership.
        owner: Is told of assignments.
        give_up: Has all partitions revoked; called before the group is left for another membership.
        assignor: One for all memberships: it knows what this member had, and claims it again.
        rebalance_seconds: How long the group waits for its members in a rebalance.
        metadata_max_age_seconds: How old the list of partitions may become.
        leave_seconds: How long leaving the group may take.
        metrics: Where memberships are counted that were replaced.
    """

    def __init__(
        self,
        kafka: Kafka,
        *,
        parts: Sequence[Part],
        owner: Owner,
        give_up: Callable[[], Awaitable[None]],
        assignor: type[AbstractPartitionAssignor],
        rebalance_seconds: float,
        metadata_max_age_seconds: float,
        leave_seconds: float,
        metrics: Metrics,
    ) -> None:
        self.membership: Membership | None = None
        self._kafka = kafka
        self._parts = parts
        self._owner = owner
        self._give_up = give_up
        self._assignor = assignor
        self._rebalance_seconds = rebalance_seconds
        self._metadata_max_age_seconds = metadata_max_age_seconds
        self._leave_seconds = leave_seconds
        self._rejoins = metrics.counter("rejoins")
        for reason in _REASONS:
            # Seen at zero: to Prometheus, a counter that begins at one has not grown.
            self._rejoins.labels(reason)
        self._asked = asyncio.Event()
        self._rejoined_at = 0.0
        self._wait_seconds = REJOIN_SECONDS

    async def begin(self) -> Membership:
        """Connect; the group is not joined yet.

        Raises:
            StartError: the brokers cannot be reached, or refuse us.
            KafkaError: they stopped answering while we connected.
        """
        self.membership = await Membership.begin(
            self._kafka,
            assignor=self._assignor,
            rebalance_seconds=self._rebalance_seconds,
            metadata_max_age_seconds=self._metadata_max_age_seconds,
        )
        for part in self._parts:
            part.attach(self.membership)
        return self.membership

    async def leave(self) -> None:
        """End the membership, within bounds; its partitions were given up before."""
        membership, self.membership = self.membership, None
        if membership is None:
            return
        # Of what it still does nothing must be heard.
        membership.deaf = True
        try:
            for part in self._parts:
                await part.detach()
        finally:
            await membership.leave(self._leave_seconds)

    def ask(self) -> None:
        """Have the group left and joined anew, soon."""
        self._asked.set()

    async def run(self, complaint: Callable[[Membership], Awaitable[str | None]], *, every_seconds: float) -> None:
        """Join anew when asked to, or when there is a complaint about the membership; until cancelled."""
        while True:
            reason = "asked"
            try:
                async with asyncio.timeout(every_seconds):
                    await self._asked.wait()
            except TimeoutError:
                found = await complaint(self.membership) if self.membership is not None else None
                if found is None:
                    continue
                reason = found
            await self._join_anew(reason)

    async def _join_anew(self, reason: str) -> None:
        """Have all partitions revoked, leave the group, and join it with a new client, however long that takes."""
        _log.warning("joining_anew", reason=reason)
        self._rejoins.labels(reason).inc()
        await self._give_up()
        await self.leave()
        self._asked.clear()
        if time.monotonic() - self._rejoined_at > 4 * LONGEST_REJOIN_SECONDS:
            self._wait_seconds = REJOIN_SECONDS
        while True:
            await asyncio.sleep(self._wait_seconds)
            self._wait_seconds = min(2 * self._wait_seconds, LONGEST_REJOIN_SECONDS)
            try:
                membership = await self.begin()
            except (StartError, KafkaError) as error:
                _log.warning("not_joined_yet", reason=str(error), again_in_seconds=self._wait_seconds)
            else:
                break
        membership.join(self._owner)
        self._rejoined_at = time.monotonic()
        _log.info("joined_anew", reason=reason)
