"""Records from the configured topics, all between two times or a sample of them."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from consumer.estimate.corpus import Block
from consumer.estimate.sampling import AROUND, BEFORE, Sample, chosen
from consumer.kafka.ranges import RangeReader


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from consumer.estimate.corpus import Corpus
    from consumer.intake.formats import Formats
    from consumer.kafka.ranges import Ranges
    from consumer.settings.models import Kafka


__all__ = ["Found", "read_topics"]


_TELL_EVERY = 1000


@dataclass(frozen=True, slots=True)
class Found:
    """What was read: its blocks, how many records there are in all, and how the sample was taken, if it is one."""

    blocks: Sequence[Block]
    records: int
    sample: Sample | None = None


async def read_topics(
    kafka: Kafka,
    corpus: Corpus,
    *,
    since: int | None,
    until: int | None,
    share: float | None,
    seed: int,
    progress: Callable[[str, int], AbstractContextManager[Callable[[int], None]]],
    formats: Formats | None = None,
) -> Found:
    """Add what the topics hold to a corpus, without joining a group. When cancelled it ends at once.

    Args:
        kafka: The brokers and topics.
        corpus: Where the records go.
        since: From when on, in milliseconds since the epoch; None from the first.
        until: Before when; None up to the last there is now.
        share: How much of it a sample has; None for all. A block of it is the same part of each partition's offsets.
        seed: What the sample is chosen by.
        progress: Shows how much is done of how many records.
        formats: Turns records into JSON, where they are anything else; it waits for as long as a registry is away.

    Raises:
        StartError: the brokers cannot be reached, refuse us, or a topic is missing.
        Stuck: the brokers give nothing.
        ValueError: the sample would be too small.
    """
    async with RangeReader(kafka) as reader:
        ranges = await reader.between(since, until)
        offsets = sum(stop - start for start, stop in ranges.values())
        if not offsets or share is None:
            with progress("reading", offsets) as tell:
                await _read(reader, ranges, corpus, tell, formats)
            return Found([Block.whole(len(corpus))], len(corpus))
        runs, taken = chosen(offsets, share, seed)
        before, around = BEFORE / offsets, AROUND / offsets
        blocks = []
        counted = 0
        with progress("reading", round(offsets * len(taken) * (before + 2 * around + 1 / runs))) as tell:
            for run in taken:
                first, last = run / runs, (run + 1) / runs
                at = [len(corpus)]
                for begin, end in pairwise((first - around - before, first - around, first, last, last + around)):
                    await _read(reader, _part(ranges, begin, end), corpus, tell, formats)
                    at.append(len(corpus))
                counted += sum(stop - start for start, stop in _part(ranges, first, last).values())
                blocks.append(Block(*at))
    records = sum(block.counted for block in blocks)
    # Not every offset is a record: markers of transactions are none, and compaction takes records away.
    return Found(blocks, round(offsets * records / counted), Sample(share, seed, len(blocks), records))


async def _read(
    reader: RangeReader, ranges: Ranges, corpus: Corpus, tell: Callable[[int], None], formats: Formats | None
) -> None:
    told = len(corpus)
    async with aclosing(reader.records(ranges)) as records:
        async for record in records:
            corpus.add(record if formats is None else await formats.in_json(record))
            if len(corpus) - told >= _TELL_EVERY:
                tell(len(corpus) - told)
                told = len(corpus)
    tell(len(corpus) - told)


def _part(ranges: Ranges, begin: float, end: float) -> Ranges:
    """The same part of each of these, as far as there is one."""
    begin, end = max(0.0, begin), min(1.0, end)
    parts = {
        partition: (start + round((stop - start) * begin), start + round((stop - start) * end))
        for partition, (start, stop) in ranges.items()
    }
    return {partition: (start, stop) for partition, (start, stop) in parts.items() if start < stop}
