"""The records that an estimate is asked for: where they come from, which of them are replayed, and in which pace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from consumer.building import limits
from consumer.clock import SystemClock
from consumer.estimate.corpus import Block
from consumer.estimate.estimating import Records
from consumer.estimate.reading import FileError, read_file
from consumer.estimate.result import About
from consumer.estimate.sampling import Sample, cut
from consumer.estimate.topics import read_topics
from consumer.intake.formats import formats_for
from consumer.metrics import Metrics


if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from consumer.estimate.corpus import Corpus
    from consumer.estimate.replay import Pace
    from consumer.settings import Settings


__all__ = ["Asked", "Gathered", "about", "from_file", "from_topics"]


# Events that wait for the slowest quota gather until most of what is worked on are such.
_NO_SAMPLE = (
    "a backlog has no --sample: its calls depend on tens of thousands of records before them; take all records, or "
    "--pace recorded, for which they need timestamps"
)


@dataclass(frozen=True, slots=True)
class Asked:
    """Which records: from when on and before when, in milliseconds since the epoch, and how much of a sample of them.

    `share` is None for all of them. Another `seed` has another sample taken. `pace` is None where they are replayed in
    their own time if all have one.

    Raises:
        ValueError: a backlog is to be sampled.
    """

    since: int | None = None
    until: int | None = None
    share: float | None = None
    seed: int = 0
    pace: Pace | None = None

    def __post_init__(self) -> None:
        if self.pace == "backlog" and self.share is not None:
            raise ValueError(_NO_SAMPLE)

    def wants(self, timestamp: int) -> bool:
        """Whether a record of this time is asked for."""
        return (self.since is None or timestamp >= self.since) and (self.until is None or timestamp < self.until)


@dataclass(frozen=True, slots=True)
class Gathered:
    """What there is: its name, what is replayed of it, how many records it has, and how a sample was taken."""

    name: str
    records: Records
    size: int
    sample: Sample | None


def from_file(
    file: IO[bytes],
    name: str,
    corpus: Corpus,
    asked: Asked,
    *,
    topic: str,
    envelope: bool,
    progress: Callable[[str, int], AbstractContextManager[Callable[[int], None]]],
) -> Gathered:
    """Gather the records of a file; see `read_file`.

    Raises:
        FileError: it cannot be read, or there is no record in it.
        ValueError: what is asked for takes timestamps and there are none, or the sample is too small.
    """
    if not envelope and (asked.since is not None or asked.until is not None):
        raise ValueError("--from and --to need the records' timestamps: those of --envelope, or of the topics")
    size_bytes = 0
    if file.seekable():
        size_bytes = file.seek(0, 2)
        file.seek(0)
    with progress("reading", size_bytes) as tell:
        read_file(file, name, corpus, topic=topic, envelope=envelope, wanted=asked.wants, tell=tell)
    corpus.close()
    records = len(corpus)
    if not records:
        raise FileError(f"there are no such records in {name}")
    sample = None
    blocks = [Block.whole(records)]
    if asked.share is not None:
        corpus.sort()
        blocks = cut(records, asked.share, asked.seed)
        counted = sum(block.counted for block in blocks)
        sample = Sample(asked.share, asked.seed, len(blocks), counted)
    return Gathered(
        name, Records(corpus, blocks, lambda at: _place(corpus, at, "" if envelope else name)), records, sample
    )


async def from_topics(
    settings: Settings,
    corpus: Corpus,
    asked: Asked,
    *,
    progress: Callable[[str, int], AbstractContextManager[Callable[[int], None]]],
) -> Gathered:
    """Gather the records of the configured topics; see `read_topics`. When cancelled it ends at once.

    Raises:
        StartError: the brokers cannot be reached, refuse us, or a topic is missing; or a library is.
        Stuck: the brokers give nothing.
        FileError: there is no record in them.
        ValueError: the sample is too small.
    """
    name = ", ".join(settings.kafka.topics)
    found = await read_topics(
        settings.kafka,
        corpus,
        since=asked.since,
        until=asked.until,
        share=asked.share,
        seed=asked.seed,
        progress=progress,
        formats=formats_for(settings.format, clock=SystemClock(), metrics=Metrics()),
    )
    corpus.close()
    if not len(corpus):
        raise FileError(f"there are no such records in {name}")
    return Gathered(name, Records(corpus, found.blocks, lambda at: _place(corpus, at, "")), found.records, found.sample)


def about(gathered: Gathered, settings: Settings, asked: Asked, *, replicas: int, risk: float) -> About:
    """What is estimated.

    Raises:
        ValueError: some records have no timestamps, and are to be replayed in their own time; or a backlog is to be
            sampled.
    """
    corpus = gathered.records.corpus
    first, last = corpus.times(0, len(corpus))
    window_seconds = 1.0 + settings.quota.jitter_seconds
    return About(
        source=gathered.name,
        records=gathered.size,
        begins_at=None if first < 0 else first / 1000,
        ends_at=None if first < 0 else last / 1000,
        pace=_pace(corpus, asked),
        replicas=replicas,
        risk=risk,
        rates={quota: limit / window_seconds for quota, limit in limits(settings).items()},
        sample=gathered.sample,
    )


def _pace(corpus: Corpus, asked: Asked) -> Pace:
    first, _ = corpus.times(0, len(corpus))
    if first < 0 and asked.pace == "recorded":
        raise ValueError("--pace recorded needs the timestamps of all records: those of --envelope, or of the topics")
    pace: Pace = asked.pace or ("backlog" if first < 0 else "recorded")
    if pace == "backlog" and asked.share is not None:
        raise ValueError(_NO_SAMPLE)
    return pace


def _place(corpus: Corpus, number: int, file: str) -> str:
    """What people call a record: its line in a file, or its place in a topic."""
    partition, offset = corpus.place(number)
    return f"{file}:{offset}" if file else f"{partition}@{offset}"
