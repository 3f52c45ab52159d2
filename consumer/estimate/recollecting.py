"""What is known already when a block of a sample begins: found by mapping and routing what came before."""

from __future__ import annotations

import zlib
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from consumer.building import routes
from consumer.clock import SystemClock
from consumer.errors import NothingToJudge, RecordError
from consumer.estimate.replicas import divided
from consumer.intake import Intake
from consumer.intake.formats import formats_of_json
from consumer.metrics import Metrics
from consumer.moderation.judge import beside_tasks
from consumer.moderation.protocol.requests import Call, calls
from consumer.moderation.protocol.services import resolve
from consumer.routing import Router
from consumer.verdict import Judgement, RiskLevel


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from consumer.estimate.corpus import Block, Corpus, Given
    from consumer.moderation.known import Known
    from consumer.settings import Settings


__all__ = ["Recollection", "recollections", "teach"]


_TELL_EVERY = 1000


@dataclass(frozen=True, slots=True)
class Recollection:
    """A call that a replica made so long before a block, and whose answer it still remembers then."""

    replica: int
    call: Call
    age_seconds: float


def recollections(
    corpus: Corpus,
    block: Block,
    settings: Settings,
    *,
    replicas: int,
    tell: Callable[[int], None] = lambda _: None,
) -> list[Recollection]:
    """What is remembered when the block begins, the oldest first.

    A content is judged when it comes and is not remembered, and is remembered for `cache.seconds` from then on. So all
    that is said all the time would be judged, and forgotten, together with what is looked at first. That is no more so
    where each content is passed over for a while of its own.

    Args:
        corpus: The records.
        block: What is replayed, in its own time.
        settings: As they are configured.
        replicas: How many share the work.
        tell: Told of the records that were looked at since.
    """
    life = settings.cache.seconds
    begins_at, _ = corpus.times(block.start, block.start + 1)
    owners = {
        partition: replica
        for replica, (lanes, _) in enumerate(divided(settings, corpus.lanes(block.start, block.stop), replicas))
        for partition in lanes
    }
    needed = _Needed(settings)

    def age_seconds(number: int) -> float:
        return max(0.0, (begins_at - corpus.timestamp(number)) / 1000)

    looked_at = min(2 * life, age_seconds(block.known_from))
    passed_over = min(life, max(0.0, looked_at - life))
    judged: dict[tuple[int, str, str], Recollection] = {}
    for number in range(block.known_from, block.start):
        age = age_seconds(number)
        partition, _ = corpus.place(number)
        if age <= looked_at and partition in owners:
            for call in needed.by(corpus.read(number, number)):
                key = (owners[partition], call.service.name, call.content)
                before = judged.get(key)
                if before is None and looked_at - age < passed_over * _chance(call.content):
                    continue
                if before is None or before.age_seconds - age >= life:
                    judged[key] = Recollection(owners[partition], _bare(call), age)
        if number % _TELL_EVERY == 0:
            tell(_TELL_EVERY)
    return sorted((one for one in judged.values() if one.age_seconds < life), key=lambda one: -one.age_seconds)


def teach(known: Known, replica: int, recollected: Sequence[Recollection]) -> None:
    """Have a replica know what it would remember."""
    for one in recollected:
        if one.replica == replica:
            known.learn(one.call, Judgement(RiskLevel.NONE, (one.call.service.name,)), one.age_seconds)


class _Needed:
    """Which calls an event takes beside tasks, as far as another event may need the same."""

    def __init__(self, settings: Settings) -> None:
        formats = formats_of_json(settings.format, clock=SystemClock(), metrics=Metrics())
        self._event = Intake(settings.mapping, formats=formats).event
        self._router = Router(routes(settings))
        self._services = resolve(settings.moderation.services)

    def by(self, record: Given) -> Iterator[Call]:
        if record.value is None:
            return
        with suppress(RecordError, NothingToJudge):
            event = self._event(record)
            route = self._router.route(event, record.partition.topic)
            if route is not None:
                services = [self._services[name] for name in route.services]
                rest = beside_tasks(event, services)
                if rest is not None:
                    yield from (call for call in calls(rest, services) if call.content)


def _bare(call: Call) -> Call:
    return Call(call.service, content=call.content)


def _chance(content: str) -> float:
    """A number from 0 to 1 that is the same for the same content."""
    return zlib.crc32(content.encode("utf-8", "surrogatepass")) / 2**32
