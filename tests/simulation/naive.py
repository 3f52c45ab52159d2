"""The naive takeover order, so that it can be seen what the right one is good for."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from consumer.engine.exactly_once import ExactlyOnce


if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from consumer.engine.lane import Lane
    from consumer.record import Partition, Position


__all__ = ["naive_order", "turn_the_right_order_off"]


_right = ExactlyOnce.take_over


async def _naive(self: ExactlyOnce, lanes: Sequence[Lane]) -> Mapping[Partition, Position | None]:
    """Read the group's offsets before the last owner is fenced, as a plain consumer does."""
    early = await self._source.committed([lane.partition for lane in lanes])
    await _right(self, lanes)
    return early


def turn_the_right_order_off() -> None:
    """Have every takeover of this process happen in the naive order."""
    ExactlyOnce.take_over = _naive  # type: ignore[method-assign]  # turned off on purpose


@contextlib.contextmanager
def naive_order() -> Iterator[None]:
    """The naive order for a while."""
    turn_the_right_order_off()
    try:
        yield
    finally:
        ExactlyOnce.take_over = _right  # type: ignore[method-assign]  # as it was
