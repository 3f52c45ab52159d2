"""A schema registry that speaks Confluent's protocol: each schema is fetched once, and then known for good."""

from __future__ import annotations

import asyncio
import math
import random
from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import structlog

from consumer.errors import DecodeError, NotYet
from consumer.intake.registry_client import RegistryClient, Unknown, Unserved


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from consumer.clock import Clock
    from consumer.intake.framing import SchemaId
    from consumer.intake.registry_client import Found, Kind
    from consumer.metrics import Metrics
    from consumer.settings.formats import SchemaRegistry


__all__ = ["Reader", "Registry"]


_log = structlog.get_logger(__name__)

_MOST_SCHEMAS = 1000
_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 30.0
# A registry's followers hear of a new schema a moment after its leader.
_UNKNOWN_TRIES = 3
# For so long an unknown schema is not asked for again.
_UNKNOWN_SECONDS = 30.0
_HOLD = "schema_registry"


class Reader(Protocol):
    """Reads what was written with one schema."""

    def read(self, body: bytes, indexes: tuple[int, ...] = ..., /) -> dict[str, Any]:
        """The object in a value's bytes.

        Raises:
            DecodeError: they do not fit the schema.
        """
        ...


class _Refused(NamedTuple):
    """Why nothing can be read with a schema, and until when that is so."""

    said: str
    code: str
    until: float


class Registry:
    """Readers by the ids of their schemas.

    While the registry does not answer, those who need a schema of it wait; whose schemas are known go on.

    Args:
        settings: Where it is, and how to authenticate.
        compilers: What makes a reader of a schema, raising ValueError where it cannot.
        clock: The time.
        metrics: Where requests and the hold are counted.

    Raises:
        StartError: a file with certificates or a key cannot be used.
    """

    def __init__(
        self,
        settings: SchemaRegistry,
        compilers: Mapping[Kind, Callable[[Found], Reader]],
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._client = RegistryClient(settings)
        self._compilers = compilers
        self._clock = clock
        self._requests = metrics.counter("schema_requests")
        self._holding = metrics.gauge("holding").labels(_HOLD)
        self._holding.set(0)
        self._known: OrderedDict[tuple[Kind, SchemaId], Reader | _Refused] = OrderedDict()
        self._turns: dict[tuple[Kind, SchemaId], asyncio.Lock] = {}
        self._trouble: dict[str, Any] | None = None

    def holds(self) -> list[dict[str, Any]]:
        """Why records wait for schemas, as /status has it; empty while none do."""
        return [] if self._trouble is None else [self._trouble]

    def reader(self, kind: Kind, schema_id: SchemaId) -> Reader:
        """What reads records of this schema.

        Raises:
            DecodeError: there is no such schema, or it cannot be used.
            NotYet: it has to be fetched first.
        """
        found = self._known.get((kind, schema_id))
        if found is None or (isinstance(found, _Refused) and found.until <= self._clock.monotonic()):
            raise NotYet(f"schema {schema_id} is not known yet", partial(self._learn, kind, schema_id))
        if isinstance(found, _Refused):
            raise DecodeError(found.said, code=found.code)
        return found

    async def _learn(self, kind: Kind, schema_id: SchemaId) -> None:
        """Have a schema known, or known to be of no use; it takes as long as the registry is away.

        When cancelled, the next who waits for it goes on.
        """
        key = (kind, schema_id)
        turn = self._turns.setdefault(key, asyncio.Lock())
        async with turn:
            known = self._known.get(key)
            if known is not None and not (isinstance(known, _Refused) and known.until <= self._clock.monotonic()):
                return
            self._known[key] = await self._obtained(kind, schema_id)
            self._known.move_to_end(key)
            if len(self._known) > _MOST_SCHEMAS:
                self._known.popitem(last=False)
            self._turns.pop(key, None)

    async def _obtained(self, kind: Kind, schema_id: SchemaId) -> Reader | _Refused:
        pause, unknown = _FIRST_PAUSE_SECONDS, 0
        while True:
            try:
                found = await self._client.schema(kind, schema_id)
            except Unserved as error:
                self._requests.labels("failed").inc()
                self._hold(*error.args)
                await self._clock.sleep(pause * random.uniform(0.8, 1.2))
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            except Unknown as error:
                self._requests.labels("unknown").inc()
                self._served()
                unknown += 1
                if unknown == _UNKNOWN_TRIES:
                    until = self._clock.monotonic() + _UNKNOWN_SECONDS
                    return _Refused(f"schema {schema_id} cannot be had: {error}", "unknown_schema", until)
                await self._clock.sleep(_FIRST_PAUSE_SECONDS)
            except ValueError as error:
                return self._useless(schema_id, error)
            else:
                self._requests.labels("done").inc()
                self._served()
                try:
                    reader = self._compilers[kind](found)
                except ValueError as error:
                    return self._useless(schema_id, error)
                _log.info("schema", id=str(schema_id), kind=kind)
                return reader

    def _useless(self, schema_id: SchemaId, error: ValueError) -> _Refused:
        self._served()
        _log.warning("schema_of_no_use", id=str(schema_id), reason=str(error))
        return _Refused(f"schema {schema_id} cannot be used: {error}", "unusable_schema", math.inf)

    def _hold(self, said: str, remedy: str) -> None:
        if self._trouble is None:
            self._holding.set(1)
            _log.error("holding", reason=_HOLD, url=self._client.url, meaning=said, remedy=remedy)
        since = self._clock.now() if self._trouble is None else self._trouble["since"]
        self._trouble = {"reason": _HOLD, "meaning": f"{self._client.url} {said}", "remedy": remedy, "since": since}

    def _served(self) -> None:
        if self._trouble is not None:
            self._trouble = None
            self._holding.set(0)
            _log.warning("hold is over", reason=_HOLD)
