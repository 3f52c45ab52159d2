"""Tests of the Prometheus that other tests are measured with."""

from __future__ import annotations

import http.server
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from consumer.metrics import CONTENT_TYPE, Metrics
from tests.observed.prometheus import Prometheus, QueryError


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


RULES = """
groups:
  - name: some
    rules:
      - alert: TooMuchInFlight
        expr: moderation_in_flight > 2
        labels: {severity: page}
"""


@contextmanager
def exposed(metrics: Metrics) -> Iterator[str]:
    """These metrics on a port; its address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", CONTENT_TYPE)
            self.end_headers()
            self.wfile.write(metrics.render())

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_it_scrapes_answers_and_fires(tmp_path: Path) -> None:
    """What is exposed can be asked for, at one time and over a range, rules fire, and a wrong query is refused."""
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES)
    metrics = Metrics()
    metrics.gauge("in_flight").set(3)
    with (
        exposed(metrics) as address,
        Prometheus({"app": [address]}, rules=[rules], scrape_seconds=0.2, evaluate_seconds=0.2) as prometheus,
    ):
        deadline = time.monotonic() + 20
        while not prometheus.alerts() and time.monotonic() < deadline:
            time.sleep(0.1)
        (alert,) = prometheus.alerts()
        assert (alert["labels"]["alertname"], alert["state"]) == ("TooMuchInFlight", "firing")
        (now,) = prometheus.query('moderation_in_flight{job="app"}')
        assert now.last == 3
        assert now.labels["instance"] == address
        while time.monotonic() < deadline:
            (ever,) = prometheus.query_range("moderation_in_flight", seconds=10, step_seconds=0.2)
            if len(ever.samples) > 1:
                break
            time.sleep(0.1)
        assert len(ever.samples) > 1
        assert prometheus.query("scalar(moderation_in_flight)")[0].last == 3
        assert [one["health"] for one in prometheus.targets()] == ["up"]
        assert [rule["health"] for group in prometheus.rules() for rule in group["rules"]] == ["ok"]
        with pytest.raises(QueryError, match="parse error"):
            prometheus.query("sum(")


def test_a_wrong_configuration_is_told(tmp_path: Path) -> None:
    """Rules that Prometheus cannot read end the start with what it says about them."""
    rules = tmp_path / "rules.yaml"
    rules.write_text("groups: [{name: some, rules: [{alert: A, expr: 'sum('}]}]")
    with pytest.raises(RuntimeError, match="parse error"), Prometheus({}, rules=[rules]):
        pass
