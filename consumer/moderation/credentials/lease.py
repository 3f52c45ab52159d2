"""Credentials with the time at which they expire, and the parts that fetch such."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from consumer.moderation.protocol.signing import Credentials


if TYPE_CHECKING:
    from collections.abc import Mapping


__all__ = ["Lease", "Provider", "lease_from"]


@dataclass(frozen=True, slots=True)
class Lease:
    """Credentials and when they expire, in seconds since the epoch; None where nobody says."""

    credentials: Credentials
    expires_at: float | None = None


class Provider(Protocol):
    """Fetches credentials from one place."""

    async def fetch(self) -> Lease:
        """Credentials as they are now. When cancelled it gives its request up and leaves nothing behind.

        Raises:
            StartError: there are none; its remedy says what a person can do about it.
        """
        ...


def lease_from(document: Mapping[str, Any]) -> Lease:
    """Read temporary credentials as the metadata service and the STS write them.

    Raises:
        ValueError: it is something else.
    """
    key_id, secret, token, expiration = (
        document.get(name) for name in ("AccessKeyId", "AccessKeySecret", "SecurityToken", "Expiration")
    )
    if not all(isinstance(one, str) and one for one in (key_id, secret, token, expiration)):
        raise ValueError("a part of the credentials is missing")
    expires = datetime.fromisoformat(str(expiration))
    if expires.tzinfo is None:
        raise ValueError("the time of expiry has no zone")
    return Lease(Credentials(str(key_id), str(secret), str(token)), expires.timestamp())
