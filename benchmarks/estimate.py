"""How close is an estimate to the bill of the run that follows, in cost and in time?

usage: python -m benchmarks.estimate [--events 6000]

Each corpus is estimated and then judged for real: through the engine, over sockets, against the simulator, under quotas
like those of an account. The simulator's own ledger is compared.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from itertools import islice
from typing import TYPE_CHECKING, Any

from benchmarks.corpora import as_record, chat
from benchmarks.harness import table
from benchmarks.platforms import articles, forum, profiles
from consumer import logs
from tests.estimate.world import configured, ledger_of, replayed


if TYPE_CHECKING:
    from collections.abc import Iterator

    from consumer.event import Event


_TASKS = {"first_poll_seconds": 1, "poll_interval_seconds": 1}


def corpora() -> dict[str, tuple[Iterator[Event], dict[str, Any]]]:
    """Each corpus with the settings that it is judged under."""
    threads = {"multimodal_submit_per_second": 15, "multimodal_query_per_second": 30}
    single = {"multimodal_submit_per_second": 100, "multimodal_query_per_second": 200}
    return {
        "chat with its threads": (
            (posted.event for posted in chat(1)),
            {"quota": {"text_per_second": 60, "multimodal_submit_per_second": 5}, "tasks": _TASKS},
        ),
        "forum": (forum(1), {"quota": threads, "tasks": _TASKS}),
        "profiles": (profiles(1), {"quota": single, "tasks": _TASKS}),
        "articles with pictures": (articles(1), {"quota": {"text_per_second": 200, "image_per_second": 200}}),
    }


def main() -> None:
    """Estimate, judge, compare, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=6000)
    asked = parser.parse_args()
    logs.configure(level="error", form="console")
    rows = []
    for name, (events, sections) in corpora().items():
        values = [as_record(event) for event in islice(events, asked.events)]
        began = time.perf_counter()
        found = replayed(values, configured(**sections), partitions=4)
        took = time.perf_counter() - began
        began = time.perf_counter()
        ledger = asyncio.run(ledger_of(values, sections))
        real = time.perf_counter() - began
        cost, billed = (
            float(sum(costs))
            for costs in (found.money.values(), (one.cost for one in ledger.moderation_types.values()))
        )
        rows.append(
            [
                name,
                f"{billed:.4f}",
                f"{cost:.4f}",
                f"{cost / billed - 1:+.2%}",
                f"{real:.1f}",
                f"{found.seconds:.1f}",
                f"{len(values) / took:,.0f}",
            ]
        )
    columns = ["corpus", "billed CNY", "estimated", "off by", "took s", "estimated", "events/s of the estimate"]
    print(table(f"Estimates: {asked.events:,} events each", columns, rows))


if __name__ == "__main__":
    main()
