"""A real Apache Kafka that lets nobody in without credentials, with a listener for each way of having them."""

from __future__ import annotations

import shutil
import tempfile
import time
from base64 import urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson
import trustme
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from tests.broker.cluster import KafkaCluster


if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


__all__ = ["AUDIENCE", "PASSWORD", "USERS", "Issuer", "Right", "SecuredKafka", "write_identity"]


# Each of these users may do nothing until a test says otherwise.
USERS: Final = ("alice", "bob", "carol")
PASSWORD: Final = "open sesame"
AUDIENCE: Final = "kafka"

LISTENERS: Final = {
    "TLS": "SSL",
    "MTLS": "SSL",
    "EXPIRED": "SSL",
    "SASL": "SASL_SSL",
    "BARE": "SASL_PLAINTEXT",
    "OAUTH": "SASL_SSL",
}

# With this every connection that a token has opened ends with the token.
REAUTHENTICATE_MS: Final = 3_600_000

_PACKAGE: Final = "org.apache.kafka.common.security"


class Issuer:
    """Signs tokens (JWT, RS256), and has its public key where the brokers look for it."""

    def __init__(self, directory: Path) -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        numbers = self._key.public_key().public_numbers()
        key = {
            "kty": "RSA",
            "use": "sig",
            "alg": "RS256",
            "kid": "1",
            "n": _base64(numbers.n.to_bytes(256, "big")),
            "e": _base64(numbers.e.to_bytes(3, "big")),
        }
        self.keys = directory / "jwks.json"
        self.keys.write_bytes(orjson.dumps({"keys": [key]}))

    def token(self, user: str, *, seconds: float = 3600, **claims: Any) -> str:
        """A token of this user that expires after so long."""
        now = int(time.time())
        header = {"alg": "RS256", "kid": "1", "typ": "JWT"}
        payload = {"sub": user, "aud": AUDIENCE, "iss": "test", "iat": now, "exp": int(time.time() + seconds), **claims}
        text = f"{_base64(orjson.dumps(header))}.{_base64(orjson.dumps(payload))}"
        return f"{text}.{_base64(self._key.sign(text.encode(), padding.PKCS1v15(), SHA256()))}"


Right = tuple[str, str, str]
"""The kind of a thing (`topic`, `group`, `transactional_id`, `cluster`), its name, and an operation such as `read`."""


class SecuredKafka(KafkaCluster):
    """One node with an authoriser; certificates, users and keys are made anew for it, in `directory`.

    Who comes in at the plain listener may do anything, and so may who comes with TLS alone: it is nobody either. All
    others may do what they were given.

    Attributes:
        directory: What clients need: `ca.pem`, and identities that `write_identity` writes.
        ca: Signs the certificates of brokers and clients.
        issuer: Signs the tokens.
    """

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="kafka-secured-"))
        self.ca = trustme.CA()
        self.ca.cert_pem.write_to_path(self.directory / "ca.pem")
        self.issuer = Issuer(self.directory)
        yesterday = datetime.now(UTC) - timedelta(days=1)
        good = self._keystore("broker", self.ca.issue_cert("localhost"))
        stale = self._keystore("stale", self.ca.issue_cert("localhost", not_after=yesterday))
        scram = [
            f"--add-scram=SCRAM-SHA-{bits}=[name={user},password={PASSWORD}]" for user in USERS for bits in (256, 512)
        ]
        super().__init__(
            secured=LISTENERS,
            formatting=scram,
            java=(f"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={self.issuer.keys.as_uri()}",),
            config={
                "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
                "super.users": "User:ANONYMOUS",
                # Of a certificate's subject its common name is the user.
                "listener.name.mtls.ssl.principal.mapping.rules": "RULE:^.*CN=([a-z]+).*$/$1/",
                "ssl.keystore.type": "PEM",
                "ssl.keystore.location": str(good),
                "ssl.truststore.type": "PEM",
                "ssl.truststore.location": str(self.directory / "ca.pem"),
                "listener.name.expired.ssl.keystore.type": "PEM",
                "listener.name.expired.ssl.keystore.location": str(stale),
                "listener.name.mtls.ssl.client.auth": "required",
                **_mechanisms("sasl", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"),
                **_mechanisms("bare", "PLAIN", "SCRAM-SHA-512"),
                **_mechanisms("oauth", "OAUTHBEARER"),
                "listener.name.oauth.oauthbearer.sasl.server.callback.handler.class": f"{_PACKAGE}.oauthbearer."
                "OAuthBearerValidatorCallbackHandler",
                "listener.name.oauth.oauthbearer.connections.max.reauth.ms": str(REAUTHENTICATE_MS),
                "sasl.oauthbearer.jwks.endpoint.url": self.issuer.keys.as_uri(),
                "sasl.oauthbearer.expected.audience": AUDIENCE,
                # The one that is the default in 4.1.0 takes any token that is well formed, whoever signed it.
                "sasl.oauthbearer.jwt.validator.class": f"{_PACKAGE}.oauthbearer.BrokerJwtValidator",
            },
        )

    def stop(self) -> None:
        """Kill the node and delete all that was made for it."""
        super().stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def at(self, listener: str) -> str:
        """Where clients come to a listener."""
        return f"localhost:{self.listening(listener)[0]}"

    def allow(self, user: str, rights: Iterable[Right]) -> None:
        """Give a user rights, and nothing besides; they hold when this returns."""
        bindings = [_binding(user, right, AclPermissionType.ALLOW) for right in rights]
        self._create_acls(bindings)

    def forbid(self, user: str, rights: Iterable[Right]) -> None:
        """Take rights away; that holds when this returns."""
        bindings = [_binding(user, right, AclPermissionType.DENY) for right in rights]
        self._create_acls(bindings)

    def change_password(self, user: str, password: str) -> None:
        """Give a user of SCRAM another password."""
        changes = [
            UserScramCredentialUpsertion(user, ScramCredentialInfo(mechanism, 4096), password.encode())
            for mechanism in (ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512)
        ]
        admin = self._admin()
        for change in changes:
            for done in admin.alter_user_scram_credentials([change]).values():
                done.result(10)

    def _create_acls(self, bindings: list[AclBinding]) -> None:
        admin = self._admin()
        for done in admin.create_acls(bindings).values():
            done.result(10)

    def _keystore(self, name: str, certificate: trustme.LeafCert) -> Path:
        path = self.directory / f"{name}.pem"
        path.write_bytes(_key(certificate) + b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
        return path


def write_identity(directory: Path, name: str, certificate: trustme.LeafCert) -> Mapping[str, str]:
    """Write a client's certificate and key; return the settings that name them."""
    directory.mkdir(parents=True, exist_ok=True)
    files = {"certificate_file": directory / f"{name}.crt", "key_file": directory / f"{name}.key"}
    files["certificate_file"].write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
    files["key_file"].write_bytes(_key(certificate))
    return {setting: str(path) for setting, path in files.items()}


def _key(certificate: trustme.LeafCert) -> bytes:
    """A certificate's key in PKCS #8, the one form that brokers take."""
    key = load_pem_private_key(certificate.private_key_pem.bytes(), None)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _mechanisms(listener: str, *mechanisms: str) -> Mapping[str, str]:
    """What a listener needs to take SASL; the passwords of PLAIN are part of the configuration."""
    users = " ".join(f'user_{user}="{PASSWORD}"' for user in USERS)
    modules = {
        "PLAIN": f"plain.PlainLoginModule required {users}",
        "SCRAM-SHA-256": "scram.ScramLoginModule required",
        "SCRAM-SHA-512": "scram.ScramLoginModule required",
        "OAUTHBEARER": "oauthbearer.OAuthBearerLoginModule required",
    }
    prefix = f"listener.name.{listener}"
    config = {f"{prefix}.{one.lower()}.sasl.jaas.config": f"{_PACKAGE}.{modules[one]};" for one in mechanisms}
    return {f"{prefix}.sasl.enabled.mechanisms": ",".join(mechanisms), **config}


def _binding(user: str, right: Right, permission: AclPermissionType) -> AclBinding:
    kind, name, operation = right
    return AclBinding(
        ResourceType[kind.upper()] if kind != "cluster" else ResourceType.BROKER,
        name,
        ResourcePatternType.LITERAL,
        f"User:{user}",
        "*",
        AclOperation[operation.upper()],
        permission,
    )


def _base64(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")
