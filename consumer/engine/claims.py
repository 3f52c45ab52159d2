"""Claims that stand in front of others, for who wants to hear of an event's requests."""

from __future__ import annotations

from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from consumer.engine.ports import Claim
    from consumer.record import Record


__all__ = ["ClaimInFront"]


class ClaimInFront:
    """A claim that passes all on to another; see `consumer.engine.ports.Claim`."""

    __slots__ = ("_claim",)

    def __init__(self, claim: Claim) -> None:
        self._claim = claim

    @property
    def record(self) -> Record:
        """The record it is for."""
        return self._claim.record

    @property
    def held(self) -> bool:
        """Whether a request may still be begun."""
        return self._claim.held

    def begin(self) -> None:
        """A request is about to be sent; raises LaneClosed where it may not be."""
        self._claim.begin()

    def end(self, *, billed: bool) -> None:
        """A request that was begun has ended."""
        self._claim.end(billed=billed)

    def park(self) -> None:
        """Its event waits for something that takes long."""
        self._claim.park()

    def unpark(self) -> None:
        """Its event goes on."""
        self._claim.unpark()
