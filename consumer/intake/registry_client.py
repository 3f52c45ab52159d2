"""What a schema registry is asked in Confluent's protocol, and what it answers; nothing is kept of it here."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import quote
from uuid import UUID

import aiohttp
import orjson

from consumer.certificates import CertificateFiles
from consumer.errors import StartError
from consumer.intake.registry_refusals import not_a_registry, refused, unanswered


if TYPE_CHECKING:
    from consumer.intake.framing import SchemaId
    from consumer.settings.formats import SchemaRegistry


__all__ = ["SECTION", "Found", "Kind", "RegistryClient", "Unknown", "Unserved"]


SECTION: Final = "format.schema_registry"
"""Where the settings of a registry stand."""

Kind = Literal["AVRO", "PROTOBUF"]
"""What a schema is written in, as registries call it."""

_MOST_REFERENCES = 200
_MAX_BYTES = 16 * 1_048_576
# How Confluent's protocol says that there is no such schema, subject or version: any other 404 comes from elsewhere.
_NOT_FOUND = range(40400, 40500)
# The last of all ids, which no registry has come to yet.
_NO_SCHEMA = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Found:
    """A schema as the registry has it, and all that it refers to, each before what refers to it."""

    name: str
    text: str
    references: tuple[Found, ...] = ()


class Unknown(Exception):
    """The registry has no such schema."""


class Unserved(Exception):
    """The registry does not answer, or not as it should; `args` are what it said and the remedy."""


class RegistryClient:
    """Asks one registry, each time with a connection of its own and with the certificates that are in the files then.

    Args:
        settings: Where it is, and how to authenticate.

    Raises:
        StartError: a file with certificates or a key cannot be used.
    """

    def __init__(self, settings: SchemaRegistry) -> None:
        self.url = (settings.url or "").rstrip("/")
        self.certificates = CertificateFiles(settings, SECTION) if self.url.startswith("https:") else None
        """Who is trusted, and who we are; None where nothing is encrypted."""
        self._settings = settings
        self._headers = {
            "Accept": "application/vnd.schemaregistry.v1+json, application/json",
            **_authorization(settings),
        }

    async def schema(self, kind: Kind, schema_id: SchemaId) -> Found:
        """A schema and all that it refers to. When cancelled its connection is closed.

        Raises:
            Unknown: the registry does not have it, or something that it refers to.
            Unserved: it does not answer as it should.
            ValueError: it is of another kind, or refers to too much.
        """
        async with self._session() as session:
            way = f"guids/{schema_id}" if isinstance(schema_id, UUID) else f"ids/{schema_id}"
            answer = await self._asked(session, f"schemas/{way}", kind)
            own: str = answer.get("schemaType") or "AVRO"
            if own != kind:
                raise ValueError(f"it is of the type {own}, and format.encoding says {kind.lower()}")
            references: dict[str, Found] = {}
            await self._follow(session, kind, answer, references)
            return Found(f"schema {schema_id}", _text(answer), tuple(references.values()))

    async def tried(self) -> str:
        """Ask for a schema that there cannot be, as if a record needed it. When cancelled its connection is closed.

        Returns:
            Who answers, and as whom it lets us in.

        Raises:
            StartError: nothing answers there, not as a registry does, or it refuses us.
        """
        try:
            async with self._session() as session:
                await self._asked(session, f"schemas/ids/{_NO_SCHEMA}", "AVRO")
        except Unserved as error:
            said, remedy = error.args
            raise StartError(f"{self.url} {said}", remedy) from error
        except ValueError as error:
            raise StartError(f"{self.url}: {error}", f"see that {SECTION}.url is the address of a registry") from error
        except Unknown:
            pass  # as a registry says it
        own = self._settings
        told = f"to user {own.username}" if own.username is not None else "" if own.token is None else "to our token"
        shown = "with our certificate" if own.certificate_file is not None else ""
        return " ".join(filter(None, (f"{self.url} answers as a registry does", told, shown)))

    def _session(self) -> aiohttp.ClientSession:
        # One for each schema: they are fetched once, and a connection kept for that would be dead by then.
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=True if self.certificates is None else self.certificates.context),
            timeout=aiohttp.ClientTimeout(total=self._settings.timeout_seconds),
            headers=self._headers,
        )

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
            async with session.get(f"{self.url}/{path}", params=query, allow_redirects=False) as response:
                body = await response.content.read(_MAX_BYTES + 1)
                while len(body) <= _MAX_BYTES and (part := await response.content.read(_MAX_BYTES + 1)):
                    body += part
                status, location = response.status, response.headers.get("Location", "")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unserved(*unanswered(self._settings, error, self.certificates)) from error
        if len(body) > _MAX_BYTES:
            raise ValueError(f"the registry's answer has over {_MAX_BYTES} bytes")
        try:
            answer = orjson.loads(body)
        except orjson.JSONDecodeError:
            answer = None
        if status == 404 and isinstance(answer, dict) and answer.get("error_code") in _NOT_FOUND:
            raise Unknown(f"the registry says: {answer.get('message', 'not found')}")
        if status in {401, 403}:
            raise Unserved(*refused(self._settings, status))
        if status != 200 or not isinstance(answer, dict) or not isinstance(answer.get("schema"), str):
            raise Unserved(*not_a_registry(path, status, location))
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
