"""All that judges events, put together and running: client, quotas, credentials, tasks, threads and callbacks."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Self

from consumer.building import buckets, moderation_client, routes
from consumer.callbacks import CallbackServer
from consumer.moderation.calling.choice import transport_for
from consumer.moderation.calling.exchange import Exchange
from consumer.moderation.credentials import source_from
from consumer.moderation.deadline import Timely
from consumer.moderation.images.upload import Uploader, in_region, prepared
from consumer.moderation.judge import ServiceJudge
from consumer.moderation.known import Known
from consumer.moderation.packable import packable
from consumer.moderation.packed import Packed
from consumer.moderation.protocol.billing import price_list
from consumer.moderation.protocol.endpoints import endpoint_for, region_for
from consumer.moderation.protocol.services import resolve
from consumer.moderation.tasks.board import TaskBoard
from consumer.moderation.tasks.seeds import CallbackAddresses
from consumer.moderation.tasks.store import MemoryTaskStore
from consumer.moderation.tasks.task import Place
from consumer.moderation.thread_judge import ThreadJudge
from consumer.quota import OpenGuard
from consumer.quota.budget import Budgets
from consumer.quota.lessons import Lessons
from consumer.quota.periods import zone_of
from consumer.quota.spending import Spending


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import TracebackType

    from consumer.clock import Clock
    from consumer.event import Event
    from consumer.metrics import Metrics
    from consumer.moderation.caller import Caller
    from consumer.moderation.calling.client import ModerationClient
    from consumer.moderation.calling.hold import Hold
    from consumer.moderation.calling.purse import Purse
    from consumer.moderation.calling.transport import UploadTransport
    from consumer.moderation.protocol.billing import Price
    from consumer.moderation.protocol.services import Quota, Service
    from consumer.moderation.shadow import Evidence
    from consumer.moderation.tasks.store import CallbackExchange, TaskStore
    from consumer.quota import Bucket, Guard
    from consumer.quota.notes import Notes
    from consumer.record import Record
    from consumer.settings import EmbeddedSettings
    from consumer.settings.models import Callbacks


__all__ = ["Judging"]


@dataclass(frozen=True, slots=True)
class _Submits:
    """The tokens of submissions: none looks free while the guard is shut, or threads would be split up for nothing."""

    bucket: Bucket
    guard: Guard
    board: TaskBoard

    def free(self) -> bool:
        """Whether a task could be submitted now without waiting."""
        return self.bucket.free() and not self.guard.shut and not self.board.at_the_door

    def near(self) -> bool:
        """Whether a task would be submitted within a moment: more are not taken out of their windows before."""
        return self.bucket.near() and not self.guard.shut and self.board.at_the_door <= 1


@dataclass(frozen=True, slots=True)
class _Sends:
    """The tokens of calls: none looks free while the guard is shut, or texts would leave for nothing before others."""

    bucket: Bucket
    guard: Guard

    def free(self) -> bool:
        """Whether a call could be sent now without waiting."""
        return self.bucket.free() and not self.guard.shut


class Judging:
    """Enter it to have everything built and connected; keep `run` in a task for as long as events are judged.

    The sidecar and an embedded moderator stand on the same one. `store` is where submitted tasks are remembered, and
    `exchange` passes callbacks to the process of the group that has their task; without one there is no other process.
    `reread` reads the settings again, for a key in a file that may be replaced while the program runs. While `guard` is
    shut nothing is sent to the service; without one nothing can replace this process. `notes` are where budgets and
    what was spent outlive a process; without them both are forgotten with it. `evidence` remembers what packed texts
    were measured to do. Where a `transport` is given, requests are sent over it and not over HTTP; where a `purse` is
    given, it is asked for each payment, and not the budgets. `sender` makes what sends single requests.
    """

    judge: Timely
    client: ModerationClient
    board: TaskBoard
    known: Known
    """What remembers answers, and stands before all calls but those of tasks."""
    packed: Packed | None
    """What judges short texts together, where that is chosen."""

    def __init__(
        self,
        settings: EmbeddedSettings,
        *,
        clock: Clock,
        metrics: Metrics,
        store: TaskStore | None = None,
        exchange: CallbackExchange | None = None,
        guard: Guard | None = None,
        notes: Notes | None = None,
        evidence: Evidence | None = None,
        transport: UploadTransport | None = None,
        purse: Purse | None = None,
        reread: Callable[[], EmbeddedSettings] | None = None,
        sender: Callable[..., Exchange] = Exchange,
    ) -> None:
        self.buckets: Mapping[Quota, Bucket] = buckets(settings, clock)
        self._lessons = Lessons(self.buckets.items(), clock=clock, metrics=metrics)
        self.started = asyncio.Event()
        # One for all parts, so that it can be replaced in all of them at once.
        self._prices = dict(price_list(settings.moderation.prices))
        self.callback_port: int | None = None
        seconds = settings.shutdown.leave_seconds
        self.budgets = Budgets(settings.budgets, clock=clock, metrics=metrics, notes=notes, stop_seconds=seconds)
        zones = {one.timezone for one in settings.budgets}
        zone = zone_of(zones.pop() if len(zones) == 1 else "UTC")
        self.spending = Spending(clock=clock, metrics=metrics, zone=zone, notes=notes, stop_seconds=seconds)
        self._settings = settings
        self._clock = clock
        self._metrics = metrics
        self._store = MemoryTaskStore() if store is None else store
        self._exchange = exchange
        self._guard = guard or OpenGuard()
        self._evidence = evidence
        self._transport = transport
        self._purse = purse or (self.budgets if settings.budgets else None)
        self._reread = reread
        self._sender = sender
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Build and connect everything.

        Raises:
            StartError: the credentials cannot be had, or the port for callbacks cannot be opened.
        """
        settings, clock, metrics, reread = self._settings, self._clock, self._metrics, self._reread
        own = settings.moderation
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self.spending.close)
            stack.push_async_callback(self.budgets.close)
            transport = self._transport
            if transport is None:
                transport = await stack.enter_async_context(transport_for(own, self._guard))
            self._credentials = source_from(
                own, clock=clock, metrics=metrics, reread=None if reread is None else lambda: reread().moderation
            )
            await self._credentials.start()
            self.client = moderation_client(
                settings,
                transport=transport,
                tokens=self.buckets,
                clock=clock,
                metrics=metrics,
                credentials=self._credentials,
                guard=self._guard,
                prices=self._prices,
                purse=self._purse,
                exchange=self._sender,
            )
            uploader = Uploader(
                transport,
                endpoint=endpoint_for(own.region, own.network, own.endpoint),
                credentials=self._credentials,
                hold=self.client.hold,
                retry=own.retry,
                clock=clock,
                metrics=metrics,
                guard=self._guard,
                network=own.upload_endpoint,
            )
            self.board = TaskBoard(
                store=self._store,
                query=self.client,
                settings=settings.tasks,
                callbacks=settings.callbacks.url is not None,
                clock=clock,
                metrics=metrics,
                exchange=self._exchange,
                queries_per_second=lambda: self.buckets["multimodal_query"].rate_now,
            )
            addresses = await self._receive_callbacks(settings.callbacks, stack)
            place = partial(prepared, uploader=uploader)
            region = region_for(own.region, own.network, own.endpoint) or ""
            self._threads = ThreadJudge(
                self.client,
                self.board,
                tokens=_Submits(self.buckets["multimodal_submit"], self._guard, self.board),
                threads=settings.threads,
                tasks=settings.tasks,
                clock=clock,
                metrics=metrics,
                callbacks=addresses,
                group_id="" if settings.kafka is None else settings.kafka.group_id,
                place=lambda event: _placed(event, uploader, region),
            )
            services = resolve(own.services)
            self.packed = self._packs(services)
            caller: Caller = self.packed or self.client
            self.known = Known(caller, settings.cache, prices=self._prices, clock=clock, metrics=metrics)
            self._services = ServiceJudge(self.known, services, self._threads, place=place, referer=own.referer)
            self.judge = Timely(
                self._services, routes(settings), clock=clock, metrics=metrics, submitted=self._services.submitted
            )
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)

    @property
    def hold(self) -> Hold:
        """Which services, or the whole account, are held."""
        return self.client.hold

    async def run(self, *, watched: bool = True) -> None:
        """Renew credentials, submit threads and ask for results until cancelled; `started` is set when it does.

        What was learned and spent is shown and kept only where it is `watched`.

        Raises:
            Exception: what one of these parts cannot recover from.
        """
        async with asyncio.TaskGroup() as tasks, self._threads, self.packed or nullcontext(), self.known:
            tasks.create_task(self._credentials.run())
            tasks.create_task(self.board.run())
            if watched:
                tasks.create_task(self._lessons.run())
                tasks.create_task(self.budgets.run())
                tasks.create_task(self.spending.run())
            self.started.set()
            await asyncio.Event().wait()

    def reprice(self, prices: Mapping[str, Price]) -> None:
        """Have all that is billed from now on cost this."""
        self._prices.update(prices)

    async def settled(self, records: Iterable[Record]) -> None:
        """The verdicts of these records are committed: nothing more needs to be remembered of them."""
        await self._services.forget([Place.of(record) for record in records])

    def _packs(self, services: Mapping[str, Service]) -> Packed | None:
        settings = self._settings
        if settings.packed.mode == "off":
            return None
        return Packed(
            self.client,
            settings.packed,
            packable(services, settings.moderation.services, settings.packed.services),
            tokens={name: _Sends(bucket, self._guard) for name, bucket in self.buckets.items()},
            clock=self._clock,
            metrics=self._metrics,
            evidence=self._evidence,
        )

    async def _receive_callbacks(self, own: Callbacks, stack: AsyncExitStack) -> CallbackAddresses | None:
        if own.url is None or own.account_id is None or own.secret is None:
            return None
        secret = own.secret.get_secret_value()
        server = CallbackServer(
            host=own.host,
            port=own.port,
            account_id=own.account_id,
            secret=secret,
            max_body_bytes=own.max_body_bytes,
            receiver=self.board,
            metrics=self._metrics,
        )
        await stack.enter_async_context(server)
        self.callback_port = server.port
        return CallbackAddresses(own.url, secret)


async def _placed(event: Event, uploader: Uploader, region: str) -> Event:
    """The event as a multimodal service reads it: local images uploaded, and each object with its region."""
    return in_region(await prepared(event, uploader), region)
