"""Record bytes → Event: decoding and field mapping. No Kafka, no routing, no judging in here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from consumer.intake.codec import decode
from consumer.intake.mapping import Mapper
from consumer.intake.plugged import plugged


if TYPE_CHECKING:
    from consumer.event import Event
    from consumer.intake.formats import Formats
    from consumer.metrics import Metrics
    from consumer.plugins.pace import Pace
    from consumer.record import Record
    from consumer.settings.models import Mapping


__all__ = ["Intake"]


class Intake:
    """Reads what a user posted out of a record, as the mapping says.

    Args:
        mapping: Where each field of an event is.
        metrics: Where it is counted what the mapping's plugin fails at.
        formats: What reads records that are more than plain JSON; see `consumer.intake.formats`.
        pace: What slow plugins give way by; without it they are called one after the other.

    Raises:
        SettingsError: an expression of the mapping is wrong, all of them are named at once; or its plugin cannot be
            used.
    """

    __slots__ = ("_formats", "_mapper", "_pace", "_plugged")

    def __init__(
        self,
        mapping: Mapping,
        metrics: Metrics | None = None,
        formats: Formats | None = None,
        pace: Pace | None = None,
    ) -> None:
        self._formats = formats
        self._pace = pace
        self._mapper = Mapper(mapping)
        self._plugged = None if mapping.plugin is None else plugged(mapping.plugin, self._mapper, metrics)

    def event(self, record: Record) -> Event:
        """The event in a record's value. A record without a value has none: what becomes of it is decided before.

        Raises:
            DecodeError: the value is not what it should be: a JSON object, where no other format is configured.
            MappingError: a field that the event needs is missing or of the wrong type.
            NothingToJudge: the record is to be skipped, whatever else is in it.
            NotYet: something has to be fetched first, or plugins have to give way.
        """
        if self._pace is not None and self._pace.on:
            self._pace.enter()
        formats = self._formats
        document = decode(record.value or b"") if formats is None else formats.document(record)
        if self._plugged is not None:
            return self._plugged.event(document, record)
        return self._mapper.event(document)
