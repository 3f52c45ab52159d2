"""An event loop of virtual time that runs several processes, each of which can be frozen, thawed and killed."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import heapq
import itertools
import sys
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, TypeVar

from tests.virtual_time import EPOCH


if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable, Coroutine, Iterator


__all__ = ["PROCESS", "Process", "SimClock", "SimLoop", "State", "run"]


T = TypeVar("T")

# How often a coroutine of a dead process may yield again while it is closed, before it is let go as it is.
_CLOSE_TRIES = 20


class State(Enum):
    """What a process does: it runs; it stands still (SIGSTOP); it is dead (kill -9)."""

    RUNNING = auto()
    FROZEN = auto()
    DEAD = auto()


_RUNNING = State.RUNNING


class Process:
    """Everything that was started, directly or not, from one coroutine: its tasks, timers and callbacks."""

    __slots__ = ("_due", "_held", "frozen_at", "main", "name", "number", "state", "tasks")

    def __init__(self, name: str, number: int) -> None:
        self.name = name
        self.number = number
        self.state = State.RUNNING
        self.frozen_at: float | None = None
        self.tasks: list[asyncio.Task[Any]] = []
        self.main: asyncio.Task[Any] | None = None
        self._held: list[asyncio.Handle] = []
        self._due: list[asyncio.Handle] = []

    @property
    def running(self) -> bool:
        """Whether its code runs."""
        return self.state is State.RUNNING

    @property
    def alive(self) -> bool:
        """Whether its code runs, or may run again."""
        return self.state is not State.DEAD

    def __repr__(self) -> str:
        return f"<{self.name} {self.state.name.lower()}>"


PROCESS: contextvars.ContextVar[Process | None] = contextvars.ContextVar("process", default=None)
"""The process that the running code belongs to; None is the world outside: the brokers, the vendor, the network."""


class _Task(asyncio.Task[Any]):
    """A task whose place in a set does not depend on its address, so that a seed always gives the same run."""

    __slots__ = ("_number",)

    def __init__(self, coro: Any, *, number: int, **more: Any) -> None:
        self._number = number
        super().__init__(coro, **more)

    def __hash__(self) -> int:
        return self._number


class SimLoop(asyncio.BaseEventLoop):
    """Time stands still while anything can run, and jumps to the next timer when nothing can; there is no real I/O."""

    _ready: deque[asyncio.Handle]
    _stopping: bool

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._numbers = itertools.count()
        self._processes: list[Process] = []
        self._world = Process("world", -1)
        self._faults: list[dict[str, Any]] = []
        self.set_exception_handler(self._broken)
        self.set_task_factory(self._new_task)

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._now

    # Processes

    def spawn(self, name: str, main: Callable[[], Coroutine[Any, Any, Any]]) -> Process:
        """Start a process."""
        process = Process(name, len(self._processes))
        self._processes.append(process)
        context = contextvars.copy_context()
        context.run(PROCESS.set, process)
        process.main = context.run(self.create_task, main())
        return process

    def freeze(self, process: Process) -> None:
        """SIGSTOP: none of its code runs until it is thawed; what falls due meanwhile waits for it."""
        if process.state is State.RUNNING:
            process.state = State.FROZEN
            process.frozen_at = self._now

    def thaw(self, process: Process) -> None:
        """SIGCONT: first it finds what came in from outside, then the timers that are over, as a real loop does."""
        if process.state is not State.FROZEN:
            return
        process.state = State.RUNNING
        process.frozen_at = None
        self._ready.extend(process._held)
        self._ready.extend(process._due)
        process._held.clear()
        process._due.clear()

    def kill(self, process: Process) -> None:
        """Kill -9: none of its code ever runs again, no `finally` either. What it has sent is on its way."""
        process.state = State.DEAD
        process._held.clear()
        process._due.clear()

    def bury(self) -> None:
        """Close all that never ended, quietly. The run is over: what these coroutines still do concerns nobody."""
        for process in self._processes:
            process.state = State.DEAD
        for task in [task for process in (self._world, *self._processes) for task in process.tasks if not task.done()]:
            task._log_destroy_pending = False  # type: ignore[attr-defined]  # asyncio's own switch, unknown to the stubs
            coroutine: Any = task.get_coro()
            for _ in range(_CLOSE_TRIES):
                with contextlib.suppress(BaseException):
                    coroutine.close()
                    break
        self._ready.clear()
        self._timers.clear()
        self._faults.clear()

    # Inside

    def _new_task(self, _loop: object, coro: Any, **more: Any) -> asyncio.Task[Any]:
        task = _Task(coro, number=next(self._numbers), loop=self, **more)
        (PROCESS.get() or self._world).tasks.append(task)
        return task

    def _broken(self, _loop: object, context: dict[str, Any]) -> None:
        self._faults.append(context)
        self.stop()

    def raise_faults(self) -> None:
        """Raise what a callback raised, or a task that nobody asked for its result."""
        for context in self._faults:
            error = context.get("exception")
            raise RuntimeError(f"in the simulation: {context['message']}") from error

    # The base loop's own, without its checks: thousands of runs are to take seconds

    def call_soon(  # type: ignore[override]  # the stubs check the arguments' types
        self, callback: Any, *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        """Have something run as soon as it is its turn."""
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_at(  # type: ignore[override]  # as above
        self, when: float, callback: Any, *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        """Have something run at a time; what is due at the same time runs in the order of these calls."""
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, next(self._numbers), timer))
        return timer

    def call_later(  # type: ignore[override]  # as above
        self, delay: float, callback: Any, *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        """Have something run after so many seconds."""
        return self.call_at(self._now + delay, callback, *args, context=context)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """It is dropped when it would be due."""

    def _run_once(self) -> None:
        ready, timers = self._ready, self._timers
        while timers and timers[0][2]._cancelled:
            heapq.heappop(timers)
        if not ready and not self._stopping:
            if not timers:
                raise RuntimeError("everything waits for something that can no longer happen")
            self._now = max(self._now, timers[0][0])
        now = self._now
        while timers and timers[0][0] <= now:
            timer: Any = heapq.heappop(timers)[2]
            if timer._cancelled:
                continue
            process = timer._context.get(PROCESS)
            if process is None or process.state is _RUNNING:
                ready.append(timer)
            elif process.state is State.FROZEN:
                process._due.append(timer)
        for _ in range(len(ready)):
            handle: Any = ready.popleft()
            if handle._cancelled:
                continue
            context = handle._context
            process = context.get(PROCESS)
            if process is None or process.state is _RUNNING:
                try:
                    context.run(handle._callback, *handle._args)
                except (KeyboardInterrupt, SystemExit):
                    raise
                except BaseException as error:  # noqa: BLE001  # as a handle does when it runs itself
                    self.call_exception_handler({"message": "a callback failed", "exception": error, "handle": handle})
            elif process.state is State.FROZEN:
                process._held.append(handle)

    def _process_events(self, event_list: Any) -> None:
        """There are none: nothing comes from outside."""

    def _write_to_self(self) -> None:
        """Nobody has to be woken."""


class SimClock:
    """The loop's time as the program's clock."""

    __slots__ = ("_loop",)

    def __init__(self, loop: SimLoop) -> None:
        self._loop = loop

    def now(self) -> float:
        """Seconds since the epoch."""
        return EPOCH + self._loop._now

    def monotonic(self) -> float:
        """Virtual seconds since the run began; they go on for a frozen process."""
        return self._loop._now

    async def sleep(self, seconds: float) -> None:
        """Sleep on the loop's timer."""
        await asyncio.sleep(seconds)


def run(main: Callable[[SimLoop], Coroutine[Any, Any, T]]) -> T:
    """Run the world's main coroutine to its end, then close whatever is left of its processes."""
    with _only_new_garbage():
        loop = SimLoop()
        try:
            result = loop.run_until_complete(main(loop))
            loop.raise_faults()
        except RuntimeError:
            loop.raise_faults()
            raise
        else:
            return result
        finally:
            with _unheard():
                loop.bury()
                loop.close()
                del loop
                gc.collect()


@contextlib.contextmanager
def _only_new_garbage() -> Iterator[None]:
    """No looking for garbage while a run lasts, and after it only among what the run made."""
    enabled = gc.isenabled()
    gc.disable()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        if enabled:
            gc.enable()


@contextlib.contextmanager
def _unheard() -> Iterator[None]:
    """What dies here may complain as it goes, of tasks and a loop that are gone as well."""
    hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
    try:
        yield
    finally:
        sys.unraisablehook = hook
