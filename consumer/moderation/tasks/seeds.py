"""Where the service reports a task, and how a report is known to be its own: paths, seeds and checksums."""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from consumer.moderation.tasks.task import Place


if TYPE_CHECKING:
    from collections.abc import Mapping


__all__ = ["CallbackAddress", "CallbackAddresses", "callback_path", "checksum", "is_authentic", "place_in", "seed"]


# What Kafka takes as a topic, and the numbers it counts with; whatever a proxy has put before it.
_PATH = re.compile(r"(?:.*/)?([A-Za-z0-9._-]{1,249})/([0-9]{1,10})/([0-9]{1,19})", re.DOTALL)


def callback_path(place: Place) -> str:
    """The part of a callback's address that names an event: `topic/partition/offset`, percent-encoded."""
    return f"{quote(place.topic, safe='')}/{place.partition}/{place.offset}"


def place_in(path: str) -> Place | None:
    """The event that a request's path names in its last three segments; None where it names none.

    What stands before them is not looked at: a proxy may have added or taken away a prefix.
    """
    found = _PATH.fullmatch(unquote(path))
    return None if found is None else Place(found[1], int(found[2]), int(found[3]))


def seed(secret: bytes, place: Place) -> str:
    """The seed of the callbacks for an event: 64 hexadecimal digits that only who has the secret can tell.

    Any replica derives it anew from the path that it was called at, so that none has to know the task. The page on
    callbacks takes at most 64 characters out of `[A-Za-z0-9_]`.
    """
    return hmac.new(secret, callback_path(place).encode(), hashlib.sha256).hexdigest()


def checksum(account_id: str, seed: str, content: bytes) -> str:
    """What the service puts beside the content: SHA-256 over account id, seed and content, in lower-case hex.

    `account_id` is the main account's, not a RAM user's; `content` is as received, form-decoded, before it is parsed.
    Source: the page on callbacks, with `cryptType` SHA256, the default.
    """
    return hashlib.sha256(account_id.encode() + seed.encode() + content).hexdigest()


def is_authentic(given: bytes, *, account_id: str, seed: str, content: bytes) -> bool:
    """Whether a checksum, in any letter case, is that of this content; takes equally long for every wrong one."""
    return hmac.compare_digest(given.lower(), checksum(account_id, seed, content).encode())


@dataclass(frozen=True, slots=True)
class CallbackAddress:
    """Where the service is to report one task, and what it is to sign the report with."""

    url: str
    seed: str

    def parameters(self) -> Mapping[str, str]:
        """What a submission has in its `ServiceParameters` for it; without a `cryptType` the service uses SHA256."""
        return {"callback": self.url, "seed": self.seed}


class CallbackAddresses:
    """The addresses of all events: `url` is where the receiver is reached from outside; `secret` makes the seeds."""

    __slots__ = ("_base", "_secret")

    def __init__(self, url: str, secret: str) -> None:
        self._base = url.rstrip("/")
        self._secret = secret.encode()

    def of(self, place: Place) -> CallbackAddress:
        """Where the task is reported whose first event stands at this place."""
        return CallbackAddress(f"{self._base}/{callback_path(place)}", seed(self._secret, place))
