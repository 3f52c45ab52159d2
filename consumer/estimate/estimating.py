"""From records to an estimate: as configured first, then with each saving less or more."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from consumer.estimate.jobs import Recollect, Replay, run_all
from consumer.estimate.outcome import Outcome
from consumer.estimate.replay import World
from consumer.estimate.result import summary
from consumer.estimate.savings import AS_CONFIGURED, variants
from consumer.settings.models import Callbacks


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from consumer.estimate.corpus import Block, Corpus
    from consumer.estimate.recollecting import Recollection
    from consumer.estimate.result import About, Estimate
    from consumer.settings import Settings


__all__ = ["Records", "estimate"]


@dataclass(frozen=True, slots=True)
class Records:
    """What is estimated: the blocks of a corpus that are replayed, and what people call each record."""

    corpus: Corpus
    blocks: Sequence[Block]
    place_of: Callable[[int], str]


def estimate(
    records: Records,
    about: About,
    settings: Settings,
    *,
    savings: bool,
    progress: Callable[[str, int], AbstractContextManager[Callable[[int], None]]],
    workers: int | None = None,
) -> Estimate:
    """What these records would cost, and how long they would take.

    Args:
        records: What is to be replayed.
        about: What it is, and how it is to be replayed.
        settings: As `run` would have them. Results are polled for, since there is nobody to report them.
        savings: Whether to try other settings, too.
        progress: Shows how much is done of how many records.
        workers: How many processes there may be; as many as there are processors when None.

    Raises:
        Stuck: some records would never end.
    """
    alone = settings.model_copy(update={"callbacks": Callbacks()})
    world = World(about.pace, about.replicas, about.risk)
    corpus, blocks = records.corpus, records.blocks
    size = sum(block.stop - block.start for block in blocks)
    known: Sequence[Sequence[Recollection]] = [()] * len(blocks)
    if about.sample is not None and alone.cache.seconds:
        with progress("looking back", sum(block.start - block.known_from for block in blocks)) as tell:
            looks = [Recollect(block, alone, about.replicas) for block in blocks]
            known = run_all(corpus, looks, workers=workers, tell=tell)
    with progress("replaying", size) as tell:
        jobs = [Replay(block, alone, world, ours) for block, ours in zip(blocks, known, strict=True)]
        outcomes = run_all(corpus, jobs, workers=workers, tell=tell)
    tried: dict[str, Sequence[Outcome]] = {}
    if savings:
        seen = Outcome()
        for outcome in outcomes:
            seen.plus(outcome)
        found = list(variants(alone, seen, risk=about.risk))
        others = [variant for variant in found if variant.name != AS_CONFIGURED]
        with progress("trying savings", size * len(others)) as tell:
            jobs = [
                Replay(block, variant.settings, replace(world, evidence=variant.evidence), ours)
                for variant in others
                for block, ours in zip(blocks, known, strict=True)
            ]
            results = iter(run_all(corpus, jobs, workers=workers, tell=tell))
        tried = {variant.name: [next(results) for _ in blocks] for variant in others}
        tried = {variant.name: tried.get(variant.name, outcomes) for variant in found}
    return summary(about, outcomes, place_of=records.place_of, budgets=settings.budgets, savings=list(tried.items()))
