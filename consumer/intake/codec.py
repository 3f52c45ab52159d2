"""Record bytes → document: JSON that is an object, or a `DecodeError` that says what was found instead."""

from __future__ import annotations

import re
from typing import Any

import orjson

from consumer.errors import DecodeError


__all__ = ["decode"]


_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_REPLACEMENT = rb"\ufffd"

# Every escape sequence in turn, so that an escaped backslash before a "u" is not taken for the start of another one.
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)"
)


def decode(value: bytes) -> dict[str, Any]:
    """The JSON object in a record's value.

    A byte order mark is skipped. Half of a surrogate pair, which JavaScript leaves where it cuts a text within an
    emoji, becomes U+FFFD: such a text is judged like any other.

    Raises:
        DecodeError: the value is no JSON object. The message has positions in bytes and types, never content.
    """
    try:
        document = orjson.loads(value)
    except orjson.JSONDecodeError:
        document = _decode_again(value)
    if type(document) is not dict:
        raise DecodeError(f"JSON, but {_a(document)} instead of an object")
    return document


def _decode_again(value: bytes) -> Any:
    """What can be made of a value that the parser refused, with each byte still in its place for the message."""
    body = value.removeprefix(_BYTE_ORDER_MARK)
    skipped = len(value) - len(body)
    if not body.strip():
        raise DecodeError("empty: no JSON in it")
    if body[0] == 0:
        raise DecodeError("not JSON: begins with a zero byte, as records written with a schema registry do")
    try:
        body.decode()
    except UnicodeDecodeError as exc:
        raise DecodeError(f"not UTF-8 at byte {exc.start + skipped}") from None
    try:
        return orjson.loads(_ESCAPE.sub(_whole, body))
    except orjson.JSONDecodeError as exc:
        at = skipped + len(exc.doc[: exc.pos].encode())
        raise DecodeError(f"not JSON at byte {at} of {len(value)}: {exc.msg}") from None


def _whole(escape: re.Match[bytes]) -> bytes:
    return escape[0] if escape[1] is None else _REPLACEMENT


def _a(document: object) -> str:
    if document is None:
        return "null"
    if isinstance(document, list):
        return "a list"
    if isinstance(document, str):
        return "a string"
    return "a boolean" if isinstance(document, bool) else "a number"
