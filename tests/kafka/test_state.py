"""The state topic on real and embedded brokers: what a process records, the next one finds."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaConnectionError
from structlog.testing import capture_logs

from consumer.clock import SystemClock
from consumer.errors import StartError
from consumer.kafka.state import KafkaStateLog, partition_of
from consumer.kafka.state_topic import CONFIG, name_for
from consumer.metrics import Metrics
from consumer.moderation.tasks.board import TaskBoard
from consumer.moderation.tasks.records import encode_task
from consumer.moderation.tasks.state import StateTopic
from consumer.moderation.tasks.task import Callback, Place, Task
from consumer.settings.models import State, Tasks
from tests.broker.cluster import KafkaCluster, unique
from tests.kafka.member import ended, settings


if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from consumer.demo.broker import EmbeddedBroker
    from consumer.moderation.protocol.responses import Answer
    from tests.broker.cluster import Broker


def place(number: int) -> Place:
    return Place("ugc", 0, number)


def task(number: int, fingerprint: str = "") -> Task:
    now = round(time.time(), 3)
    return Task(
        place(number), fingerprint or f"f{number}", "post_text_image_detection", f"t{number}", (), now, now + 30
    )


class NoQuery:
    """Polling is for other tests."""

    async def query(self, service: str, task_id: str) -> Answer | None:
        raise AssertionError("nothing is polled here")


class Process:
    """A process of the group: its state, and a board on it."""

    def __init__(self, broker: Broker, group_id: str, state: State) -> None:
        self.log = KafkaStateLog(settings(broker, "ugc", group_id=group_id), state, stop_seconds=1)
        self.metrics = Metrics()
        clock = SystemClock()
        self.state = StateTopic(self.log, clock=clock, metrics=self.metrics)
        self.board = TaskBoard(
            store=self.state,
            exchange=self.state,
            query=NoQuery(),
            settings=Tasks(),
            callbacks=True,
            clock=clock,
            metrics=self.metrics,
        )


@asynccontextmanager
async def process(
    broker: Broker, group_id: str, *, killed: bool = False, replication_factor: int | None = None, **state: Any
) -> AsyncIterator[Process]:
    """A process that runs and has caught up; ended in order, or as if it had been killed."""
    made = Process(broker, group_id, State(replication_factor=replication_factor, **state))
    async with asyncio.timeout(50):
        await made.state.start()
        try:
            async with asyncio.TaskGroup() as tasks:
                run = tasks.create_task(made.state.run())
                await made.state.caught_up()
                yield made
                run.cancel()
        finally:
            # What was to be written by a killed process is not: only its connections are closed.
            await (made.log if killed else made.state).stop()


async def eventually(fact: Any) -> None:
    """Return when it has become true."""
    async with asyncio.timeout(10):
        while not fact():
            await asyncio.sleep(0.01)


def test_tasks_outlive_the_process_that_submitted_them(broker: Broker) -> None:
    """What was recorded before a kill is found by the next process; what it forgot in order is found by nobody."""

    async def main() -> None:
        group = unique("outlive")
        tasks = [task(number) for number in range(50)]
        async with process(broker, group, killed=True) as first:
            await first.state.remember(tasks)
            assert first.state.find(place(7), "f7") == tasks[7]
        async with process(broker, group) as second:
            assert [second.state.find(one.place, one.fingerprint) for one in tasks] == tasks
            assert second.state.find(place(7), "the record of a topic that was made anew") is None
            await second.state.forget([one.place for one in tasks[:40]])
        async with process(broker, group) as third:
            found = [third.state.find(one.place, one.fingerprint) for one in tasks]
            assert found == [None] * 40 + tasks[40:]
        async with process(broker, unique("another-group")) as stranger:
            assert stranger.state.find(place(45), "f45") is None
        await ended()

    asyncio.run(main())


def test_a_callback_to_one_process_reaches_the_board_of_the_other(broker: Broker) -> None:
    """What a standby is told of a task ends the owner's wait, and is deleted with the event."""

    async def main() -> None:
        group = unique("told")
        content = b'{"Code":200,"Data":{"ReqId":"t1","RiskLevel":"high"}}'
        early = content.replace(b"t1", b"t2")
        async with process(broker, group) as owner, process(broker, group) as standby:
            own = task(1)
            await owner.board.add([own])
            assert await standby.board.deliver("t2", early, place(2)) == "forwarded"
            assert await standby.board.deliver("t1", content, place(1)) == "forwarded"
            async with asyncio.timeout(5):
                result = await owner.board.result(own)
            assert result is not None
            assert result.data["RiskLevel"] == "high"
            await owner.board.forget([place(1)])
            await eventually(lambda: standby.state.forwarded("t1") == [])
        async with process(broker, group) as heir:
            assert heir.state.find(place(1), "f1") is None
            late = task(2)
            await heir.board.add([late])
            async with asyncio.timeout(5):
                assert await heir.board.result(late) is not None

    asyncio.run(main())


def test_notes_have_one_order(broker: Broker) -> None:
    """Notes of several processes, whatever their keys, are heard by all in one order, and outlive who wrote them."""

    async def main() -> None:
        group = unique("notes")
        heard: list[list[tuple[tuple[str, ...], bytes | None]]] = [[], [], []]

        def ear(number: int) -> Callable[[tuple[str, ...], bytes | None], None]:
            return lambda key, value: heard[number].append((key, value))

        async with process(broker, group) as one, process(broker, group, killed=True) as two:
            one.state.follow("n", ear(0))
            two.state.follow("n", ear(1))
            for number in range(10):
                puts = [made.state.put(("n", f"{number}/{at}"), b"x") for at, made in enumerate((one, two))]
                await asyncio.gather(*puts)
            two.state.delete(("n", "3/0"))
            await eventually(lambda: len(heard[0]) == len(heard[1]) == 21)
            assert heard[0] == heard[1]
            assert (one.state.gaps, two.state.gaps) == (0, 0)
        async with process(broker, group) as heir:
            heir.state.follow("n", ear(2))
            assert len(heard[2]) == 19

    asyncio.run(main())


def test_notes_go_into_the_first_partition() -> None:
    """However many partitions there are, and whichever can be written to, notes go into the first."""
    assert partition_of(b"note/a/1", [2, 0, 1], [1]) == 0
    assert {partition_of(f"task/{number}".encode(), range(3), range(3)) for number in range(50)} == {0, 1, 2}


@pytest.mark.kafka
def test_open_transactions_hide_nothing(kafka: KafkaCluster) -> None:
    """A takeover sees what stands behind somebody's open transaction, and gets past markers that are no records."""

    async def main() -> None:
        group = unique("transactions")
        async with process(kafka, group) as owner:
            producer = AIOKafkaProducer(
                bootstrap_servers=kafka.bootstrap_servers, transactional_id=unique("id"), acks="all"
            )
            await producer.start()
            try:
                for _ in range(2):
                    async with producer.transaction():
                        for number in range(3):
                            await producer.send_and_wait(owner.log.topic, b"x", key=b"foreign", partition=number)
                async with producer.transaction():
                    for number in range(3):
                        await producer.send_and_wait(owner.log.topic, b"x", key=b"foreign", partition=number)
                    tasks = [task(number) for number in range(9)]
                    await owner.state.remember(tasks)
                    async with process(kafka, group) as heir:
                        assert [heir.state.find(one.place, one.fingerprint) for one in tasks] == tasks
                async with asyncio.timeout(5):
                    await owner.state.caught_up()
            finally:
                await producer.stop()

    asyncio.run(main())


@pytest.mark.kafka
def test_the_topic_is_made_as_it_should_be(kafka: KafkaCluster) -> None:
    """A missing topic is made with three partitions, compacted, for two days, in small segments; twice is no error."""

    async def main() -> None:
        group = unique("a group/with: signs")
        async with process(kafka, group) as one, process(kafka, group):
            assert one.log.topic == name_for(group)
            admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
            await admin.start()
            try:
                [described] = await admin.describe_topics([one.log.topic])
                assert len(described["partitions"]) == 3
                assert await config(admin, one.log.topic) == CONFIG
            finally:
                await admin.close()
        name = unique("chosen")
        async with process(kafka, group, topic=name, replication_factor=1) as other:
            assert other.log.topic == name

    asyncio.run(main())


async def config(admin: AIOKafkaAdminClient, topic: str) -> dict[str, str]:
    """What a topic has of the settings that ours are made with."""
    asked = ConfigResource(ConfigResourceType.TOPIC, topic, configs=dict.fromkeys(CONFIG))
    [answer] = await admin.describe_configs([asked])
    [(_, _, _, _, entries)] = answer.resources
    return {name: value for name, value, *_ in entries}


@pytest.mark.kafka
def test_a_topic_with_other_settings_is_said_so(kafka: KafkaCluster) -> None:
    """A topic that is not compacted, or forgets within a day, is used, with a warning that has the command to run."""

    async def main() -> None:
        faults = {
            "not compacted": {"cleanup.policy": "delete", "retention.ms": "-1"},
            "2.0 h": {"cleanup.policy": "compact,delete", "retention.ms": str(2 * 3_600_000)},
            "": {"cleanup.policy": "compact"},
        }
        for fault, values in faults.items():
            topic = unique("settings")
            kafka.create_topic(topic, partitions=1, config=values)
            with capture_logs() as logs:
                async with process(kafka, unique("g"), topic=topic) as made:
                    await made.state.remember([task(1)])
            warnings = [entry for entry in logs if entry["event"] == "state_topic_settings"]
            assert [fault in entry["reason"] for entry in warnings] == [True] * bool(fault)
            for entry in warnings:
                assert f"--entity-name {topic}" in entry["remedy"]
                assert "cleanup.policy=[compact,delete],retention.ms=172800000" in entry["remedy"]

    asyncio.run(main())


@pytest.mark.kafka
def test_a_topic_that_cannot_be_made_is_an_error_with_the_command(kafka: KafkaCluster) -> None:
    """Where the brokers do not make the topic, the start ends with the reason and the command that makes it."""

    async def main() -> None:
        topic = unique("refused")
        with pytest.raises(StartError) as raised:
            async with process(kafka, "g", topic=topic, replication_factor=3):
                pass
        assert "InvalidReplicationFactorError" in str(raised.value)
        assert f"--create --topic {topic} --partitions 3 --replication-factor 3" in raised.value.remedy
        assert "--config cleanup.policy=compact,delete --config retention.ms=172800000" in raised.value.remedy
        await ended()

    asyncio.run(main())


@pytest.mark.kafka
def test_a_long_topic_is_read_in_little_time(kafka: KafkaCluster) -> None:
    """A hundred thousand records are read in seconds, and what they add up to is known exactly."""

    async def main() -> None:
        group = unique("long")
        kafka.create_topic(topic := name_for(group), partitions=3, config=dict(CONFIG))
        kept = task(99_999)
        async with AIOKafkaProducer(
            bootstrap_servers=kafka.bootstrap_servers, acks="all", linger_ms=20, max_batch_size=256 * 1024
        ) as producer:
            sent = []
            for number in range(50_000):
                key, value = encode_task(task(number))
                sent.append(await producer.send(topic, value, key=key))
                sent.append(await producer.send(topic, value if number % 5 == 0 else None, key=key))
            await asyncio.gather(*sent)
            key, value = encode_task(kept)
            await producer.send_and_wait(topic, value, key=key)
        began = time.perf_counter()
        async with process(kafka, group) as made:
            seconds = time.perf_counter() - began
            assert len(made.state._view) == 10_001
            assert made.state.find(kept.place, kept.fingerprint) == kept
        assert seconds < 30  # 2 s on an idle machine of two cores

    asyncio.run(main())


@pytest.mark.timeout(120)
@pytest.mark.kafka
def test_the_state_outlives_an_outage_of_all_brokers(monkeypatch: pytest.MonkeyPatch) -> None:
    """With all brokers down, writers and takeovers wait; when they are back, all of it goes on in one process."""

    async def main(cluster: KafkaCluster) -> None:
        async with process(cluster, "g") as owner, process(cluster, "g") as standby:
            await owner.state.remember([task(1)])
            cluster.kill(1)
            remembering = asyncio.create_task(owner.state.remember([task(2)]))
            taking_over = asyncio.create_task(standby.state.caught_up())
            assert not await standby.state.forward(Callback(place(3), "t3", b"{}"))
            assert not remembering.done()
            assert not taking_over.done()
            await asyncio.to_thread(cluster.restart, 1)
            await remembering
            await taking_over
            await standby.state.caught_up()
            assert standby.state.find(place(1), "f1") is not None
            assert standby.state.find(place(2), "f2") is not None
            assert await standby.state.forward(Callback(place(3), "t3", b"{}"))
            await eventually(lambda: len(owner.state.forwarded("t3")) == 1)

    monkeypatch.setattr("consumer.moderation.tasks.state._FORWARD_SECONDS", 0.5)
    monkeypatch.setattr("consumer.kafka.state.ASK_SECONDS", 1.0)
    with KafkaCluster() as cluster:
        asyncio.run(main(cluster))


@pytest.mark.kafka
def test_a_reader_that_no_longer_gets_on_is_replaced(kafka: KafkaCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that brings nothing although there is more to read is closed, and another goes on where it was."""

    async def main() -> None:
        monkeypatch.setattr("consumer.kafka.state.STALL_SECONDS", 1.0)
        group = unique("stuck")
        async with process(kafka, group) as owner, process(kafka, group) as standby:
            await owner.state.remember([task(1)])
            await standby.state.caught_up()
            stuck = standby.log._consumer
            stuck.pause(*stuck.assignment())
            await owner.state.remember([task(2)])
            async with asyncio.timeout(20):
                await standby.state.caught_up()
            assert standby.log._consumer is not stuck
            assert standby.state.find(place(2), "f2") is not None

    asyncio.run(main())


def test_the_end_can_be_asked_for_while_a_reader_is_replaced(
    embedded: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A takeover that begins while the client is being replaced waits for the new one."""
    start = AIOKafkaConsumer.start

    async def slow(consumer: AIOKafkaConsumer) -> None:
        await asyncio.sleep(0.5)
        await start(consumer)

    async def broken(**_: object) -> None:
        raise KafkaConnectionError("no broker is left")

    async def main() -> None:
        async with process(embedded, unique("replaced")) as made:
            await made.state.remember([task(1)])
            monkeypatch.setattr(AIOKafkaConsumer, "start", slow)
            monkeypatch.setattr(made.log._consumer, "getmany", broken)
            await eventually(lambda: made.log._consumer is None)
            async with asyncio.timeout(10):
                await made.state.caught_up()
                assert sum(made.log.positions().values()) == 1

    asyncio.run(main())


@pytest.mark.kafka
def test_the_state_topic_may_be_made_anew(kafka: KafkaCluster) -> None:
    """A group whose state topic was deleted starts with nothing remembered, and goes on recording."""

    async def main() -> None:
        group = unique("anew")
        async with process(kafka, group) as first:
            await first.state.remember([task(1)])
            topic = first.log.topic
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
        await admin.start()
        try:
            await admin.delete_topics([topic])
            async with asyncio.timeout(10):
                while topic in await admin.list_topics():
                    await asyncio.sleep(0.05)
        finally:
            await admin.close()
        async with process(kafka, group, killed=True) as second:
            assert second.state.find(place(1), "f1") is None
            await second.state.remember([task(1)])
        async with process(kafka, group) as third:
            assert third.state.find(place(1), "f1") is not None

    asyncio.run(main())


def test_names_of_state_topics() -> None:
    """A group's state topic has its name where Kafka takes that, and is another one for every other group."""
    assert name_for("moderation") == "moderation.state"
    odd = ["a group", "a/group", "a_group", "g" * 300, "g" * 301, "世界"]
    names = [name_for(group) for group in odd]
    assert len(set(names)) == len(odd)
    assert all(len(name) <= 249 and name.isascii() and " " not in name and "/" not in name for name in names)
    assert names[0].startswith("a_group.")
