"""The promise of an estimate: within 1 % of the bill of the run that follows, on records of four kinds."""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import TYPE_CHECKING

import pytest

from benchmarks.corpora import as_record, chat
from benchmarks.platforms import articles, forum, profiles
from tests.estimate.world import configured, ledger_of, replayed


if TYPE_CHECKING:
    from typing import Any

    from consumer.simulator.ledger import Ledger


# The limits of an account, in part raised so that the real runs take seconds; tasks are done sooner for the same.
TASKS = {"first_poll_seconds": 1, "poll_interval_seconds": 1}
CORPORA: dict[str, tuple[list[bytes], dict[str, Any]]] = {
    "chat with its threads": (
        [as_record(posted.event) for posted in islice(chat(1), 1200)],
        {"quota": {"text_per_second": 60, "multimodal_submit_per_second": 5}, "tasks": TASKS},
    ),
    "forum": (
        [as_record(event) for event in islice(forum(1), 1200)],
        {"quota": {"multimodal_submit_per_second": 15, "multimodal_query_per_second": 30}, "tasks": TASKS},
    ),
    "profiles": (
        [as_record(event) for event in islice(profiles(1), 800)],
        {"quota": {"multimodal_submit_per_second": 100, "multimodal_query_per_second": 200}, "tasks": TASKS},
    ),
    "articles with pictures": (
        [as_record(event) for event in islice(articles(1), 700)],
        {"quota": {"text_per_second": 200, "image_per_second": 200}},
    ),
}


@pytest.fixture(scope="module")
def ledgers() -> dict[str, Ledger]:
    """What each corpus was billed by a simulator; they run side by side, since they mostly wait for their quotas."""

    async def main() -> list[Ledger]:
        return await asyncio.gather(*(ledger_of(values, sections) for values, sections in CORPORA.values()))

    return dict(zip(CORPORA, asyncio.run(main()), strict=True))


@pytest.mark.timeout(180)
@pytest.mark.parametrize("name", CORPORA)
def test_an_estimate_is_close_to_the_bill(name: str, ledgers: dict[str, Ledger]) -> None:
    """The cost that is said before a run is within 2 % of what the simulator's own ledger says after it."""
    values, sections = CORPORA[name]
    found = replayed(values, configured(**sections), partitions=4)
    ledger = ledgers[name]
    billed = sum(total.cost for total in ledger.moderation_types.values())
    assert float(sum(found.money.values())) == pytest.approx(float(billed), rel=0.02)
    assert {at.moderation_type for at in found.costs} == set(ledger.moderation_types)
    assert found.letters == {}
