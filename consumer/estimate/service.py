"""A service that answers as the real one does, and judges by chance: the calls of a replay end here."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import orjson

from consumer.batching.packed import SEPARATOR
from consumer.moderation.calling.transport import HttpAnswer


if TYPE_CHECKING:
    from collections.abc import Mapping

    from consumer.clock import Clock


__all__ = ["ANSWER_SECONDS", "ImaginedService"]


ANSWER_SECONDS = 0.2
"""How long a call takes."""

_UPLOAD_SECONDS = 1.0
_TOKEN_SECONDS = 3600.0
_DIGEST_BYTES = 8
_CLEAN: Mapping[str, Any] = {"RiskLevel": "none", "Result": [{"Label": "nonLabel"}]}


class ImaginedService:
    """A transport whose requests are all answered, none of them by anybody.

    Every text is clean but for a share of `risk`, and which texts are risky is decided by the text alone: the same one
    is always found to be the same, and texts that are asked about together are risky when one of them is. Images and
    multimodal tasks are clean: nothing that is sent or billed depends on what they are. `calls` counts requests, by
    operation and service.

    Args:
        clock: The time.
        risk: The share of texts that are risky.
        task_seconds: How long a multimodal task takes.
    """

    def __init__(self, clock: Clock, *, risk: float, task_seconds: float) -> None:
        self._clock = clock
        self._task_seconds = task_seconds
        self._risky_below = round(risk * 256**_DIGEST_BYTES)
        self._tasks: dict[str, tuple[float, bytes]] = {}
        self._numbers = 0
        self.calls: Counter[tuple[str, str]] = Counter()

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> HttpAnswer:
        """Answer one request after a while; when cancelled, nobody hears the answer."""
        operation = headers["x-acs-action"]
        if operation == "DescribeUploadToken":
            return self._answer(self._token())
        query = url.partition("?")[2]
        parameters = dict(parse_qsl(body.decode() or query, keep_blank_values=True))
        await asyncio.sleep(ANSWER_SECONDS)
        match operation:
            case "MultimodalAsyncModeration":
                answer = self._submitted(orjson.loads(parameters["ServiceParameters"]))
            case "DescribeMultimodalModerationResult":
                answer = self._result(parameters["ReqId"])
            case "TextModerationPlus":
                answer = self._answer(self._text(orjson.loads(parameters["ServiceParameters"])["content"]))
            case _:
                answer = self._answer(_CLEAN)
        self.calls[operation, parameters.get("Service", "")] += 1
        return answer

    async def put(self, url: str, headers: Mapping[str, str], body: bytes) -> HttpAnswer:  # noqa: ARG002  # `UploadTransport`'s own
        """Take one file after a while; nothing is kept of it."""
        await asyncio.sleep(_UPLOAD_SECONDS)
        return HttpAnswer(200, b"")

    def _text(self, content: str) -> Mapping[str, Any]:
        risky = [text for text in content.split(SEPARATOR) if self._is_risky(text)]
        if not risky:
            return _CLEAN
        words = ",".join(max(text.replace(",", " ").split(), key=len, default="") for text in risky)
        return {"RiskLevel": "high", "Result": [{"Label": "inappropriate_profanity", "RiskWords": words}]}

    def _is_risky(self, text: str) -> bool:
        digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_DIGEST_BYTES).digest()
        return bool(int.from_bytes(digest) < self._risky_below)

    def _submitted(self, asked: Mapping[str, Any]) -> HttpAnswer:
        self._numbers += 1
        task_id = f"task-{self._numbers}"
        clean = {"RiskLevel": "none", "MainData": {"Results": []}, "CommentDatas": _mirrored(asked)}
        ready_at = self._clock.monotonic() + self._task_seconds
        self._tasks[task_id] = (ready_at, self._answer(clean).body)
        return self._answer({"ReqId": task_id})

    def _result(self, task_id: str) -> HttpAnswer:
        ready_at, body = self._tasks[task_id]
        if self._clock.monotonic() < ready_at:
            return self._answer({}, code=280)
        del self._tasks[task_id]
        return HttpAnswer(200, body)

    def _token(self) -> Mapping[str, Any]:
        return {
            "AccessKeyId": "none",
            "AccessKeySecret": "none",
            "SecurityToken": "none",
            "BucketName": "none",
            "FileNamePrefix": "none/",
            "OssInternetEndPoint": "oss.invalid",
            "OssInternalEndPoint": "oss.invalid",
            "Expiration": self._clock.now() + _TOKEN_SECONDS,
        }

    def _answer(self, data: Mapping[str, Any], *, code: int = 200) -> HttpAnswer:
        return HttpAnswer(200, orjson.dumps({"Code": code, "RequestId": "none", "Data": data}))


def _mirrored(asked: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A result without a finding for each comment and each reply, in their places."""
    return [{"Results": [], "CommentDatas": _mirrored(comment)} for comment in asked.get("commentDatas", ())]
