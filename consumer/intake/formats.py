"""How each topic's records are read: the encoding of a value, and the envelope around the platform's own record."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from consumer.errors import DecodeError, NothingToJudge, NotYet, StartError
from consumer.intake.cloudevents import cloudevent
from consumer.intake.codec import decode
from consumer.intake.debezium import change
from consumer.intake.framing import message_indexes, unframed
from consumer.intake.registry import Registry
from consumer.plugins.calling import RAISED
from consumer.record import Record


if TYPE_CHECKING:
    from collections.abc import Callable

    from consumer.clock import Clock
    from consumer.intake.registry import Reader
    from consumer.intake.registry_client import Found, Kind
    from consumer.metrics import Metrics
    from consumer.plugins import CodecFunction
    from consumer.plugins.calling import Plugin
    from consumer.settings.formats import Format, TopicFormat

    _Read = Callable[[Record], dict[str, Any]]


__all__ = ["Formats", "compilers_for", "formats_for", "formats_of_json"]


# Of each encoding with a schema: its name in registries, the library, and what of ours needs it.
_KINDS: Final[dict[str, tuple[Kind, str, str, str]]] = {
    "avro": ("AVRO", "fastavro", "consumer.intake.avro", "AvroReader"),
    "protobuf": ("PROTOBUF", "google.protobuf", "consumer.intake.protobuf", "ProtobufReader"),
}


def formats_for(settings: Format, *, clock: Clock, metrics: Metrics) -> Formats | None:
    """What reads records that are written so; None where all are plain JSON, which needs nothing of this.

    Raises:
        SettingsError: a plugin cannot be used.
        StartError: a library is missing, or a file cannot be used.
    """
    all_of: list[Format | TopicFormat] = [settings, *settings.topics.values()]
    if all(one.encoding == "json" and one.envelope == "none" and one.plugin is None for one in all_of):
        return None
    return Formats(settings, clock=clock, metrics=metrics)


def formats_of_json(settings: Format, *, clock: Clock, metrics: Metrics) -> Formats | None:
    """The same for records whose values stand in JSON, as people write them down, and as `Formats.in_json` gives them.

    Envelopes and plugins are as they are configured; no schema is needed.

    Raises:
        SettingsError: a plugin cannot be used.
    """
    topics = {topic: one.model_copy(update={"encoding": "json"}) for topic, one in settings.topics.items()}
    readable = settings.model_copy(update={"encoding": "json", "topics": topics})
    return formats_for(readable, clock=clock, metrics=metrics)


def compilers_for(settings: Format) -> dict[Kind, Callable[[Found], Reader]]:
    """What makes readers of schemas, for each kind of schema that records are written with.

    Raises:
        StartError: a library is missing.
    """
    wanted = {settings.encoding, *(one.encoding for one in settings.topics.values())}
    return {_KINDS[name][0]: _compiler(name) for name in sorted(wanted & _KINDS.keys())}


class _Topic(NamedTuple):
    """How the records of a topic are read, and what turns their values into JSON where they are not."""

    document: _Read
    layer: _Read | None


class Formats:
    """Reads the document out of a record, in the way of its topic.

    Raises:
        SettingsError: a plugin cannot be used.
        StartError: a library is missing, or a file cannot be used.
    """

    def __init__(self, settings: Format, *, clock: Clock, metrics: Metrics) -> None:
        compilers = compilers_for(settings)
        self._registry = Registry(settings.schema_registry, compilers, clock, metrics) if compilers else None
        self._operations = frozenset(settings.operations)
        self._metrics = metrics
        self._usual = self._reader(settings, "format")
        self._by_topic = {topic: self._reader(one, f"format.topics.{topic}") for topic, one in settings.topics.items()}

    def document(self, record: Record) -> dict[str, Any]:
        """The document in a record's value.

        Raises:
            DecodeError: it is not what it should be.
            NothingToJudge: it says nothing that is to be judged.
            NotYet: its schema has to be fetched first.
        """
        return self._by_topic.get(record.partition.topic, self._usual).document(record)

    async def in_json(self, record: Record) -> Record:
        """The same record as one in JSON without headers, which `formats_of_json` reads.

        One that cannot be read is left as it is. It takes as long as a registry is away. When cancelled nothing has
        happened.
        """
        layer = self._by_topic.get(record.partition.topic, self._usual).layer
        if layer is None or record.value is None:
            return record
        while True:
            try:
                value = orjson.dumps(layer(record))
            except (DecodeError, TypeError):
                return record
            except NotYet as not_yet:
                await not_yet.ready()
            else:
                return Record(record.partition, record.offset, record.timestamp, record.key, value)

    def holds(self) -> list[dict[str, Any]]:
        """Why records wait for schemas, as /status has it; empty while none do."""
        return [] if self._registry is None else self._registry.holds()

    def _reader(self, settings: Format | TopicFormat, section: str) -> _Topic:
        encodings: dict[str, _Read] = {"json": _json, "json_schema": _json_schema}
        if self._registry is not None:
            encodings["avro"] = partial(_avro, self._registry)
            encodings["protobuf"] = partial(_protobuf, self._registry)
        read = encodings[settings.encoding]
        if settings.plugin is not None:
            from consumer.plugins.loading import load  # noqa: PLC0415  # who has no plugins need not wait for it at each start

            read = partial(_plugged, load("codec", settings.plugin, f"{section}.plugin", self._metrics))
        if settings.envelope == "cloudevents":
            as_json = settings.encoding == "json" and settings.plugin is None
            whole = partial(cloudevent, read=read, as_json=as_json)
            return _Topic(whole, whole)
        layer = read if settings.encoding != "json" and settings.plugin is None else None
        if settings.envelope == "debezium":
            return _Topic(lambda record: change(read(record), self._operations), layer)
        return _Topic(read, layer)


def _json(record: Record) -> dict[str, Any]:
    return decode(record.value or b"")


def _json_schema(record: Record) -> dict[str, Any]:
    """JSON says by itself what it is: its schema is not needed."""
    return decode(unframed(record.value or b"", record.headers).body)


def _avro(registry: Registry, record: Record) -> dict[str, Any]:
    framed = unframed(record.value or b"", record.headers)
    reader = registry.reader("AVRO", framed.schema_id)
    try:
        return reader.read(framed.body)
    except DecodeError as error:
        raise DecodeError(f"schema {framed.schema_id}: {error}") from None


def _protobuf(registry: Registry, record: Record) -> dict[str, Any]:
    framed = unframed(record.value or b"", record.headers)
    reader = registry.reader("PROTOBUF", framed.schema_id)
    try:
        indexes, body = message_indexes(framed)
        return reader.read(body, indexes)
    except DecodeError as error:
        raise DecodeError(f"schema {framed.schema_id}: {error}") from None


def _plugged(plugin: Plugin[CodecFunction], record: Record) -> dict[str, Any]:
    try:
        found: object = plugin.call(record.value or b"", record.headers)
    except NothingToJudge:
        raise
    except RAISED as error:
        raise plugin.raised(error) from None
    if not isinstance(found, dict):
        raise plugin.returned(found, "a dict")
    return found


def _compiler(encoding: str) -> Callable[[Found], Reader]:
    _, library, module, name = _KINDS[encoding]
    try:
        import_module(library)
    except ImportError:
        raise StartError(
            f"format.encoding {encoding} needs a library that is not installed: {library}",
            "pip install 'moderation-consumer[formats]'",
        ) from None
    compiler: Callable[[Found], Reader] = getattr(import_module(module), name)
    return compiler
