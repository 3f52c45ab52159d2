"""Who is measured: the product, the bare window, and what one would otherwise write; each as a command."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml


if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


__all__ = ["BARE", "BARE_LEAN", "GATHER", "PRODUCT", "Contender", "Job", "bare", "bare_lean", "gather", "product"]


PRODUCT = "moderation-consumer"
BARE = "bare window"
BARE_LEAN = "bare window, lean transport"
GATHER = "gather a batch"


@dataclass(frozen=True, slots=True)
class Job:
    """The work of one process.

    Attributes:
        folder: where it may leave files.
        bootstrap: the brokers.
        topic: where events are.
        out: where verdicts go; a name of its own for each run.
        group: its consumer group.
        endpoint: the service.
        in_flight: how many events at the same time.
        session_seconds: how long the group waits for it when it is silent.
        settings: further settings of the product, by section.
    """

    folder: Path
    bootstrap: str
    topic: str
    out: str
    group: str
    endpoint: str
    in_flight: int = 512
    session_seconds: float = 10.0
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


Contender = Callable[[Job], list[str]]
"""The command that does a job."""


def product(job: Job) -> list[str]:
    """The product, with a quota that is out of the way unless the job's settings say otherwise."""
    config: dict[str, Any] = {
        "kafka": {
            "bootstrap_servers": job.bootstrap.split(","),
            "topics": [job.topic],
            "group_id": job.group,
            "start": "earliest",
            "session_timeout_seconds": job.session_seconds,
        },
        "output": {"topic": job.out, "dead_letters": f"{job.out}-dead"},
        "moderation": {
            "endpoint": job.endpoint,
            "credentials": {"access_key_id": "testid", "access_key_secret": "testsecret"},
        },
        "routes": [{"name": "all", "services": ["ugc_moderation_byllm"]}],
        "quota": {"text_per_second": 1_000_000},
        "delivery": {"max_in_flight": job.in_flight},
        "admin": {"host": "127.0.0.1", "port": 0},
        "log": {"level": "warning"},
    }
    for section, values in job.settings.items():
        config[section] = {**config.get(section, {}), **values}
    path = job.folder / f"{job.out}.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return [sys.executable, "-m", "consumer", "run", str(path)]


def bare(job: Job) -> list[str]:
    """The bare window."""
    return [sys.executable, "-m", "benchmarks.bare_window", *_arguments(job), str(job.session_seconds)]


def bare_lean(job: Job) -> list[str]:
    """The bare window over the product's own transport."""
    return [*bare(job), "lean"]


def gather(job: Job) -> list[str]:
    """A batch at a time: all its calls at once, the next batch when the slowest of them is done."""
    return [sys.executable, "-m", "benchmarks.gather", *_arguments(job)]


def _arguments(job: Job) -> list[str]:
    return [job.bootstrap, job.topic, job.out, job.group, job.endpoint, str(job.in_flight)]
