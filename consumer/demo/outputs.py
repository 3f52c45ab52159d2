"""Reads verdicts and dead letters back, as any plain consumer of these topics would."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import orjson
from aiokafka import AIOKafkaConsumer

from consumer.demo.journal import Answer, Place
from consumer.demo.summary import Amount
from consumer.engine.letters import HEADER_PREFIX
from consumer.record import Partition


if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable, Mapping

    from consumer.demo.journal import Journal


__all__ = ["Bill", "Outputs", "Shown"]


_PATIENCE_MS = 200


@dataclass(frozen=True, slots=True)
class Shown:
    """One answer, as the list of the last ones shows it. `labels` of a dead letter is its reason."""

    place: Place
    kind: str
    risk_level: str
    action: str
    labels: tuple[str, ...]


class Bill:
    """The billed units in verdicts, summed by moderation type."""

    def __init__(self) -> None:
        self._units: Counter[str] = Counter()
        self._cost: dict[str, Decimal] = {}

    def add(self, billed: Iterable[Mapping[str, Any]]) -> None:
        """What one verdict says it cost."""
        for one in billed:
            name = one["moderation_type"]
            self._units[name] += one["units"]
            self._cost[name] = self._cost.get(name, Decimal(0)) + Decimal(str(one["cost"]))

    @property
    def amounts(self) -> dict[str, Amount]:
        """The sums."""
        return {name: Amount(units, self._cost[name]) for name, units in self._units.items()}


class Outputs:
    """Follows the output topics from their beginning and tells the journal what it reads.

    Args:
        bootstrap_servers: The brokers.
        verdicts: The topic of verdicts.
        dead_letters: The topic of dead letters.
        journal: Who is told.
        show: Called with each answer.
    """

    def __init__(
        self,
        bootstrap_servers: list[str],
        *,
        verdicts: str,
        dead_letters: str,
        journal: Journal,
        show: Callable[[Shown], None],
    ) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._verdicts = verdicts
        self._dead_letters = dead_letters
        self._journal = journal
        self._show = show
        self.bill = Bill()

    async def run(self, done: asyncio.Event) -> None:
        """Read until `done` is set, then all that the topics hold by then.

        When cancelled it ends at once.
        """
        # Without a group: all partitions, and nothing is ever committed.
        consumer = AIOKafkaConsumer(
            self._verdicts,
            self._dead_letters,
            bootstrap_servers=self._bootstrap_servers,
            client_id="demo-reader",
            auto_offset_reset="earliest",
        )
        await consumer.start()
        try:
            while not done.is_set():
                self._take(await consumer.getmany(timeout_ms=_PATIENCE_MS))
            for partition, end in (await consumer.end_offsets(consumer.assignment())).items():
                while await consumer.position(partition) < end:
                    self._take(await consumer.getmany(timeout_ms=_PATIENCE_MS))
        finally:
            await consumer.stop()

    def _take(self, polled: Mapping[Any, Any]) -> None:
        for partition, records in polled.items():
            for record in records:
                if partition.topic == self._verdicts:
                    self._verdict(orjson.loads(record.value))
                else:
                    self._dead_letter(dict(record.headers))

    def _verdict(self, verdict: Mapping[str, Any]) -> None:
        record = verdict["record"]
        place = Place(Partition(record["topic"], record["partition"]), record["offset"])
        self._journal.answered(place, Answer(dead_letter=False, detail=verdict["risk_level"]))
        self.bill.add(verdict["billed"])
        labels = tuple(dict.fromkeys(label["label"] for label in verdict["labels"]))
        self._show(Shown(place, verdict["kind"], verdict["risk_level"], verdict["action"], labels))

    def _dead_letter(self, headers: Mapping[str, bytes]) -> None:
        ours = {name.removeprefix(HEADER_PREFIX): value.decode() for name, value in headers.items()}
        place = Place(Partition(ours["topic"], int(ours["partition"])), int(ours["offset"]))
        self._journal.answered(place, Answer(dead_letter=True, detail=ours["stage"]))
        self._show(Shown(place, "", "", "dead letter", (f"{ours['stage']}: {ours['reason']}",)))
