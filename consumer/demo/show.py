"""The demonstration: broker, service, platform, consumer and reader in one process, from start to sums."""

from __future__ import annotations

import asyncio
import signal
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from consumer.app import App
from consumer.demo.broker import EmbeddedBroker
from consumer.demo.feed import Feed
from consumer.demo.generator import Generator, timeline
from consumer.demo.journal import Journal
from consumer.demo.notes import Notes
from consumer.demo.outputs import Outputs, Shown
from consumer.demo.reading import read
from consumer.demo.report import report
from consumer.demo.screens import screen
from consumer.demo.snapshot import History, Showcase
from consumer.demo.summary import Amount, Bills, Counts, Sums
from consumer.demo.weather import Weather, service
from consumer.record import Partition
from consumer.settings import load
from consumer.simulator import Simulator


if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console, RenderableType

    from consumer.demo.reading import Reading
    from consumer.demo.screens import Screen


__all__ = ["Options", "show"]


_GROUP = "demo"
_EVENTS, _VERDICTS, _DEAD_LETTERS = "ugc.events", "moderation.verdicts", "moderation.dead-letters"

_FRAME_SECONDS = 0.2
# Of the whole time, events come in for this share; the rest is for the group's first assignment and the backlog.
_FEED_SHARE = 0.7
# No answer for so long after the last event: what is missing will not come.
_STALLED_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Options:
    """What can be chosen. `seconds` is about how long it takes in all; None goes on until it is interrupted."""

    seconds: float | None
    rate: float
    seed: int
    plain: bool


async def show(options: Options, console: Console) -> int:
    """Run it and print the sums; the exit code: 0 if they add up, else 1.

    Raises:
        StartError: a part cannot start.
    """
    notes = Notes()
    notes.take_over()
    try:
        async with EmbeddedBroker() as broker, Simulator(service(options.seed)) as simulator:
            demonstration = _Demonstration(options, broker, simulator, notes)
            with screen(console, plain=options.plain) as view:
                sums = await demonstration.run(view)
            console.print(demonstration.report(sums))
    except BaseExceptionGroup as errors:
        raise _first(errors) from errors
    return sums.exit_code


class _Demonstration:
    """One run. Ctrl-C once: no more events; twice: what is in the topic stays there."""

    def __init__(self, options: Options, broker: EmbeddedBroker, simulator: Simulator, notes: Notes) -> None:
        self._options = options
        self._broker = broker
        self._simulator = simulator
        self._notes = notes
        self._weather = Weather(simulator)
        self._app = App(load([], _environment(broker, simulator)))
        self._journal = Journal()
        self._feed = Feed(broker.bootstrap_servers, _EVENTS, self._journal)
        self._outputs = Outputs(
            broker.bootstrap_servers,
            verdicts=_VERDICTS,
            dead_letters=_DEAD_LETTERS,
            journal=self._journal,
            show=self._answered,
        )
        self._history = History()
        self._showcase = Showcase()
        self._phase = "the consumer joins its group"
        self._started = 0.0
        self._no_more, self._enough = asyncio.Event(), asyncio.Event()
        self._hurried = False

    async def run(self, view: Screen) -> Sums:
        """From the first event to the last answer read back."""
        options = self._options
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._interrupted)
        for topic in (_EVENTS, _VERDICTS, _DEAD_LETTERS):
            await asyncio.to_thread(self._broker.create_topic, topic)
        self._started = loop.time()
        samples = timeline(Generator(options.seed), rate=options.rate, seed=options.seed)
        stop, read_all = asyncio.Event(), asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            consumer = tasks.create_task(self._app.run(stop))
            reader = tasks.create_task(self._outputs.run(read_all))
            others = [tasks.create_task(self._weather.run()), tasks.create_task(self._watch(view))]
            seconds = None if options.seconds is None else options.seconds * _FEED_SHARE
            await self._feed.run(samples, seconds=seconds, stop=self._no_more)
            await self._enough.wait()
            self._phase = "everything stops"
            stop.set()
            await consumer
            read_all.set()
            await reader
            for task in others:
                task.cancel()
        self._phase = "done"
        self._frame(view)
        return self._sums(await self._committed())

    def report(self, sums: Sums) -> RenderableType:
        """The summary."""
        reading = read(self._app.metrics)
        settings = self._app.loaded.settings.quota
        title = f"After {self._elapsed:.0f} s, with seed {self._options.seed}"
        return report(
            sums,
            title=title,
            actions=reading.actions,
            currencies=reading.currencies,
            busiest={name: peak.most for name, peak in self._simulator.stats.arrived.items()},
            limits={"text": settings.text_per_second, "image": settings.image_per_second},
        )

    @property
    def _elapsed(self) -> float:
        return asyncio.get_running_loop().time() - self._started

    def _interrupted(self) -> None:
        if self._no_more.is_set():
            self._hurried = True
            self._enough.set()
            # Whoever asks a third time wants to leave without sums.
            loop = asyncio.get_running_loop()
            loop.remove_signal_handler(signal.SIGINT)
            loop.remove_signal_handler(signal.SIGTERM)
        self._no_more.set()

    def _answered(self, shown: Shown) -> None:
        excerpt = self._feed.excerpts.pop(shown.place, "")
        clock = datetime.now().astimezone().strftime("%H:%M:%S")
        self._showcase.offer(shown, excerpt, at_seconds=self._elapsed, clock=clock)

    async def _watch(self, view: Screen) -> None:
        """Draw, and notice when all is answered or nothing comes any more; ends when cancelled."""
        journal, feed = self._journal, self._feed
        answers, moved_at = -1, 0.0
        while True:
            reading = self._frame(view)
            if journal.answers != answers or not feed.done:
                answers, moved_at = journal.answers, self._elapsed
            settled = journal.unanswered == 0 and reading.counts.total >= journal.sent
            if feed.done and (settled or self._elapsed - moved_at > _STALLED_SECONDS):
                self._enough.set()
            await asyncio.sleep(_FRAME_SECONDS)

    def _frame(self, view: Screen) -> Reading:
        reading = read(self._app.metrics)
        self._history.add(self._elapsed, self._journal.sent, reading)
        if not self._enough.is_set() and reading.read:
            self._phase = "no more events: judging the rest" if self._feed.done else "events are coming in"
        view.show(
            self._history.snapshot(
                phase=self._phase,
                on_the_wire=self._simulator.stats.in_flight,
                weather=self._weather.now,
                rows=self._showcase.rows,
                note=self._notes.latest,
            )
        )
        return reading

    async def _committed(self) -> dict[Partition, int]:
        """What the group has committed, asked of the broker as an operator would."""
        asked = [TopicPartition(one.topic, one.partition) for one in self._journal.partitions]
        admin = AIOKafkaAdminClient(bootstrap_servers=self._broker.bootstrap_servers)
        await admin.start()
        try:
            found = await admin.list_consumer_group_offsets(_GROUP, partitions=asked)
        finally:
            await admin.close()
        return {Partition(at.topic, at.partition): max(0, position.offset) for at, position in found.items()}

    def _sums(self, committed: Mapping[Partition, int]) -> Sums:
        journal, reading = self._journal, read(self._app.metrics)
        ledger = self._simulator.ledger.moderation_types
        return Sums(
            events_in=journal.sent,
            # Nothing but the metrics tells that a record was skipped.
            read_back=Counts(journal.verdicts, journal.dead_letters, reading.counts.skipped),
            counted=reading.counts,
            committed=sum(committed.values()),
            missing=journal.missing,
            twice=journal.twice,
            unknown=journal.unknown,
            wrong=journal.wrong,
            lost=journal.below(committed),
            bills=Bills(
                ledger={name: Amount(total.units, total.cost) for name, total in ledger.items()},
                verdicts=self._outputs.bill.amounts,
                metrics=reading.billed,
            ),
            cut_short=self._hurried and journal.unanswered > 0,
        )


def _environment(broker: EmbeddedBroker, simulator: Simulator) -> dict[str, str]:
    """The consumer's settings, as they would stand in a container's environment."""
    account = simulator.settings
    return {
        "MODERATION__KAFKA__BOOTSTRAP_SERVERS": ",".join(broker.bootstrap_servers),
        "MODERATION__KAFKA__TOPICS": _EVENTS,
        "MODERATION__KAFKA__GROUP_ID": _GROUP,
        "MODERATION__KAFKA__START": "earliest",
        "MODERATION__OUTPUT__TOPIC": _VERDICTS,
        "MODERATION__OUTPUT__DEAD_LETTERS": _DEAD_LETTERS,
        "MODERATION__MODERATION__ENDPOINT": simulator.url,
        "MODERATION__MODERATION__CREDENTIALS__ACCESS_KEY_ID": account.access_key_id,
        "MODERATION__MODERATION__CREDENTIALS__ACCESS_KEY_SECRET": account.access_key_secret,
        "MODERATION__ADMIN__HOST": "127.0.0.1",
        "MODERATION__ADMIN__PORT": "0",
    }


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that explains the others."""
    first = errors.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
