"""In which order outcomes leave: as they come, or as the events of a key, or of a partition, came."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Literal


if TYPE_CHECKING:
    from collections.abc import Sequence

    from consumer.engine.lane import Lane, Work


__all__ = ["Order", "Ordering", "Queue"]


Ordering = Literal["unordered", "key", "partition"]


class Queue:
    """The records of one key, or of one partition, that were started and have not left; the oldest is in front."""

    __slots__ = ("works",)

    def __init__(self) -> None:
        self.works: deque[Work] = deque()


class Order:
    """Keeps the queues. Records are judged at the same time; only their outcomes wait for each other.

    A record that waits for one before it takes no room in the window: one stuck key does not stop the others.
    """

    __slots__ = ("_ordering", "_queues")

    def __init__(self, ordering: Ordering) -> None:
        self._ordering = ordering
        self._queues: dict[tuple[Lane, bytes], Queue] = {}

    def enter(self, work: Work) -> None:
        """A record is started; called in the order of offsets. A record without a key has no order among keys."""
        match self._ordering:
            case "unordered":
                return
            case "partition":
                key = b""
            case "key":
                if work.record.key is None:
                    return
                key = work.record.key
        queue = self._queues.get((work.lane, key))
        if queue is None:
            queue = self._queues[work.lane, key] = Queue()
        queue.works.append(work)
        work.queue = queue

    def may_leave(self, work: Work) -> bool:
        """Whether nothing of its key is before it."""
        return work.queue is None or (bool(work.queue.works) and work.queue.works[0] is work)

    def left(self, work: Work) -> Work | None:
        """The record in front was handed over; returns the next, if it was only waiting for that."""
        queue = work.queue
        if queue is None or not queue.works or queue.works[0] is not work:
            return None
        queue.works.popleft()
        work.queue = None
        if not queue.works:
            key = b"" if self._ordering == "partition" else work.record.key or b""
            self._queues.pop((work.lane, key), None)  # closed meanwhile, where the lane is gone
            return None
        head = queue.works[0]
        return head if head.outcome is not None else None

    def take_back(self, work: Work, left: Sequence[Work]) -> list[Work]:
        """A record that had left is not written after all, and stands in front again, so that nothing passes it.

        Returns it, and those of `left` that had left after it and stand behind it again.
        """
        if self._ordering == "unordered" or (self._ordering == "key" and work.record.key is None):
            return [work]
        whole = self._ordering == "partition"
        same = [other for other in left if other.lane is work.lane and (whole or other.record.key == work.record.key)]
        queue = self._queues.setdefault((work.lane, b"" if whole else work.record.key or b""), Queue())
        back = [work, *same]
        queue.works.extendleft(reversed(back))
        for one in back:
            one.queue = queue
        return back

    def lead(self, lane: Lane) -> None:
        """A drain begins: let those go on that stand before one that is paid for, and so hold it up.

        Not those behind a record that waits for its task: that may take longer than any drain.
        """
        for (owner, _), queue in self._queues.items():
            if owner is not lane:
                continue
            ahead: list[Work] = []
            for work in queue.works:
                if work.parked or work.withheld:
                    break
                if work.paid_for:
                    for other in ahead:
                        other.leads = True
                    ahead.clear()
                ahead.append(work)

    @staticmethod
    def give_up(work: Work) -> list[Work]:
        """A record was given up; returns those behind it, which have to be given up with it. Those before it stay."""
        queue = work.queue
        if queue is None or work not in queue.works:
            return []
        behind: list[Work] = []
        while (last := queue.works.pop()) is not work:
            behind.append(last)
        return behind

    def close(self, lanes: set[Lane]) -> None:
        """Forget the queues of lanes that are gone."""
        for lane, key in [at for at in self._queues if at[0] in lanes]:
            del self._queues[lane, key]
