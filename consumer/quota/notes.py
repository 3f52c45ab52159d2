"""The seam of what the processes of a group tell each other: small notes by key, read by all in one order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol


if TYPE_CHECKING:
    from collections.abc import Callable


__all__ = ["Key", "Notes"]


Key = tuple[str, ...]
"""A note's key: its kind, and what tells it apart from others of that kind."""


class Notes(Protocol):
    """Notes that outlive a process; `consumer.moderation.tasks.state.StateTopic` keeps them.

    A note stays until it is deleted, however old it is. All processes read all notes in the order in which they were
    written.
    """

    @property
    def gaps(self) -> int:
        """How often something was missing in what was read.

        A note that a later one has replaced may not be there any more. While this stays the same, nothing was missed.
        """
        ...

    def follow(self, kind: str, hear: Callable[[Key, bytes | None], str | None]) -> None:
        """Have all notes of a kind handed over: what is known at once, then each when it is read, also our own.

        None as the value says that it was deleted. What cannot be used is counted under the word that `hear` returns.
        """
        ...

    async def put(self, key: Key, value: bytes) -> None:
        """Return when all in-sync replicas have this note. It waits for as long as they are away.

        When cancelled, it may be written.

        Raises:
            Stuck: it will never be taken.
        """
        ...

    def delete(self, key: Key) -> None:
        """Have a note deleted, soon."""
        ...
