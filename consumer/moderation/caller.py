"""The seam of a judged call: the client is one, and so is what saves calls of the client it stands before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from consumer.routing import ANY


if TYPE_CHECKING:
    from consumer.moderation.calling.exchange import Stake
    from consumer.moderation.protocol.requests import Call
    from consumer.routing import Route
    from consumer.verdict import Judgement


__all__ = ["Caller"]


class Caller(Protocol):
    """Has one call judged."""

    async def call(self, call: Call, claim: Stake, *, route: Route = ANY) -> Judgement:
        """Have one call judged; its level is `UNKNOWN`, with a reason, when that cannot be had.

        When cancelled it abandons its request, unless another event waits for the same.

        Raises:
            ContentRefused: the service will never take this content.
            LaneClosed: the claim was lost before a request could be started.
        """
        ...
