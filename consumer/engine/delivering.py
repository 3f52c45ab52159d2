"""What both guarantees have in common: which positions are worth a commit, and what follows when it is done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from consumer.engine import offset_map
from consumer.engine.lane import LaneState


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping, Sequence

    from consumer.engine.lane import Lane, Work
    from consumer.engine.ports import Proofs
    from consumer.metrics import Metrics
    from consumer.record import Partition, Position, Record


__all__ = ["Delivering", "Ends", "Settling"]


_COMMITTABLE = (LaneState.OPENING, LaneState.OPEN, LaneState.DRAINING)


class Ends(Protocol):
    """Who hears how the records' ways end; the engine does."""

    def finished(self, work: Work) -> None:
        """All is done for a record: the broker has what became of it."""
        ...

    def released(self, work: Work) -> None:
        """A record was given up; its next owner judges it."""
        ...

    def lost(self, lanes: Collection[Lane]) -> None:
        """Another process has these lanes already: nothing of them may be written any more."""
        ...

    def failed(self, error: BaseException) -> None:
        """Something is broken that no record can be blamed for: everything has to stop."""
        ...

    def withheld(self, work: Work, left: Sequence[Work] = ()) -> Collection[Work]:
        """Count a dead letter that has taken the place of a verdict which the broker refuses.

        Returns:
            What must not be written, and is kept until the lane is given up: nothing where the letter may be written,
            else this record, and those of `left`, which were handed over after it, that may not leave before it.
        """
        ...

    def start_soon(self, work: Coroutine[None, None, None]) -> None:
        """Run something beside the flow; it is cancelled when the engine ends."""
        ...


class Delivering(Protocol):
    """How outcomes and offsets reach the brokers: one class for each guarantee."""

    note_bytes: int
    """How long the map in a commit's note may be."""

    async def take_over(self, lanes: Sequence[Lane]) -> Mapping[Partition, Position | None]:
        """Make sure that no earlier owner of these lanes can commit any more, and only then read where they stand.

        When cancelled, the lanes may be fenced.

        Raises:
            Stuck: we are not allowed to.
        """
        ...

    async def deliver(self, work: Work) -> None:
        """Hand a record's outcome over. Outcomes of one partition leave in the order of these calls."""
        ...

    async def flush(self) -> None:
        """Return when nothing that was handed over can still change, but by a commit."""
        ...

    async def commit(self, lanes: Collection[Lane], *, prove: bool = False) -> bool:
        """Commit how far these lanes are. False if that is not known to be done.

        With `prove` it also shows, and tells whom it concerns, that the group still counts us among its members.

        When cancelled, it may be committed or not.
        """
        ...

    async def close(self, lanes: Collection[Lane]) -> None:
        """These lanes are gone: let go of what was held for them, within a bounded time."""
        ...


class Settling:
    """Chooses what to commit, and does what has to be done once it is committed."""

    def __init__(
        self, *, metrics: Metrics, proofs: Proofs | None, settled: Callable[[Sequence[Record]], Awaitable[None]] | None
    ) -> None:
        self.note_bytes = offset_map.BUDGET_BYTES
        self._commits = metrics.counter("commits")
        self._proofs = proofs
        self._settled = settled

    def now(self) -> float:
        """To be asked before a commit is sent, for `proven`."""
        return 0.0 if self._proofs is None else self._proofs.now()

    @property
    def in_doubt(self) -> bool:
        """Whether this process may have been replaced."""
        return self._proofs is not None and self._proofs.shut

    async def certain(self) -> None:
        """Return when it is known that it was not. When cancelled, nothing changes."""
        if self._proofs is not None:
            await self._proofs.opened()

    @staticmethod
    def worth_it(lanes: Collection[Lane], *, prove: bool) -> dict[Partition, Position]:
        """The positions of lanes that have changed since their last commit, or of all of them."""
        return {
            lane.partition: position
            for lane in lanes
            if lane.state in _COMMITTABLE and ((position := lane.outlook()) != lane.committed or prove)
        }

    def refused(self, kind: str = "refused") -> None:
        """A commit was not done."""
        self._commits.labels(kind).inc()

    def proven(self, sent_at: float) -> None:
        """What was sent at this time shows that all lanes were ours."""
        if self._proofs is not None:
            self._proofs.proven(sent_at)

    async def done(self, lanes: Collection[Lane], positions: Mapping[Partition, Position]) -> None:
        """A commit is done: what was kept for records below it is not needed any more."""
        self._commits.labels("done").inc()
        settled: list[Record] = []
        for lane in lanes:
            if lane.partition in positions:
                settled += lane.committed_to(positions[lane.partition])
        if settled and self._settled is not None:
            await self._settled(settled)
