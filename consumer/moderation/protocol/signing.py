"""ACS3-HMAC-SHA256: how a request to Content Moderation 2.0 is encoded and signed. Pure functions."""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Mapping


__all__ = [
    "VERSION",
    "Credentials",
    "Signer",
    "authorization",
    "canonical_query",
    "form_body",
    "form_value",
    "percent_encode",
    "timestamp",
]


VERSION = "2022-03-02"

_ALGORITHM = "ACS3-HMAC-SHA256"
_FORM = "application/x-www-form-urlencoded"
_VARYING = ("x-acs-content-sha256", "x-acs-date", "x-acs-signature-nonce")
# Whole runs at once: a text of 2,000 Chinese characters is six thousand bytes that all need encoding.
_RESERVED = re.compile(rb"([^A-Za-z0-9_.~-]+)")
_RESERVED_IN_A_FORM = re.compile(rb"([^A-Za-z0-9_.~ -]+)")
_SHORT_RUN_BYTES = 3


@dataclass(frozen=True, slots=True)
class Credentials:
    """An AccessKey, or temporary (STS) credentials when there is a security token. Its secrets are not printed."""

    access_key_id: str
    access_key_secret: str = field(repr=False)
    security_token: str | None = field(default=None, repr=False)


def percent_encode(value: str) -> str:
    """RFC 3986: everything but letters, digits and `-_.~` as upper-case percent escapes of its UTF-8."""
    return _escaped(_RESERVED, value.encode()).decode("ascii")


def form_body(parameters: Mapping[str, str]) -> bytes:
    """The parameters as `application/x-www-form-urlencoded`, sorted by name, with `+` for a space."""
    return b"&".join(
        [f"{name}=".encode("ascii") + form_value(value.encode()) for name, value in sorted(parameters.items())]
    )


def form_value(value: bytes) -> bytes:
    """One value of a form, from its UTF-8."""
    return _escaped(_RESERVED_IN_A_FORM, value).replace(b" ", b"+")


def canonical_query(parameters: Mapping[str, str]) -> str:
    """The parameters as the signature wants a query string; it is a valid one to send, too."""
    return "&".join(f"{name}={percent_encode(value)}" for name, value in sorted(parameters.items()))


def timestamp(epoch_seconds: float) -> str:
    """A moment as the header `x-acs-date` has it: UTC, whole seconds."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch_seconds))


def authorization(headers: Mapping[str, str], credentials: Credentials, *, query: str = "") -> str:
    """The header `Authorization` of a POST to `/` over all of `headers`.

    Args:
        headers: every header to be signed, by its lower-case name: `host`, every `x-acs-*`, and `content-type` where
            there is a body. `x-acs-content-sha256` is the hex SHA-256 of the body.
        credentials: whose signature it is.
        query: the canonical query string, without `?`.
    """
    names = sorted(headers)
    signed = ";".join(names)
    lines = "".join([f"{name}:{headers[name].strip()}\n" for name in names])
    request = f"POST\n/\n{query}\n{lines}\n{signed}\n{headers['x-acs-content-sha256']}"
    to_sign = f"{_ALGORITHM}\n{hashlib.sha256(request.encode()).hexdigest()}"
    signature = hmac.digest(credentials.access_key_secret.encode(), to_sign.encode(), "sha256").hex()
    return f"{_ALGORITHM} Credential={credentials.access_key_id},SignedHeaders={signed},Signature={signature}"


@dataclass(frozen=True, slots=True)
class _Prepared:
    """All of a kind of requests that is the same for each: its headers, and its lines to sign but for what varies."""

    headers: Mapping[str, str]
    lines: str
    """With places for the digest of the body, the date and the nonce, whose names stand in this order."""
    authorization: str


class Signer:
    """Signs the requests of one host with one set of credentials, with no more headers than the service wants."""

    __slots__ = ("_fixed", "_mac", "_prepared", "credentials", "host")

    def __init__(self, host: str, credentials: Credentials) -> None:
        self.host = host
        self.credentials = credentials
        # A copy of it has the work on the key done.
        self._mac = hmac.new(credentials.access_key_secret.encode(), digestmod="sha256")
        self._prepared: dict[tuple[str, bool], _Prepared] = {}
        self._fixed = {"host": host, "x-acs-version": VERSION}
        if credentials.security_token is not None:
            self._fixed["x-acs-accesskey-id"] = credentials.access_key_id
            self._fixed["x-acs-security-token"] = credentials.security_token

    def sign(self, action: str, *, date: str, nonce: str, body: bytes = b"", query: str = "") -> dict[str, str]:
        """All headers of one request. Each attempt needs a new nonce, and a date within 15 minutes of the service's.

        It is `authorization` with all prepared that is the same for each request.

        Args:
            action: the operation, such as `TextModerationPlus`.
            date: what `timestamp` gives.
            nonce: up to 64 characters that were never used before.
            body: the form, for operations that take their parameters there.
            query: the canonical query, for operations that take their parameters in the URL.
        """
        kind = action, bool(body)
        prepared = self._prepared.get(kind)
        if prepared is None:
            prepared = self._prepared[kind] = self._prepare(action, form=bool(body))
        digest = hashlib.sha256(body).hexdigest()
        request = f"POST\n/\n{query}\n{prepared.lines % (digest, date, nonce)}{digest}"
        mac = self._mac.copy()
        mac.update(f"{_ALGORITHM}\n{hashlib.sha256(request.encode()).hexdigest()}".encode())
        return {
            **prepared.headers,
            "x-acs-date": date,
            "x-acs-signature-nonce": nonce,
            "x-acs-content-sha256": digest,
            "authorization": prepared.authorization + mac.hexdigest(),
        }

    def _prepare(self, action: str, *, form: bool) -> _Prepared:
        headers = {**self._fixed, "x-acs-action": action}
        if form:
            headers["content-type"] = _FORM
        names = sorted([*headers, *_VARYING])
        signed = ";".join(names)
        values = {name: value.strip().replace("%", "%%") for name, value in headers.items()}
        lines = "".join([f"{name}:{values.get(name, '%s')}\n" for name in names])
        credential = self.credentials.access_key_id
        return _Prepared(
            headers,
            f"{lines}\n{signed}\n",
            f"{_ALGORITHM} Credential={credential},SignedHeaders={signed},Signature=",
        )


class _Escapes(dict[bytes, bytes]):
    """The escapes of runs of bytes; those of JSON's punctuation are kept, which are in every request."""

    def __missing__(self, run: bytes) -> bytes:
        escape = b"%" + run.hex("%").upper().encode("ascii")
        if len(run) <= _SHORT_RUN_BYTES and run.isascii():
            self[run] = escape
        return escape


_escapes = _Escapes()


def _escaped(reserved: re.Pattern[bytes], value: bytes) -> bytes:
    parts = reserved.split(value)
    parts[1::2] = map(_escapes.__getitem__, parts[1::2])
    return b"".join(parts)
