"""How this process proves who it is to the brokers: shared by all of its Kafka clients, and kept fresh for them."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

import structlog
from aiokafka.conn import AIOKafkaConnection, OAuthAuthenticator

from consumer.certificates import CertificateFiles
from consumer.errors import StartError
from consumer.kafka.tokens import tokens_from


if TYPE_CHECKING:
    from consumer.metrics import Metrics
    from consumer.settings.models import KafkaSecurity


__all__ = ["Secured", "mend_sasl", "secured"]


_log = structlog.get_logger(__name__)

# How often files are looked at while nobody connects.
LOOK_SECONDS: Final = 5.0

# How often it is said that the brokers still refuse us.
SAY_SECONDS: Final = 60.0


class Secured:
    """The security of all connections that share their settings and their event loop.

    Args:
        security: The settings.

    Raises:
        StartError: a file cannot be used, or the settings lack a user, a password or the origin of tokens.
    """

    def __init__(self, security: KafkaSecurity) -> None:
        self._security = security
        self.certificates = CertificateFiles(security) if security.protocol.endswith("SSL") else None
        sasl = security.protocol.startswith("SASL")
        self.tokens = tokens_from(security) if sasl and security.sasl_mechanism == "OAUTHBEARER" else None
        if sasl and self.tokens is None and None in (security.sasl_username, security.sasl_password):
            raise StartError(
                f"kafka.security.protocol is {security.protocol}, but there is no user or no password",
                "set kafka.security.sasl_username and kafka.security.sasl_password",
            )
        self.refusal: StartError | None = None
        """Why no broker has let us in when we last tried to connect anew; None where one has, or none was asked."""
        self._let_in = False
        self._said_at = 0.0

    def options(self) -> dict[str, Any]:
        """The keyword arguments about security that every aiokafka client takes."""
        security = self._security
        options: dict[str, Any] = {"security_protocol": security.protocol}
        if self.certificates is not None:
            options["ssl_context"] = self.certificates.context
        if security.protocol.startswith("SASL"):
            options["sasl_mechanism"] = security.sasl_mechanism
        if self.tokens is not None:
            options["sasl_oauth_token_provider"] = self.tokens
        elif security.protocol.startswith("SASL") and security.sasl_password is not None:
            options["sasl_plain_username"] = security.sasl_username
            options["sasl_plain_password"] = security.sasl_password.get_secret_value()
        return options

    async def ready(self) -> None:
        """Have what can be had before a broker is asked. When cancelled nothing has happened.

        Raises:
            StartError: there is no token.
        """
        if self.tokens is not None:
            await self.tokens.ready()

    def let_in(self) -> None:
        """A broker has taken a connection of ours."""
        if self.refusal is not None:
            _log.info("brokers_let_us_in_again")
        self.refusal, self._let_in = None, True

    def refused(self, refusal: StartError) -> None:
        """No broker lets us in. While we work that is said at once and then each minute; at a start it ends us."""
        now = time.monotonic()
        if self._let_in and (self.refusal is None or now - self._said_at >= SAY_SECONDS):
            self._said_at = now
            _log.error("brokers_let_us_in_no_more", reason=str(refusal), remedy=refusal.remedy)
        self.refusal = refusal

    async def run(self, metrics: Metrics) -> None:
        """Look for new files and tokens although nobody connects, and have the metrics tell of them, until cancelled.

        Clients look for themselves whenever they connect: this is for those who watch, and to be early.
        """
        async with asyncio.TaskGroup() as tasks:
            if self.tokens is not None:
                tasks.create_task(self.tokens.run())
            tasks.create_task(self._watch(metrics))

    async def _watch(self, metrics: Metrics) -> None:
        certificate = metrics.gauge("kafka_certificate_expires_timestamp_seconds")
        token = metrics.gauge("kafka_token_expires_timestamp_seconds")
        stale, refused = metrics.gauge("kafka_certificates_stale"), metrics.gauge("kafka_refused")
        while True:
            if self.certificates is not None:
                self.certificates.look()
                stale.set(self.certificates.problem is not None)
                for key, moment in self.certificates.expiry().items():
                    certificate.labels(key).set(moment)
            if self.tokens is not None:
                token.set(self.tokens.expires_at or 0.0)
            refused.set(self.refusal is not None)
            await asyncio.sleep(LOOK_SECONDS)


_shared: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[KafkaSecurity, Secured]] = WeakKeyDictionary()


def secured(security: KafkaSecurity) -> Secured:
    """The security of these settings, the same one for all who ask while one event loop runs.

    All clients of a process have one token then, and one answer to whether a file has changed; without a running loop
    it is made for the caller alone.

    Raises:
        StartError: see `Secured`; of what is shared already a file may go bad without that.
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return Secured(security)
    known = _shared.setdefault(loop, {})
    if security not in known:
        known[security] = Secured(security)
    return known[security]


class _OAuth(OAuthAuthenticator):  # type: ignore[misc]  # aiokafka ships no types
    """What aiokafka lacks: a broker that refuses a token says so in a challenge, and waits for a byte (RFC 7628).

    Taken for a success, the next request goes into the middle of the authentication, and its answer is garbage.
    """

    async def step(self, payload: bytes | None) -> tuple[Any, bool] | None:
        if self._token_sent and payload:
            return b"\x01", True
        step: tuple[Any, bool] | None = await super().step(payload)
        return step


def _authenticator(connection: Any) -> _OAuth:
    return _OAuth(sasl_oauth_token_provider=connection._sasl_oauth_token_provider)  # noqa: SLF001  # as aiokafka has it


def mend_sasl() -> None:
    """Put the mended piece in place; more than once is once."""
    AIOKafkaConnection.authenticator_oauth = _authenticator
