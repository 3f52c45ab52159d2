"""Certificates in files: what they say of themselves, and contexts that make each handshake with the latest of them."""

from __future__ import annotations

import calendar
import re
import ssl
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import structlog

from consumer.errors import StartError


if TYPE_CHECKING:
    from collections.abc import Mapping

    from consumer.settings.formats import SchemaRegistry
    from consumer.settings.models import KafkaSecurity


__all__ = ["EXPIRED", "NOT_YET_VALID", "OTHER_NAME", "UNTRUSTED", "CertificateFiles", "expires_at"]


_log = structlog.get_logger(__name__)

FILES: Final = ("ca_file", "certificate_file", "key_file")

# Why a certificate is not trusted, as OpenSSL calls it (X509_V_ERR_…).
NOT_YET_VALID: Final = 9
EXPIRED: Final = 10
OTHER_NAME: Final = {62, 64}
UNTRUSTED: Final = {2, 18, 19, 20, 21}

_PEM: Final = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)

# What a certificate (RFC 5280) is made of, as far as its validity.
_SEQUENCE: Final = 0x30
_VERSION: Final = 0xA0
_UTC_TIME: Final = 0x17
_GENERALIZED_TIME: Final = 0x18


def expires_at(pem: str) -> float | None:
    """When the first of the certificates in a PEM text expires, in seconds since the epoch; None without any.

    Raises:
        ValueError: one of them is no certificate.
    """
    return min((_not_after(ssl.PEM_cert_to_DER_cert(found)) for found in _PEM.findall(pem)), default=None)


class CertificateFiles:
    """The files of one connection's settings, and a context made of them, which is made anew when they change.

    A change that cannot be used, such as a certificate without its key, changes nothing: the context made last stays
    in use, and `problem` says what is wrong.

    Args:
        security: Names the files.
        section: What its keys are below, for people.

    Raises:
        StartError: one of the files cannot be used.
    """

    def __init__(self, security: KafkaSecurity | SchemaRegistry, section: str = "kafka.security") -> None:
        self.section = section
        self._paths = {key: Path(name) for key in FILES if (name := getattr(security, key)) is not None}
        self.problem: StartError | None = None
        """Why what is in the files now is not in use; None while it is."""
        self._used = self._found = self._contents()
        self._made = self._make(self._used)
        self.context: ssl.SSLContext = _Latest.of(self)
        """What every client takes: a handshake looks at the files first."""

    def look(self) -> None:
        """Look whether the files have changed, and use what they hold now. It never raises."""
        try:
            found = self._contents()
            if found == self._used:
                self.problem = None
                return
            made = self._make(found)
            if self._contents() != found:
                return  # somebody is at it: the context may be of the old and the new ones
        except StartError as problem:
            if str(problem) != str(self.problem):
                _log.error("certificates_not_reloaded", error=str(problem), remedy=problem.remedy)
            self.problem = problem
            return
        self._used, self._made, self.problem = found, made, None
        _log.info("certificates_reloaded", expire_at=self.expiry())

    def latest(self) -> ssl.SSLContext:
        """A context of the files as they are now, or as they were when they could last be used."""
        self.look()
        return self._made

    def expiry(self) -> dict[str, float]:
        """When the first certificate of each file that is in use expires, in seconds since the epoch."""
        found = {key: expires_at(text) for key, text in self._used.items() if key != "key_file"}
        return {key: moment for key, moment in found.items() if moment is not None}

    def path(self, key: str) -> str:
        """The file that a setting names, for people."""
        return str(self._paths[key])

    def _contents(self) -> dict[str, str]:
        found = {}
        for key, path in self._paths.items():
            try:
                found[key] = path.read_text(encoding="latin-1")
            except OSError as error:
                raise StartError(
                    f"{self.section}.{key}, {path}, cannot be read: {error.strerror}",
                    f"correct {key}, or mount the file where it is looked for, readable for this program's user",
                ) from error
        return found

    def _make(self, texts: Mapping[str, str]) -> ssl.SSLContext:
        """A context of these texts; of a certificate and its key, of their files, since that is all that ssl takes."""
        for key in texts.keys() - {"key_file"}:
            self._require_certificates(key, texts[key])
        trusted = "\n".join(_PEM.findall(texts.get("ca_file", ""))) or None
        context = ssl.create_default_context(cadata=trusted)
        if "certificate_file" in texts:
            try:
                context.load_cert_chain(
                    self._paths["certificate_file"], self._paths.get("key_file"), password=_no_password
                )
            except (OSError, ValueError) as error:
                raise self._unusable_pair(error) from error
        return context

    def _require_certificates(self, key: str, text: str) -> None:
        where = f"{self.section}.{key}, {self._paths[key]},"
        try:
            found = expires_at(text)
        except (ValueError, IndexError) as error:
            raise StartError(f"{where} holds a certificate that cannot be read", "write it anew, in PEM") from error
        if found is None:
            raise StartError(f"{where} holds no certificate in PEM", "a PEM certificate begins with -----BEGIN")

    def _unusable_pair(self, error: Exception) -> StartError:
        certificate, key = self._paths["certificate_file"], self._paths.get("key_file")
        if isinstance(error, ssl.SSLError) and error.reason == "KEY_VALUES_MISMATCH":
            return StartError(
                f"{self.section}.key_file, {key}, is not the key of {self.section}.certificate_file, {certificate}",
                "put the two files there that were made together",
            )
        if isinstance(error, _Encrypted):
            return StartError(
                f"{self.section}.key_file, {key}, is protected by a password",
                "decrypt it, for example with openssl pkey, and let nobody but this program's user read it",
            )
        return StartError(
            f"{self.section}.key_file, {key}, holds no private key in PEM that can be used",
            f"put the key of {self.section}.certificate_file there, in PEM",
        )


class _Latest(ssl.SSLContext):
    """A context that hands each handshake on to the latest one of its files.

    To load files into a context that is in use would only ever add authorities, and never take one away.
    """

    _files: CertificateFiles

    @classmethod
    def of(cls, files: CertificateFiles) -> Self:
        """The context of these files."""
        context = cls(ssl.PROTOCOL_TLS_CLIENT)
        context._files = files
        return context

    def wrap_bio(self, *arguments: Any, **more: Any) -> ssl.SSLObject:
        """Begin a handshake: asyncio and uvloop do nothing else with a context."""
        return self._files.latest().wrap_bio(*arguments, **more)


class _Encrypted(ValueError):
    """A key asks for a password."""


def _no_password() -> str:
    # Without this ssl asks for one at the terminal, and waits.
    raise _Encrypted


def _not_after(der: bytes) -> float:
    """The end of a certificate's validity. The public parts of `ssl` tell it only of certificates that others sent."""
    certificate, _ = _element(der, 0, _SEQUENCE)
    fields, _ = _element(certificate, 0, _SEQUENCE)
    at = 0
    if fields[0] == _VERSION:
        _, at = _element(fields, at)
    for _ in range(3):  # serial number, signature, issuer
        _, at = _element(fields, at)
    validity, _ = _element(fields, at, _SEQUENCE)
    _, at = _element(validity, 0)
    kind = validity[at]
    raw, _ = _element(validity, at)
    moment = raw.decode("ascii")
    if kind == _UTC_TIME:
        moment = ("19" if moment >= "50" else "20") + moment
    elif kind != _GENERALIZED_TIME:
        raise ValueError("the end of a certificate's validity is no time")
    return float(calendar.timegm(time.strptime(moment, "%Y%m%d%H%M%SZ")))


def _element(data: bytes, at: int, tag: int | None = None) -> tuple[bytes, int]:
    """What an element (X.690, DER) holds, and where the next one begins."""
    if tag is not None and data[at] != tag:
        raise ValueError(f"found tag {data[at]}, expected {tag}")
    length, begin = data[at + 1], at + 2
    if length & 0x80:
        count = length & 0x7F
        length, begin = int.from_bytes(data[begin : begin + count], "big"), begin + count
    if begin + length > len(data):
        raise ValueError("it is cut short")
    return data[begin : begin + length], begin + length
