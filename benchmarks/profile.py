"""Where does the time of the closed loop go? A flame graph of it, and a table by what the time is for.

usage: python -m benchmarks.profile [--events 60000] [--latency-ms 50] [--in-flight 512] [--rate 500]

py-spy looks at the running product so many times a second. It is a tool for developers, and is fetched by uv or pip
when it is missing. The picture goes into `docs/pictures`, the table's numbers into `benchmarks/results`, and
`python -m benchmarks.report` puts both on the page.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from benchmarks.areas import AREAS, areas
from benchmarks.bench import Bench
from benchmarks.contenders import product
from benchmarks.flame import drawn_within, stacks
from benchmarks.harness import ROOT, Ended, service
from benchmarks.results import KEPT
from benchmarks.tools import fetched
from tests.broker.cluster import KafkaCluster


if TYPE_CHECKING:
    from collections.abc import Mapping


__all__ = ["FLAME", "Profile", "load_profile", "taken", "told"]


FLAME = ROOT / "docs" / "pictures" / "performance-flame.svg"
_NAME = "profile"
_LOOP = "Runner.run "


@dataclass(frozen=True, slots=True)
class Profile:
    """Samples by area, and in all; and the innermost functions with most of them."""

    samples: int
    areas: dict[str, int]
    functions: tuple[tuple[str, int], ...]
    about: str


def told(profile: Profile) -> str:
    """The section of the page."""
    lines = ["## Where does the time go?", "", profile.about, ""]
    if FLAME.exists():
        lines += [f"![flame graph](pictures/{FLAME.name})", ""]
    lines += ["| what for | share | what there is to say |", "|---|---|---|"]
    for area in sorted(AREAS, key=lambda area: -profile.areas.get(area.name, 0)):
        lines.append(f"| {area.name} | {profile.areas.get(area.name, 0) / profile.samples:.0%} | {area.time} |")
    lines += ["", "Functions that the samples ended in most often:", "", "| function | share |", "|---|---|"]
    lines += [f"| `{name}` | {count / profile.samples:.1%} |" for name, count in profile.functions]
    return "\n".join(lines) + "\n"


def load_profile(folder: Path) -> Profile | None:
    """The profile among results, if there is one."""
    path = folder.joinpath("profiles", f"{_NAME}.json")
    if not path.exists():
        return None
    said = orjson.loads(path.read_bytes())
    functions = tuple((name, count) for name, count in said["functions"])
    return Profile(said["samples"], said["areas"], functions, said["about"])


def taken(samples: Mapping[tuple[str, ...], int], about: str) -> Profile:
    """What is kept of samples."""
    ends: dict[str, int] = {}
    for stack, count in samples.items():
        ends[stack[-1]] = ends.get(stack[-1], 0) + count
    most = tuple(sorted(ends.items(), key=lambda one: -one[1])[:12])
    return Profile(sum(samples.values()), areas(samples), most, about)


def _sampled(bench: Bench, events: int, latency_ms: float, in_flight: int, rate: int) -> dict[tuple[str, ...], int]:
    raw = bench.folder / "samples.txt"
    topic = bench.filled(events)
    with service(latency_ms) as endpoint:
        job = bench.job(topic, endpoint, in_flight=in_flight)
        with bench.working(product, job) as (children, verdicts):
            verdicts.wait(events // 20, 60, *children)
            command = [
                fetched("py-spy"),
                "record",
                "--pid",
                str(children[0].pid),
                "--rate",
                str(rate),
                "--format",
                "raw",
            ]
            with subprocess.Popen(
                [*command, "--output", str(raw), "--duration", "3600", "--function"],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            ) as sampler:
                try:
                    verdicts.wait(events * 19 // 20, 120, *children)
                    sampler.send_signal(signal.SIGINT)
                    _, said = sampler.communicate(timeout=30)
                finally:
                    sampler.kill()
    if not raw.exists():
        raise Ended(f"py-spy has no samples: {said}")
    return _inside(stacks(raw.read_text(encoding="utf-8")))


def _inside(samples: Mapping[tuple[str, ...], int]) -> dict[tuple[str, ...], int]:
    """The stacks without what calls the event loop, which is the same for all."""
    found: dict[tuple[str, ...], int] = {}
    for stack, count in samples.items():
        at = next((number for number, name in enumerate(stack) if name.startswith(_LOOP)), 0)
        found[stack[at:]] = found.get(stack[at:], 0) + count
    return found


def main() -> None:
    """Sample the closed loop, draw it, and keep its numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=60_000)
    parser.add_argument("--latency-ms", type=float, default=50.0)
    parser.add_argument("--in-flight", type=int, default=512)
    parser.add_argument("--rate", type=int, default=500, help="samples a second")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, KafkaCluster() as cluster:
        bench = Bench(cluster, Path(folder))
        try:
            samples = _sampled(bench, asked.events, asked.latency_ms, asked.in_flight, asked.rate)
        except Ended as reason:
            sys.exit(str(reason))
    about = (
        f"The product in the closed loop ({asked.latency_ms:g} ms, {asked.in_flight} in flight), sampled "
        f"{asked.rate} times a second by py-spy while it worked. Native code counts for the function that called it."
    )
    profile = taken(samples, about)
    FLAME.parent.mkdir(parents=True, exist_ok=True)
    FLAME.write_text(drawn_within(samples, "The closed loop", "samples"), encoding="utf-8")
    kept = KEPT / "profiles"
    kept.mkdir(parents=True, exist_ok=True)
    (kept / f"{_NAME}.json").write_bytes(orjson.dumps(profile, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    print(told(profile))


if __name__ == "__main__":
    main()
