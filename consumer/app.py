"""Builds all parts from the settings, and owns their start, drain and stop."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog

from consumer import __version__
from consumer.admin import AdminServer, Health
from consumer.clock import SystemClock
from consumer.engine.engine import Engine, Limits
from consumer.engine.tally import Tally
from consumer.engine.way import Way
from consumer.intake import Intake
from consumer.kafka.sink import KafkaSink
from consumer.kafka.source import PARTITION_FETCH_BYTES, KafkaSource
from consumer.metrics import Metrics
from consumer.moderation.billing import price_list
from consumer.moderation.client import ModerationClient
from consumer.moderation.credentials import FixedCredentials
from consumer.moderation.endpoints import endpoint_for, region_of
from consumer.moderation.judge import ServiceJudge
from consumer.moderation.services import default_routes, resolve
from consumer.moderation.signing import Credentials
from consumer.moderation.transport import AiohttpTransport
from consumer.policy import Policy
from consumer.quota import Bucket
from consumer.routing import Route, Router, When
from consumer.settings import values
from consumer.verdict import ACTIONS, RiskLevel


if TYPE_CHECKING:
    from collections.abc import Mapping

    from consumer.clock import Clock
    from consumer.moderation.services import Quota
    from consumer.moderation.transport import Transport
    from consumer.settings import Loaded, Settings
    from consumer.settings.models import Output
    from consumer.verdict import Action


__all__ = ["App", "buckets", "moderation_client", "policy", "routes"]


_log = structlog.get_logger(__name__)

# The engine turns at least twice a second: one that has not for so long no longer does.
_LIVE_SECONDS = 60.0


class App:
    """The whole consumer. `metrics` can be read at any time; `status` and the health checks while it runs."""

    def __init__(self, loaded: Loaded, *, clock: Clock | None = None) -> None:
        self.loaded = loaded
        self.metrics = Metrics()
        self.admin_port = 0
        self._clock = clock or SystemClock()
        self._started_at = self._clock.now()
        self._state = "starting"
        self._engine: Engine | None = None
        self._client: ModerationClient | None = None
        self._buckets: Mapping[Quota, Bucket] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, then drain within the configured limits.

        When cancelled it ends at once: what was in flight is judged again after the next start.

        Raises:
            StartError: a part that must be there at start is not.
            Exception: what no part could recover from; nothing unfinished was committed.
        """
        settings = self.loaded.settings
        self.metrics.gauge("build").labels(__version__).set(1)
        self.metrics.gauge("up_since_seconds").set(self._started_at)
        try:
            async with AsyncExitStack() as stack:
                admin = AdminServer(
                    host=settings.admin.host, port=settings.admin.port, metrics=self.metrics, watched=self
                )
                await stack.enter_async_context(admin)
                self.admin_port = admin.port
                transport = await stack.enter_async_context(AiohttpTransport(settings.moderation.timeouts))
                self._buckets = buckets(settings, self._clock)
                self._client = moderation_client(
                    settings, transport=transport, tokens=self._buckets, clock=self._clock, metrics=self.metrics
                )
                verdicts, letters = self._sinks(settings)
                for sink in (verdicts, letters):
                    stack.push_async_callback(sink.stop)
                    await sink.start()
                self._engine = self._build_engine(settings, self._client, verdicts, letters)
                self._state = "running"
                _log.info("running", version=__version__, admin_port=self.admin_port)
                async with asyncio.TaskGroup() as tasks:
                    watch = tasks.create_task(self._watch(stop))
                    await self._engine.run(stop)
                    watch.cancel()
        except BaseExceptionGroup as errors:
            raise _first(errors) from errors
        finally:
            self._state = "stopped"
            _log.info("stopped")

    # Health

    def live(self) -> Health:
        """Whether the event loop ticks and the engine turns; nothing else, so that no outage kills the pod."""
        if self._engine is None:
            return Health(ok=True)
        still = self._clock.monotonic() - self._engine.turned_at
        return Health(still < _LIVE_SECONDS, f"the engine has not turned for {still:.0f} s")

    def ready(self) -> Health:
        """Whether it works, and does not hold."""
        if self._state != "running":
            return Health(ok=False, reason=self._state)
        if self._client is not None and self._client.hold.reasons():
            return Health(ok=False, reason=f"holding: {', '.join(self._client.hold.reasons())}")
        return Health(ok=True)

    def status(self) -> dict[str, Any]:
        """Everything worth knowing, without secrets and without content."""
        engine, client = self._engine, self._client
        return {
            "version": __version__,
            "state": self._state,
            "started_at": self._started_at,
            "in_flight": engine.in_flight if engine else 0,
            "oldest_unfinished_seconds": engine.oldest_unfinished_seconds if engine else 0.0,
            "lanes": [
                {
                    "topic": lane.partition.topic,
                    "partition": lane.partition.partition,
                    "state": lane.state.name.lower(),
                    "position": lane.tracker.position,
                    "unfinished": lane.unfinished,
                }
                for lane in (engine.lanes.values() if engine else ())
            ],
            "holds": [
                {
                    "reason": one.reason,
                    "service": one.service,
                    "code": one.code,
                    "meaning": one.meaning,
                    "remedy": one.remedy,
                    "since": one.since,
                }
                for one in (client.hold.standing() if client else ())
            ],
            "quotas": {name: {"limit": one.limit, "limit_now": one.limit_now} for name, one in self._buckets.items()},
            "settings": {one.key: {"value": one.shown, "origin": one.origin} for one in values(self.loaded)},
        }

    # Building

    def _sinks(self, settings: Settings) -> tuple[KafkaSink, KafkaSink]:
        """One for verdicts and one for dead letters: trouble with one kind of record must not stop the other."""
        output = settings.output
        sink = partial(
            KafkaSink, settings.kafka, compression=output.compression, stop_seconds=settings.shutdown.leave_seconds
        )
        return (
            sink(set(_topics(output).values()), setting="output.topic"),
            sink({output.dead_letters}, setting="output.dead_letters"),
        )

    def _build_engine(
        self, settings: Settings, client: ModerationClient, verdicts: KafkaSink, letters: KafkaSink
    ) -> Engine:
        output, delivery, shutdown = settings.output, settings.delivery, settings.shutdown
        way = Way(
            intake=Intake(settings.mapping).event,
            router=Router(routes(settings)),
            judge=ServiceJudge(client, resolve(settings.moderation.services)),
            policy=policy(settings),
            topics=_topics(output),
            dead_letters=output.dead_letters,
            clock=self._clock,
        )
        source = KafkaSource(
            settings.kafka,
            revoke_seconds=shutdown.drain_seconds + shutdown.flush_seconds,
            leave_seconds=shutdown.leave_seconds,
        )
        return Engine(
            source=source,
            verdicts=verdicts,
            dead_letters=letters,
            way=way,
            limits=Limits(
                max_in_flight=delivery.max_in_flight,
                memory_budget_bytes=delivery.memory_budget_bytes,
                commit_interval_seconds=delivery.commit_interval_seconds,
                drain_seconds=shutdown.drain_seconds,
                flush_seconds=shutdown.flush_seconds,
                skip_null=delivery.on_null == "skip",
                fetch_bytes=PARTITION_FETCH_BYTES,
            ),
            tally=Tally(self.metrics),
            metrics=self.metrics,
            clock=self._clock,
            paused=lambda: client.hold.account_wide,
        )

    async def _watch(self, stop: asyncio.Event) -> None:
        """Keep the gauges of the quotas, and say when the stop began."""
        while not stop.is_set():
            for name, bucket in self._buckets.items():
                self.metrics.gauge("quota_limit").labels(name).set(bucket.limit_now)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), 1.0)
        self._state = "draining"
        _log.info("draining", in_flight=self._engine.in_flight if self._engine else 0)


def routes(settings: Settings) -> tuple[Route, ...]:
    """The configured routes, or the default ones for the region."""
    if not settings.routes:
        own = settings.moderation
        return default_routes(own.region or region_of(endpoint_for(None, own.network, own.endpoint)))
    return tuple(
        Route(
            one.name,
            tuple(one.services),
            When(
                kinds=frozenset(one.when.kind),
                origins=frozenset(one.when.origin),
                languages=frozenset(tag.lower() for tag in one.when.language),
                topics=frozenset(one.when.topic),
                has_text=one.when.has_text,
                has_images=one.when.has_images,
            ),
        )
        for one in settings.routes
    )


def policy(settings: Settings) -> Policy:
    """The configured policy."""
    own = settings.policy
    levels: dict[RiskLevel, Action] = {
        RiskLevel.NONE: own.none,
        RiskLevel.LOW: own.low,
        RiskLevel.UNKNOWN: own.unknown,
        RiskLevel.MEDIUM: own.medium,
        RiskLevel.HIGH: own.high,
    }
    return Policy(levels, dict(own.labels))


def buckets(settings: Settings, clock: Clock) -> Mapping[Quota, Bucket]:
    """A bucket for each of the account's limits."""
    quota = settings.quota
    limits: dict[Quota, int] = {
        "text": quota.text_per_second,
        "image": quota.image_per_second,
        "image_llm": quota.image_llm_per_second,
    }
    return {name: Bucket(limit, jitter_seconds=quota.jitter_seconds, clock=clock) for name, limit in limits.items()}


def moderation_client(
    settings: Settings, *, transport: Transport, tokens: Mapping[Quota, Bucket], clock: Clock, metrics: Metrics
) -> ModerationClient:
    """The client of the moderation service, as configured."""
    own = settings.moderation
    token = own.credentials.security_token
    return ModerationClient(
        transport,
        endpoint=endpoint_for(own.region, own.network, own.endpoint),
        credentials=FixedCredentials(
            Credentials(
                own.credentials.access_key_id,
                own.credentials.access_key_secret.get_secret_value(),
                None if token is None else token.get_secret_value(),
            )
        ),
        tokens=tokens,
        prices=price_list(own.prices),
        retry=own.retry,
        hold_probe_seconds=own.hold_probe_seconds,
        clock=clock,
        metrics=metrics,
    )


def _topics(output: Output) -> dict[str, str]:
    """The topic of each action."""
    return {action: output.topics.get(action, output.topic) for action in ACTIONS}


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that explains the others: the first that is no cancellation."""
    for error in errors.exceptions:
        if isinstance(error, BaseExceptionGroup):
            return _first(error)
    return errors.exceptions[0]
