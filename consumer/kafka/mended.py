"""What of aiokafka has to be mended at run time: each piece with its reason, to be dropped when aiokafka has it."""

from __future__ import annotations

from typing import Any

from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.errors import KafkaConnectionError


__all__ = ["mend"]


_send = AIOKafkaConnection.send


def _send_or_say_so(self: Any, request: Any, expect_response: bool = True) -> Any:  # noqa: FBT001, FBT002  # as aiokafka has it
    """Send a request; a connection that was just reset fails as one, also where the event loop is uvloop.

    Writing to a closed transport is a RuntimeError there. aiokafka expects none, and its background tasks end with it.
    """
    try:
        return _send(self, request, expect_response)
    except RuntimeError as error:
        self.close(reason=CloseReason.CONNECTION_BROKEN)
        raise KafkaConnectionError(f"the connection to {self.host}:{self.port} is closed") from error


def mend() -> None:
    """Put the mended pieces in place; more than once is once."""
    AIOKafkaConnection.send = _send_or_say_so
