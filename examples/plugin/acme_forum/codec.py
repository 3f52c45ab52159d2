"""Records of the forum's old software: a line `name=value` for each field, and the text behind an empty line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from consumer.errors import DecodeError


if TYPE_CHECKING:
    from consumer.plugins import CodecFunction
    from consumer.record import Headers


__all__ = ["read_lines"]


def read_lines(value: bytes, headers: Headers) -> dict[str, Any]:
    """The same as the forum's new software would write: the fields by their names, and the text as a block.

    Raises:
        DecodeError: a line is no field. The message has its number, and nothing that is in it.
    """
    charset = dict(headers).get("charset", b"utf-8").decode("ascii")
    head, _, body = value.decode(charset).partition("\n\n")
    document: dict[str, Any] = {"blocks": [{"type": "paragraph", "text": body}]}
    for number, line in enumerate(head.splitlines(), 1):
        name, equals, field = line.partition("=")
        if not equals:
            raise DecodeError(f"line {number} is no field: there is no = in it")
        document[name.strip()] = field.strip()
    return document


if TYPE_CHECKING:
    _checked: CodecFunction = read_lines
