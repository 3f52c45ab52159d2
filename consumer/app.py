"""Builds all parts from the settings, and owns their start, drain and stop."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog

from consumer import __version__, logs
from consumer.admin import AdminServer, Health
from consumer.building import limits, needed_topics, policy, routes
from consumer.clock import SystemClock
from consumer.engine.engine import Engine
from consumer.engine.letter_limit import LetterLimit
from consumer.engine.limits import AtLeast, Exactly, Limits
from consumer.engine.tally import Tally
from consumer.engine.way import Way
from consumer.intake import Intake
from consumer.intake.formats import formats_for
from consumer.judging import Judging
from consumer.kafka.connection import require_all
from consumer.kafka.producers import topic_limits
from consumer.kafka.security import secured
from consumer.kafka.sink import KafkaSink
from consumer.kafka.source import PARTITION_FETCH_BYTES, KafkaSource
from consumer.kafka.state import KafkaStateLog
from consumer.kafka.unit import KafkaUnit
from consumer.metrics import Metrics
from consumer.moderation.calling.exchange import Exchange
from consumer.moderation.tasks.notes import NotedEvidence
from consumer.moderation.tasks.state import StateTopic
from consumer.pacing import PacedJudge
from consumer.quota import StallGuard
from consumer.quota.tokens import Tokens
from consumer.recent import lines_counted
from consumer.reloading import Reloads, Seams, put_to_work
from consumer.routing import Router
from consumer.status import holds, status
from consumer.tracing.start import Tracing
from consumer.verdict import ACTIONS


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry.sdk.trace import SpanProcessor

    from consumer.clock import Clock
    from consumer.intake.formats import Formats
    from consumer.record import Partition
    from consumer.routing import Route
    from consumer.settings import Loaded, Settings
    from consumer.settings.models import Output


__all__ = ["App"]


_log = structlog.get_logger(__name__)

# The engine turns at least twice a second: one that has not for so long no longer does.
_LIVE_SECONDS = 60.0


class App:
    """The whole consumer. `metrics` can be read at any time; `status` and the health checks while it runs.

    `reread` reads the settings again: when the service refuses the AccessKey, when one of `files` changes, and when
    `reload` is called. `spans` takes the spans of traces, where that is not to be the exporter that the environment
    names.
    """

    def __init__(
        self,
        loaded: Loaded,
        *,
        clock: Clock | None = None,
        reread: Callable[[], Loaded] | None = None,
        files: Sequence[str] = (),
        spans: SpanProcessor | None = None,
    ) -> None:
        self.loaded = loaded
        self._reread = reread
        self._spans = spans
        self.metrics = Metrics()
        self.admin_port = 0
        self._clock = clock or SystemClock()
        self._started_at = self._clock.now()
        self._state = "starting"
        self._source: KafkaSource | None = None
        self._engine: Engine | None = None
        self._judging: Judging | None = None
        self._seams: Seams | None = None
        self._formats: Formats | None = None
        self._paced: PacedJudge | None = None
        self._reloads = (
            None if reread is None else Reloads(loaded, read=reread, files=files, take=self._take, metrics=self.metrics)
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, then drain within the configured limits.

        When cancelled it ends at once: what was in flight is judged again after the next start.

        Raises:
            StartError: a part that must be there at start is not.
            Exception: what no part could recover from; nothing unfinished was committed.
        """
        settings, reread = self.loaded.settings, self._reread
        self.metrics.gauge("build").labels(__version__).set(1)
        self.metrics.gauge("up_since_seconds").set(self._started_at)
        try:
            async with AsyncExitStack() as stack:
                stack.enter_context(lines_counted(self.metrics.errors))
                admin = AdminServer(
                    host=settings.admin.host, port=settings.admin.port, metrics=self.metrics, watched=self
                )
                await stack.enter_async_context(admin)
                self.admin_port = admin.port
                self._formats = formats_for(settings.format, clock=self._clock, metrics=self.metrics)
                tracing = self._start_tracing(settings, stack)
                guard = StallGuard(
                    self._clock, proof_seconds=settings.kafka.session_timeout_seconds / 2, metrics=self.metrics
                )
                state = await self._start_state(settings, stack)
                judging = Judging(
                    settings,
                    clock=self._clock,
                    metrics=self.metrics,
                    store=state,
                    exchange=state,
                    notes=state,
                    evidence=NotedEvidence(state, "packed"),
                    guard=guard,
                    reread=None if reread is None else lambda: reread().settings,
                    sender=Exchange if tracing is None else tracing.exchange,
                )
                self._judging = await stack.enter_async_context(judging)
                tokens = Tokens(
                    judging.buckets.items(), limits(settings), works_alone=settings.kafka.scale == "failover"
                )
                source = self._source = self._build_source(settings, tokens)
                guarantee = await self._start_guarantee(settings, source, guard, stack)
                router = Router(routes(settings, self.metrics))
                way = self._build_way(settings, judging, router, tracing)
                self._engine = self._build_engine(settings, judging, source, guarantee, state, guard, way, router)
                self._seams = Seams(
                    routes=partial(_reroute, router, judging),
                    policy=way.decide_by,
                    limits=tokens.replace,
                    prices=judging.reprice,
                    log_level=logs.set_level,
                )
                async with asyncio.TaskGroup() as tasks:
                    beside = [
                        tasks.create_task(guard.run()),
                        tasks.create_task(state.run()),
                        tasks.create_task(judging.run()),
                        tasks.create_task(secured(settings.kafka.security).run(self.metrics)),
                        tasks.create_task(self._watch(stop)),
                    ]
                    await judging.started.wait()
                    if self._reloads is not None:
                        beside.append(tasks.create_task(self._reloads.run()))
                    self._state = "running"
                    _log.info("running", version=__version__, admin_port=self.admin_port)
                    await self._engine.run(stop)
                    for task in beside:
                        task.cancel()
        except BaseExceptionGroup as errors:
            raise _first(errors) from errors
        finally:
            self._state = "stopped"
            _log.info("stopped")

    def reload(self) -> None:
        """Have the settings read again, and what can change put to work; the log says what came of it."""
        if self._reloads is not None:
            self._reloads.ask()

    def _take(self, loaded: Loaded, changed: Sequence[str]) -> None:
        if self._seams is not None:
            put_to_work(loaded.settings, changed, self._seams, self.metrics)
        if self._paced is not None:
            self._paced.follow(loaded.settings)
        self.loaded = loaded

    # Health

    def live(self) -> Health:
        """Whether the event loop ticks and the engine turns; nothing else, so that no outage kills the pod."""
        if self._engine is None:
            return Health(ok=True)
        patience = _LIVE_SECONDS
        if self._engine.stopping:
            # Nothing is read any more: it ends within its own limits, or is killed at the end of the grace period.
            shutdown = self.loaded.settings.shutdown
            patience += shutdown.drain_seconds + shutdown.flush_seconds + shutdown.leave_seconds
        still = self._clock.monotonic() - self._engine.turned_at
        return Health(still < patience, f"the engine has not turned for {still:.0f} s")

    def ready(self) -> Health:
        """Whether it is in the group, to work or to stand by, and does not hold."""
        if self._state != "running":
            return Health(ok=False, reason=self._state)
        if self._engine is None or not self._engine.joined:
            return Health(ok=False, reason="joining the group")
        reasons = dict.fromkeys(str(hold["reason"]) for hold in self._holds())
        return Health(ok=not reasons, reason=f"holding: {', '.join(reasons)}" if reasons else "")

    def _holds(self) -> list[dict[str, Any]]:
        return holds(self._judging, self._engine, self._source, self._formats)

    def status(self) -> dict[str, Any]:
        """Everything worth knowing, without secrets and without content."""
        return status(
            state=self._state,
            started_at=self._started_at,
            now=self._clock.now(),
            loaded=self.loaded,
            metrics=self.metrics,
            judging=self._judging,
            engine=self._engine,
            source=self._source,
            formats=self._formats,
        )

    # Building

    def _start_tracing(self, settings: Settings, stack: AsyncExitStack) -> Tracing | None:
        if not settings.tracing.enabled:
            return None
        tracing = Tracing(group_id=settings.kafka.group_id, processor=self._spans)
        stack.push_async_callback(_traced_to_the_end, tracing, settings.shutdown.leave_seconds)
        return tracing

    async def _start_state(self, settings: Settings, stack: AsyncExitStack) -> StateTopic:
        seconds = settings.shutdown.leave_seconds
        # A start that fails for want of a topic has made none.
        await require_all(settings.kafka, needed_topics(settings), close_seconds=seconds)
        log = KafkaStateLog(settings.kafka, settings.state, stop_seconds=seconds)
        state = StateTopic(log, clock=self._clock, metrics=self.metrics, stop_seconds=seconds)
        stack.push_async_callback(state.stop)
        await state.start()
        return state

    def _build_source(self, settings: Settings, tokens: Tokens) -> KafkaSource:
        shutdown = settings.shutdown
        return KafkaSource(
            settings.kafka,
            limits=limits(settings),
            handed_out=tokens.hand_out,
            metrics=self.metrics,
            revoke_seconds=shutdown.drain_seconds + shutdown.flush_seconds,
            leave_seconds=shutdown.leave_seconds,
        )

    async def _start_guarantee(
        self, settings: Settings, source: KafkaSource, guard: StallGuard, stack: AsyncExitStack
    ) -> AtLeast | Exactly:
        """At least once: a sink for verdicts and one for dead letters; trouble with one must not stop the other.

        Exactly once: a unit of all partitions that move together.
        """
        kafka, output = settings.kafka, settings.output
        compression, seconds = output.compression, settings.shutdown.leave_seconds
        verdict_topics = set(_topics(output).values())
        if settings.delivery.guarantee == "exactly_once":
            topics = verdict_topics | {output.dead_letters}
            await topic_limits(kafka, topics, setting="output", close_seconds=seconds)
            return Exactly(
                units=lambda name: KafkaUnit(
                    kafka, name, topics, compression=compression, stop_seconds=seconds, stamp=source.stamped
                ),
                unit_of=partial(_unit_of, kafka.group_id, kafka.scale == "share"),
            )
        sinks = {
            setting: KafkaSink(
                kafka, written, setting=setting, compression=compression, stop_seconds=seconds, guard=guard
            )
            for setting, written in (
                ("output.topic", verdict_topics),
                ("output.dead_letters", {output.dead_letters}),
            )
        }
        for sink in sinks.values():
            stack.push_async_callback(sink.stop)
            await sink.start()
        return AtLeast(*sinks.values())

    def _build_way(self, settings: Settings, judging: Judging, router: Router, tracing: Tracing | None) -> Way:
        make_way, judge = (Way, judging.judge) if tracing is None else (tracing.way, tracing.judge(judging.judge))
        paced = self._paced = PacedJudge(judge, settings)
        return make_way(
            intake=Intake(settings.mapping, self.metrics, self._formats, paced.pace).event,
            router=router,
            judge=paced,
            policy=policy(settings, self.metrics),
            topics=_topics(settings.output),
            dead_letters=settings.output.dead_letters,
            clock=self._clock,
        )

    def _build_engine(
        self,
        settings: Settings,
        judging: Judging,
        source: KafkaSource,
        guarantee: AtLeast | Exactly,
        state: StateTopic,
        guard: StallGuard,
        way: Way,
        router: Router,
    ) -> Engine:
        delivery, shutdown, letters = settings.delivery, settings.shutdown, settings.dead_letters
        return Engine(
            source=source,
            guarantee=guarantee,
            way=way,
            limits=Limits(
                max_in_flight=delivery.max_in_flight,
                memory_budget_bytes=delivery.memory_budget_bytes,
                commit_interval_seconds=delivery.commit_interval_seconds,
                drain_seconds=shutdown.drain_seconds,
                flush_seconds=shutdown.flush_seconds,
                skip_null=delivery.on_null == "skip",
                fetch_bytes=PARTITION_FETCH_BYTES,
                takeover_seconds=max(bucket.window_seconds for bucket in judging.buckets.values()),
                ordering=delivery.order,
            ),
            tally=Tally(self.metrics),
            metrics=self.metrics,
            clock=self._clock,
            paused=lambda: judging.hold.account_wide,
            settled=judging.settled,
            prepare=state.caught_up,
            proofs=guard,
            letter_limit=LetterLimit(letters.max_in_a_row, letters.max_share, letters.share_of),
            weight=router.weight,
        )

    async def _watch(self, stop: asyncio.Event) -> None:
        """Say when the stop began."""
        await stop.wait()
        self._state = "draining"
        _log.info("draining", in_flight=self._engine.in_flight if self._engine else 0)


def _reroute(router: Router, judging: Judging, routes: Sequence[Route]) -> None:
    router.replace(routes)
    judging.judge.replace(routes)


def _unit_of(group_id: str, shared: bool, partition: Partition) -> str:  # noqa: FBT001  # bound to its value where it is named
    """The transactional id of what moves together: all that the group reads, or one partition."""
    return f"{group_id}/{partition}" if shared else group_id


def _topics(output: Output) -> dict[str, str]:
    """The topic of each action."""
    return {action: output.topics.get(action, output.topic) for action in ACTIONS}


async def _traced_to_the_end(tracing: Tracing, seconds: float) -> None:
    try:
        await tracing.close(seconds)
    except TimeoutError:
        _log.warning("spans_lost", seconds=seconds, remedy="look at the collector of traces")


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that explains the others: the first that is no cancellation."""
    for error in errors.exceptions:
        if isinstance(error, BaseExceptionGroup):
            return _first(error)
    return errors.exceptions[0]
