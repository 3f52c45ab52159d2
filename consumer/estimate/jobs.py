"""Work on records side by side: as much at a time as there are processors, since each piece keeps one busy."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from concurrent.futures import FIRST_EXCEPTION, ProcessPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from consumer.estimate.recollecting import recollections
from consumer.estimate.replay import replay


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from consumer.estimate.corpus import Block, Corpus
    from consumer.estimate.outcome import Outcome
    from consumer.estimate.recollecting import Recollection
    from consumer.estimate.replay import World
    from consumer.settings import Settings


__all__ = ["Job", "Recollect", "Replay", "run_all"]


T_co = TypeVar("T_co", covariant=True)

_TELL_SECONDS = 0.2


class Job(Protocol[T_co]):
    """Something that is done with the records, and can be done in a process of its own."""

    def run(self, corpus: Corpus, tell: Callable[[int], None]) -> T_co:
        """Do it; `tell` is called now and then with how many more records are done."""
        ...


@dataclass(frozen=True, slots=True)
class Replay:
    """Replays a block."""

    block: Block
    settings: Settings
    world: World
    known: Sequence[Recollection] = ()

    def run(self, corpus: Corpus, tell: Callable[[int], None]) -> Outcome:
        """What it comes to; see `replay`."""
        return replay(corpus, self.block, self.settings, self.world, known=self.known, tell=tell)


@dataclass(frozen=True, slots=True)
class Recollect:
    """Finds out what is known when a block begins."""

    block: Block
    settings: Settings
    replicas: int

    def run(self, corpus: Corpus, tell: Callable[[int], None]) -> list[Recollection]:
        """What is known; see `recollections`."""
        return recollections(corpus, self.block, self.settings, replicas=self.replicas, tell=tell)


def run_all(
    corpus: Corpus,
    jobs: Sequence[Job[T_co]],
    *,
    workers: int | None = None,
    tell: Callable[[int], None] = lambda _: None,
) -> list[T_co]:
    """What each job comes to. `tell` is called now and then with how many more records are done.

    Args:
        corpus: The records.
        jobs: What is to be done.
        workers: How many processes; as many as there are processors when None.
        tell: Hears of the progress.

    Raises:
        Stuck: some records never end.
    """
    workers = min(len(jobs), _processors() if workers is None else workers)
    if workers <= 1 or "fork" not in multiprocessing.get_all_start_methods() or sys.platform == "darwin":
        return [job.run(corpus, tell) for job in jobs]
    context = multiprocessing.get_context("fork")
    done = context.Value("q", 0)
    told = 0
    with ProcessPoolExecutor(workers, context, _begin, (corpus, jobs, done)) as pool:
        results = [pool.submit(_run, number) for number in range(len(jobs))]
        try:
            left = set(results)
            while left:
                ended, left = wait(left, _TELL_SECONDS, FIRST_EXCEPTION)
                now = done.value
                tell(now - told)
                told = now
                for result in ended:
                    result.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
        return [result.result() for result in results]


# What a worker was forked with.
_given: tuple[Corpus, Sequence[Job[Any]], Any]


def _begin(*given: Any) -> None:
    global _given  # noqa: PLW0603  # a pool hands nothing else to all of a worker's jobs
    _given = given
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _run(number: int) -> Any:
    corpus, jobs, done = _given

    def tell(more: int) -> None:
        with done.get_lock():
            done.value += more

    return jobs[number].run(corpus, tell)


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
