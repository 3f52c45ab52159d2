"""A judge that calls the vendor in memory as the real client calls the service: with guard, buckets, claims, tasks."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qs

from consumer.errors import ContentRefused, NoAnswer
from consumer.moderation.calling.client import Submitted
from consumer.moderation.protocol.responses import Answer, Layer
from consumer.moderation.protocol.services import KNOWN
from consumer.routing import ANY
from consumer.verdict import Judgement, RiskLevel


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from consumer.engine.ports import Claim
    from consumer.event import Event
    from consumer.moderation.calling.exchange import Stake
    from consumer.moderation.protocol.requests import Call
    from consumer.moderation.thread_judge import ThreadJudge
    from consumer.quota import Bucket, Guard
    from consumer.routing import Route
    from tests.simulation.vendor import Vendor


__all__ = ["SimClient", "SimJudge", "Tokens"]


_RETRY_SECONDS = 0.1
_TASKS = KNOWN["post_text_image_detection"]


class Tokens(NamedTuple):
    """A process's share of the account's limits."""

    text: Bucket
    submit: Bucket
    query: Bucket


class SimClient:
    """Sends calls, submissions and queries; `sent` is told of each that may be billed, directly before it leaves."""

    def __init__(
        self, vendor: Vendor, name: str, *, guard: Guard, tokens: Tokens, sent: Callable[[str, str], None]
    ) -> None:
        self._vendor = vendor
        self._name = name
        self._guard = guard
        self._tokens = tokens
        self._sent = sent

    async def call(self, event: Event, claim: Stake) -> int:
        """Have one event judged; returns how many requests that took."""
        attempts = 0
        while True:
            await self._token(self._tokens.text)
            attempts += 1
            if not self._begin((claim,)):
                continue
            billed = True
            answer = "error"
            try:
                self._sent("call", event.id)
                answer = await self._vendor.call(self._name, event.id)
                billed = answer == "judged"
            except NoAnswer:
                pass
            finally:
                claim.end(billed=billed)
            if answer == "judged":
                return attempts
            if answer == "refused":
                raise ContentRefused("the service refuses it", attempts=attempts)
            await self._learn(answer, self._tokens.text)

    async def submit(self, call: Call, claims: Sequence[Stake], *, route: Route = ANY) -> Submitted:
        """Have one event accepted as a task."""
        event = parse_qs(call.query)["ServiceParameters"][0].partition('"dataId":"')[2].partition('"')[0]
        attempts = 0
        while True:
            await self._token(self._tokens.submit)
            attempts += 1
            if not self._begin(claims):
                continue
            billed = True
            answer = "error"
            try:
                self._sent("submit", event)
                answer = await self._vendor.submit(self._name, event)
                billed = answer not in ("error", "throttled")
            except NoAnswer:
                pass
            finally:
                for claim in claims:
                    claim.end(billed=billed)
            if answer not in ("error", "throttled"):
                return Submitted(answer, "R", attempts)
            await self._learn(answer, self._tokens.submit)

    async def query(self, service: str, task_id: str) -> Answer | None:
        """Ask once for a task's result; None while there is none."""
        await self._token(self._tokens.query)
        if not await self._vendor.query(self._name, task_id):
            return None
        return Answer(Layer.BUSINESS, 200, 200, "R", {"ReqId": task_id, "RiskLevel": "none"})

    async def _token(self, bucket: Bucket) -> None:
        while True:
            if self._guard.shut:
                await self._guard.opened()
            await bucket.acquire()
            if not self._guard.shut:
                return

    def _begin(self, claims: Sequence[Stake]) -> bool:
        """Begin all claims, or none; False where the guard shut in the last moment."""
        if self._guard.shut:
            return False
        begun: list[Stake] = []
        try:
            for claim in claims:
                claim.begin()
                begun.append(claim)
        except BaseException:
            for claim in begun:
                claim.end(billed=False)
            raise
        return True

    @staticmethod
    async def _learn(answer: str, bucket: Bucket) -> None:
        if answer == "throttled":
            bucket.throttled()
        await asyncio.sleep(_RETRY_SECONDS)


class SimJudge:
    """Judges posts by tasks, and everything else by calls."""

    def __init__(self, client: SimClient, threads: ThreadJudge) -> None:
        self._client = client
        self._threads = threads

    async def judge(self, event: Event, route: Route, claim: Claim) -> Judgement:
        """Judge one event."""
        if event.kind == "post":
            return await self._threads.judge(event, _TASKS, claim, route.name)
        attempts = await self._client.call(event, claim)
        return Judgement(RiskLevel.NONE, route.services, attempts=attempts)
