"""The coordinator of transactions in memory: producer ids and epochs, fencing, and markers written after the answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING

from tests.simulation.logs import Fate


if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from consumer.record import Partition
    from tests.simulation.network import Call, Network


__all__ = ["Transactions"]


# What a coordinator waits before it tries a marker again whose broker is away.
_RETRY_SECONDS = 0.05


class _Phase(Enum):
    EMPTY = auto()
    ONGOING = auto()
    PREPARED = auto()
    COMPLETE = auto()


@dataclass(slots=True)
class _State:
    """All that is known of one transactional id. `members` are the partitions and groups of its transaction."""

    producer: int
    epoch: int
    timeout_seconds: float
    phase: _Phase = _Phase.EMPTY
    fate: Fate = Fate.OPEN
    members: dict[Partition | str, None] = field(default_factory=dict)
    started_at: float = 0.0
    round: int = 0


class Transactions:
    """Decides transactions. The decision is answered at once; the markers that make it visible are written later.

    `mark` writes one marker, into a partition or a group's offsets, and says whether that broker could be reached.
    """

    def __init__(self, network: Network, mark: Callable[[Partition | str, int, int, Fate], bool]) -> None:
        self._network = network
        self._mark = mark
        self._states: dict[str, _State] = {}
        self._ids: dict[int, str] = {}
        self._producers = 1000
        self.holders: dict[str, str] = {}
        """Which client took each transactional id over last."""

    def new_producer(self, call: Call) -> None:
        """InitProducerId without a transactional id: an idempotent producer."""
        self._producers += 1
        call.answer((self._producers, 0))

    def init(self, call: Call, transactional_id: str, timeout_seconds: float) -> None:
        """InitProducerId: takes the id from whoever has it; a transaction left open is aborted first."""
        state = self._states.get(transactional_id)
        if state is None:
            self._producers += 1
            state = self._states[transactional_id] = _State(self._producers, -1, timeout_seconds)
            self._ids[state.producer] = transactional_id
        if state.phase is _Phase.PREPARED:
            call.refuse("CONCURRENT_TRANSACTIONS")
        elif state.phase is _Phase.ONGOING:
            state.epoch += 1
            self._decide(state, Fate.ABORTED)
            call.refuse("CONCURRENT_TRANSACTIONS")
        else:
            state.epoch += 1
            state.phase = _Phase.EMPTY
            state.timeout_seconds = timeout_seconds
            self.holders[transactional_id] = call.client.partition("/")[0]
            call.answer((state.producer, state.epoch))

    def add(
        self, call: Call, transactional_id: str, producer: int, epoch: int, members: Collection[Partition | str]
    ) -> None:
        """AddPartitionsToTxn and AddOffsetsToTxn: begins the transaction where there is none."""
        state = self._states.get(transactional_id)
        if state is None or state.producer != producer:
            call.refuse("INVALID_PRODUCER_ID_MAPPING")
        elif epoch != state.epoch:
            call.refuse("INVALID_PRODUCER_EPOCH")
        elif state.phase is _Phase.PREPARED:
            call.refuse("CONCURRENT_TRANSACTIONS")
        else:
            if state.phase is not _Phase.ONGOING:
                state.phase = _Phase.ONGOING
                state.members.clear()
                state.round += 1
                loop = self._network.loop
                loop.call_later(state.timeout_seconds, self._expire, state, state.round, context=self._network.world)
            state.members.update(dict.fromkeys(members))
            call.answer()

    def end(self, call: Call, transactional_id: str, producer: int, epoch: int, *, commit: bool) -> None:
        """EndTxn: decided when it is answered, visible when the markers are written."""
        state = self._states.get(transactional_id)
        fate = Fate.COMMITTED if commit else Fate.ABORTED
        if state is None or state.producer != producer:
            call.refuse("INVALID_PRODUCER_ID_MAPPING")
        elif epoch != state.epoch:
            call.refuse("INVALID_PRODUCER_EPOCH")
        elif state.phase is _Phase.ONGOING:
            self._decide(state, fate)
            call.answer()
        elif state.phase is _Phase.PREPARED:
            call.refuse("CONCURRENT_TRANSACTIONS" if state.fate is fate else "INVALID_TXN_STATE")
        elif state.phase is _Phase.COMPLETE and state.fate is fate:
            call.answer()
        else:
            call.refuse("INVALID_TXN_STATE")

    def takes(self, producer: int, epoch: int, member: Partition | str) -> bool:
        """Whether this producer's transaction is open and has this member: what a partition's leader asks."""
        state = self._states.get(self._ids.get(producer, ""))
        return state is not None and state.epoch == epoch and state.phase is _Phase.ONGOING and member in state.members

    def _expire(self, state: _State, number: int) -> None:
        if state.phase is _Phase.ONGOING and state.round == number:
            state.epoch += 1
            self._decide(state, Fate.ABORTED)

    def _decide(self, state: _State, fate: Fate) -> None:
        state.phase, state.fate = _Phase.PREPARED, fate
        if not state.members:
            state.phase = _Phase.COMPLETE
        for member in state.members:
            self._write_later(state, member, self._network.delay_seconds() * self._network.chance.choice((1, 1, 5)))

    def _write_later(self, state: _State, member: Partition | str, seconds: float) -> None:
        self._network.loop.call_later(seconds, self._write, state, member, context=self._network.world)

    def _write(self, state: _State, member: Partition | str) -> None:
        if not self._mark(member, state.producer, state.epoch, state.fate):
            self._write_later(state, member, _RETRY_SECONDS)
            return
        del state.members[member]
        if not state.members:
            state.phase = _Phase.COMPLETE
