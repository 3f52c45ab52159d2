"""One note of the state topic as a place for what a part of the program has learned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final


if TYPE_CHECKING:
    from consumer.quota.notes import Key, Notes


__all__ = ["NotedEvidence"]


_KIND: Final = "evidence"


class NotedEvidence:
    """Remembers one record for all processes of the group, and through restarts; the last one written counts.

    See `consumer.moderation.shadow.Evidence`.
    """

    def __init__(self, notes: Notes, name: str) -> None:
        self._notes = notes
        self._key: Key = (_KIND, name)
        self._record: bytes | None = None
        notes.follow(_KIND, self._hear)

    def load(self) -> bytes | None:
        """The newest record that was read, of this process or of another one; None where there is none."""
        return self._record

    async def save(self, record: bytes) -> None:
        """Put a record in the place of the last one; it is known here when it was read.

        When cancelled, it may be written.

        Raises:
            Stuck: it will never be taken.
        """
        await self._notes.put(self._key, record)

    def _hear(self, key: Key, value: bytes | None) -> str | None:
        if key == self._key:
            self._record = value
        return None
