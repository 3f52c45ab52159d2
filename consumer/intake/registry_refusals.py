"""Why a schema registry cannot be used, in plain words: what was found, and which setting mends it. Pure functions."""

from __future__ import annotations

import socket
import ssl
import time
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

import aiohttp

from consumer.certificates import EXPIRED, NOT_YET_VALID, OTHER_NAME, UNTRUSTED


if TYPE_CHECKING:
    from collections.abc import Iterator

    from consumer.certificates import CertificateFiles
    from consumer.settings.formats import SchemaRegistry


__all__ = ["Trouble", "not_a_registry", "refused", "unanswered"]


class Trouble(NamedTuple):
    """What the registry does, to be read behind its address, and what to do about it."""

    said: str
    remedy: str


def unanswered(settings: SchemaRegistry, error: BaseException, certificates: CertificateFiles | None) -> Trouble:
    """Why no answer came.

    Args:
        settings: Where the registry was looked for, and how.
        error: What came of it.
        certificates: The files that were used for that, with TLS.
    """
    found = _why(settings, list(_causes(error)), certificates)
    return found._replace(said=f"does not answer: {found.said}")


def refused(settings: SchemaRegistry, status: int) -> Trouble:
    """The registry does not let us in (401), or not at schemas (403)."""
    if settings.username is not None:
        who, keys = f"user {settings.username}", "format.schema_registry.username and format.schema_registry.password"
    elif settings.token is not None:
        who, keys = "our token", "format.schema_registry.token, and whether it has expired"
    elif settings.certificate_file is not None:
        who, keys = "our certificate", "format.schema_registry.certificate_file"
    else:
        who, keys = "", ""
    said = f"refuses us with HTTP {status}"
    if not who:
        return Trouble(
            f"{said}, and we say nothing about who we are",
            "set format.schema_registry.username and password, or token, or a certificate_file with its key_file",
        )
    if status == 401:
        return Trouble(f"{said}: it does not take {who}", f"check {keys}")
    return Trouble(
        f"{said}: it knows {who}, but does not let it read schemas",
        f"grant {who} the right to read all subjects and their schemas, or check {keys}",
    )


def not_a_registry(path: str, status: int, location: str = "") -> Trouble:
    """What answers is no registry, or one that does not work.

    Args:
        path: What was asked for.
        status: What the answer's was.
        location: Where the answer sends us; its query is not shown.
    """
    said = f"answers /{path} with HTTP {status} and no schema"
    if status >= 500:
        return Trouble(said, "look at the registry's logs, and at what stands before it")
    if 300 <= status < 400:
        goal = location.partition("?")[0].removesuffix(f"/{path}")
        return Trouble(
            f"{said}: it sends us to {goal or 'another place'}",
            "write the address of the registry itself into format.schema_registry.url",
        )
    return Trouble(
        f"{said}: there is no registry at this address",
        "correct format.schema_registry.url; some registries are below a path, such as /apis/ccompat/v7",
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what caused it: the client wraps what went wrong below it, more than once."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _why(settings: SchemaRegistry, errors: list[BaseException], certificates: CertificateFiles | None) -> Trouble:
    address = urlsplit(settings.url or "")
    secure = address.scheme == "https"
    if any(isinstance(error, TimeoutError) for error in errors):
        return Trouble(
            f"nothing came within {settings.timeout_seconds:g} s (format.schema_registry.timeout_seconds)",
            "see that the registry runs and may be reached from here, and check format.schema_registry.url",
        )
    # The client's own errors pass for those of TLS without having what those have.
    below = [error for error in errors if not isinstance(error, aiohttp.ClientError)]
    for error in below:
        if isinstance(error, ssl.SSLCertVerificationError):
            return _untrusted(settings, error)
        if isinstance(error, ssl.SSLError) and "ALERT" in (error.reason or ""):
            alert = (error.reason or "").partition("ALERT_")[2].replace("_", " ").lower()
            return _certificate_refused(settings, certificates, alert)
        if isinstance(error, socket.gaierror):
            return Trouble(
                f"the name {address.hostname} cannot be resolved: {error.strerror}",
                "correct the name in format.schema_registry.url, or look at this machine's DNS",
            )
        if isinstance(error, ConnectionRefusedError):
            port = address.port or (443 if secure else 80)
            return Trouble(
                f"nobody listens at {address.hostname}:{port} (connection refused)",
                "start the registry, or correct host and port in format.schema_registry.url",
            )
    connecting = isinstance(errors[0], aiohttp.ClientConnectorError)
    if secure and connecting and any(isinstance(error, ssl.SSLError | ConnectionError) for error in below):
        return Trouble(
            "it breaks the TLS handshake off, as a port without TLS does",
            "take the registry's port with TLS in format.schema_registry.url, or, where nobody else can listen in, "
            "begin it with http://",
        )
    if not connecting and secure:
        # Who refuses a certificate by TLS 1.3 is gone by then, and what it said about that may be lost with it.
        return _certificate_refused(settings, certificates, "it closed the connection at our first request")
    if not connecting:
        return Trouble(
            "it closes the connection without an answer in HTTP, as a port with TLS does",
            "begin format.schema_registry.url with https:// if the registry speaks TLS, or correct its port",
        )
    said = str(errors[0]) or type(errors[0]).__name__
    return Trouble(said, "look at the registry, format.schema_registry.url and the network")


def _untrusted(settings: SchemaRegistry, error: ssl.SSLCertVerificationError) -> Trouble:
    if error.verify_code == EXPIRED:
        return Trouble(
            "its certificate has expired, or that of an authority that vouches for it",
            "have it renewed; if it is good, set this machine's clock, or look at format.schema_registry.ca_file",
        )
    if error.verify_code == NOT_YET_VALID:
        return Trouble("its certificate is not valid yet", "set this machine's clock, or the registry's")
    if error.verify_code in OTHER_NAME:
        return Trouble(
            f"its certificate is one for other names: {error.verify_message.rstrip('.')}",
            "write the name in format.schema_registry.url as the certificate has it, or have a certificate made with "
            "this name as a subject alternative name",
        )
    if error.verify_code in UNTRUSTED:
        trusted = "the system's own" if settings.ca_file is None else f"those in {settings.ca_file}"
        return Trouble(
            f"its certificate was signed by none of the authorities that we trust, {trusted} "
            f"(format.schema_registry.ca_file): {error.verify_message}",
            "write the certificate of the authority that signs the registry's into format.schema_registry.ca_file",
        )
    return Trouble(
        f"its certificate cannot be trusted: {error.verify_message}",
        "have it made anew, or correct format.schema_registry.ca_file",
    )


def _certificate_refused(settings: SchemaRegistry, certificates: CertificateFiles | None, how: str) -> Trouble:
    """Mutual TLS does not come about; `how` is the alert that was sent, or what was seen instead of one."""
    if settings.certificate_file is None:
        return Trouble(
            f"it wants a certificate of ours, it seems, and we have none ({how})",
            "set format.schema_registry.certificate_file and format.schema_registry.key_file, or look at its logs",
        )
    mine = f"format.schema_registry.certificate_file, {settings.certificate_file},"
    expiry = {} if certificates is None else certificates.expiry()
    if "certificate_file" in expiry and expiry["certificate_file"] <= time.time():
        when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(expiry["certificate_file"]))
        return Trouble(
            f"it refuses our certificate: {mine} has expired, at {when}",
            "have it renewed; a new one is used as soon as it is in the file",
        )
    return Trouble(
        f"it refuses our certificate, it seems: {mine} is not one that it trusts ({how})",
        "have it signed by an authority that the registry trusts for clients (ssl.truststore.location), or look at "
        "its logs",
    )
