"""Tests of the dashboards with real data: the product through a bad minute, scraped by a real Prometheus."""

from __future__ import annotations

import json
import math
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from consumer.metrics import PREFIX
from tests.observed.prometheus import Prometheus, required
from tests.observed.scenario import bad_minute, observed


if TYPE_CHECKING:
    from tests.broker.cluster import KafkaCluster


FOLDER = Path(__file__).parents[2] / "helm" / "moderation-consumer" / "dashboards"
VARIABLES = {"$job": ".*", "$instance": ".*", "$__rate_interval": "10s", "$__range": "90s"}

# These have series, and nothing but zeros: what they count must not happen, and is tested where it is made to.
ZERO = {
    "stalls: {{topic}}": "a partition stands still from about 25,000 records above an unfinished one on",
    "state not written: {{what}}": "the state topic never refuses",
}


def substituted(expression: str) -> str:
    """An expression as Grafana sends it."""
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    assert "$" not in expression
    return expression


@pytest.mark.kafka
@pytest.mark.timeout(180)
def test_every_query_of_every_panel_has_data(kafka: KafkaCluster) -> None:
    """After a bad minute each query of each panel of each dashboard gives series, which tell more than zeros."""
    binary = required("prometheus", "prometheus")
    began = time.time()
    with observed(kafka) as product, Prometheus(product.targets, scrape_seconds=1, binary=binary) as prometheus:
        bad_minute(product)
        time.sleep(1.5)
        assert {target["health"] for target in prometheus.targets()} == {"up"}
        seconds = time.time() - began
        bare, silent, told = [], [], set()
        for path in sorted(FOLDER.glob("*.json")):
            board = json.loads(path.read_text())
            for variable in board["templating"]["list"][1:]:
                assert label_values(prometheus, variable["query"])
            for panel in board["panels"]:
                for target in panel.get("targets", ()):
                    series = prometheus.query_range(substituted(target["expr"]), seconds=seconds)
                    values = [value for one in series for _, value in one.samples if not math.isnan(value)]
                    place = f"{path.stem}: {panel['title']}: {target['legendFormat']}"
                    if not values:
                        bare.append(place)
                    elif not any(values) and target["legendFormat"] not in ZERO:
                        silent.append(place)
                    told |= {target["legendFormat"]} if any(values) else set()
        assert (bare, silent) == ([], [])
        assert not told & ZERO.keys()


def label_values(prometheus: Prometheus, query: str) -> list[str]:
    """What Grafana offers for a variable."""
    found = re.fullmatch(rf"label_values\(({PREFIX}\w+(?:\{{.*\}})?), (\w+)\)", query)
    assert found
    series = prometheus.query(substituted(found[1]))
    return sorted({one.labels[found[2]] for one in series})
