"""The parts of the program that time and memory go into, and to which of them a stack belongs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Mapping


__all__ = ["AREAS", "Area", "areas"]


@dataclass(frozen=True, slots=True)
class Area:
    """A part: the frames that show it (the innermost counts), and what it takes time and memory for."""

    name: str
    frames: tuple[str, ...]
    time: str
    memory: str


AREAS = (
    Area(
        "modules",
        ("importlib",),
        "Loaded at the start, and not in the loop.",
        "Code, classes and the texts of settings: the same with one event in flight.",
    ),
    Area(
        "signing",
        ("consumer/moderation/protocol/signing",),
        "Two SHA-256 and one HMAC a call, which the service demands; the body is hashed once.",
        "The signed headers, until their request is written.",
    ),
    Area(
        "requests and answers",
        ("consumer/moderation/protocol",),
        "The form's body, and reading the answer into labels, bills and risk.",
        "The body of each call, which another try would send again.",
    ),
    Area(
        "HTTP",
        ("consumer/moderation/calling/lean", "consumer/moderation/calling/aiohttp", "aiohttp/", "httptools", "yarl/"),
        "Writing the request, parsing the answer, taking a connection and giving it back.",
        "A connection for each call in flight, and the bytes of requests that wait for one to be made.",
    ),
    Area(
        "calls: quota, retries, accounting",
        ("consumer/moderation/calling", "consumer/quota"),
        "The bucket's token, the stall guard, the breaker, and what is counted of each call.",
        "What each call goes on with when its answer comes: coroutines, its tries, its token.",
    ),
    Area(
        "judge, cache and routes",
        ("consumer/moderation", "consumer/routing", "consumer/policy", "consumer/judging", "consumer/verdict"),
        "What is known already, which service judges what, and the verdict's fields.",
        "A task for each call that events may share, what waits for it, and the cache of answers (its own bound).",
    ),
    Area(
        "intake",
        ("consumer/intake", "consumer/event"),
        "The record's JSON, and the mapping of its fields.",
        "The events with their texts, until their verdicts are written.",
    ),
    Area(
        "metrics",
        ("consumer/metric", "prometheus_client/"),
        "Counters and histograms of each call and event.",
        "Series, of which there are the same few with one event in flight.",
    ),
    Area(
        "engine",
        ("consumer/engine",),
        "Lanes, the window, order, offsets and their notes: what makes commits safe.",
        "A task for each event in flight, its place in its lane, and what was read ahead.",
    ),
    Area(
        "Kafka",
        ("consumer/kafka", "aiokafka/"),
        "Fetching, producing and committing, by batches.",
        "Fetched batches, and the records of them that were unpacked.",
    ),
    Area(
        "event loop and the rest",
        ("",),
        "What uvloop does with sockets, tasks and timers between the steps of the program.",
        "Handles, buffers and the interpreter's own.",
    ),
)


def areas(stacks: Mapping[tuple[str, ...], int]) -> dict[str, int]:
    """How much of all each area has: a stack belongs to the area of its innermost frame that any knows."""
    found = dict.fromkeys((area.name for area in AREAS), 0)
    for stack, count in stacks.items():
        found[_area(stack)] += count
    return found


def _area(stack: tuple[str, ...]) -> str:
    for frame in reversed(stack):
        for area in AREAS[:-1]:
            if any(part in frame for part in area.frames):
                return area.name
    return AREAS[-1].name
