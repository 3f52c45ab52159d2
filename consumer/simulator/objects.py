"""Uploaded images: the tokens to upload them with, and the objects themselves, in memory and bounded."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from consumer.simulator.settings import SimulatorSettings


__all__ = ["BUCKET", "MAX_IMAGE_BYTES", "MAX_UPLOAD_BYTES", "Objects", "StoredObject", "UploadToken"]


BUCKET = "simulator-uploads"
"""The bucket that local images are uploaded to."""
MAX_IMAGE_BYTES = 20 * 1024 * 1024
"""The largest image that can be judged: the image page says 20 MB."""
MAX_UPLOAD_BYTES = 24 * 1024 * 1024
"""The largest object the stand-in takes: large enough for images that are too large to be judged."""

_KEPT_BYTES = 64 * 1024 * 1024
_PREFIX = "upload/"
_MARK = re.compile(
    rb"(?:pornographic|sexual|violent|violence|contraband|inappropriate|profanity|religion|flag|political|pt)_\w+"
    rb"|QRCode|nonLabel_lib|aigc|/(?:low|medium|high)/"
)
# The formats of the image page; HEIC, HEIF and their like have their brand behind "ftyp".
_MAGIC = re.compile(
    rb"\x89PNG\r\n\x1a\n|\xff\xd8\xff|BM|GIF8[79]a|RIFF....WEBP|II\*\x00|MM\x00\*|\x00\x00\x01\x00|....ftyp"
    rb"|\s*(?:<\?xml|<svg)",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class UploadToken:
    """Temporary credentials that may write below `prefix` until `expiration` (seconds since the epoch)."""

    access_key_id: str
    access_key_secret: str
    security_token: str
    prefix: str
    expiration: int


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An uploaded object. `marks` are the labels and levels that stand in its content."""

    content: bytes
    content_type: str
    marks: tuple[str, ...]

    @property
    def is_image(self) -> bool:
        """Whether it begins like a file of one of the image page's formats."""
        return _MAGIC.match(self.content) is not None


class Objects:
    """The bucket: at most 64 MiB of objects, the oldest making way for new ones, and the tokens that are good."""

    def __init__(self, settings: SimulatorSettings) -> None:
        self._token_seconds = settings.upload_token_seconds
        self.clear()

    def clear(self) -> None:
        """Forget objects and tokens."""
        self._tokens: dict[str, UploadToken] = {}
        self._objects: dict[str, StoredObject] = {}
        self._bytes = 0
        self.tokens_issued = 0
        self.uploads = 0

    def issue_token(self, now: float) -> UploadToken:
        """New credentials, at `now` seconds since the epoch."""
        self._tokens = {key: token for key, token in self._tokens.items() if token.expiration > now - 3600}
        token = UploadToken(
            access_key_id=f"STS.{secrets.token_hex(8)}",
            access_key_secret=secrets.token_hex(16),
            security_token=secrets.token_urlsafe(32),
            prefix=f"{_PREFIX}{secrets.token_hex(3)}/",
            expiration=int(now + self._token_seconds),
        )
        self._tokens[token.access_key_id] = token
        self.tokens_issued += 1
        return token

    def token(self, access_key_id: str) -> UploadToken | None:
        """The credentials with this AccessKey, good or expired, if they are still known."""
        return self._tokens.get(access_key_id)

    def put(self, name: str, content: bytes, content_type: str) -> None:
        """Keep an object, in the place of an earlier one of the same name."""
        marks = tuple(dict.fromkeys(mark.decode().strip("/") for mark in _MARK.findall(content)))
        self._drop(name)
        self._objects[name] = StoredObject(content, content_type, marks)
        self._bytes += len(content)
        self.uploads += 1
        while self._bytes > _KEPT_BYTES:
            self._drop(next(iter(self._objects)))

    def get(self, name: str) -> StoredObject | None:
        """The object of this name, if it was uploaded and is still kept."""
        return self._objects.get(name)

    def to_dict(self) -> dict[str, Any]:
        """For `/stats`."""
        return {
            "tokens_issued": self.tokens_issued,
            "uploads": self.uploads,
            "kept": len(self._objects),
            "kept_bytes": self._bytes,
        }

    def _drop(self, name: str) -> None:
        stored = self._objects.pop(name, None)
        if stored is not None:
            self._bytes -= len(stored.content)
