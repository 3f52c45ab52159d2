"""Which calls have one answer: the keys of a call's content for its service. Pure functions."""

from __future__ import annotations

import hashlib
import secrets
from typing import TYPE_CHECKING

import orjson

from consumer.batching.normal import hides, normal
from consumer.frozen import frozen


if TYPE_CHECKING:
    from collections.abc import Sequence

    from consumer.batching.normal import Form
    from consumer.moderation.protocol.requests import Call
    from consumer.moderation.protocol.services import Service


__all__ = ["Content", "Contents"]


_DIGEST_BYTES = 16


@frozen
class Content:
    """The keys of one content for one service.

    An answer may be known under each of `look`, in this order. It is remembered under `clean` if it found no risk, else
    under `risky`. Calls with the same `flight` may be one call. `text` is the digest of the text itself where one key
    may stand for several texts, else empty.
    """

    look: tuple[bytes, ...]
    flight: bytes
    clean: bytes
    risky: bytes
    text: bytes = b""


class Contents:
    """Says what is the same content: the same text, or the same image where `image_urls` trusts its place.

    All that decides an answer is in the key: the service by its name (a copy with libraries of its own has its own),
    what it is asked for beside the risk, where it is called, and the content. An event's id is not. The digests are
    keyed by chance, so that nobody can prepare two contents that share one.

    With `normalize` texts with one normal form are the same, but for services with `_pro` in their names. What a text
    in disguise (see `consumer.batching.normal.hides`) was found to be is never said of one that is not: a word that
    was hidden from the service does not make the open word clean, and a harmless word is not made risky by its
    disguise. Of disguises of one text only risk is shared; a clean answer to one is for itself.
    """

    def __init__(self, normalize: Sequence[Form] = (), *, image_urls: bool = False) -> None:
        self._forms = tuple(normalize)
        self._image_urls = image_urls
        self._secret = secrets.token_bytes(32)
        self._services: dict[str, tuple[Service, hashlib.blake2b]] = {}

    def of(self, call: Call) -> Content | None:
        """The keys of this call's content; None where it cannot be told whether another has the same."""
        service, text = call.service, call.content
        if not text or not (service.media == "text" or (service.media == "image" and self._image_urls)):
            return None
        key = self._digest(service, b"open", text)
        forms = () if service.media != "text" or "pro" in service.name.split("_") else self._forms
        if not forms:
            return Content((key,), key, key, key)
        whole = normal(text, forms)
        open_key = key if whole == text else self._digest(service, b"open", whole)
        if not hides(text, forms):
            return Content((open_key,), open_key, open_key, open_key, key)
        itself, hidden = self._digest(service, b"itself", text), self._digest(service, b"hidden", whole)
        return Content((open_key, itself, hidden), itself, itself, hidden, key)

    def _digest(self, service: Service, kind: bytes, text: str) -> bytes:
        begun = self._services.get(service.name)
        if begun is None or (begun[0] is not service and begun[0] != service):
            place = None if service.endpoint is None else service.endpoint.url
            words = orjson.dumps([service.name, service.operation, service.info_type, place])
            begun = service, hashlib.blake2b(words + b"\n", digest_size=_DIGEST_BYTES, key=self._secret)
            self._services[service.name] = begun
        digest = begun[1].copy()
        # Half a surrogate pair has no UTF-8, and another half is another text.
        digest.update(kind + b"\n" + text.encode("utf-8", "surrogatepass"))
        return digest.digest()
