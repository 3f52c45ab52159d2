"""The container in the pods of another chart, and the pages that show it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.helm.program import loaded
from tests.helm.rendering import CHART, VALUES, host_chart
from tests.helm.table import README, current, values


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.helm.rendering import Chart


def sidecar_values(**more: Any) -> dict[str, Any]:
    given: dict[str, Any] = yaml.safe_load((VALUES / "sidecar.yaml").read_text())
    given["moderation-consumer"] |= more
    return given


def test_the_example_of_the_readme_works_as_it_stands(each_chart: Chart, tmp_path: Path) -> None:
    """The files that the README shows are a chart that renders, and what it renders is accepted by the program."""
    documents = host_chart(each_chart).documents()
    assert sorted(one["kind"] for one in documents) == ["ConfigMap", "Deployment", "Service"]
    assert loaded(documents, tmp_path).kafka.topics == ["ugc.events"]


def test_the_first_example_of_the_readme_works_as_it_stands(chart: Chart, tmp_path: Path) -> None:
    """The values that the README shows first are enough for a program that starts."""
    host_chart(chart)
    shown = yaml.safe_load((chart.folder / "host" / "moderation.yaml").read_text())
    assert "will not start" not in chart.run("install", "release", "--dry-run=client", **shown)
    assert loaded(chart.documents(**shown), tmp_path).kafka.group_id == "moderation"


def test_a_sidecar_does_not_take_its_host_out_of_service(chart: Chart) -> None:
    """It is restarted when it no longer turns, and is never asked whether it is ready, since a hold makes it say no."""
    pod = host_chart(chart).pod(**sidecar_values())["spec"]
    ours = pod["containers"][1]
    assert "livenessProbe" in ours
    assert "readinessProbe" not in ours
    assert "startupProbe" not in ours
    assert "restartPolicy" not in ours


def test_a_native_sidecar_is_restarted_always(chart: Chart) -> None:
    """As an init container it is kept running beside the others."""
    ours = host_chart(chart).pod(**sidecar_values(sidecar={"native": True}))["spec"]["containers"][1]
    assert ours["restartPolicy"] == "Always"


def test_everything_for_its_own_pods_is_left_out(chart: Chart) -> None:
    """What belongs to pods is the host's; the Services, the monitor and the dashboards find the host's pods."""
    more = {"networkPolicy": {"enabled": True}, "dashboards": {"enabled": True}, "prometheusRule": {"enabled": True}}
    documents = host_chart(chart).documents(**sidecar_values(**more))
    kinds = {one["kind"] for one in documents}
    assert kinds == {"ConfigMap", "Deployment", "PodMonitor", "PrometheusRule", "Service"}
    (pods,) = (one["spec"]["template"]["metadata"]["labels"] for one in documents if one["kind"] == "Deployment")
    (service,) = (one["spec"]["selector"] for one in documents if one["kind"] == "Service")
    assert service.items() <= pods.items()


def test_the_host_waits_for_the_drain(chart: Chart) -> None:
    """The host's grace period follows the sidecar's configuration."""
    given = sidecar_values()
    given["moderation-consumer"]["config"]["shutdown"] = {"drain_seconds": 60}
    assert host_chart(chart).pod(**given)["spec"]["terminationGracePeriodSeconds"] == 95


def test_a_sidecar_beside_pods_of_its_own_is_refused(chart: Chart) -> None:
    """Who takes the container in without switching the chart's own pods off is told so."""
    assert "moderation-consumer.mode: set it to sidecar" in host_chart(chart).refused(
        **sidecar_values(mode="deployment")
    )


def test_wrong_values_of_a_sidecar_are_refused(chart: Chart) -> None:
    """The checks hold for it, too, and the schema lets through what helm adds for dependencies."""
    message = host_chart(chart).refused(**sidecar_values(rrsa={"roleArn": "acs:ram::1:role/a"}), **{"global": {"a": 1}})
    assert "rrsa: not beside credentials" in message


def test_the_table_of_values_is_current() -> None:
    """What the README says of each value is what values.yaml says; `python -m tests.helm` writes it anew."""
    assert README.read_text() == current()


def test_every_link_of_the_readme_leads_somewhere() -> None:
    """Each link of the chart's page names a file that is there."""
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", README.read_text())
    assert links
    assert [one for one in links if not (CHART / one).exists()] == []


def test_every_value_is_explained() -> None:
    """Each value has a comment that says what it means, in sentences."""
    told = list(values())
    assert len(told) > 80
    assert [one.path for one in told if not re.search(r"[.)]$", one.meaning)] == []


def paths(values: dict[str, Any], above: str = "") -> Iterator[str]:
    for name, value in values.items():
        yield above + name
        if isinstance(value, dict):
            yield from paths(value, f"{above}{name}.")


@pytest.mark.parametrize(
    "page", [CHART / "README.md", CHART.parents[1] / "docs" / "kubernetes.md"], ids=lambda page: page.stem
)
def test_every_value_that_a_page_names_exists(page: Path) -> None:
    """A value named in prose is one of the chart, spelled as it is there."""
    known = set(paths(yaml.safe_load((CHART / "values.yaml").read_text())))
    sections = {path.partition(".")[0] for path in known} - {"config", "image", "mode", "sidecar", "service"}
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    named = set(re.findall(r"`([a-z][A-Za-z]+(?:\.[A-Za-z]+)+)(?::[^`]*)?`", text))
    ours = {one for one in named if one.partition(".")[0] in sections}
    assert ours <= known
