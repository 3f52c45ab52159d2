"""Tests of the Prometheus and the Grafana of compose.yaml: what they read is there, and fits together."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import yaml

from consumer.settings import load
from tests.image.composition import environment, mounted, service, tool


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


PROMETHEUS = "/etc/prometheus/prometheus.yml"
RULES = "/etc/prometheus/rules"
PROVISIONING = "/etc/grafana/provisioning"


def read(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return document


def dashboards() -> list[Path]:
    """The dashboards that Grafana is given."""
    (provider,) = read(mounted("grafana")[PROVISIONING] / "dashboards" / "moderation-consumer.yaml")["providers"]
    assert provider["type"] == "file"
    return sorted(mounted("grafana")[provider["options"]["path"]].glob("*.json"))


def sources(node: Any) -> Iterator[str]:
    """Every data source that a dashboard names by its uid."""
    if isinstance(node, dict):
        if isinstance(node.get("datasource"), dict):
            yield node["datasource"]["uid"]
        for value in node.values():
            yield from sources(value)
    elif isinstance(node, list):
        for value in node:
            yield from sources(value)


def test_prometheus_takes_its_configuration(tmp_path: Path) -> None:
    """Promtool finds nothing wrong with it, and finds the rules where it says."""
    mounts = mounted("prometheus")
    (tmp_path / "prometheus.yml").write_bytes(mounts[PROMETHEUS].read_bytes())
    (tmp_path / "rules").symlink_to(mounts[RULES])
    (rules,) = read(mounts[PROMETHEUS])["rule_files"]
    assert (tmp_path / rules).exists()
    command = [tool("promtool", "Debian's prometheus"), "check", "config", str(tmp_path / "prometheus.yml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 rule files found" in done.stdout


def test_prometheus_reads_the_file_that_is_mounted() -> None:
    """Its command line names the configuration at the place where it is mounted."""
    assert f"--config.file={PROMETHEUS}" in service("prometheus")["command"]


def test_prometheus_scrapes_the_consumer() -> None:
    """Its only target is the admin port of the consumer's container."""
    settings = load([str(mounted("consumer")["/etc/moderation-consumer"] / "consumer.yaml")], environment("consumer"))
    (job,) = read(mounted("prometheus")[PROMETHEUS])["scrape_configs"]
    assert job["static_configs"] == [{"targets": [f"consumer:{settings.settings.admin.port}"]}]


def test_grafana_asks_that_prometheus() -> None:
    """The data source that is provisioned is the default one, and is the Prometheus beside it."""
    (source,) = read(mounted("grafana")[PROVISIONING] / "datasources" / "prometheus.yaml")["datasources"]
    assert (source["type"], source["url"], source["isDefault"]) == ("prometheus", "http://prometheus:9090", True)
    assert source["jsonData"]["timeInterval"] == read(mounted("prometheus")[PROMETHEUS])["global"]["scrape_interval"]


def test_grafana_finds_the_dashboards() -> None:
    """The folder that is provisioned has dashboards, and the one that is shown first."""
    names = [path.name for path in dashboards()]
    assert names
    assert environment("grafana")["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"].rpartition("/")[2] in names


def test_the_dashboards_find_their_data() -> None:
    """Each asks for data by a variable of type prometheus, or from the data source that is provisioned."""
    (source,) = read(mounted("grafana")[PROVISIONING] / "datasources" / "prometheus.yaml")["datasources"]
    for path in dashboards():
        dashboard = json.loads(path.read_text(encoding="utf-8"))
        variables = {
            f"${{{variable['name']}}}"
            for variable in dashboard["templating"]["list"]
            if variable["type"] == "datasource" and variable["query"] == source["type"]
        }
        built_in = {"-- Grafana --", "grafana"}
        assert set(sources(dashboard)) <= {source["uid"], *variables, *built_in}, path.name
