"""A sidecar that reads user-generated content from Kafka, has it moderated, and writes one verdict an event.

`Moderator` does the same for single events in a program of your own; `Event`, `Image` and `Author` are what it takes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from consumer.embedding import Moderated, Moderator
    from consumer.event import Author, Event, Image


__all__ = ["Author", "Event", "Image", "Moderated", "Moderator", "__version__"]


__version__ = "0.1.0"

_WHERE = {
    "Author": "consumer.event",
    "Event": "consumer.event",
    "Image": "consumer.event",
    "Moderated": "consumer.embedding",
    "Moderator": "consumer.embedding",
}


if not TYPE_CHECKING:  # type checkers would take every name for one of ours

    def __getattr__(name: str) -> Any:
        """The public names, each imported when it is first asked for: `import consumer` alone brings nothing."""
        if name not in _WHERE:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        import importlib  # noqa: PLC0415  # only for those who ask

        return getattr(importlib.import_module(_WHERE[name]), name)
