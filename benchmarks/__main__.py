"""All questions of `docs/performance.md`, one after the other on one Kafka, within a given time.

usage: python -m benchmarks [--minutes 14] [--only closed_loop,order] [--resume] [--results .cache/bench]

Each result is printed, and written as JSON, as soon as it is there. Every question has its part of the time and repeats
its rounds only while they fit into it; how many runs a median is of is in its table. `--resume` leaves out what has a
result already. `python -m benchmarks.report` takes the results over into the page.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import (
    closed_loop,
    crash,
    endurance,
    guarantees,
    imports,
    memory,
    open_loop,
    order,
    partitions,
    peers,
    replicas,
    start,
    takeover,
)
from benchmarks.bench import ROOMY, Bench, Question, answer
from benchmarks.harness import Ended
from benchmarks.results import MEASURED, load, save
from tests.broker.cluster import KafkaCluster


__all__ = ["QUESTIONS", "main"]


QUESTIONS: dict[str, Question[Any]] = {
    question.name: question
    for question in (
        closed_loop.QUESTION,
        open_loop.QUESTION,
        order.QUESTION,
        guarantees.QUESTION,
        replicas.QUESTION,
        partitions.QUESTION,
        memory.QUESTION,
        endurance.QUESTION,
        start.QUESTION,
        imports.QUESTION,
        crash.QUESTION,
        takeover.QUESTION,
        peers.QUESTION,
    )
}


def main() -> int:
    """Ask all, and print the answers; 1 if one of them could not be had, or a bar was not held."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=14.0, help="how long all of it may take, about")
    parser.add_argument("--only", default=",".join(QUESTIONS), help="names with commas between; all by default")
    parser.add_argument("--resume", action="store_true", help="leave out what has a result already")
    parser.add_argument("--results", type=Path, default=MEASURED)
    asked = parser.parse_args()
    names = asked.only.split(",")
    if unknown := [name for name in names if name not in QUESTIONS]:
        parser.error(f"no such question: {', '.join(unknown)}; there are {', '.join(QUESTIONS)}")
    there = load(asked.results) if asked.resume else {}
    left = [QUESTIONS[name] for name in names if name not in there]
    deadline = time.monotonic() + 60 * asked.minutes
    failed = False
    with tempfile.TemporaryDirectory() as folder, KafkaCluster(java=ROOMY) as cluster:
        bench = Bench(cluster, Path(folder))
        while left:
            question, *left = left
            part = question.seconds / (question.seconds + sum(one.seconds for one in left))
            try:
                result = answer(question, bench, max(0.0, deadline - time.monotonic()) * part)
            except Ended as reason:
                failed = True
                print(f"### {question.name}: NOT measured: {reason}\n", flush=True)
                continue
            save(result, asked.results)
            failed = failed or not all(bound.held for bound in result.found.bounds)
            print(f"{result.found}\n- took {result.seconds:g} s\n", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
