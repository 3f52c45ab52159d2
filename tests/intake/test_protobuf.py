"""Protobuf messages as documents."""

from __future__ import annotations

import base64
import contextlib

import pytest
from google.protobuf import descriptor_pb2  # type: ignore[import-untyped]  # it ships no types
from hypothesis import given
from hypothesis import strategies as st

from consumer.errors import DecodeError
from consumer.intake.protobuf import ProtobufReader
from consumer.intake.registry_client import Found


STRING, INT64, MESSAGE = 9, 3, 11
OPTIONAL, REPEATED = 1, 3


def file(name: str, *messages: descriptor_pb2.DescriptorProto, imports: tuple[str, ...] = ()) -> Found:
    """A file as a registry gives it."""
    return Found(
        name,
        base64.b64encode(
            descriptor_pb2.FileDescriptorProto(
                name=name, package="example", syntax="proto3", message_type=messages, dependency=imports
            ).SerializeToString()
        ).decode(),
    )


def message(name: str, **fields: tuple[int, str]) -> descriptor_pb2.DescriptorProto:
    """A message with fields of a type, or of a message's name."""
    return descriptor_pb2.DescriptorProto(
        name=name,
        field=[
            descriptor_pb2.FieldDescriptorProto(
                name=field, number=number, type=kind, label=OPTIONAL, type_name=type_name or None
            )
            for number, (field, (kind, type_name)) in enumerate(fields.items(), 1)
        ],
    )


POST = message("Post", id=(INT64, ""), text=(STRING, ""), answers=(MESSAGE, ".example.Post"))
READER = ProtobufReader(file("post.proto", POST))


@given(st.binary(max_size=60))
def test_any_bytes_are_a_document_or_a_dead_letter(body: bytes) -> None:
    """Bytes that are no message are refused, whatever they are."""
    with contextlib.suppress(DecodeError):
        assert READER.read(body).keys() <= {"id", "text", "answers"}


def test_a_field_with_its_default_is_not_there() -> None:
    """As in Protobuf's own JSON; numbers of 64 bits are text, so that no reader rounds them."""
    assert READER.read(b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\x7f") == {"id": "9223372036854775807"}
    assert READER.read(b"") == {}


def test_a_nesting_without_end_does_not_end_the_process() -> None:
    """A message nested two hundred deep is refused."""
    body = b""
    for _ in range(200):
        length = len(body)
        size = bytearray()
        while length > 0x7F:
            size.append(length & 0x7F | 0x80)
            length >>= 7
        body = b"\x1a" + bytes([*size, length]) + body
    with pytest.raises(DecodeError, match="do not fit the message"):
        READER.read(body)


@pytest.mark.parametrize("indexes", [(1,), (0, 0), (-1,), ()])
def test_a_message_that_the_file_does_not_have_is_refused(indexes: tuple[int, ...]) -> None:
    """Indexes of no message are a dead letter, and not another message."""
    with pytest.raises(DecodeError, match=r"no message at the indexes|no Protobuf message"):
        READER.read(b"", indexes)


def test_files_that_every_registry_knows_need_no_reference() -> None:
    """The well-known types are there; a moment is text in RFC 3339."""
    timestamp = "google/protobuf/timestamp.proto"
    found = file("seen.proto", message("Seen", at=(MESSAGE, ".google.protobuf.Timestamp")), imports=(timestamp,))
    assert ProtobufReader(found).read(b"\x0a\x02\x08\x01") == {"at": "1970-01-01T00:00:01Z"}


@pytest.mark.parametrize("imported", ["example/other.proto", "google/protobuf/none_such.proto", "os.proto"])
def test_a_file_that_is_nowhere_is_named(imported: str) -> None:
    """An import that the registry does not name among the references makes the schema one of no use."""
    with pytest.raises(ValueError, match=f"it imports {imported}, which the registry does not name"):
        ProtobufReader(file("post.proto", POST, imports=(imported,)))


@pytest.mark.parametrize("text", ['syntax = "proto3";', "AAAA"])
def test_a_registry_that_gives_the_source_is_told(text: str) -> None:
    """Without the descriptor nothing can be read; the reason says what the registry has to know."""
    with pytest.raises(ValueError, match="format=serialized"):
        ProtobufReader(Found("schema 1", text))


def test_a_file_that_contradicts_itself_is_refused() -> None:
    """A field of a message that is nowhere makes the schema one of no use."""
    with pytest.raises(ValueError, match="its file cannot be used"):
        ProtobufReader(file("post.proto", message("Post", other=(MESSAGE, ".example.Nowhere"))))
