"""Settings that change while the program runs: read again on request or when a file changes, checked, put to work."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import structlog

from consumer.building import limits, policy, routes
from consumer.errors import SettingsError
from consumer.moderation.protocol.billing import price_list
from consumer.settings.replacing import replacement


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from consumer.metrics import Metrics
    from consumer.moderation.protocol.billing import Price
    from consumer.policy import Policy
    from consumer.routing import Route
    from consumer.settings import Loaded, Settings


__all__ = ["RESULTS", "Reloads", "Result", "Seams", "put_to_work"]


_log = structlog.get_logger(__name__)

_LOOK_SECONDS = 2.0

Result = Literal["applied", "restart", "unchanged", "refused"]
RESULTS: tuple[Result, ...] = ("applied", "restart", "unchanged", "refused")


@dataclass(frozen=True, slots=True)
class Seams:
    """Where the parts at work take what replaces what they have. None of them may fail or wait."""

    routes: Callable[[Sequence[Route]], None]
    policy: Callable[[Policy], None]
    limits: Callable[[Mapping[str, int]], None]
    prices: Callable[[Mapping[str, Price]], None]
    log_level: Callable[[str], None]


def put_to_work(settings: Settings, changed: Sequence[str], seams: Seams, metrics: Metrics | None = None) -> None:
    """Replace what changed, in one step: no event meets half of it. All is built before anything is replaced.

    `metrics` count what plugins fail at.

    Raises:
        SettingsError: a part cannot be built from it; nothing was replaced.
    """
    sections = {key.partition(".")[0] for key in changed}
    made = (
        routes(settings, metrics),
        policy(settings, metrics),
        limits(settings),
        price_list(settings.moderation.prices),
    )
    if "routes" in sections:
        seams.routes(made[0])
    if "policy" in sections:
        seams.policy(made[1])
    if "quota" in sections:
        seams.limits(made[2])
    if "moderation" in sections:
        seams.prices(made[3])
    if "log" in sections:
        seams.log_level(settings.log.level)


class Reloads:
    """Reads the settings again when asked to, and when one of their files changes; keep `run` in a task.

    What is wrong as a whole is refused: the settings from before stay at work, and the log has the same lines as a
    start would. Of what is right, all that can be replaced is, and the log names the keys that need a restart.

    Args:
        loaded: what is at work now.
        read: reads the same sources again; called in a thread.
        files: the files among them. A file may be replaced through symbolic links, as Kubernetes does.
        take: puts replaced settings to work: all of them, and the keys that changed.
        metrics: where reloads are counted.
        look_seconds: how often it is looked whether a file has changed; a change is taken when two looks agree.
    """

    def __init__(
        self,
        loaded: Loaded,
        *,
        read: Callable[[], Loaded],
        files: Sequence[str],
        take: Callable[[Loaded, Sequence[str]], None],
        metrics: Metrics,
        look_seconds: float = _LOOK_SECONDS,
    ) -> None:
        self._loaded = loaded
        self._read = read
        self._files = tuple(files)
        self._take = take
        self._look_seconds = look_seconds
        self._asked = asyncio.Event()
        self._seen = _stamps(self._files)
        self._counter = metrics.counter("config_reloads")
        for result in RESULTS:
            self._counter.labels(result)
        self._failed = metrics.gauge("config_reload_failed")
        self._failed.set(0)
        self._pending = metrics.gauge("config_restart_needed")
        self._pending.set(0)

    def ask(self) -> None:
        """Have the settings read again as soon as `run` gets to it."""
        self._asked.set()

    async def run(self) -> None:
        """Read the settings again whenever asked to, or when a file changed, until cancelled."""
        before = self._seen
        while True:
            try:
                async with asyncio.timeout(self._look_seconds):
                    await self._asked.wait()
            except TimeoutError:
                now = _stamps(self._files)
                settled, before = now == before, now
                if not settled or now == self._seen:
                    continue
            self._asked.clear()
            self._seen = before = _stamps(self._files)
            await self.reload()

    async def reload(self) -> Result:
        """Read, check, and put to work what can be; says what came of it.

        When cancelled while reading nothing has changed.
        """
        try:
            found = replacement(self._loaded, await asyncio.to_thread(self._read))
            if found.applied:
                self._take(found.loaded, found.applied)
        except SettingsError as error:
            return self._refused(error.problems)
        except Exception as error:  # noqa: BLE001  # what runs well must not stop for it; its words may hold a secret
            return self._refused([f"unexpected {type(error).__name__} while the settings were read"])
        self._loaded = found.loaded
        result: Result = "restart" if found.restart else "applied" if found.applied else "unchanged"
        if found.restart:
            _log.warning(
                "settings need a restart",
                keys=list(found.restart),
                applied=list(found.applied),
                meaning=f"needs a restart: {', '.join(found.restart)}; until then what was there before is at work",
            )
        elif found.applied:
            _log.info("settings reloaded", applied=list(found.applied))
        else:
            _log.info("settings unchanged")
        self._failed.set(0)
        self._pending.set(len(found.restart))
        self._counter.labels(result).inc()
        return result

    def _refused(self, problems: Sequence[str]) -> Result:
        self._failed.set(1)
        self._counter.labels("refused").inc()
        _log.error(
            "settings refused",
            problems=list(problems),
            meaning="The settings from before stay at work.",
            remedy="Mend the file: it is read again when it changes, and on SIGHUP.",
        )
        return "refused"


_Stamp = tuple[int, int, int, int] | None


def _stamps(files: Sequence[str]) -> tuple[_Stamp, ...]:
    return tuple(map(_stamp, files))


def _stamp(file: str) -> _Stamp:
    """What changes with a file's content, or with what a link on the way to it points to; None where there is none."""
    try:
        found = os.stat(file)  # noqa: PTH116  # a name is what the command line gives
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
