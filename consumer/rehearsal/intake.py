"""Record → event outside the engine: what reads a record is made ready first, where it has to be fetched."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from consumer.clock import SystemClock
from consumer.errors import ModerationConsumerError, NotYet, StartError
from consumer.intake import Intake
from consumer.intake.codec import decode
from consumer.intake.formats import formats_for, formats_of_json
from consumer.metrics import Metrics


if TYPE_CHECKING:
    from consumer.record import Record
    from consumer.settings import Settings


__all__ = ["Reading"]


_FETCH_SECONDS = 30.0


class Reading:
    """Reads events out of records as they are configured to be written. Only schemas of a registry are fetched.

    With `as_json` values stand in JSON, as people write them down, whatever they are encoded in where they come from.

    Raises:
        SettingsError: the mapping or its plugin cannot be used.
        StartError: a library is missing, or a file cannot be used.
    """

    def __init__(self, settings: Settings, *, as_json: bool) -> None:
        formats = formats_of_json if as_json else formats_for
        self._formats = formats(settings.format, clock=SystemClock(), metrics=Metrics())
        self._url = settings.format.schema_registry.url
        self.event = Intake(settings.mapping, None, self._formats).event

    def prepare(self, record: Record) -> None:
        """Have all ready that this record is read with; not to be called while an event loop runs.

        Raises:
            StartError: the registry does not give a schema.
        """
        if record.value is None:
            return
        while True:
            try:
                self.document(record)
            except NotYet as not_yet:
                asyncio.run(self._fetch(not_yet))
            except ModerationConsumerError:
                return
            else:
                return

    def document(self, record: Record) -> dict[str, Any]:
        """The document in a record's value.

        Raises:
            DecodeError: it is not what it should be.
            NothingToJudge: it says nothing that is to be judged.
            NotYet: it was not prepared.
        """
        return decode(record.value or b"") if self._formats is None else self._formats.document(record)

    async def _fetch(self, not_yet: NotYet) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_FETCH_SECONDS):
                await not_yet.ready()
                return
        for trouble in () if self._formats is None else self._formats.holds():
            raise StartError(trouble["meaning"], trouble["remedy"])
        raise StartError(
            f"{self._url} does not give the schema that a record needs",
            "look at format.schema_registry; without the schema nobody can read the record",
        )
