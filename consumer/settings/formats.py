"""Settings of how records are written: their encoding, what stands around an event, and where schemas are."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from consumer.settings.section import Name, Seconds, Secret, Section


__all__ = ["Encoding", "Envelope", "Format", "SchemaRegistry", "TopicFormat"]


Encoding = Literal["json", "json_schema", "avro", "protobuf"]
Envelope = Literal["none", "cloudevents", "debezium"]
Operation = Literal["create", "update", "read"]
RegistryUrl = Annotated[str, Field(pattern=r"^https?://[^\s/?#@]+(/[^\s?#]*)?$", examples=["https://registry:8081"])]


class SchemaRegistry(Section):
    """Where the schemas of `avro` and `protobuf` are: a registry that speaks Confluent's protocol."""

    url: RegistryUrl | None = None
    """Its address, without a user or password; a path such as `/apis/ccompat/v7` may follow."""
    username: Name | None = None
    """Whom to authenticate as, with a password (HTTP basic); an API key's name, where there is one."""
    password: Secret | None = None
    """The user's password, or the API key's secret."""
    token: Secret | None = None
    """A bearer token, in place of a user and password."""
    ca_file: Name | None = None
    """Certificates to trust, in PEM; the system's own when not set. It is read again when it changes."""
    certificate_file: Name | None = None
    """Our certificate for mutual TLS, in PEM, with those between it and the authority. It is read again when it
    changes."""
    key_file: Name | None = None
    """The private key of our certificate, in PEM, without a password. It is read again when it changes."""
    timeout_seconds: Seconds = 10.0
    """How long one request may take; a registry that does not answer is asked again for as long as it takes."""


class TopicFormat(Section):
    """How the records of one topic are written."""

    encoding: Encoding = "json"
    """How a value's bytes are to be read."""
    plugin: Name | None = None
    """A function of yours that reads values in place of an encoding: an entry point's name, or `module:function`."""
    envelope: Envelope = "none"
    """What stands around the platform's own record."""


class Format(Section):
    """How records are written. `avro` and `protobuf` need the extra `formats` and a schema registry."""

    encoding: Encoding = "json"
    """How a value's bytes are to be read: `json`; `avro`, `protobuf` and `json_schema` as Confluent's serializers write
    them, with the id of the schema in front of the value or in a header."""
    plugin: Name | None = None
    """A function of yours that reads values in place of an encoding: an entry point's name, or `module:function`."""
    envelope: Envelope = "none"
    """What stands around the platform's own record: nothing, the attributes of a CloudEvent (structured or binary), or
    the change event of Debezium."""
    operations: Annotated[list[Operation], Field(min_length=1)] = ["create", "update", "read"]
    """Which of Debezium's changes are judged; `read` are the rows of a snapshot. Other changes, and all deletes, are
    skipped and counted."""
    topics: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,249}$")], TopicFormat] = {}
    """Topics whose records are written in another way than the others."""
    schema_registry: SchemaRegistry = SchemaRegistry()
    """Where schemas are."""
