"""The section `kafka`: the cluster, how to talk to it, what is read from it, and how replicas share the work."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from consumer.settings.section import Name, Seconds, Secret, Section


__all__ = ["Kafka", "KafkaSecurity", "Topic"]


def _moment(value: Any) -> Any:
    """`earliest`, `latest`, or a moment with its time zone; YAML itself reads an unquoted time stamp as a date."""
    if isinstance(value, str):
        word = value.strip()
        if word in {"earliest", "latest"}:
            return word
        try:
            value = datetime.fromisoformat(word)
        except ValueError:
            value = None
    elif type(value) is date:
        value = datetime(value.year, value.month, value.day)  # noqa: DTZ001  # the next line gives it its zone
    if not isinstance(value, datetime):
        raise PydanticCustomError("not_a_moment", "not a moment")
    return value if value.tzinfo is not None else value.replace(tzinfo=UTC)


Server = Annotated[str, Field(pattern=r"^(\[[0-9A-Fa-f:.]+\]|[^\s:/,@\[\]]+):[0-9]{1,5}$", examples=["broker:9092"])]
# What Kafka takes as the name of a topic.
Topic = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,249}$", examples=["moderation.verdicts"])]
Start = Annotated[
    Literal["earliest", "latest"] | datetime, BeforeValidator(_moment), Field(examples=["2026-01-31T00:00:00Z"])
]
# Never with a user in it: it is shown in messages.
TokenEndpoint = Annotated[
    str, Field(pattern=r"^https?://[^\s/?#@]+(/[^\s#]*)?$", examples=["https://idp/oauth2/token"])
]


class KafkaSecurity(Section):
    """How to talk to a secured cluster."""

    protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    """Whether connections are encrypted and authenticated."""
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] = "PLAIN"
    """How to authenticate, with a SASL protocol."""
    sasl_username: Name | None = None
    """The user to authenticate as, with `PLAIN` or `SCRAM-…`."""
    sasl_password: Secret | None = None
    """The user's password."""
    oauth_token_file: Name | None = None
    """A file with the token for `OAUTHBEARER`, such as a projected service account token; read for each connection."""
    oauth_token_endpoint: TokenEndpoint | None = None
    """Where tokens for `OAUTHBEARER` are to be had for the client's credentials below (OAuth 2, `client_credentials`);
    they are renewed before they expire."""
    oauth_client_id: Name | None = None
    """Who asks the token endpoint."""
    oauth_client_secret: Secret | None = None
    """The client's secret at the token endpoint."""
    oauth_scope: Name | None = None
    """What the token is to be good for, as the token endpoint calls it; one or more words."""
    ca_file: Name | None = None
    """Certificates to trust, in PEM; the system's own when not set. It is read again when it changes."""
    certificate_file: Name | None = None
    """Our certificate for mutual TLS, in PEM, with those between it and the authority. It is read again when it
    changes."""
    key_file: Name | None = None
    """The private key of our certificate, in PEM, without a password. It is read again when it changes."""


class Kafka(Section):
    """Where events are read from."""

    bootstrap_servers: Annotated[list[Server], Field(min_length=1)]
    """Brokers to ask first, as `host:port`."""
    topics: Annotated[list[Topic], Field(min_length=1)]
    """Topics to read."""
    group_id: Name
    """The consumer group; its committed offsets say what is done."""
    start: Start
    """Where a group without offsets starts: `earliest`, `latest`, or a time such as `2026-01-31T00:00:00Z`.
    There is no default, since `earliest` has all that the topic retains judged, and billed."""
    client_id: Name = "moderation-consumer"
    """What the brokers' logs and quotas call us."""
    session_timeout_seconds: Annotated[float, Field(ge=6, le=300)] = 30.0
    """How long the group waits for a silent member before its partitions go to another."""
    heartbeat_interval_seconds: Seconds = 0.5
    """How often the membership is renewed; at most a third of the session time-out. A member hears of a rebalance with
    its next heartbeat, so this is part of what a takeover takes."""
    scale: Literal["failover", "share"] = "failover"
    """`failover`: one replica of the group works, the others stand by. `share`: partitions, and the account's quota
    with them, are spread over all replicas; for raised quotas that one process cannot use up."""
    group_instance_id: Name | None = None
    """A name for this replica that outlives its restarts: its partitions wait for it for as long as a session. Each
    replica needs one of its own, such as a StatefulSet's pod name."""
    request_timeout_seconds: Seconds = 40.0
    """How long one request to a broker may take."""
    security: KafkaSecurity = KafkaSecurity()
    """How to talk to a secured cluster."""
