"""Record bytes → Event: decoding and field mapping. No Kafka, no routing, no judging in here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from consumer.intake.codec import decode
from consumer.intake.mapping import Mapper


if TYPE_CHECKING:
    from consumer.event import Event
    from consumer.record import Record
    from consumer.settings.models import Mapping


__all__ = ["Intake"]


class Intake:
    """Reads what a user posted out of a record, as the mapping says.

    Raises:
        SettingsError: an expression of the mapping is wrong; all of them are named at once.
    """

    __slots__ = ("_mapper",)

    def __init__(self, mapping: Mapping) -> None:
        self._mapper = Mapper(mapping)

    def event(self, record: Record) -> Event:
        """The event in a record's value. A record without a value has none: what becomes of it is decided before.

        Raises:
            DecodeError: the value is not a JSON object.
            MappingError: a field that the event needs is missing or of the wrong type.
        """
        return self._mapper.event(decode(record.value or b""))
