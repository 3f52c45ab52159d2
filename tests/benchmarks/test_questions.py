"""Every benchmark once, with so few events that it says nothing but that it still runs."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks import peers
from benchmarks.__main__ import QUESTIONS
from benchmarks.bench import Bench, answer
from benchmarks.contenders import BARE, BARE_LEAN, PRODUCT, bare
from benchmarks.harness import Ended, service
from benchmarks.open_loop import own_seconds
from benchmarks.peers_install import Peer
from benchmarks.results import load, save


if TYPE_CHECKING:
    from pathlib import Path

    from consumer.demo.broker import EmbeddedBroker
    from tests.broker.cluster import KafkaCluster


FEW: dict[str, dict[str, Any]] = {
    "closed_loop": {"events": 200, "latencies_ms": (5.0,), "in_flight": 20, "runs": 1},
    "open_loop": {
        "shares": (0.8,),
        "limits": (100,),
        "stretches": (0.5,),
        "repeats": 1,
        "latency_ms": 5.0,
        "warm_seconds": 0.2,
    },
    "order": {
        "others": ("key",),
        "hot_share": 0.0,
        "events": 100,
        "keys": 10,
        "in_flight": 20,
        "latency_ms": 5.0,
        "runs": 1,
    },
    "guarantees": {"events": 100, "in_flight": 20, "latency_ms": 5.0, "runs": 1},
    "replicas": {"replicas": (2,), "events": 100, "partitions": 4, "in_flight": 20, "latency_ms": 5.0, "runs": 1},
    "partitions": {"partitions": (8,), "events": 100, "in_flight": 20, "latency_ms": 5.0, "runs": 1},
    "memory": {"in_flight": (20,), "rest_seconds": 0.1},
    "endurance": {"events": 1000, "in_flight": 20},
    "start": {"runs": 1, "latency_ms": 5.0},
    "imports": {"runs": 1},
    "crash": {"contenders": (PRODUCT,), "events": 400, "in_flight": 20, "latency_ms": 20.0, "runs": 1},
    "takeover": {"how": ("stop",), "rate": 20.0, "seconds_before": 0.5, "seconds_after": 1.0, "latency_ms": 5.0},
    "peers": {"events": 100, "in_flight": 20, "latency_ms": 5.0, "runs": 1},
}


@pytest.mark.kafka
@pytest.mark.timeout(180)
@pytest.mark.parametrize("name", FEW)
def test_a_question_has_an_answer(
    name: str, kafka: KafkaCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each question, asked about few events, has a table in which the product is, and is kept as JSON."""
    monkeypatch.setattr(peers, "INSTALLED", (Peer("Nobody", bare, lambda: "it is not installed"),))
    question = QUESTIONS[name]
    result = answer(question, Bench(kafka, tmp_path), 1.0, replace(question.plan, **FEW[name]))
    save(result, tmp_path)
    found = load(tmp_path)[name].found
    assert found == result.found
    assert all(len(row) == len(found.columns) for row in found.rows)
    assert "nan" not in str(found)
    if name == "peers":
        assert found.notes == ("Nobody was left out: it is not installed",)
    if name == "crash":
        [lost] = [bound.measured for bound in found.bounds if bound.what.endswith("lost")]
        assert lost == 0


def test_every_question_is_tried() -> None:
    """There is no benchmark that the test before does not run."""
    assert set(FEW) == set(QUESTIONS)


@pytest.mark.timeout(120)
def test_no_time_left_means_one_round(embedded: EmbeddedBroker, tmp_path: Path) -> None:
    """Where there is no time, each contender has one run; and a broker inside this process will do."""
    question = QUESTIONS["closed_loop"]
    result = answer(
        question, Bench(embedded, tmp_path), 0.0, replace(question.plan, **{**FEW["closed_loop"], "runs": 9})
    )
    assert [(row[2], row[-1]) for row in result.found.rows] == [(BARE, "1"), (BARE_LEAN, "1"), (PRODUCT, "1")]


def test_a_contender_that_ends_is_said(embedded: EmbeddedBroker, tmp_path: Path) -> None:
    """A process that ends by itself is an error with the end of its log, and nobody waits for its verdicts."""
    bench = Bench(embedded, tmp_path)
    job = bench.job(bench.topic("events"), "http://127.0.0.1:1")
    broken = [sys.executable, "-c", "raise SystemExit('no room for events')"]
    with bench.working(lambda _: broken, job) as (children, verdicts), pytest.raises(Ended, match="no room for events"):
        verdicts.wait(1, 50, *children)


def test_the_service_takes_its_time() -> None:
    """The stub answers after the time that it was told, and what it takes by itself is measured as that."""
    with service(20.0) as endpoint:
        assert 0.02 <= own_seconds(endpoint) < 0.2
