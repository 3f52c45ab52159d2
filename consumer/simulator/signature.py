"""The judge of signatures: ACS3-HMAC-SHA256 as the gateway checks it, from the request's raw target and bytes.

It shares no code with the client, so that neither can hide the other's mistakes.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote

from consumer.simulator.gateway import Refusal


if TYPE_CHECKING:
    from collections.abc import Mapping


__all__ = ["MAX_SKEW_SECONDS", "Nonces", "canonical_query", "check"]


MAX_SKEW_SECONDS = 15 * 60
"""How far `x-acs-date` may be from the gateway's clock (the page of the V3 signature)."""

_AUTHORIZATION = re.compile(
    r"ACS3-HMAC-SHA256 Credential=(?P<id>[^,\s]+),\s*SignedHeaders=(?P<headers>[^,\s]+),"
    r"\s*Signature=(?P<signature>[0-9a-f]{64})"
)


def canonical_query(raw_query: str) -> str:
    """The query as it is signed: decoded, sorted by name, encoded again by RFC 3986.

    Clients write the same values in several ways (`+` or `%20`, `:` or `%3A`); all of them sign this one.
    """
    if not raw_query:
        return ""
    pairs = sorted(parse_qsl(raw_query, keep_blank_values=True))
    return "&".join(f"{quote(name, safe='~')}={quote(value, safe='~')}" for name, value in pairs)


def check(
    target: str,
    headers: Mapping[str, str],
    body: bytes,
    *,
    access_key_id: str,
    access_key_secret: str,
    security_token: str | None,
    now: float,
) -> Refusal | None:
    """Whether the request is signed by this AccessKey, lately; None if all is well.

    Args:
        target: the request target as it stood on the wire.
        headers: by lower-case name.
        body: as it stood on the wire.
        access_key_id: the one known AccessKey.
        access_key_secret: its secret.
        security_token: its token, for temporary (STS) credentials.
        now: the gateway's time, in seconds since the epoch.
    """
    parts = _AUTHORIZATION.fullmatch(headers.get("authorization", ""))
    if parts is None:
        return Refusal("IncompleteSignature", "Authorization is missing or malformed.")
    if parts["id"] != access_key_id:
        return Refusal("InvalidAccessKeyId.NotFound")
    names = parts["headers"].split(";")
    signed = set(names)
    must = {name for name in headers if name.startswith("x-acs-")}
    must |= {"host", "x-acs-action", "x-acs-version", "x-acs-date", "x-acs-signature-nonce", "x-acs-content-sha256"}
    if body:
        must.add("content-type")
    if not must <= signed:
        return Refusal("IncompleteSignature", f"Not signed: {', '.join(sorted(must - signed))}.")
    if names != sorted(signed) or not signed <= headers.keys():
        return Refusal("IncompleteSignature", "SignedHeaders must name headers that were sent, sorted, each once.")
    return (
        _check_date(headers["x-acs-date"], now)
        or _check_digest(target, headers, body, parts, access_key_secret)
        or _check_token(headers, access_key_id, security_token)
    )


@lru_cache(maxsize=64)
def _timestamp(date: str) -> float | None:
    """Seconds since the epoch, or None. The same second comes with many requests."""
    try:
        return datetime.strptime(date, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None


def _check_date(date: str, now: float) -> Refusal | None:
    stamp = _timestamp(date)
    if stamp is None:
        return Refusal("InvalidTimeStamp.Format")
    return Refusal("InvalidTimeStamp.Expired") if abs(now - stamp) > MAX_SKEW_SECONDS else None


def _check_digest(
    target: str, headers: Mapping[str, str], body: bytes, authorization: re.Match[str], secret: str
) -> Refusal | None:
    payload = hashlib.sha256(body).hexdigest()
    if headers["x-acs-content-sha256"] != payload:
        return Refusal("SignatureDoesNotMatch", "x-acs-content-sha256 is not the digest of the body.")
    path, _, query = target.partition("?")
    lines = "".join(f"{name}:{headers[name].strip()}\n" for name in authorization["headers"].split(";"))
    request = f"POST\n{path}\n{canonical_query(query)}\n{lines}\n{authorization['headers']}\n{payload}"
    to_sign = f"ACS3-HMAC-SHA256\n{hashlib.sha256(request.encode(errors='surrogateescape')).hexdigest()}"
    expected = hmac.digest(secret.encode(), to_sign.encode(), "sha256").hex()
    if hmac.compare_digest(expected, authorization["signature"]):
        return None
    # The real gateway shows its own calculation too: it helps whoever writes a client, and is no text for logs.
    calculation = f"server StringToSign is [{to_sign}] server CanonicalRequest is [{request}]"
    return Refusal("SignatureDoesNotMatch", calculation)


def _check_token(headers: Mapping[str, str], access_key_id: str, token: str | None) -> Refusal | None:
    sent = headers.get("x-acs-security-token")
    if token is None:
        return None if sent is None else Refusal("InvalidSecurityToken.Malformed")
    if sent is None:
        return Refusal("MissingSecurityToken")
    if sent != token or headers.get("x-acs-accesskey-id") != access_key_id:
        return Refusal("InvalidSecurityToken.Malformed")
    return None


class Nonces:
    """Nonces seen, remembered for at least `keep_seconds`, in bounded memory.

    Two generations, the older of which is forgotten as a whole; more than `limit` nonces in one `keep_seconds`
    (beyond 130 requests a second for half an hour) are forgotten sooner.
    """

    __slots__ = ("_current", "_keep", "_limit", "_previous", "_since")

    def __init__(self, *, keep_seconds: float = 2 * MAX_SKEW_SECONDS, limit: int = 250_000) -> None:
        # A date may be 15 minutes ahead when it is first seen, and is refused 15 minutes after itself.
        self._keep = keep_seconds
        self._limit = limit
        self._current: set[str] = set()
        self._previous: set[str] = set()
        self._since = float("-inf")

    def __len__(self) -> int:
        return len(self._current) + len(self._previous)

    def use(self, nonce: str, now: float) -> bool:
        """Whether this nonce is new; from now on it is not."""
        if now - self._since >= self._keep or len(self._current) >= self._limit:
            # After a pause longer than a generation nothing that is remembered can matter any more.
            self._previous = self._current if now - self._since < 2 * self._keep else set()
            self._current = set()
            self._since = now
        if nonce in self._current or nonce in self._previous:
            return False
        self._current.add(nonce)
        return True
