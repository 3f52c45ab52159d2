"""Where credentials come from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol


if TYPE_CHECKING:
    from consumer.moderation.signing import Credentials


__all__ = ["CredentialsSource", "FixedCredentials"]


class CredentialsSource(Protocol):
    """Credentials that may change while the program runs."""

    @property
    def current(self) -> Credentials:
        """What to sign with now; equal to what it was before unless it has changed."""
        ...

    async def reload(self) -> None:
        """The service refused the current credentials: look for newer ones. Finding none is no error."""
        ...


class FixedCredentials:
    """Credentials that stay as they were configured."""

    __slots__ = ("current",)

    def __init__(self, credentials: Credentials) -> None:
        self.current = credentials

    async def reload(self) -> None:
        """There are no others."""
