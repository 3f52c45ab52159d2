"""Where does the time of the closed loop go? A flame graph of it, and a table by what the time is for.

usage: python -m benchmarks.profile [--events 60000] [--latency-ms 50] [--in-flight 512] [--rate 500]

py-spy looks at the running product so many times a second. It is a tool for developers, and is fetched by uv or pip
when it is missing. The picture goes into `docs/pictures`, the table's numbers into `benchmarks/results`, and
`python -m benchmarks.report` puts both on the page.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from benchmarks.bench import Bench
from benchmarks.contenders import product
from benchmarks.flame import draw, grown, stacks
from benchmarks.harness import ROOT, Ended, service
from benchmarks.results import KEPT
from tests.broker.cluster import KafkaCluster


if TYPE_CHECKING:
    from collections.abc import Mapping


__all__ = ["AREAS", "Area", "Profile", "areas", "load_profile", "taken", "told"]


FLAME = ROOT / "docs" / "pictures" / "performance-flame.svg"
_NAME = "profile"
_MOST_BYTES = 300_000
_LOOP = "Runner.run "


@dataclass(frozen=True, slots=True)
class Area:
    """What time is spent for: the frames that show it (the innermost counts), and what there is to say about it."""

    name: str
    frames: tuple[str, ...]
    remark: str


AREAS = (
    Area(
        "signing",
        ("consumer/moderation/protocol/signing",),
        "Two SHA-256 and one HMAC a call, which the service demands; the body is hashed once.",
    ),
    Area(
        "requests and answers",
        ("consumer/moderation/protocol",),
        "The form's body, and reading the answer into labels, bills and risk.",
    ),
    Area(
        "HTTP",
        ("consumer/moderation/calling/lean", "consumer/moderation/calling/aiohttp", "aiohttp/", "httptools", "yarl/"),
        "Writing the request, parsing the answer, taking a connection and giving it back.",
    ),
    Area(
        "calls: quota, retries, accounting",
        ("consumer/moderation/calling", "consumer/quota"),
        "The bucket's token, the stall guard, the breaker, and what is counted of each call.",
    ),
    Area(
        "judge, cache and routes",
        ("consumer/moderation", "consumer/routing", "consumer/policy", "consumer/judging", "consumer/verdict"),
        "What is known already, which service judges what, and the verdict's fields.",
    ),
    Area("intake", ("consumer/intake", "consumer/event"), "The record's JSON, and the mapping of its fields."),
    Area("metrics", ("consumer/metric", "prometheus_client/"), "Counters and histograms of each call and event."),
    Area(
        "engine",
        ("consumer/engine",),
        "Lanes, the window, order, offsets and their notes: what makes commits safe.",
    ),
    Area("Kafka", ("consumer/kafka", "aiokafka/"), "Fetching, producing and committing, by batches."),
    Area(
        "event loop and the rest",
        ("",),
        "What uvloop does with sockets, tasks and timers between the steps of the program.",
    ),
)


@dataclass(frozen=True, slots=True)
class Profile:
    """Samples by area, and in all; and the innermost functions with most of them."""

    samples: int
    areas: dict[str, int]
    functions: tuple[tuple[str, int], ...]
    about: str


def areas(samples: Mapping[tuple[str, ...], int]) -> dict[str, int]:
    """How many samples each area has: a stack belongs to the area of its innermost frame that any knows."""
    found = dict.fromkeys((area.name for area in AREAS), 0)
    for stack, count in samples.items():
        found[_area(stack)] += count
    return found


def _area(stack: tuple[str, ...]) -> str:
    for frame in reversed(stack):
        for area in AREAS[:-1]:
            if any(part in frame for part in area.frames):
                return area.name
    return AREAS[-1].name


def told(profile: Profile) -> str:
    """The section of the page."""
    lines = ["## Where does the time go?", "", profile.about, ""]
    if FLAME.exists():
        lines += [f"![flame graph](pictures/{FLAME.name})", ""]
    lines += ["| what for | share | what there is to say |", "|---|---|---|"]
    for area in sorted(AREAS, key=lambda area: -profile.areas.get(area.name, 0)):
        lines.append(f"| {area.name} | {profile.areas.get(area.name, 0) / profile.samples:.0%} | {area.remark} |")
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


def _py_spy() -> str:
    """The sampler, fetched into this environment if it is not there.

    Raises:
        Ended: it could not be fetched.
    """
    beside = Path(sys.executable).parent / "py-spy"
    if beside.exists():
        return str(beside)
    uv = shutil.which("uv")
    pip = [uv, "pip", "install", "--python", sys.executable] if uv else [sys.executable, "-m", "pip", "install"]
    subprocess.run([*pip, "--quiet", "py-spy"], check=False)
    if not beside.exists():
        raise Ended("py-spy is needed, which could not be fetched: install it beside this Python, and try again")
    return str(beside)


def _sampled(bench: Bench, events: int, latency_ms: float, in_flight: int, rate: int) -> dict[tuple[str, ...], int]:
    raw = bench.folder / "samples.txt"
    topic = bench.filled(events)
    with service(latency_ms) as endpoint:
        job = bench.job(topic, endpoint, in_flight=in_flight)
        with bench.working(product, job) as (children, verdicts):
            verdicts.wait(events // 20, 60, *children)
            command = [_py_spy(), "record", "--pid", str(children[0].pid), "--rate", str(rate), "--format", "raw"]
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
    share = 0.001
    while len((drawn := draw(grown(samples, least_share=share), "The closed loop")).encode()) > _MOST_BYTES:
        share *= 1.5
    FLAME.parent.mkdir(parents=True, exist_ok=True)
    FLAME.write_text(drawn, encoding="utf-8")
    kept = KEPT / "profiles"
    kept.mkdir(parents=True, exist_ok=True)
    (kept / f"{_NAME}.json").write_bytes(orjson.dumps(profile, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    print(told(profile))


if __name__ == "__main__":
    main()
