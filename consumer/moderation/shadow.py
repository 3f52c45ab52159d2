"""Packed texts in the shadow: a sample is judged both ways, and what comes of it says whether texts may be packed."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

import orjson
import structlog

from consumer.batching.agreement import Agreement, Sample
from consumer.batching.packed import RiskRate, Room, best_size, parts
from consumer.errors import ContentRefused
from consumer.moderation.packed_group import call_about, is_clean, words_in
from consumer.verdict import RiskLevel


if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine, Sequence

    from consumer.clock import Clock
    from consumer.metrics import Metrics
    from consumer.moderation.caller import Caller
    from consumer.moderation.protocol.requests import Call
    from consumer.routing import Route
    from consumer.settings.saving import Packed as Settings
    from consumer.verdict import Judgement


__all__ = ["Evidence", "MemoryEvidence", "Shadow"]


_VERSION: Final = 1
_SAVE_SECONDS: Final = 10.0
# While texts are packed, so much of the sample goes on being judged both ways: what has changed has to show.
_WATCH: Final = 0.2
# Groups that are compared at the same time. More texts than these can take are not sampled.
_COMPARED_AT_ONCE: Final = 4
_log = structlog.get_logger(__name__)


class Evidence(Protocol):
    """Remembers one record of some hundred bytes for the group, also through a restart."""

    def load(self) -> bytes | None:
        """The newest record that is known here, of this process or of another one; None where there is none."""
        ...

    async def save(self, record: bytes) -> None:
        """Put a record in the place of the last one. It may be lost in a crash; it is written again soon."""
        ...


class MemoryEvidence:
    """Remembers for as long as the process lives."""

    def __init__(self) -> None:
        self._record: bytes | None = None

    def load(self) -> bytes | None:
        """What was saved last."""
        return self._record

    async def save(self, record: bytes) -> None:
        """Keep this one."""
        self._record = record


@dataclass(slots=True)
class _Known:
    """What is known of one service's texts. `packs` is whether that is enough."""

    agreement: Agreement = field(default_factory=Agreement)
    rate: RiskRate = field(default_factory=RiskRate)
    packs: bool = False


@dataclass(slots=True)
class _Pool:
    """Texts that were judged singly, and wait for enough of them; each with whether it was risky."""

    route: Route
    room: Room
    size: int
    texts: list[tuple[Call, bool]] = field(default_factory=list)


class Shadow:
    """Says whether texts of a service may be packed, and has a sample of them judged both ways to find out.

    The single verdict of a text in the sample counts; the packed one is only compared. A text is missed if a call about
    several clears it and its own was risky, be it only `low`. `own` makes tasks of the calls that compare: nobody waits
    for them, and none is sent for a text whose single verdict is unknown.
    """

    def __init__(
        self,
        inner: Caller,
        settings: Settings,
        services: Collection[str],
        *,
        own: Callable[[Coroutine[Any, Any, None]], object],
        evidence: Evidence,
        clock: Clock,
        metrics: Metrics,
        chance: Callable[[], float],
    ) -> None:
        self._inner = inner
        self._settings = settings
        self._own = own
        self._evidence = evidence
        self._clock = clock
        self._chance = chance
        self._texts = metrics.counter("packed_samples")
        self._calls = metrics.counter("packed_sample_calls")
        self._packs = metrics.gauge("packed_on")
        self._bound = metrics.gauge("packed_agreement")
        self._known = {name: _Known() for name in services}
        self._pools: dict[tuple[str, str], _Pool] = {}
        self._comparing = 0
        self._asked = self._closed = False
        # What was loaded or saved of late: a record that takes a while to be saved is not loaded over newer counts.
        self._records: deque[bytes] = deque(maxlen=16)
        self._saved_at = float("-inf")
        self._saving = False

    def packs(self, service: str) -> bool:
        """Whether texts of this service are packed now."""
        return self._of(service).packs

    def size(self, service: str) -> int:
        """How many texts make a call cost least at the risk seen of late; 1 where packing saves nothing."""
        return best_size(self._of(service).rate.value, self._settings.max_texts)

    def saw(self, service: str, texts: int, risky: int) -> None:
        """So many texts were judged, and so many found risky."""
        self._of(service).rate.saw(texts, risky)

    def picks(self, service: str) -> bool:
        """Whether the next text is to be in the sample."""
        share = self._settings.sample * (_WATCH if self.packs(service) else 1.0)
        return self._comparing < _COMPARED_AT_ONCE and self._chance() < share

    def add(self, call: Call, route: Route, single: Judgement) -> None:
        """Take a text with its single verdict, a known one, into the sample; it is compared when there are enough."""
        if self._closed:
            return
        service = call.service
        key = (service.name, route.name)
        pool = self._pools.get(key)
        if pool is not None and not pool.room.take(call.content):
            self._compare(key, pool)
            pool = None
        if pool is None:
            size = self.size(service.name)
            pool = self._pools[key] = _Pool(route, Room(service.max_characters, size), size)
            pool.room.take(call.content)
        pool.texts.append((call, single.risk_level is not RiskLevel.NONE))
        if pool.room.full:
            self._compare(key, pool)

    def close(self) -> None:
        """Send nothing more."""
        self._closed = True

    def status(self) -> dict[str, Any]:
        """What was measured, by service; without those of which no text came."""
        return {
            name: {
                "packs": known.packs,
                **known.agreement.to_dict(),
                "agreement_at_least": round(known.agreement.lower_bound, 4),
                "agreement_needed": self._settings.least_agreement,
                "saving": round(known.agreement.saving, 3),
                "risk_rate": known.rate.value,
                "texts_a_call": self.size(name),
            }
            for name, known in self._known.items()
            if known.rate.texts
        }

    # The stake of calls that no event waits for

    def begin(self) -> None:
        """No partition stands behind it that could be taken away."""

    def end(self, *, billed: bool) -> None:
        """Nobody waits for it."""

    # Comparing

    def _compare(self, key: tuple[str, str], pool: _Pool) -> None:
        del self._pools[key]
        if len(pool.texts) > 1:
            self._comparing += 1
            self._own(self._judge_packed(key[0], pool))

    async def _judge_packed(self, service: str, pool: _Pool) -> None:
        """Ask as would have been asked, except for what is known already: the single verdicts."""
        cleared: list[bool] = []
        calls = 0

        async def ask(texts: Sequence[tuple[Call, bool]]) -> None:
            nonlocal calls
            calls += 1
            if len(texts) == 1:
                return
            answer = await self._inner.call(call_about([call for call, _ in texts]), self, route=pool.route)
            if answer.risk_level is RiskLevel.UNKNOWN:
                raise _NothingLearnedError
            if is_clean(answer):
                cleared.extend(risky for _, risky in texts)
            else:
                for part in parts(texts, lambda text: text[0].content, words_in(answer)):
                    await ask(part)

        try:
            await ask(pool.texts)
        except (_NothingLearnedError, ContentRefused):
            return
        except Exception:  # noqa: BLE001  # no event waits for it, and none is to suffer from it
            _log.exception("a sample of packed texts could not be compared", service=service)
            return
        finally:
            self._comparing -= 1
        risky = sum(one for _, one in pool.texts)
        missed = sum(cleared)
        alarms = len(pool.texts) - risky - (len(cleared) - missed)
        await self._learn(service, Sample(len(pool.texts), risky, missed, alarms, calls))

    async def _learn(self, service: str, sample: Sample) -> None:
        least_samples, least_agreement = self._settings.least_samples, self._settings.least_agreement
        self._refresh()
        known = self._of(service)
        known.agreement = known.agreement.plus(sample, least_samples, least_agreement)
        found = sample.risky - sample.missed
        clean = sample.texts - sample.risky - sample.alarms
        outcomes = {"clean": clean, "found": found, "missed": sample.missed, "alarm": sample.alarms}
        for outcome, texts in outcomes.items():
            self._texts.labels(service, outcome).inc(texts)
        self._calls.labels(service, "single").inc(sample.texts)
        self._calls.labels(service, "packed").inc(sample.calls)
        now = self._clock.monotonic()
        changed = self._decide(service, known)
        if (changed or now - self._saved_at >= _SAVE_SECONDS) and not self._saving:
            self._saved_at, self._saving = now, True
            self._records.append(self._record())
            try:
                await self._evidence.save(self._records[-1])
            finally:
                self._saving = False

    def _decide(self, service: str, known: _Known) -> bool:
        """Pack, or no longer, by what is known now; True where that has changed."""
        own, agreement = self._settings, known.agreement
        before = known.packs
        known.packs = own.mode == "on" and agreement.suffices(own.least_samples, own.least_agreement)
        self._packs.labels(service).set(known.packs)
        self._bound.labels(service).set(agreement.lower_bound)
        if known.packs is before:
            return False
        say = _log.info if known.packs else _log.warning
        say(
            "texts are packed" if known.packs else "texts are no longer packed: packed calls miss too much",
            service=service,
            samples=agreement.texts,
            risky=agreement.risky,
            missed=agreement.missed,
            agreement_at_least=round(agreement.lower_bound, 4),
            agreement_needed=own.least_agreement,
        )
        return True

    # What outlives the process

    def _of(self, service: str) -> _Known:
        # The first text comes when the group's records have been read, and not before.
        if not self._asked:
            self._asked = True
            self._refresh()
        return self._known[service]

    def _record(self) -> bytes:
        return orjson.dumps(
            {
                "version": _VERSION,
                "services": {
                    name: {**known.agreement.to_dict(), "rate": [known.rate.risky, known.rate.texts]}
                    for name, known in self._known.items()
                },
            }
        )

    def _refresh(self) -> None:
        """Go on from what another process measured, or this one before it was started anew."""
        record = self._evidence.load()
        if record is None or record in self._records:
            return
        self._records.append(record)
        try:
            services = _read(record)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            _log.warning("what was measured of packed texts cannot be read: it is measured anew", error=str(error))
            return
        for name in services.keys() & self._known.keys():
            known = self._known[name]
            known.agreement, known.rate = services[name]
            self._decide(name, known)


class _NothingLearnedError(Exception):
    """The service gave no usable answer: nothing can be compared with it."""


def _read(record: bytes) -> dict[str, tuple[Agreement, RiskRate]]:
    read = orjson.loads(record)
    if read["version"] != _VERSION:
        raise ValueError(f"it is of version {read['version']}")
    return {
        name: (Agreement.from_dict(counts), RiskRate(*(float(number) for number in counts["rate"])))
        for name, counts in read["services"].items()
    }
