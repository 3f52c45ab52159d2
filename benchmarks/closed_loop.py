"""How much of the bare loop's speed is left when the product does the same work, with all it promises?

usage: python -m benchmarks.closed_loop [--events 20000] [--latency-ms 50] [--in-flight 512] [--runs 3]

The topic is full before the start and the quota is out of the way: each contender works as fast as it can, on a real
Kafka of one node, with a service that answers after a fixed time. Contenders run in turn; medians are compared.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import uuid
from pathlib import Path

import yaml

from benchmarks.harness import Measured, fill, measure, service, table
from tests.broker.cluster import KafkaCluster


PARTITIONS = 6


def product(directory: Path, bootstrap: str, topic: str, out: str, endpoint: str, in_flight: int) -> list[str]:
    """The command that runs the product on this work."""
    config = {
        "kafka": {
            "bootstrap_servers": bootstrap.split(","),
            "topics": [topic],
            "group_id": f"product-{uuid.uuid4().hex}",
            "start": "earliest",
        },
        "output": {"topic": out, "dead_letters": f"{out}-dead"},
        "moderation": {
            "endpoint": endpoint,
            "credentials": {"access_key_id": "testid", "access_key_secret": "testsecret"},
        },
        "routes": [{"name": "all", "services": ["ugc_moderation_byllm"]}],
        "quota": {"text_per_second": 1_000_000},
        "delivery": {"max_in_flight": in_flight},
        "admin": {"host": "127.0.0.1", "port": 0},
        "log": {"level": "warning"},
    }
    path = directory / f"{out}.yaml"
    path.write_text(yaml.safe_dump(config))
    return [sys.executable, "-m", "consumer", "run", str(path)]


def bare(bootstrap: str, topic: str, out: str, endpoint: str, in_flight: int) -> list[str]:
    """The command that runs the bare window on this work."""
    group = f"bare-{uuid.uuid4().hex}"
    return [sys.executable, "-m", "benchmarks.bare_window", bootstrap, topic, out, group, endpoint, str(in_flight)]


def median(runs: list[Measured]) -> Measured:
    """The median of each figure by itself."""
    return Measured(
        statistics.median(run.events_per_second for run in runs),
        statistics.median(run.cpu_us_per_event for run in runs),
        statistics.median(run.peak_mb for run in runs),
        statistics.median(run.first_verdict_seconds for run in runs),
    )


def main() -> None:
    """Run both contenders in turn and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--latency-ms", type=float, default=50.0)
    parser.add_argument("--in-flight", type=int, default=512)
    parser.add_argument("--runs", type=int, default=3)
    asked = parser.parse_args()
    runs: dict[str, list[Measured]] = {"bare window": [], "moderation-consumer": []}
    with (
        tempfile.TemporaryDirectory() as directory,
        KafkaCluster() as cluster,
        service(asked.latency_ms) as endpoint,
    ):
        kafka = ",".join(cluster.bootstrap_servers)
        cluster.create_topic("events", PARTITIONS)
        fill(kafka, "events", asked.events)
        for number in range(asked.runs):
            for name, results in runs.items():
                out = f"{name.replace(' ', '-')}-{number}"
                for topic in (out, f"{out}-dead"):
                    cluster.create_topic(topic, PARTITIONS)
                if name == "bare window":
                    command = bare(kafka, "events", out, endpoint, asked.in_flight)
                else:
                    command = product(Path(directory), kafka, "events", out, endpoint, asked.in_flight)
                results.append(measure(command, kafka, out, asked.events))
    ceiling = median(runs["bare window"])
    rows = []
    for name, results in runs.items():
        one = median(results)
        rows.append(
            [
                name,
                f"{one.events_per_second:,.0f}",
                f"{one.events_per_second / ceiling.events_per_second:.2f}",
                f"{one.cpu_us_per_event:,.0f}",
                f"{one.cpu_us_per_event / ceiling.cpu_us_per_event:.2f}",
                f"{one.peak_mb:.0f}",
                f"{one.first_verdict_seconds:.1f}",
            ]
        )
    bound = asked.in_flight / (asked.latency_ms / 1000) if asked.latency_ms else float("inf")
    title = (
        f"Closed loop: {asked.events:,} events, {asked.latency_ms:g} ms, {asked.in_flight} in flight, "
        f"median of {asked.runs} (Little's bound {bound:,.0f}/s)"
    )
    columns = ["contender", "events/s", "ratio", "CPU µs/event", "ratio", "peak MB", "first verdict s"]
    print(table(title, columns, rows))


if __name__ == "__main__":
    main()
