"""Protobuf: a file's descriptor from the registry → a reader of its messages, as Protobuf's own JSON has them."""

from __future__ import annotations

import re
from base64 import b64decode
from importlib import import_module
from typing import TYPE_CHECKING, Any

from google.protobuf import (  # type: ignore[import-untyped]  # it ships no types
    descriptor_pb2,
    descriptor_pool,
    json_format,
    message_factory,
)

from consumer.errors import DecodeError


if TYPE_CHECKING:
    from google.protobuf.descriptor import (  # type: ignore[import-untyped]  # it ships no types
        Descriptor,
        FileDescriptor,
    )

    from consumer.intake.registry_client import Found


__all__ = ["ProtobufReader"]


# Files that every registry knows by itself, and so does not name among references. Nothing else is ever imported.
_BUILT_IN = re.compile(r"google/(?:protobuf|type)/([a-z_]+)\.proto")


class ProtobufReader:
    """Reads the messages of one file.

    Raises:
        ValueError: it is no file's descriptor, or needs more than the registry says it needs.
    """

    def __init__(self, found: Found) -> None:
        self._pool = descriptor_pool.DescriptorPool()
        known: set[str] = set()
        for reference in found.references:
            self._add(_descriptor(reference), known, reference.name)
        self._file = self._add(_descriptor(found), known)
        self._messages: dict[tuple[int, ...], Any] = {}

    def read(self, body: bytes, indexes: tuple[int, ...] = (0,)) -> dict[str, Any]:
        """The message in a value's bytes, its fields named as in the file.

        Fields that are not set, and those without presence that have their default, are not there. Numbers of 64 bits
        are text, bytes are base64, and points in time are text in RFC 3339.

        Raises:
            DecodeError: the bytes are no such message, or the file has no message at these indexes.
        """
        kind = self._messages.get(indexes)
        if kind is None:
            kind = self._messages[indexes] = message_factory.GetMessageClass(self._at(indexes))
        name = kind.DESCRIPTOR.full_name
        try:
            document = json_format.MessageToDict(
                kind.FromString(body), preserving_proto_field_name=True, descriptor_pool=self._pool
            )
        except Exception as error:  # noqa: BLE001  # the library raises what its reading happens to run into
            raise DecodeError(f"the bytes do not fit the message {name} ({type(error).__name__})") from None
        if not isinstance(document, dict):
            raise DecodeError(f"the message {name} does not describe an object")
        return document

    def _at(self, indexes: tuple[int, ...]) -> Descriptor:
        messages = list(self._file.message_types_by_name.values())
        found: Descriptor | None = None
        for index in indexes:
            if not 0 <= index < len(messages):
                at = ".".join(map(str, indexes))
                raise DecodeError(f"the schema's file {self._file.name} has no message at the indexes {at}")
            found = messages[index]
            messages = list(found.nested_types)
        if found is None:
            raise DecodeError("no Protobuf message is named behind the schema id")
        return found

    def _add(
        self, file: descriptor_pb2.FileDescriptorProto, known: set[str], name: str = "schema.proto"
    ) -> FileDescriptor:
        """Add a file to those that can be read, under the name that others import it by."""
        file.name = name
        for needed in file.dependency:
            if needed not in known:
                self._add_built_in(needed, known)
        try:
            self._pool.AddSerializedFile(file.SerializeToString())
        except TypeError as error:
            raise ValueError(f"its file cannot be used: {error}") from None
        known.add(name)
        return self._pool.FindFileByName(name)

    def _add_built_in(self, name: str, known: set[str]) -> None:
        match = _BUILT_IN.fullmatch(name)
        try:
            if match is None:
                raise ImportError(name)  # noqa: TRY301  # said below, together with one that is not installed
            module = import_module(f"{name.removesuffix('.proto').replace('/', '.')}_pb2")
        except ImportError:
            raise ValueError(f"it imports {name}, which the registry does not name among its references") from None
        file = descriptor_pb2.FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(file)
        self._add(file, known, name)


def _descriptor(found: Found) -> descriptor_pb2.FileDescriptorProto:
    try:
        return descriptor_pb2.FileDescriptorProto.FromString(b64decode(found.text, validate=True))
    except Exception:  # noqa: BLE001  # no base64, or no descriptor
        raise ValueError(
            "the registry gives its source instead of its descriptor: it has to know `?format=serialized`"
        ) from None
