"""Dead letters as people and programs read them on a terminal: in a line, in JSON, in full."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from consumer.engine.letters import letter_of


if TYPE_CHECKING:
    from collections.abc import Iterator

    from consumer.engine.letters import Letter
    from consumer.record import Headers, Record


__all__ = ["as_json", "counted", "full", "line", "moment", "printable", "times", "value_lines"]


_HEX_BYTES = 32


def line(letter: Letter) -> str:
    """A letter in one line, without anything of its content."""
    told = _told(letter.notes)
    marks = [f"replayed {times(letter.replays)}"] * (letter.replays > 0) + ["truncated"] * letter.truncated
    what = f"{told['stage']}/{told['reason']}"
    error = " ".join([told["error"], *(f"({mark})" for mark in marks)])
    return printable(
        f"{letter.place}  {moment(letter.record.timestamp)}  {letter.origin}@{letter.offset}  {what}  {error}"
    )


def as_json(letter: Letter) -> str:
    """A letter in a line of JSON, without anything of its content."""
    told = _told(letter.notes)
    described: dict[str, Any] = {
        "partition": letter.record.partition.partition,
        "offset": letter.record.offset,
        "time": moment(letter.record.timestamp),
        "record": {
            "topic": letter.origin.topic,
            "partition": letter.origin.partition,
            "offset": letter.offset,
            "timestamp": _number(told["timestamp"]),
        },
        "stage": told["stage"],
        "reason": told["reason"],
        "error": told["error"],
        "attempts": _number(told["attempts"]),
        "request_id": letter.notes.get("request-id"),
        "replays": letter.replays,
        "truncated": letter.truncated,
        "version": told["version"],
    }
    return json.dumps(described, ensure_ascii=False)


def full(record: Record) -> Iterator[str]:
    """Everything of a letter but the value, line by line."""
    letter = letter_of(record)
    yield f"letter     {record}, of {moment(record.timestamp)}"
    if letter is None:
        yield "           not a dead letter of this program: it has none of its headers"
        headers, value = record.headers, record.value
    else:
        headers, value = letter.headers, letter.value
        told = _told(letter.notes)
        yield printable(f"record     {letter.origin}@{letter.offset}, of {moment(_number(told['timestamp']))}")
        for name in ("stage", "reason", "error", "attempts", "request-id", "version"):
            if name in letter.notes:
                yield printable(f"{name:<11}{letter.notes[name]}")
        yield f"replays    {letter.replays}"
    yield f"key        {_bytes(record.key)}"
    yield from (f"{name:<11}{text}" for name, text in _headers(headers))
    yield f"value      {'null' if value is None else counted(len(value), 'byte')}"
    if letter is not None and letter.truncated:
        yield from (printable(f"           {text}") for text in _missing(letter))


def value_lines(value: bytes) -> str:
    """A value as text where it is UTF-8, with nothing in it that a terminal would obey; else in hexadecimal digits."""
    try:
        return "\n".join(map(printable, value.decode().split("\n")))
    except UnicodeDecodeError:
        return "\n".join(
            f"{start:08x}  {value[start : start + _HEX_BYTES].hex(' ')}" for start in range(0, len(value), _HEX_BYTES)
        )


def moment(timestamp: int | None) -> str:
    """Kafka's milliseconds as people read them, in UTC."""
    try:
        at = datetime.fromtimestamp((timestamp if timestamp is not None else -1) / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return str(timestamp)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def counted(number: int, word: str) -> str:
    """So many of something, such as `1 byte` or `2 bytes`."""
    return f"{number} {word}{'s' * (number != 1)}"


def times(number: int) -> str:
    """How often something was done."""
    return "once" if number == 1 else f"{number} times"


def printable(text: str) -> str:
    """The text with everything escaped that a terminal would obey: records hold what anybody wrote."""
    return "".join(char if char.isprintable() or char == "\t" else ascii(char)[1:-1] for char in text)


def _told(notes: Any) -> dict[str, str]:
    """The notes of a letter, with a word for each that another version of this program did not write."""
    return {
        name: notes.get(name, "unknown") for name in ("timestamp", "stage", "reason", "error", "attempts", "version")
    }


def _number(text: str) -> int | None:
    return int(text) if text.removeprefix("-").isdecimal() else None


def _bytes(value: bytes | None) -> str:
    """Bytes of a key or a header, on one line."""
    if value is None:
        return "null"
    try:
        shown = printable(value.decode())
    except UnicodeDecodeError:
        shown = f"0x{value.hex()}"
    return f"{counted(len(value), 'byte')}  {shown}".rstrip()


def _headers(headers: Headers) -> Iterator[tuple[str, str]]:
    if not headers:
        yield "headers", "none"
    for index, (name, value) in enumerate(headers):
        yield "" if index else "headers", f"{printable(name)}: {_bytes(value)}"


def _missing(letter: Letter) -> Iterator[str]:
    """What the letter had no room for."""
    notes = letter.notes
    yield f"no more of {notes['truncated']} bytes, whose SHA-256 is {notes.get('sha256', 'unknown')}"
    if "headers-dropped" in notes:
        yield f"without {notes['headers-dropped']} headers of the original"
    if "key-dropped" in notes:
        yield f"without the key of {notes['key-dropped']} bytes"
    yield "so it cannot be replayed; the original may still be where it came from"
