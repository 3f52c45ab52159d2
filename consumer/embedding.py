"""The moderation of single events in a program of your own, without Kafka: the client, its quotas and its policy."""

from __future__ import annotations

import asyncio
import itertools
import os
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from consumer.building import policy, routes
from consumer.clock import SystemClock
from consumer.errors import LaneClosed, RouteError
from consumer.judging import Judging
from consumer.metrics import Metrics
from consumer.record import Partition, Record
from consumer.routing import Router
from consumer.settings import Loaded, load_embedded


if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from consumer.clock import Clock
    from consumer.event import Event
    from consumer.moderation.calling.hold import Standing
    from consumer.moderation.tasks.task import Place, Task
    from consumer.settings import EmbeddedSettings
    from consumer.verdict import Action, Billed, Judgement, Label, RiskLevel


__all__ = ["Moderated", "Moderator"]


# Where events are said to come from that come from no topic.
_NOWHERE = Partition("", 0)


@dataclass(frozen=True, slots=True)
class Moderated:
    """What became of one event: what the services found, and what the policy makes of it."""

    event_id: str
    route: str
    action: Action
    judgement: Judgement

    @property
    def risk_level(self) -> RiskLevel:
        """How risky it is; `UNKNOWN` where no usable answer could be had, and such an event never passes."""
        return self.judgement.risk_level

    @property
    def labels(self) -> tuple[Label, ...]:
        """What was found, by all services."""
        return self.judgement.labels

    @property
    def billed(self) -> tuple[Billed, ...]:
        """What the answers cost."""
        return self.judgement.billed


class Moderator:
    """Judges events by the same routes, quotas, retries and policy as the sidecar. Use it as a context manager.

    One moderator serves any number of tasks of one event loop, and has one quota for all of them: keep one for the
    life of your program. It writes no files and installs no signal handlers. End what waits for `moderate` before you
    leave its context.

    Args:
        settings: what `consumer.settings.load_embedded` or `load` gives.
        clock: the machine's, unless a test puts another one in its place.
        reread: reads the settings again, for a key in a file that may be replaced while the program runs.
    """

    def __init__(
        self,
        settings: EmbeddedSettings,
        *,
        clock: Clock | None = None,
        reread: Callable[[], EmbeddedSettings] | None = None,
    ) -> None:
        self.metrics = Metrics()
        self._settings = settings
        self._clock = clock or SystemClock()
        self._reread = reread
        self._router = Router(routes(settings, self.metrics))
        self._policy = policy(settings, self.metrics)
        self._stack = AsyncExitStack()
        self._judging: Judging | None = None
        self._running: asyncio.Task[None] | None = None
        self._numbers = itertools.count()

    @classmethod
    def from_settings(
        cls, settings: Path | str | Mapping[str, Any] | Loaded, environ: Mapping[str, str] = os.environ
    ) -> Self:
        """A moderator by a YAML file, by a mapping of the same shape, or by settings that were loaded before.

        Of the sections only `moderation` is needed; those of Kafka are not used. Variables of the environment are read
        as for the sidecar: `MODERATION__…` over the file or mapping, the vendor's for credentials.

        Raises:
            SettingsError: something is wrong; `problems` has one line for each fault.
        """
        if isinstance(settings, Loaded):
            return cls(settings.settings)
        return cls(load_embedded(settings, environ), reread=lambda: load_embedded(settings, environ))

    async def __aenter__(self) -> Self:
        """Have credentials and a session, and a task that keeps them fresh and asks for what takes longer.

        Raises:
            StartError: the credentials cannot be had, or the port for callbacks; its `remedy` says what to do.
        """
        judging = Judging(
            self._settings, clock=self._clock, metrics=self.metrics, store=_NoStore(), reread=self._reread
        )
        async with AsyncExitStack() as stack:
            self._judging = await stack.enter_async_context(judging)
            # No task group: it would wrap what is raised in the caller's block.
            self._running = asyncio.create_task(judging.run())
            stack.push_async_callback(_end, self._running)
            await judging.started.wait()
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._judging = None
        await self._stack.__aexit__(kind, error, trace)

    async def moderate(self, event: Event) -> Moderated:
        """Have one event judged by the first route that takes it.

        It waits for the quota, tries again what failed for a while, and waits as long as the account is held (see
        `holds`); put `asyncio.timeout` around it where that is too long. When cancelled it gives up its requests, which
        may have been billed; `bill_unknown_calls` in `metrics` counts them.

        Raises:
            RouteError: no route takes the event, or its route has nothing to judge in it.
            ContentRefused: the service will never take this content.
            LaneClosed: the moderator was closed in the meantime.
            RuntimeError: the moderator is not open, or what it needs beside calls has failed; that is its cause.
        """
        judging, running = self._judging, self._running
        if judging is None or running is None:
            raise RuntimeError("the moderator is not open: use it with `async with`")
        route = self._router.route(event, _NOWHERE.topic)
        if route is None:
            raise RouteError(f"no route takes an event of kind {event.kind!r} and origin {event.origin!r}")
        record = Record(_NOWHERE, next(self._numbers), round(self._clock.now() * 1000), None, None)
        judged = asyncio.ensure_future(judging.judge.judge(event, route, _Claim(self, record)))
        try:
            await asyncio.wait({judged, running}, return_when=asyncio.FIRST_COMPLETED)
            if not judged.done():
                cause = None if running.cancelled() else running.exception()
                raise RuntimeError("the moderator can no longer judge events") from cause
            judgement = judged.result()
        finally:
            if not judged.done():
                judged.cancel()
                await asyncio.wait({judged})
            await judging.settled([record])
        route_name = judgement.route or route.name
        action, judgement = self._policy.decide(judgement, event)
        return Moderated(event.id, route_name, action, judgement)

    @property
    def open(self) -> bool:
        """Whether it judges events."""
        return self._judging is not None

    @property
    def holds(self) -> tuple[Standing, ...]:
        """Why calls wait for a person: an account that is denied, overdue or badly configured, with the remedy."""
        return () if self._judging is None else self._judging.hold.standing()

    @property
    def budgets(self) -> list[dict[str, Any]]:
        """Each budget in its period of now: what is spent of it, and how many calls wait for the next period."""
        return [] if self._judging is None else self._judging.budgets.status()


class _Claim:
    """An event's claim where there are no lanes: it is held as long as the moderator is open."""

    __slots__ = ("_moderator", "record")

    def __init__(self, moderator: Moderator, record: Record) -> None:
        self._moderator = moderator
        self.record = record

    @property
    def held(self) -> bool:
        return self._moderator.open

    def begin(self) -> None:
        if not self.held:
            raise LaneClosed("the moderator was closed")

    def end(self, *, billed: bool) -> None:
        """Nothing waits for it."""

    def park(self) -> None:
        """There is no window to make room in."""

    def unpark(self) -> None:
        """There is no window to come back to."""


class _NoStore:
    """Remembers no tasks: an event that is moderated again has a record of its own, and would not find them."""

    async def remember(self, tasks: Sequence[Task]) -> None:
        """Nothing is kept."""

    def find(self, place: Place, fingerprint: str) -> Task | None:
        """Nothing is found."""

    async def forget(self, places: Collection[Place]) -> None:
        """There is nothing to forget."""


async def _end(task: asyncio.Task[None]) -> None:
    """End a task that runs for ever; what it failed with, if it did, is raised here."""
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        task.result()
