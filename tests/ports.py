"""Ports for servers that start later."""

from __future__ import annotations

import contextlib
import random
import socket


__all__ = ["free_port", "free_ports"]


# None of those that systems give to whoever asks for any port: what starts later, or is down for a while, would find
# another program's server at the port that it was told, or at its neighbour's.
_PORTS = (20_000, 32_000)


def free_ports(count: int) -> list[int]:
    """So many different ports that nobody listens on now."""
    chance = random.SystemRandom()
    found: list[int] = []
    with contextlib.ExitStack() as held:
        while len(found) < count:
            probe = held.enter_context(socket.socket())
            port = chance.randrange(*_PORTS)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                found.append(port)
    return found


def free_port() -> int:
    """A port that nobody listens on now."""
    return free_ports(1)[0]
