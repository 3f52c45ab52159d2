"""What the section `format` says about itself when it contradicts itself or names what is not there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

from consumer.errors import SettingsError
from consumer.settings import load


if TYPE_CHECKING:
    from pathlib import Path


BASE: dict[str, Any] = {
    "kafka": {"bootstrap_servers": ["b:9092"], "topics": ["posts", "chat"], "group_id": "g", "start": "latest"},
    "moderation": {"region": "ap-southeast-1", "credentials": {"access_key_id": "i", "access_key_secret": "s"}},
}
URL = {"url": "http://registry:8081"}
TLS = {"url": "https://registry:8081"}


def problems(folder: Path, given: dict[str, Any]) -> list[str]:
    """What is said of these formats, without the file's name."""
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump({**BASE, "format": given}, sort_keys=False), encoding="utf-8")
    try:
        load([path], {})
    except SettingsError as error:
        return [line.replace(str(path), "config") for line in error.problems]
    return []


@pytest.mark.parametrize(
    ("given", "key", "said"),
    [
        ({"encoding": "avro"}, "format.schema_registry.url", "not set, but needed with format.encoding (config:"),
        (
            {"topics": {"chat": {"encoding": "protobuf"}}},
            "format.schema_registry.url",
            "not set, but needed with format.topics.chat.encoding (config:",
        ),
        ({"encoding": "arvo"}, "format.encoding", "did you mean avro?"),
        ({"envelope": "cloudevent"}, "format.envelope", "did you mean cloudevents?"),
        ({"schema_registry": URL}, "format.schema_registry.url", "no encoding is avro or protobuf"),
        (
            {"topics": {"chats": {}}},
            "format.topics.chats",
            "it is not in kafka.topics (config:4:3); did you mean chat?",
        ),
        ({"operations": ["create"]}, "format.operations", "no envelope is debezium"),
        ({"envelope": "debezium", "operations": ["delete"]}, "format.operations[0]", "one of create, update, read"),
        ({"envelope": "debezium", "operations": []}, "format.operations", "at least one entry"),
        ({"encoding": "avro", "plugin": "a:b", "schema_registry": URL}, "format.plugin", "set beside format.encoding"),
        (
            {"encoding": "avro", "schema_registry": {**URL, "username": "u"}},
            "format.schema_registry.password",
            "not set, but format.schema_registry.username (config:",
        ),
        (
            {"encoding": "avro", "schema_registry": {**URL, "password": "p"}},
            "format.schema_registry.username",
            "not set, but format.schema_registry.password (config:",
        ),
        (
            {"encoding": "avro", "schema_registry": {**URL, "username": "u", "password": "p", "token": "t"}},
            "format.schema_registry.token",
            "set beside format.schema_registry.username (config:",
        ),
        (
            {"encoding": "avro", "schema_registry": {**URL, "ca_file": "/ca.pem"}},
            "format.schema_registry.ca_file",
            "is no https address",
        ),
        (
            {"encoding": "avro", "schema_registry": {**URL, "certificate_file": "/tls.crt", "key_file": "/tls.key"}},
            "format.schema_registry.certificate_file",
            "is no https address",
        ),
        (
            {"encoding": "avro", "schema_registry": {**TLS, "certificate_file": "/tls.crt"}},
            "format.schema_registry.key_file",
            "not set, but format.schema_registry.certificate_file (config:",
        ),
        (
            {"encoding": "avro", "schema_registry": {**TLS, "key_file": "/tls.key"}},
            "format.schema_registry.certificate_file",
            "not set, but format.schema_registry.key_file (config:",
        ),
        (
            {"encoding": "avro", "schema_registry": {"url": "http://user:secret@registry:8081"}},
            "format.schema_registry.url",
            "such as https://registry:8081",
        ),
    ],
)
def test_a_format_that_cannot_work_is_told_with_its_place(
    tmp_path: Path, given: dict[str, Any], key: str, said: str
) -> None:
    """Each fault names its key, its line and what is expected there."""
    found = [line for line in problems(tmp_path, given) if f": {key}: " in line and said in line]
    assert len(found) == 1, problems(tmp_path, given)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"envelope": "debezium", "operations": ["create", "update"]},
        {"encoding": "json_schema"},
        {"topics": {"chat": {"encoding": "avro"}}, "schema_registry": {**URL, "token": "t"}},
        {
            "encoding": "avro",
            "schema_registry": {**TLS, "ca_file": "/ca.crt", "certificate_file": "/tls.crt", "key_file": "/tls.key"},
        },
    ],
)
def test_a_format_that_can_work_is_taken(tmp_path: Path, given: dict[str, Any]) -> None:
    """Nothing is said of what fits together."""
    assert problems(tmp_path, given) == []
