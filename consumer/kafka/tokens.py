"""Tokens for SASL OAUTHBEARER: from a file that somebody keeps fresh, or from an endpoint that gives them out."""

from __future__ import annotations

import asyncio
import binascii
import math
import time
from base64 import b64encode, urlsafe_b64decode
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol
from urllib.parse import quote_plus

import orjson
import structlog
from aiokafka.abc import AbstractTokenProvider
from aiokafka.errors import KafkaError

from consumer.errors import CallError, StartError


if TYPE_CHECKING:
    from collections.abc import Callable

    from consumer.settings.models import KafkaSecurity


__all__ = ["TokenUnavailable", "Tokens", "tokens_from"]


_log = structlog.get_logger(__name__)

# Less than a connection may take, so that it is the endpoint that is said to be slow, and not the broker.
ASK_SECONDS: Final = 8.0

# A token is replaced when so much of its life is over: Kafka's own clients do the same.
USED_SHARE: Final = 0.8

# How often it is looked at whether there is another token, or whether it is time for one.
LOOK_SECONDS: Final = 5.0
LONGEST_LOOK_SECONDS: Final = 60.0


class TokenUnavailable(KafkaError):  # type: ignore[misc]  # aiokafka ships no types
    """There is no token to open a connection with; its `remedy` says what a person can do about it."""

    retriable = True

    def __init__(self, said: str, remedy: str) -> None:
        super().__init__(said)
        self.said = said
        self.remedy = remedy

    def __str__(self) -> str:
        return self.said


class _Token(NamedTuple):
    """A token and when it expires, in seconds since the epoch; None where nobody says."""

    text: str
    expires_at: float | None

    def __repr__(self) -> str:
        return f"a token that expires at {self.expires_at}"


class _Origin(Protocol):
    """Where tokens come from."""

    keeps: bool
    """Whether a token is kept until most of its life is over; else it is asked for again for each connection."""

    async def fetch(self) -> _Token:
        """A token as it is now. When cancelled nothing has happened.

        Raises:
            TokenUnavailable: there is none.
        """
        ...


class Tokens(AbstractTokenProvider):  # type: ignore[misc]  # aiokafka ships no types
    """What aiokafka asks for a token whenever it opens a connection. One fetch serves all who ask meanwhile.

    Args:
        origin: Where tokens come from.
        now: Seconds since the epoch.
    """

    def __init__(self, origin: _Origin, *, now: Callable[[], float] = time.time) -> None:
        self._origin = origin
        self._now = now
        self._token: _Token | None = None
        self._renew_at = -math.inf
        self._said = ""
        self._turn = asyncio.Lock()

    @property
    def expires_at(self) -> float | None:
        """When the token fetched last expires, in seconds since the epoch; None where that is not known."""
        return None if self._token is None else self._token.expires_at

    async def token(self) -> str:
        """A token that has not expired, as far as is known. When cancelled, others who wait for it fetch it themselves.

        Raises:
            TokenUnavailable: there is none.
        """
        token = self._fresh()
        if token is None:
            async with self._turn:
                token = self._fresh() or await self._fetch()
        return token.text

    async def ready(self) -> None:
        """Have a token, before anything is connected.

        Raises:
            StartError: there is none.
        """
        try:
            await self.token()
        except TokenUnavailable as error:
            raise StartError(str(error), error.remedy) from error

    async def run(self) -> None:
        """Look in time for another token, so that no connection has to wait for one, until cancelled."""
        while True:
            # In steps: the wall clock may be set, or the machine sleep.
            left = self._renew_at - self._now()
            await asyncio.sleep(min(max(left, LOOK_SECONDS), LONGEST_LOOK_SECONDS))
            try:
                await self.token()
            except TokenUnavailable as error:
                self._say("kafka_token_unavailable", error)

    def _fresh(self) -> _Token | None:
        return None if self._now() >= self._renew_at else self._token

    async def _fetch(self) -> _Token:
        try:
            token = await self._origin.fetch()
        except TokenUnavailable as error:
            old = self._token
            if not self._origin.keeps or old is None or old.expires_at is None or old.expires_at <= self._now():
                raise
            self._say("kafka_token_not_renewed", error)
            self._renew_at = min(self._now() + LOOK_SECONDS, old.expires_at)
            return old
        now = self._now()
        self._token, self._said = token, ""
        keeps = self._origin.keeps and token.expires_at is not None
        self._renew_at = now + USED_SHARE * (token.expires_at - now) if keeps and token.expires_at else -math.inf
        return token

    def _say(self, event: str, error: TokenUnavailable) -> None:
        """Log a failure, once for as long as it stays the same."""
        if self._said != f"{event} {error}":
            self._said = f"{event} {error}"
            _log.error(event, error=str(error), remedy=error.remedy, expire_at=self.expires_at)


class _TokenFile:
    """A file that is read for each connection: Kubernetes replaces a service account's projected token in time."""

    keeps = False

    def __init__(self, path: Path, now: Callable[[], float]) -> None:
        self._path = path
        self._now = now

    async def fetch(self) -> _Token:
        """The token in the file; a small file on the node itself holds nobody up."""
        where = f"kafka.security.oauth_token_file, {self._path},"
        try:
            text = self._path.read_text(encoding="ascii").strip()
        except OSError as error:
            raise TokenUnavailable(
                f"{where} cannot be read: {error.strerror}",
                "correct the name, or mount a projected service account token there",
            ) from error
        except ValueError as error:
            raise TokenUnavailable(f"{where} holds no token", "write the token there, and nothing else") from error
        if not text or not text.isprintable() or " " in text:
            raise TokenUnavailable(f"{where} holds no token", "write the token there, and nothing else")
        expires_at = _expiry_of(text)
        if expires_at is not None and expires_at <= self._now():
            ago = self._now() - expires_at
            raise TokenUnavailable(
                f"{where} holds a token that expired {ago:.0f} s ago",
                "see that whoever writes the file keeps it fresh, and that this machine's clock is right",
            )
        return _Token(text, expires_at)


class _TokenEndpoint:
    """An OAuth 2 endpoint that gives tokens for a client's credentials (RFC 6749, 4.4)."""

    keeps = True

    def __init__(self, url: str, client: str, secret: str, scope: str | None, now: Callable[[], float]) -> None:
        pair = f"{quote_plus(client)}:{quote_plus(secret)}"
        self._headers = {
            "accept": "application/json",
            "authorization": f"Basic {b64encode(pair.encode()).decode()}",
        }
        self._form = {"grant_type": "client_credentials"} | ({} if scope is None else {"scope": scope})
        self._url = url
        self._now = now

    async def fetch(self) -> _Token:
        """Ask the endpoint once; the credentials go into the header, which every endpoint has to take."""
        from consumer.moderation.credentials.http import ask  # noqa: PLC0415  # it brings an HTTP client

        where = f"the token endpoint {self._url} (kafka.security.oauth_token_endpoint)"
        try:
            status, body = await ask("POST", self._url, headers=self._headers, form=self._form, seconds=ASK_SECONDS)
        except CallError as error:
            raise TokenUnavailable(
                f"{where} does not answer: {error}",
                "correct the URL; see that it may be reached from here, and that its certificate is trusted",
            ) from error
        document = _document(body)
        if status != 200:
            code = document.get("error")
            # What else stands in the answer is not ours to repeat: it may echo what was sent.
            reason = f"{code} " if isinstance(code, str) and code.isidentifier() else ""
            raise TokenUnavailable(
                f"{where} gives us no token: {reason}(HTTP {status})",
                "check oauth_client_id, oauth_client_secret and oauth_scope under kafka.security",
            )
        text, life = document.get("access_token"), document.get("expires_in")
        if not isinstance(text, str) or not text.isascii() or not text.isprintable() or not text:
            raise TokenUnavailable(
                f"{where} answers without an access_token", "it has to be a token endpoint of OAuth 2"
            )
        expires_at = self._now() + life if isinstance(life, int | float) else _expiry_of(text)
        return _Token(text, expires_at)


def tokens_from(security: KafkaSecurity, *, now: Callable[[], float] = time.time) -> Tokens:
    """The tokens that the settings name.

    Raises:
        StartError: the settings name none.
    """
    if security.oauth_token_file is not None:
        return Tokens(_TokenFile(Path(security.oauth_token_file), now), now=now)
    url, client, secret = security.oauth_token_endpoint, security.oauth_client_id, security.oauth_client_secret
    if url is not None and client is not None and secret is not None:
        return Tokens(_TokenEndpoint(url, client, secret.get_secret_value(), security.oauth_scope, now), now=now)
    raise StartError(
        "kafka.security.sasl_mechanism is OAUTHBEARER, but nothing says where tokens come from",
        "set kafka.security.oauth_token_file, or oauth_token_endpoint, oauth_client_id and oauth_client_secret",
    )


def _document(body: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(body)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _expiry_of(text: str) -> float | None:
    """When a token expires, if it is a JWT that says so; whether it is genuine is for the broker to say."""
    parts = text.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = _document(urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, binascii.Error):
        return None
    expires_at = claims.get("exp")
    return float(expires_at) if isinstance(expires_at, int | float) else None
