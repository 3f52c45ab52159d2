"""What holds the memory with thousands of events in flight? A flame graph of it, and a table by what it is for.

usage: python -m benchmarks.heap [--in-flight 10000]

memray writes down every block that the running product takes and gives back, and the picture shows those that were
there when it had the most. It is a tool for developers, and is fetched by uv or pip when it is missing. The service
takes so long that all places of the window are taken at the same time. The picture goes into `docs/pictures`, the
table's numbers into `benchmarks/results`, and `python -m benchmarks.report` puts both on the page.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from benchmarks.areas import AREAS, areas
from benchmarks.bench import ROOMY, Bench
from benchmarks.contenders import product
from benchmarks.flame import drawn_within
from benchmarks.harness import ROOT, Ended, service
from benchmarks.memory import PATIENT, room, wait_until_full
from benchmarks.results import KEPT
from benchmarks.tools import fetched
from tests.broker.cluster import KafkaCluster


if TYPE_CHECKING:
    from collections.abc import Iterable

    from benchmarks.contenders import Job


__all__ = ["PICTURE", "Heap", "load_heap", "stack_of", "told"]


PICTURE = ROOT / "docs" / "pictures" / "performance-heap.svg"
_NAME = "heap"
_LATENCY_MS = 60_000.0
_LIMIT_SECONDS = 120.0
_SETTLE_SECONDS = 3.0
_MB = 1_000_000
# What stands before a module's place in a package, outermost folders first.
_BEFORE = (f"{ROOT}/", "site-packages/", f"python{sys.version_info.major}.{sys.version_info.minor}/")
_LOOP = "(asyncio/runners.py)"
_IMPORT = "importlib"


@dataclass(frozen=True, slots=True)
class Heap:
    """Bytes by area, and in all, when there were the most of them."""

    taken_bytes: int
    areas: dict[str, int]
    about: str


def told(heap: Heap) -> str:
    """The section of the page."""
    lines = ["## What holds the memory?", "", heap.about, ""]
    if PICTURE.exists():
        lines += [f"![flame graph of the memory](pictures/{PICTURE.name})", ""]
    lines += ["| what for | MB | what there is to say |", "|---|---|---|"]
    for area in sorted(AREAS, key=lambda area: -heap.areas.get(area.name, 0)):
        lines.append(f"| {area.name} | {heap.areas.get(area.name, 0) / _MB:.1f} | {area.memory} |")
    return "\n".join(lines) + "\n"


def load_heap(folder: Path) -> Heap | None:
    """What is among results, if there is any."""
    path = folder.joinpath("profiles", f"{_NAME}.json")
    if not path.exists():
        return None
    said = orjson.loads(path.read_bytes())
    return Heap(said["taken_bytes"], said["areas"], said["about"])


def stack_of(frames: Iterable[tuple[str, str, int]]) -> tuple[str, ...]:
    """The names of frames (function, file, line; the innermost first), outermost first.

    What calls the event loop is left out, and so is what happens within an import.
    """
    names: list[str] = []
    for function, file, _ in reversed(list(frames)):
        place = file
        for before in _BEFORE:
            place = place.rpartition(before)[2]
        names.append(f"{function} ({place})")
        if _IMPORT in place:
            break
    at = next((number for number, name in enumerate(names) if name.endswith(_LOOP)), 0)
    return tuple(names[at:])


def _taken(trace: Path) -> dict[tuple[str, ...], int]:
    """The bytes of each stack when there were the most."""
    memray: Any = importlib.import_module("memray")
    found: dict[tuple[str, ...], int] = {}
    with memray.FileReader(trace) as reader:
        for block in reader.get_high_watermark_allocation_records(merge_threads=True):
            stack = stack_of(block.stack_trace()) or ("?",)
            found[stack] = found.get(stack, 0) + block.size
    return found


def _traced(bench: Bench, in_flight: int) -> dict[tuple[str, ...], int]:
    fetched("memray")
    trace = bench.folder / "heap.bin"

    def contender(job: Job) -> list[str]:
        python, *command = product(job)
        options = ["--quiet", "--trace-python-allocators", "--output", str(trace)]
        return [python, "-m", "memray", "run", *options, *command]

    topic = bench.filled(2 * in_flight)
    with service(_LATENCY_MS) as endpoint:
        job = bench.job(topic, endpoint, in_flight=in_flight, settings=PATIENT)
        with bench.working(contender, job) as (children, _):
            [child] = children
            wait_until_full(child, in_flight, _LIMIT_SECONDS)
            time.sleep(_SETTLE_SECONDS)
    return _taken(trace)


def main() -> None:
    """Trace the product with a full window, draw it, and keep its numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--in-flight", type=int, default=10_000)
    asked = parser.parse_args()
    if asked.in_flight >= (most := room()):
        sys.exit(f"a process may have {most:,} connections here (`ulimit -n`): ask for fewer in flight")
    with tempfile.TemporaryDirectory() as folder, KafkaCluster(java=ROOMY) as cluster:
        try:
            taken = _traced(Bench(cluster, Path(folder)), asked.in_flight)
        except Ended as reason:
            sys.exit(str(reason))
    taken_bytes = sum(taken.values())
    about = (
        f"All blocks of memory that were there when the product had the most, with {asked.in_flight:,} events in "
        f"flight, as memray has seen them being taken: {taken_bytes / _MB:.0f} MB. What is resident is measured above; "
        "it is more by the code of libraries and by room that was given back, and less by what was never written to."
    )
    heap = Heap(taken_bytes, areas(taken), about)
    PICTURE.write_text(drawn_within(taken, f"Memory with {asked.in_flight:,} in flight", "bytes"), encoding="utf-8")
    kept = KEPT / "profiles"
    kept.mkdir(parents=True, exist_ok=True)
    (kept / f"{_NAME}.json").write_bytes(orjson.dumps(heap, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    print(told(heap))


if __name__ == "__main__":
    main()
