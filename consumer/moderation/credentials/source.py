"""What the client sees of credentials, and credentials that are simply configured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import structlog

from consumer.errors import SettingsError


if TYPE_CHECKING:
    from collections.abc import Callable

    from consumer.moderation.protocol.signing import Credentials


__all__ = ["CredentialsSource", "FixedCredentials", "OwnedCredentials"]


_log = structlog.get_logger(__name__)


class CredentialsSource(Protocol):
    """Credentials that may change while the program runs."""

    @property
    def current(self) -> Credentials:
        """What to sign with now; equal to what it was before unless it has changed."""
        ...

    async def reload(self) -> None:
        """The service refused the current credentials: look for newer ones. Finding none is no error."""
        ...


class OwnedCredentials(CredentialsSource, Protocol):
    """Credentials as their owner sees them: started once, then kept fresh by a task of the owner's."""

    async def start(self) -> None:
        """Have the first credentials; nothing may ask for `current` before.

        Raises:
            StartError: there are none.
        """
        ...

    async def run(self) -> None:
        """Renew the credentials before they expire, until cancelled; return where there is nothing to renew."""
        ...


class FixedCredentials:
    """Credentials that stay as they were configured, unless the service refuses them and the configuration changed.

    Args:
        credentials: what to sign with.
        reread: reads the configuration again: a key in a mounted secret may have been replaced.
    """

    __slots__ = ("_reread", "current")

    def __init__(self, credentials: Credentials, reread: Callable[[], Credentials] | None = None) -> None:
        self.current = credentials
        self._reread = reread

    async def start(self) -> None:
        """They are there."""

    async def run(self) -> None:
        """They do not expire."""

    async def reload(self) -> None:
        """Read them anew where they can be; what cannot be read changes nothing."""
        if self._reread is None:
            return
        try:
            self.current = self._reread()
        except SettingsError as error:
            _log.warning("credentials not read again", problems=error.problems)
