"""Why a broker cannot be used, in plain words: the setting that matters, what was found, and what to do about it."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from typing import TYPE_CHECKING, Final

from aiokafka.errors import (
    AuthenticationFailedError,
    IllegalSaslStateError,
    KafkaError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    UnsupportedSaslMechanismError,
)

from consumer.certificates import EXPIRED, NOT_YET_VALID, OTHER_NAME, UNTRUSTED
from consumer.errors import StartError
from consumer.kafka.tokens import TokenUnavailable


if TYPE_CHECKING:
    from collections.abc import Sequence

    from consumer.certificates import CertificateFiles
    from consumer.settings.models import KafkaSecurity


__all__ = ["ClosedAtFirstRequest", "missing_topics", "unreachable"]


# A TLS alert begins with these bytes; taken for Kafka's own format they are the length of an answer.
ALERT: Final = range(0x15030000, 0x15040000)


class ClosedAtFirstRequest(KafkaError):  # type: ignore[misc]  # aiokafka ships no types
    """A broker took our connection, and closed it when it was first asked for something."""


def unreachable(
    server: str,
    error: BaseException,
    security: KafkaSecurity,
    certificates: CertificateFiles | None = None,
    *,
    mechanisms: Sequence[str] = (),
    seconds: float,
) -> StartError:
    """Why a broker cannot be used, and what to do about it.

    Args:
        server: Where the broker was looked for.
        error: What came of it.
        security: How it was talked to.
        certificates: The files that were used for that, with TLS.
        mechanisms: The SASL mechanisms that the broker offers, where that is known.
        seconds: How long it was given.
    """
    if isinstance(error, TokenUnavailable):
        return StartError(str(error), error.remedy)
    if isinstance(error, UnsupportedSaslMechanismError):
        return _mechanism(server, security, mechanisms)
    if isinstance(error, IllegalSaslStateError):
        plain = security.protocol.removeprefix("SASL_")
        return StartError(
            f"{server} takes no SASL at this port, but kafka.security.protocol is {security.protocol}",
            "take the port of a listener with SASL in kafka.bootstrap_servers, or set kafka.security.protocol to "
            f"{plain}",
        )
    if isinstance(error, (AuthenticationFailedError, SaslAuthenticationFailed)):
        return _credentials(server, security, error)
    broken = _tls_error(error)
    if isinstance(broken, ssl.SSLCertVerificationError):
        return _untrusted(server, security, broken)
    if broken is not None and "ALERT" in (broken.reason or ""):
        return _certificate_refused(server, security, certificates, broken)
    if security.protocol.endswith("SSL") and _breaks_off(error):
        plain = "SASL_PLAINTEXT" if security.protocol == "SASL_SSL" else "PLAINTEXT"
        return StartError(
            f"{server} breaks the TLS handshake off, as a listener without TLS does "
            f"(kafka.security.protocol is {security.protocol})",
            "take the port of a listener with TLS in kafka.bootstrap_servers, or, where nobody else can listen in, set "
            f"kafka.security.protocol to {plain}",
        )
    if _answered_with_tls(error):
        encrypted = "SASL_SSL" if security.protocol.startswith("SASL") else "SSL"
        return StartError(
            f"{server} speaks TLS at this port, but kafka.security.protocol is {security.protocol}",
            f"set kafka.security.protocol to {encrypted}, or take another port in kafka.bootstrap_servers",
        )
    if isinstance(error, ClosedAtFirstRequest):
        return StartError(
            f"{server} closes the connection at our first request, as a listener with SASL does to whoever does not "
            f"authenticate (kafka.security.protocol is {security.protocol})",
            f"set kafka.security.protocol to SASL_{security.protocol}, with a user and a password, or look at the "
            "brokers' logs",
        )
    if isinstance(error, socket.gaierror):
        return StartError(f"the name of {server} cannot be resolved: {error}", "correct kafka.bootstrap_servers")
    reason = f"no answer within {seconds:.0f} s" if isinstance(error, TimeoutError) else str(error)
    return StartError(
        f"the Kafka broker {server} cannot be reached: {reason}",
        "check kafka.bootstrap_servers and kafka.security.protocol, that the broker runs, and that it may be reached "
        "from here",
    )


def missing_topics(missing: Sequence[str], setting: str, told: Sequence[object]) -> StartError:
    """What it means that brokers do not list topics: they are not there, or hidden from us, which brokers may tell.

    Args:
        missing: The topics.
        setting: The setting that names them, or several.
        told: What the brokers said when asked for each of them.
    """
    names = ", ".join(missing)
    if all(isinstance(why, TopicAuthorizationFailedError) for why in told):
        return StartError(
            f"our user may not see the topic {names} ({setting}), nor hear whether there is one",
            f"grant it Describe, and Read or Write, on the topic, or correct {setting}",
        )
    them, they_exist = ("it", "it exists") if len(missing) == 1 else ("them", "they exist")
    return StartError(
        f"no such topic: {names}",
        f"create {them}, or correct {setting}; if {they_exist}, grant our user Describe, and Read or Write, on {them}",
    )


def _mechanism(server: str, security: KafkaSecurity, offered: Sequence[str]) -> StartError:
    found = f"it offers {', '.join(offered)}" if offered else "it offers others"
    return StartError(
        f"{server} does not take {security.sasl_mechanism} (kafka.security.sasl_mechanism); {found}",
        "set kafka.security.sasl_mechanism to what it offers, or have it enabled in the listener's "
        "sasl.enabled.mechanisms",
    )


def _credentials(server: str, security: KafkaSecurity, error: BaseException) -> StartError:
    said = error.args[0] if error.args and isinstance(error.args[0], str) else type(error).__name__
    if security.sasl_mechanism == "OAUTHBEARER":
        origin = "oauth_token_file" if security.oauth_token_file is not None else "oauth_token_endpoint"
        return StartError(
            f"{server} refuses our credentials, the token of kafka.security.{origin}: {said}",
            "see that the brokers know its issuer and keys (sasl.oauthbearer.jwks.endpoint.url), and expect its "
            "audience (sasl.oauthbearer.expected.audience); their logs say what they miss",
        )
    user = f"{security.sasl_username} by {security.sasl_mechanism}"
    return StartError(
        f"{server} refuses our credentials, those of user {user}: {said}",
        "check sasl_username and sasl_password under kafka.security, and that the user has a password for this "
        "sasl_mechanism",
    )


def _tls_error(error: BaseException) -> ssl.SSLError | None:
    """What broke TLS; with TLS 1.3 a broker refuses our certificate only after the handshake."""
    cause = error.__cause__
    found = next((one for one in (error, cause) if isinstance(one, ssl.SSLError)), None)
    return None if isinstance(found, (ssl.SSLEOFError, ssl.SSLZeroReturnError)) else found


def _untrusted(server: str, security: KafkaSecurity, error: ssl.SSLCertVerificationError) -> StartError:
    if error.verify_code == EXPIRED:
        return StartError(
            f"the certificate of {server} has expired, or one of the authorities that vouch for it",
            "have the broker's certificate renewed; if it is good, set this machine's clock, or look at "
            "kafka.security.ca_file",
        )
    if error.verify_code == NOT_YET_VALID:
        return StartError(f"the certificate of {server} is not valid yet", "set this machine's clock, or the broker's")
    if error.verify_code in OTHER_NAME:
        return StartError(
            f"the certificate of {server} is one for other names: {error.verify_message.rstrip('.')}",
            "write the broker's name in kafka.bootstrap_servers as its certificate has it, or have a certificate made "
            "with this name as a subject alternative name; the names in advertised.listeners count too",
        )
    if error.verify_code in UNTRUSTED:
        trusted = "the system's own" if security.ca_file is None else f"those in {security.ca_file}"
        return StartError(
            f"the certificate of {server} was signed by none of the authorities that we trust, {trusted} "
            f"(kafka.security.ca_file): {error.verify_message}",
            "write the certificate of the authority that signs the brokers' certificates into kafka.security.ca_file",
        )
    return StartError(
        f"the certificate of {server} cannot be trusted: {error.verify_message}",
        "have the broker's certificate made anew, or correct kafka.security.ca_file",
    )


def _certificate_refused(
    server: str, security: KafkaSecurity, certificates: CertificateFiles | None, error: ssl.SSLError
) -> StartError:
    alert = (error.reason or "").partition("ALERT_")[2].replace("_", " ").lower()
    if security.certificate_file is None:
        return StartError(
            f"{server} wants a certificate of ours, and we have none ({alert})",
            "set kafka.security.certificate_file and kafka.security.key_file, or take a listener that wants none",
        )
    mine = f"kafka.security.certificate_file, {security.certificate_file},"
    expiry = certificates.expiry() if certificates is not None else {}
    if "certificate_file" in expiry and expiry["certificate_file"] <= time.time():
        when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(expiry["certificate_file"]))
        return StartError(
            f"{server} refuses our certificate: {mine} has expired, at {when}",
            "have it renewed; a new one is used as soon as it is in the file",
        )
    return StartError(
        f"{server} refuses our certificate: {mine} is not one that it trusts ({alert})",
        "have it signed by an authority in the brokers' ssl.truststore.location, for client authentication",
    )


def _breaks_off(error: BaseException) -> bool:
    if isinstance(error, ssl.SSLError):
        return True
    return isinstance(error, ConnectionError) and not isinstance(error, ConnectionRefusedError)


def _answered_with_tls(error: BaseException) -> bool:
    cause = error.__cause__
    return isinstance(cause, asyncio.IncompleteReadError) and cause.expected in ALERT
