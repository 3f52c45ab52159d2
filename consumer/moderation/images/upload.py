"""Local images into the service's own bucket, from where it reads them: the token for it, the upload, the retries."""

from __future__ import annotations

import asyncio
import random
import secrets
import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import structlog

from consumer.errors import CallError, ContentRefused, Withheld
from consumer.event import Image, OssObject
from consumer.moderation.calling.service_time import ServiceTime
from consumer.moderation.images.local_images import check, is_local, load
from consumer.moderation.images.oss import object_url, put_headers
from consumer.moderation.protocol.answers import is_judged, member, number_in, read, text_in
from consumer.moderation.protocol.codes import look_up
from consumer.moderation.protocol.signing import Credentials, Signer
from consumer.quota import OpenGuard


if TYPE_CHECKING:
    from collections.abc import Callable

    from consumer.clock import Clock
    from consumer.event import Event
    from consumer.metrics import Metrics
    from consumer.moderation.calling.hold import Hold
    from consumer.moderation.calling.transport import UploadTransport
    from consumer.moderation.credentials import CredentialsSource
    from consumer.moderation.images.local_images import LocalImage
    from consumer.moderation.protocol.answers import Answer
    from consumer.moderation.protocol.endpoints import Endpoint
    from consumer.quota import Guard
    from consumer.settings.models import Retry


__all__ = ["Uploader", "in_region", "prepared"]


_OPERATION = "DescribeUploadToken"
_PUT = "PutObject"
# What metrics call the service of both.
_SERVICE = "upload"
# A token is used until so long before its end, or a fifth of its life where that is shorter.
_MARGIN_SECONDS = 300.0
# Each may be 20 MB: so many images are in memory and on the wire at the same time.
_AT_ONCE = 4
# So much is looked at and added up sooner than a thread is found for it.
_SHORT_BYTES = 262_144
_COMPLAINT_SECONDS = 30.0
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Token:
    """Temporary credentials for one bucket; `good_until` is in monotonic seconds."""

    credentials: Credentials
    bucket: str
    prefix: str
    endpoint: str
    good_until: float


@dataclass(frozen=True, slots=True)
class _Tried:
    """How a request ended: what metrics and logs call that, and whether it did what it was for."""

    code: str
    done: bool = False


async def prepared(event: Event, uploader: Uploader) -> Event:
    """The event with every local image in the service's bucket; the same event where there is none.

    Images with the same bytes are uploaded once. When cancelled it gives up what is on the wire, which costs nothing.

    Raises:
        ContentRefused: an image cannot be read, is too large, of no supported format, or cannot be uploaded. Nothing
            of the event has been paid for.
    """
    local = [image for image in dict.fromkeys(event.images) if is_local(image)]
    if not local:
        return event
    check(image for image in local if image.content is not None)
    if files := [image for image in local if image.file is not None]:
        await asyncio.to_thread(check, files)
    objects: dict[bytes, OssObject] = {}
    placed = {image: Image(oss=await uploader.place(image, objects)) for image in local}
    return replace(event, images=tuple(placed.get(image, image) for image in event.images))


def in_region(event: Event, region: str) -> Event:
    """The event with this region for uploaded images: the multimodal page wants one with every object."""
    if not region or all(image.oss is None or image.oss.region for image in event.images):
        return event
    images = (
        replace(image, oss=replace(image.oss, region=region)) if image.oss and not image.oss.region else image
        for image in event.images
    )
    return replace(event, images=tuple(images))


class Uploader:
    """Puts images into the bucket that the service names, with credentials that it gives for an hour or so.

    An outage of either is waited for, however long. A failure counts against an image only if another one was uploaded
    in the meantime. What refuses the account places a hold, like any call. While `guard` is shut nothing is sent.
    """

    def __init__(
        self,
        transport: UploadTransport,
        *,
        endpoint: Endpoint,
        credentials: CredentialsSource,
        hold: Hold,
        retry: Retry,
        clock: Clock,
        metrics: Metrics,
        guard: Guard | None = None,
        network: Literal["internet", "internal"] = "internet",
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._transport = transport
        self._endpoint = endpoint
        self._credentials = credentials
        self._hold = hold
        self._retry = retry
        self._clock = clock
        self._metrics = metrics
        self._guard = guard or OpenGuard()
        self._internal = network == "internal"
        self._chance = chance
        self._time = ServiceTime(clock)
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._refreshing = asyncio.Lock()
        self._token: _Token | None = None
        self._uploaded = 0
        self._complained_at = -_COMPLAINT_SECONDS

    async def place(self, image: Image, known: dict[bytes, OssObject]) -> OssObject:
        """Where the service finds this local image: one of `known`, by content, or a new object, added to them.

        Raises:
            ContentRefused: it cannot be read, or others can be uploaded and it cannot.
        """
        others, counted, in_a_row = self._uploaded, 0, 0
        while True:
            async with self._turns:
                tried = await self._try(image, known)
            if isinstance(tried, OssObject):
                return tried
            if self._uploaded > others:
                others, counted = self._uploaded, counted + 1
            if counted >= self._retry.attempts:
                raise ContentRefused(
                    f"an image could not be uploaded; the last answer was {tried.code}", code="image_upload"
                )
            in_a_row += 1
            # Out of turn: images that cannot be uploaded must not keep out all others.
            await self._pause(_PUT, tried.code, in_a_row)

    async def _try(self, image: Image, known: dict[bytes, OssObject]) -> OssObject | _Tried:
        short = image.content is not None and len(image.content) <= _SHORT_BYTES
        content = load(image) if short else await asyncio.to_thread(load, image)
        if content.digest in known:
            return known[content.digest]
        token = await self._good_token()
        name = f"{token.prefix}{uuid.uuid4()}{content.format.suffix}"
        tried = await self._put(token, name, content)
        if tried.done:
            self._uploaded += 1
            known[content.digest] = OssObject(token.bucket, name, "")
            return known[content.digest]
        if tried.code == "403" and self._token is token:
            # Expired, or no longer good for a reason of its own: the next try has a new one.
            self._token = None
        return tried

    async def _good_token(self) -> _Token:
        """The token, or a new one; who comes while it is asked for waits for it."""
        async with self._refreshing:
            token = self._token
            if token is None or self._clock.monotonic() >= token.good_until:
                token = self._token = await self._new_token()
            return token

    async def _new_token(self) -> _Token:
        in_a_row = 0
        while True:
            found = await self._pass_the_gate()
            if isinstance(found, _Token):
                return found
            if not found.done:
                in_a_row += 1
                await self._pause(_OPERATION, found.code, in_a_row)

    async def _pass_the_gate(self) -> _Token | _Tried:
        """Ask for a token, or, during a hold, wait for the turn to ask as its probe."""
        while self._hold.stands(_OPERATION):
            async with self._hold.turn(_OPERATION) as probing:
                if probing:
                    return await self._ask()
        return await self._ask()

    async def _ask(self) -> _Token | _Tried:
        """One request for a token. `done` says that all has been done: there is nothing to wait for but the gate."""
        await self._guard.opened()
        signer = Signer(self._endpoint.host, self._credentials.current)
        skew = self._time.skew_seconds
        headers = signer.sign(_OPERATION, date=self._time.stamp(), nonce=secrets.token_hex(16))
        sent_at = self._clock.monotonic()
        try:
            http = await self._transport.post(self._endpoint.url, headers, b"")
        except Withheld:
            return await self._ask()
        except CallError:
            self._count(_OPERATION, "transport", None)
            return _Tried("transport")
        answer = read(http.body, http.status)
        row = look_up(answer)
        self._count(_OPERATION, str(row.code), sent_at)
        self._time.hear(http.headers.get("date"))
        if isinstance(row.code, int):
            self._hold.lift(None, sent_at=sent_at)
        if is_judged(answer):
            self._hold.lift(_OPERATION, sent_at=sent_at)
            return self._read_token(answer) or _Tried("incomplete")
        held = False
        match row.outcome:
            case "hold":
                held = True
            case "clock":
                held = skew == self._time.skew_seconds
            case "reload_credentials":
                if signer.credentials == self._credentials.current:
                    await self._credentials.reload()
                held = signer.credentials == self._credentials.current
            case _:
                pass
        if held:
            self._hold.place(row, _OPERATION)
        return _Tried(str(row.code), done=held)

    def _read_token(self, answer: Answer) -> _Token | None:
        """The token in an answer; None where anything is missing."""
        data = answer.data
        endpoint = "OssInternalEndPoint" if self._internal else "OssInternetEndPoint"
        names = ("AccessKeyId", "AccessKeySecret", "SecurityToken", "BucketName", "FileNamePrefix", endpoint)
        key_id, secret, security_token, bucket, prefix, host = (text_in(member(data, name)) for name in names)
        expires = number_in(member(data, "Expiration"))
        try:
            object_url(host, bucket, prefix)
        except ValueError:
            return None
        if expires is None or not (key_id and secret and security_token and bucket):
            return None
        left = max(0.0, expires - self._clock.now() - self._time.skew_seconds)
        good_until = self._clock.monotonic() + left - min(_MARGIN_SECONDS, left / 5)
        return _Token(Credentials(key_id, secret, security_token), bucket, prefix, host, good_until)

    async def _put(self, token: _Token, name: str, image: LocalImage) -> _Tried:
        await self._guard.opened()
        headers = put_headers(
            token.credentials,
            bucket=token.bucket,
            name=name,
            content_type=image.format.content_type,
            content_md5=image.md5,
            epoch_seconds=self._clock.now() + self._time.skew_seconds,
        )
        sent_at = self._clock.monotonic()
        try:
            http = await self._transport.put(object_url(token.endpoint, token.bucket, name), headers, image.content)
        except Withheld:
            return await self._put(token, name, image)
        except CallError:
            self._count(_PUT, "transport", None)
            return _Tried("transport")
        self._count(_PUT, str(http.status), sent_at)
        self._time.hear(http.headers.get("date"))
        return _Tried(str(http.status), done=200 <= http.status < 300)

    async def _pause(self, operation: str, code: str, in_a_row: int) -> None:
        """Wait as a call's retry does, and log a failure, but not each of the thousands of an outage."""
        self._metrics.counter("retries").labels(_SERVICE, code).inc()
        now = self._clock.monotonic()
        if now - self._complained_at >= _COMPLAINT_SECONDS:
            self._complained_at = now
            _log.warning("uploads of images fail", operation=operation, code=code)
        longest = min(self._retry.max_seconds, self._retry.base_seconds * 2.0 ** min(in_a_row - 1, 30))
        await self._clock.sleep(longest * (0.5 + 0.5 * self._chance()))

    def _count(self, operation: str, code: str, sent_at: float | None) -> None:
        self._metrics.counter("calls").labels(operation, _SERVICE, code).inc()
        if sent_at is not None:
            seconds = self._clock.monotonic() - sent_at
            self._metrics.histogram("call_seconds").labels(operation, _SERVICE).observe(seconds)
