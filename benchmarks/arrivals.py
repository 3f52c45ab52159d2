"""Events that come at moments of their own, and how long each waited for its verdict from then on."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

from confluent_kafka import Producer

from benchmarks.harness import event


if TYPE_CHECKING:
    from collections.abc import Sequence


__all__ = ["even", "least_waits", "percentile", "poisson", "post", "quick_producer"]


def even(rate: float, seconds: float) -> list[float]:
    """Moments in equal distances, in seconds from the start."""
    return [number / rate for number in range(round(rate * seconds))]


def poisson(rate: float, seconds: float, seed: int = 1) -> list[float]:
    """Moments that know nothing of each other, as those of many users: sometimes many come at once."""
    dice = random.Random(seed)
    found, at = [], dice.expovariate(rate)
    while at < seconds:
        found.append(at)
        at += dice.expovariate(rate)
    return found


def least_waits(moments: Sequence[float], limit: int, jitter_seconds: float) -> list[float]:
    """How long each call has to wait at least, where no second and jitter may see more of them than the limit."""
    sent: list[float] = []
    for number, at in enumerate(moments):
        free = sent[number - limit] + 1 + jitter_seconds if number >= limit else at
        sent.append(max(at, free, sent[-1] if sent else at))
    return [one - at for one, at in zip(sent, moments, strict=True)]


def quick_producer(bootstrap: str) -> Producer:
    """A producer that sends at once what it is given."""
    return Producer({"bootstrap.servers": bootstrap, "linger.ms": 0, "log_level": 0})


def post(producer: Producer, topic: str, name: str, moments: Sequence[float]) -> dict[str, float]:
    """Write an event at each moment from now on; returns when each was meant to be written, by its id.

    A record that could only be written later counts from its moment all the same.
    """
    meant = {}
    began = time.time() + 0.05
    for number, at in enumerate(moments):
        due = began + at
        while (left := due - time.time()) > 0:
            producer.poll(min(left, 0.02) if left > 0.002 else 0)
            if 0 < due - time.time() <= 0.002:
                time.sleep(max(0.0, due - time.time()))
        one = f"{name}-{number}"
        producer.produce(topic, event(one, f"k{number % 1000}"), f"k{number % 1000}")
        meant[one] = due
    producer.flush()
    return meant


def percentile(values: Sequence[float], share: float) -> float:
    """The value that so large a share of all does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
