"""The page on performance and its pictures, made from results.

usage: python -m benchmarks.report [--measured .cache/bench]

Takes over what was measured into `benchmarks/results`, then writes `docs/performance.md` and `docs/pictures` anew from
all that is there.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.__main__ import QUESTIONS
from benchmarks.harness import ROOT
from benchmarks.heap import PICTURE, Heap, load_heap
from benchmarks.heap import told as told_of_heap
from benchmarks.plots import draw
from benchmarks.profile import FLAME, Profile, load_profile, told
from benchmarks.results import KEPT, MEASURED, adopt, load, table


if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.machine import Machine
    from benchmarks.results import Chart, Result


__all__ = ["page", "pictures"]


PAGE = ROOT / "docs" / "performance.md"
PICTURES = ROOT / "docs" / "pictures"
_NAME = "performance-"

_HEAD = """# Performance

How fast it is, beside a bare loop that does the same work and promises nothing, measured in the same run. This page and
its pictures are made from the JSON in `benchmarks/results`:

```sh
make bench                                        # all of it, within 15 minutes, into .cache/bench
python -m benchmarks --only closed_loop,order     # some of it
python -m benchmarks.closed_loop --help           # one question, with numbers of your own
python -m benchmarks.peers_install                # what the last table needs: FastStream, Arroyo, Parallel Consumer
python -m benchmarks.profile                      # the flame graph of the time
python -m benchmarks.heap                         # and that of the memory
python -m benchmarks.report                       # takes over what was measured, and writes this page
```

It needs Java 17 and Maven, as the tests on a real Kafka do. Other programs that run meanwhile change every figure: the
rows of one table were measured together, in turn, and their ratios are what they are for.

**The bare window** is what a careful engineer writes in an afternoon (`benchmarks/bare_window.py`): aiokafka, one
session of aiohttp, signed calls, a window of workers, an idempotent producer, and every 100 ms a commit of what is done
without a gap. No mapping, no routes, no quota, no retries, no order, no metrics, no dead letters. **Over the lean
transport** it calls through the product's own HTTP in the place of aiohttp: what lies between that and the product is
the price of the promises. The product runs with all that it has by default: signing, safe commits, and metrics on.

**What is not held, and why.** In the closed loop at 50 ms the product was to be 1.8 times as fast as the bare window,
for half of its CPU. With 512 in flight nobody can be faster than 512 / 0.05 s, which on a quick machine is less than
that; and the bare window over the lean transport, which promises nothing, takes nearly half of the other's CPU by
itself. The mapping, routes, quota, shared calls, retries, metrics, order and safe commits of an event cost half as much
as signing, HTTP and Kafka together. Compiling the hot modules would take off about an eighth, for the price of a build
for each Python and machine, and crashes in the place of exceptions: it was tried, and is not done.

**Tails** at 1,000 calls a second are those of two cores that broker, service, writer and reader share: whenever
anything else runs, too, they are two to three times as long, and the bare window's with them.

**The service** is a stub in a process of its own, which answers every call the same after a fixed time, and is not what
limits anybody: its own ceiling is said where that could be. **Kafka** is a real one of one node, on the same machine;
broker, service and reader of verdicts need their part of the same cores.
"""


def page(results: Mapping[str, Result], profile: Profile | None, heap: Heap | None) -> str:
    """The whole page."""
    parts = [_HEAD]
    if results:
        parts += [_machine(results), _bounds(results)]
    for name, question in QUESTIONS.items():
        result = results.get(name)
        if result is None:
            continue
        heading, _, about = question.about.partition("\n")
        method = about.split("usage:", 1)[1].partition("\n\n")[2].strip()
        parts.append(f"## {heading}\n\n{method}\n")
        found = result.found
        shown = table(found.title, found.columns, found.rows).replace("### ", "**", 1).replace("\n\n|", "**\n\n|", 1)
        parts.append("\n".join((shown, *(f"- {note}" for note in found.notes))) + ("\n" if found.notes else ""))
        parts += [f"![{chart.title}](pictures/{file})\n" for file, chart in _charts(result)]
    if profile is not None:
        parts.append(told(profile))
    if heap is not None:
        parts.append(told_of_heap(heap))
    return "\n".join(parts)


def pictures(results: Mapping[str, Result]) -> dict[str, str]:
    """All charts, by the names of their files."""
    return {file: draw(chart) for result in results.values() for file, chart in _charts(result)}


def _charts(result: Result) -> list[tuple[str, Chart]]:
    several = len(result.found.charts) > 1
    return [
        (f"{_NAME}{result.name.replace('_', '-')}{f'-{number + 1}' if several else ''}.svg", chart)
        for number, chart in enumerate(result.found.charts)
    ]


def _machine(results: Mapping[str, Result]) -> str:
    seen: dict[str, list[str]] = {}
    loads = [result.machine.load for result in results.values()]
    for result in results.values():
        seen.setdefault(_described(result.machine), []).append(result.name)
    lines = ["## The machine", ""]
    for described, names in seen.items():
        which = "" if len(seen) == 1 else f"{', '.join(names)}: "
        lines.append(f"- {which}{described}")
    moments = sorted(result.measured_at for result in results.values())
    took = sum(result.seconds for result in results.values())
    lines.append(f"- measured from {moments[0]} to {moments[-1]}, {took:,.0f} s in all")
    lines.append(
        f"- load before each question: {min(loads):g} to {max(loads):g}, of which some is the question before it"
    )
    return "\n".join(lines) + "\n"


def _described(machine: Machine) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    return (
        f"{machine.processor}, {machine.cores} cores, {machine.memory_gb:g} GB, {machine.system}, {machine.python}; "
        f"{versions}"
    )


def _bounds(results: Mapping[str, Result]) -> str:
    lines = ["## What it is held to", "", "| what | measured | has to be | |", "|---|---|---|---|"]
    for result in (results[name] for name in QUESTIONS if name in results):
        for one in result.found.bounds:
            sign = "≤" if one.at_most else "≥"
            held = "held" if one.held else "**not held**"
            lines.append(f"| {one.what} | {one.measured:,.3g} | {sign} {one.bound:g} | {held} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Take results over, and write the page and its pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measured", type=Path, default=MEASURED)
    asked = parser.parse_args()
    taken = adopt(asked.measured, KEPT)
    print(f"taken over into {KEPT.relative_to(ROOT)}: {', '.join(taken) or 'nothing'}")
    results = {name: one for name, one in load(KEPT).items() if name in QUESTIONS}
    drawn = pictures(results)
    for name in drawn:
        (PICTURES / name).write_text(drawn[name], encoding="utf-8")
    for path in PICTURES.glob(f"{_NAME}*.svg"):
        if path.name not in drawn and path not in {FLAME, PICTURE}:
            path.unlink()
    PAGE.write_text(page(results, load_profile(KEPT), load_heap(KEPT)), encoding="utf-8")
    print(f"written: {PAGE.relative_to(ROOT)} and {len(drawn)} pictures")


if __name__ == "__main__":
    main()
