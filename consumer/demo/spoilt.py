"""Records that no platform means to send and all of them send: the ways of being spoilt, and where each is noticed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson


if TYPE_CHECKING:
    from collections.abc import Callable


__all__ = ["SPOILT", "Spoilt"]


@dataclass(frozen=True, slots=True)
class Spoilt:
    """One way to spoil a sound message. `stage` is where it fails; empty where it must be judged all the same."""

    name: str
    stage: str
    make: Callable[[dict[str, Any]], bytes]


def _but(**changes: Any) -> Callable[[dict[str, Any]], bytes]:
    return lambda document: orjson.dumps({**document, **changes})


def _without(field: str) -> Callable[[dict[str, Any]], bytes]:
    return lambda document: orjson.dumps({name: value for name, value in document.items() if name != field})


def _half(document: dict[str, Any]) -> bytes:
    whole = orjson.dumps(document)
    return whole[: len(whole) // 2]


def _image(path: str) -> Callable[[dict[str, Any]], bytes]:
    return _but(kind="image", text="", images=[path])


SPOILT: tuple[Spoilt, ...] = (
    Spoilt("JSON cut in half", "decode", _half),
    Spoilt("JSON, but a list", "decode", lambda document: orjson.dumps([document])),
    Spoilt("plain words", "decode", lambda _: b"heartbeat ok"),
    Spoilt("binary", "decode", lambda _: bytes(range(0x80, 0xC0))),
    Spoilt("zero bytes first", "decode", lambda document: b"\0\0\0\0\x2a" + orjson.dumps(document)),
    Spoilt("no id", "map", _without("id")),
    Spoilt("text that is a number", "map", _but(text=42)),
    Spoilt("unknown kind", "map", _but(kind="poll")),
    Spoilt("image that is a number", "map", _but(images=[17])),
    Spoilt("nothing in it", "route", _but(text="  ", title="")),
    Spoilt("image without a host", "moderate", _image("/uploads/1.jpg")),
    Spoilt("image too large", "moderate", _image("https://cdn.example/406/poster.tif")),
    Spoilt("image that is none", "moderate", _image("https://cdn.example/407/notes.txt")),
    Spoilt(
        "zero bytes in the text", "", lambda document: orjson.dumps({**document, "text": "zero\0 bytes\0 in the text"})
    ),
)
