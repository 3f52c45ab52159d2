"""A text service that judges by a few words, finds them among others, and everything that packs texts for it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import orjson

from consumer.batching.packed import SEPARATOR
from consumer.moderation.calling.transport import HttpAnswer
from consumer.moderation.packed import Packed
from consumer.moderation.protocol.requests import text_call
from consumer.routing import Route
from consumer.settings.saving import Packed as Settings
from consumer.verdict import RiskLevel
from tests.moderation.support import TEXT, Claim, Rig, WallClock


if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from consumer.moderation.protocol.services import Service
    from consumer.verdict import Judgement
    from tests.moderation.support import Reply, Request


__all__ = ["CHAT", "LEVELS", "Stored", "World", "measured", "truth"]


CHAT = Route("chat", (TEXT.name,))
LEVELS = {"bad": RiskLevel.HIGH, "dubious": RiskLevel.MEDIUM, "hm": RiskLevel.LOW}


def truth(text: str) -> RiskLevel:
    """What the service finds in a text, alone or among others: the riskiest of its words."""
    return max((LEVELS.get(word, RiskLevel.NONE) for word in text.split()), default=RiskLevel.NONE)


class Stored:
    """What outlives a process: one record, and how often it was written."""

    def __init__(self, record: bytes | None = None) -> None:
        self.record = record
        self.writes = 0

    def load(self) -> bytes | None:
        return self.record

    async def save(self, record: bytes) -> None:
        self.record = record
        self.writes += 1


def measured(*, risky: int = 1000, missed: int = 0, rate: float = 0.02) -> Stored:
    """What was measured before: 10,000 texts, so many of them risky, and so many of those missed."""
    counts = {"texts": 10_000, "risky": risky, "missed": missed, "alarms": 0, "calls": 3000}
    services = {TEXT.name: {**counts, "rate": [rate * 1000, 1000]}}
    return Stored(orjson.dumps({"version": 1, "services": services}))


class World:
    """The service, and a process that packs texts for it."""

    def __init__(
        self,
        *,
        failure: Callable[[Sequence[str]], Reply | None] = lambda _: None,
        finds: Callable[[Sequence[str]], RiskLevel] = lambda texts: max(map(truth, texts)),
        evidence: Stored | None = None,
        chance: Callable[[], float] = lambda: 1.0,
        token_seconds: float = 0.0,
        names_words: bool = False,
        **settings: Any,
    ) -> None:
        self.calls: list[list[str]] = []
        """The texts of each request, whatever came of it."""
        self.billed = 0
        self.evidence = measured() if evidence is None else evidence
        self._failure = failure
        self._finds = finds
        self._chance = chance
        self._names_words = names_words
        self._settings = Settings(**{"mode": "on", **settings})
        self.rig = Rig(self._answer)
        self.rig.tokens["text"].wait_seconds = token_seconds
        self.packed: Packed

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Packed]:
        """A process from its start to its end."""
        packed = Packed(
            self.rig.client,
            self._settings,
            {TEXT.name},
            tokens=self.rig.tokens,
            clock=WallClock(),
            metrics=self.rig.metrics,
            evidence=self.evidence,
            chance=self._chance,
        )
        async with packed:
            self.packed = packed
            yield packed

    async def one(
        self, text: str, claim: Claim | None = None, *, route: Route = CHAT, service: Service = TEXT
    ) -> Judgement:
        """Have one text judged by the process that runs."""
        return await self.packed.call(text_call(service, text, "id"), claim or Claim(), route=route)

    async def all(self, texts: Sequence[str], claims: Sequence[Claim] | None = None) -> list[Judgement | BaseException]:
        """What each of these, coming at once, comes to."""
        owned = claims or [Claim(offset) for offset in range(len(texts))]
        works = (self.one(text, claim) for text, claim in zip(texts, owned, strict=True))
        return await asyncio.gather(*works, return_exceptions=True)

    def metric(self, name: str, **labels: str) -> float:
        """A metric of the service."""
        return self.rig.metric(name, service=TEXT.name, **labels)

    def _answer(self, request: Request) -> Reply:
        texts = request.parameters["content"].split(SEPARATOR)
        self.calls.append(texts)
        failure = self._failure(texts)
        if failure is not None:
            if isinstance(failure, HttpAnswer) and orjson.loads(failure.body)["Code"] == 200:
                self.billed += 1
            return failure
        self.billed += 1
        level = self._finds(texts)
        labels = [{"Label": f"found_{level.word}"}] if level else [{"Label": "nonLabel"}]
        if level and self._names_words:
            words = {word for text in texts for word in text.split() if word in LEVELS}
            labels[0]["RiskWords"] = ",".join(sorted(words)).upper()
        data = {"RiskLevel": level.word, "Result": labels}
        return HttpAnswer(200, orjson.dumps({"Code": 200, "RequestId": f"R-{len(self.calls)}", "Data": data}))
