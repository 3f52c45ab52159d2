"""The seams of the engine: where records come from, where verdicts go, and who judges; no Kafka and no HTTP in here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol


if TYPE_CHECKING:
    import asyncio
    from collections.abc import Collection, Mapping, Sequence

    from consumer.event import Event
    from consumer.record import OutRecord, Partition, Position, Record
    from consumer.routing import Route
    from consumer.verdict import Judgement


__all__ = ["Assignments", "Claim", "Judge", "Proofs", "Sink", "Source", "Trace", "Unit"]


class Assignments(Protocol):
    """Who is told what this process owns; the engine is."""

    def assigned(self, partitions: Collection[Partition]) -> None:
        """These partitions are ours from now on; nothing of them may be read before their positions are known."""
        ...

    async def revoked(self, partitions: Collection[Partition]) -> None:
        """These partitions go to somebody else when this returns: finish or give up what is in flight, then commit."""
        ...


class Source(Protocol):
    """Where records come from: few methods, so that another client can be put behind them."""

    async def start(self, assignments: Assignments) -> None:
        """Connect and join the group.

        Raises:
            StartError: the broker cannot be reached, refuses us, or a topic is missing.
        """
        ...

    async def poll(self, ready: Collection[Partition], timeout_seconds: float) -> Mapping[Partition, Sequence[Record]]:
        """The next records of the partitions in `ready`, or nothing after the time-out.

        It keeps the membership alive, so it is called all the time; with nothing `ready` it only does that.
        """
        ...

    async def committed(self, partitions: Collection[Partition]) -> Mapping[Partition, Position | None]:
        """What the group has committed, asked of the coordinator now; None where it has committed nothing."""
        ...

    async def seek(self, positions: Mapping[Partition, Position | None]) -> Mapping[Partition, int]:
        """Set where each partition is read from next, and return these offsets.

        None stands for a partition without a position: it starts where the settings say that a new group starts.
        """
        ...

    async def commit(self, positions: Mapping[Partition, Position]) -> bool:
        """Record how far each partition is done; False when it is not known to be recorded, and may be tried again.

        Raises:
            NoteRefused: the metadata of a position is larger than the broker takes.
        """
        ...

    async def stop(self) -> None:
        """Leave the group and disconnect, within a bounded time. Everything to be committed was committed before."""
        ...

    @property
    def metadata_limit(self) -> int:
        """How many characters of metadata the broker takes with a committed offset; known after `start`."""
        ...

    async def rejoin(self) -> None:
        """Leave the group and join it anew: another member has taken over, though the group did not say so yet.

        Returns at once; the partitions are revoked and assigned later, as in any rebalance.
        """
        ...

    @property
    def member(self) -> bool:
        """Whether the group still counts us among its members, as far as it has told us."""
        ...

    async def vouch(self) -> bool:
        """Ask the group now whether we are one of its members; False where it says no, or nothing in time."""
        ...

    def positions(self) -> Mapping[Partition, int]:
        """Up to where `poll` has handed out all there is: past the last record, and past what is no record.

        Only of partitions of which nothing that was fetched still waits to be polled.
        """
        ...

    def lag(self) -> Mapping[Partition, int]:
        """How many records each partition holds beyond the position read so far, where that is known."""
        ...


class Sink(Protocol):
    """Where verdicts and dead letters go."""

    async def start(self) -> None:
        """Connect.

        Raises:
            StartError: the broker cannot be reached, refuses us, or a topic is missing.
        """
        ...

    async def send(self, record: OutRecord) -> asyncio.Future[None]:
        """Hand one record over. The future ends when the broker has acknowledged it on all in-sync replicas.

        It fails with DeliveryRefused when the broker will never take this record, and with other errors otherwise.
        """
        ...

    async def flush(self) -> None:
        """Return when all that was handed over has been acknowledged or has failed."""
        ...

    async def stop(self) -> None:
        """Disconnect, within a bounded time."""
        ...


class Unit(Protocol):
    """The writes of lanes that move together: records and offsets that are committed together, or not at all.

    A unit is whose transactional id has the highest epoch: `fence` takes it, from whoever had it.
    """

    async def fence(self) -> None:
        """Take the unit over: what its last owner left open is aborted, or completed, when this returns.

        Called before anything else, and after every failed transaction; each time a new producer is started and the
        old one thrown away. It tries for as long as the brokers are away. When cancelled, the unit may be fenced.

        Raises:
            Stuck: we may not write transactions under this id.
        """
        ...

    async def transact(self, records: Sequence[OutRecord], positions: Mapping[Partition, Position]) -> None:
        """Write records and commit positions in one transaction; when this returns, both are committed.

        When cancelled, it may be committed or not; `fence` has to come next, by us or by the next owner.

        Raises:
            Fenced: another process has the unit now; it reads what was committed.
            TransactionRefused: the broker will never take one of the records, or the note beside an offset.
            TransactionFailed: it failed in any other way, and may have been committed. `fence` has to come next.
            Stuck: we may not write to one of the topics.
        """
        ...

    async def stop(self) -> None:
        """Disconnect, within a bounded time; an open transaction is left to the next owner, who aborts it."""
        ...


class Proofs(Protocol):
    """Who has to know that this process still owned what it works on a moment ago; the stall guard is one."""

    @property
    def proof_due(self) -> bool:
        """Whether the group should be asked soon, though there is nothing to commit."""
        ...

    def now(self) -> float:
        """The time to remember before the group is asked."""
        ...

    def proven(self, sent_at: float) -> None:
        """The group, asked at this time, by a commit or by itself, counted us among its members."""
        ...

    @property
    def shut(self) -> bool:
        """Whether this process may have been replaced: nothing may be written or sent that its successor writes too."""
        ...

    async def opened(self) -> None:
        """Return when it is not shut. When cancelled, nothing changes."""
        ...

    def released(self) -> None:
        """Nothing is owned any more: what was proven so far does not count for what is taken over next."""
        ...


class Claim(Protocol):
    """An event's claim on being worked on: it is lost with the lane it came from."""

    @property
    def record(self) -> Record:
        """The record that the event came in: its place is what durable notes about the event are kept under."""
        ...

    @property
    def held(self) -> bool:
        """Whether something new may still be started, and paid, for this event."""
        ...

    def begin(self) -> None:
        """Say that a request is about to be sent: called directly before each, so that nothing is paid for in vain.

        Raises:
            LaneClosed: the claim is lost; nothing may be sent.
        """
        ...

    def end(self, *, billed: bool) -> None:
        """Say that the request was answered, or that no answer will come, and whether it can have been billed."""
        ...

    def park(self) -> None:
        """Say that the event now waits for something that may take minutes, and is safe to be taken up again later.

        It makes room for another event in the window, and a drain no longer waits for it. Called after what is known
        of it (such as a task's id) has been recorded.
        """
        ...

    def unpark(self) -> None:
        """Say that the wait is over: the event counts as in flight again."""
        ...


class Judge(Protocol):
    """Who says what an event is: one method, so that caches, batches and limits can be put around it."""

    async def judge(self, event: Event, route: Route, claim: Claim) -> Judgement:
        """Judge one event by the services of its route.

        When cancelled it abandons its request; what was on the wire may have been billed.

        Raises:
            RecordError: this event can never be judged; it becomes a dead letter.
            LaneClosed: the claim was lost before a request could be started.
        """
        ...


class Trace(Protocol):
    """Follows one event for whoever looks at traces; there is none where nobody does."""

    @property
    def exemplar(self) -> dict[str, str] | None:
        """What names this event beside the time it took."""
        ...

    def delivered(self) -> None:
        """Say that the broker has what became of the event."""
        ...

    def discarded(self) -> None:
        """Say that what became of it is not written: another process judges it now."""
        ...
