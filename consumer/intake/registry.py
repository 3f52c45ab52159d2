"""A schema registry that speaks Confluent's protocol: each schema is fetched once, and then known for good."""

from __future__ import annotations

import asyncio
import math
import random
import ssl
from base64 import b64encode
from collections import OrderedDict
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol
from urllib.parse import quote
from uuid import UUID

import aiohttp
import orjson
import structlog

from consumer.errors import DecodeError, NotYet, StartError


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from consumer.clock import Clock
    from consumer.intake.framing import SchemaId
    from consumer.metrics import Metrics
    from consumer.settings.formats import SchemaRegistry


__all__ = ["Found", "Kind", "Reader", "Registry"]


_log = structlog.get_logger(__name__)

Kind = Literal["AVRO", "PROTOBUF"]
"""What a schema is written in, as registries call it."""

_MOST_SCHEMAS = 1000
_MOST_REFERENCES = 200
_MAX_BYTES = 16 * 1_048_576
_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 30.0
# A registry's followers hear of a new schema a moment after its leader.
_UNKNOWN_TRIES = 3
# For so long an unknown schema is not asked for again.
_UNKNOWN_SECONDS = 30.0
# How Confluent's protocol says that there is no such schema, subject or version: any other 404 comes from elsewhere.
_NOT_FOUND = range(40400, 40500)
_HOLD = "schema_registry"


@dataclass(frozen=True, slots=True)
class Found:
    """A schema as the registry has it, and all that it refers to, each before what refers to it."""

    name: str
    text: str
    references: tuple[Found, ...] = ()


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


class _Unknown(Exception):
    """The registry has no such schema."""


class _Unserved(Exception):
    """The registry does not answer, or not as it should; `args` are what it said and the remedy."""


class Registry:
    """Readers by the ids of their schemas.

    While the registry does not answer, those who need a schema of it wait; whose schemas are known go on.

    Args:
        settings: Where it is, and how to authenticate.
        compilers: What makes a reader of a schema, raising ValueError where it cannot.
        clock: The time.
        metrics: Where requests and the hold are counted.

    Raises:
        StartError: the file with certificates cannot be used.
    """

    def __init__(
        self,
        settings: SchemaRegistry,
        compilers: Mapping[Kind, Callable[[Found], Reader]],
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._url = (settings.url or "").rstrip("/")
        self._timeout = aiohttp.ClientTimeout(total=settings.timeout_seconds)
        self._headers = {
            "Accept": "application/vnd.schemaregistry.v1+json, application/json",
            **_authorization(settings),
        }
        self._context = _context(settings)
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
                found = await self._fetched(kind, schema_id)
            except _Unserved as error:
                self._requests.labels("failed").inc()
                self._hold(*error.args)
                await self._clock.sleep(pause * random.uniform(0.8, 1.2))
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            except _Unknown as error:
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

    # The hold

    def _hold(self, said: str, remedy: str) -> None:
        if self._trouble is None:
            self._holding.set(1)
            _log.error("holding", reason=_HOLD, url=self._url, meaning=said, remedy=remedy)
        since = self._clock.now() if self._trouble is None else self._trouble["since"]
        self._trouble = {"reason": _HOLD, "meaning": f"{self._url} {said}", "remedy": remedy, "since": since}

    def _served(self) -> None:
        if self._trouble is not None:
            self._trouble = None
            self._holding.set(0)
            _log.warning("hold is over", reason=_HOLD)

    # The protocol

    async def _fetched(self, kind: Kind, schema_id: SchemaId) -> Found:
        """A schema and all that it refers to.

        Raises:
            _Unknown: the registry does not have it, or something that it refers to.
            _Unserved: it does not answer as it should.
            ValueError: it is of another kind, or refers to too much.
        """
        # A session of its own: schemas are fetched once, and a connection kept for that would be dead by then.
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._context or True), timeout=self._timeout, headers=self._headers
        ) as session:
            way = f"guids/{schema_id}" if isinstance(schema_id, UUID) else f"ids/{schema_id}"
            answer = await self._asked(session, f"schemas/{way}", kind)
            own: str = answer.get("schemaType") or "AVRO"
            if own != kind:
                raise ValueError(f"it is of the type {own}, and format.encoding says {kind.lower()}")
            references: dict[str, Found] = {}
            await self._follow(session, kind, answer, references)
            return Found(f"schema {schema_id}", _text(answer), tuple(references.values()))

    async def _follow(
        self, session: aiohttp.ClientSession, kind: Kind, answer: dict[str, Any], into: dict[str, Found]
    ) -> None:
        """Fetch what a schema refers to, and before each what that refers to."""
        for reference in answer.get("references") or ():
            name, subject, version = (reference.get(key) for key in ("name", "subject", "version"))
            if name in into:
                continue
            if len(into) >= _MOST_REFERENCES:
                raise ValueError(f"it refers to more than {_MOST_REFERENCES} others")
            path = f"subjects/{quote(str(subject), safe='')}/versions/{version}"
            needed = await self._asked(session, path, kind, deleted="true")
            into[name] = Found(name, _text(needed))
            await self._follow(session, kind, needed, into)
            # Behind those that it needs itself.
            into[name] = into.pop(name)

    async def _asked(self, session: aiohttp.ClientSession, path: str, kind: Kind, **more: str) -> dict[str, Any]:
        query = more | ({"format": "serialized"} if kind == "PROTOBUF" else {})
        try:
            async with session.get(f"{self._url}/{path}", params=query, allow_redirects=False) as response:
                body = await response.content.read(_MAX_BYTES + 1)
                while len(body) <= _MAX_BYTES and (part := await response.content.read(_MAX_BYTES + 1)):
                    body += part
                status = response.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            said = str(error) or type(error).__name__
            raise _Unserved(
                f"does not answer: {said}", "look at the registry, format.schema_registry.url and the network"
            ) from error
        if len(body) > _MAX_BYTES:
            raise ValueError(f"the registry's answer has over {_MAX_BYTES} bytes")
        try:
            answer = orjson.loads(body)
        except orjson.JSONDecodeError:
            answer = None
        if status == 404 and isinstance(answer, dict) and answer.get("error_code") in _NOT_FOUND:
            raise _Unknown(f"the registry says: {answer.get('message', 'not found')}")
        if status in {401, 403}:
            raise _Unserved(
                f"refuses us with HTTP {status}", "mend the user, password or token in format.schema_registry"
            )
        if status != 200 or not isinstance(answer, dict) or not isinstance(answer.get("schema"), str):
            raise _Unserved(
                f"answers /{path} with HTTP {status} and no schema",
                "look at the registry, and whether format.schema_registry.url is the address of one",
            )
        return answer


def _text(answer: dict[str, Any]) -> str:
    text: str = answer["schema"]
    return text


def _authorization(settings: SchemaRegistry) -> dict[str, str]:
    if settings.token is not None:
        return {"Authorization": f"Bearer {settings.token.get_secret_value()}"}
    if settings.username is not None and settings.password is not None:
        both = f"{settings.username}:{settings.password.get_secret_value()}"
        return {"Authorization": f"Basic {b64encode(both.encode()).decode()}"}
    return {}


def _context(settings: SchemaRegistry) -> ssl.SSLContext | None:
    if settings.ca_file is None:
        return None
    try:
        return ssl.create_default_context(cafile=settings.ca_file)
    except OSError as error:
        raise StartError(
            f"{settings.ca_file} cannot be used: {error.strerror or error}",
            "let format.schema_registry.ca_file name a file with certificates in PEM",
        ) from error
