"""Six renderings: as they were, as Kubernetes and its operators take them, as the program reads them."""

from __future__ import annotations

from copy import deepcopy
from functools import cache
from typing import TYPE_CHECKING, Any

import kubernetes_validate  # type: ignore[import-untyped]  # it ships no types
import pytest
import yaml
from cloudcoil.models.keda.v1alpha1 import ScaledObject, TriggerAuthentication
from cloudcoil.models.prometheus_operator.v1 import PodMonitor, PrometheusRule, ServiceMonitor
from pydantic import ValidationError

from consumer.settings import load
from tests.helm.binaries import VERSIONS, helm_or_skip
from tests.helm.program import container_of, environment, loaded
from tests.helm.rendering import CASES, CHART, GOLDEN, VALUES, Chart, golden_form


if TYPE_CHECKING:
    from pathlib import Path


KUBERNETES = ("1.27", "1.32", "1.37")
# The operators' own kinds, which the schemas of Kubernetes do not know.
MODELS = {
    "PodMonitor": PodMonitor,
    "PrometheusRule": PrometheusRule,
    "ScaledObject": ScaledObject,
    "ServiceMonitor": ServiceMonitor,
    "TriggerAuthentication": TriggerAuthentication,
}
CASES_OF_EACH_HELM = [pytest.param(version, name, id=f"{name}-{version}") for name in CASES for version in VERSIONS]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("charts")


@cache
def rendered(version: str, name: str, folder: Path) -> list[dict[str, Any]]:
    own = folder / f"{version}-{name}"
    own.mkdir()
    return Chart(helm_or_skip(version), own).case(name)


@pytest.mark.parametrize(("version", "name"), CASES_OF_EACH_HELM)
def test_a_rendering_is_the_golden_one(version: str, name: str, folder: Path) -> None:
    """What is applied is what was looked at once; `python -m tests.helm` writes it anew."""
    golden = list(yaml.safe_load_all((GOLDEN / f"{name}.yaml").read_text()))
    assert golden_form(rendered(version, name, folder)) == golden


def test_every_golden_rendering_has_its_values() -> None:
    """There are six sets of values, each with a golden rendering, and no golden rendering without values."""
    assert len(CASES) == 6
    assert sorted(path.stem for path in GOLDEN.glob("*.yaml")) == list(CASES)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("version", KUBERNETES)
def test_kubernetes_takes_it(version: str, name: str, folder: Path) -> None:
    """Every object of Kubernetes' own fits the strict schema of an old, a middle and the newest version."""
    own = [one for one in rendered("v4", name, folder) if one["kind"] not in {*MODELS, "ExternalSecret"}]
    assert len(own) >= 3
    for one in own:
        kubernetes_validate.validate(one, version, strict=True)


@pytest.mark.parametrize("name", CASES)
def test_operators_take_it(name: str, folder: Path) -> None:
    """Every object of an operator fits the operator's model, without a key that the model does not know."""
    for one in rendered("v4", name, folder):
        if model := MODELS.get(one["kind"]):
            model.model_validate(one, extra="forbid")


@pytest.mark.parametrize("version", KUBERNETES)
def test_a_key_that_kubernetes_does_not_know_would_be_found(version: str, folder: Path) -> None:
    """The schemas that renderings are held against refuse a misspelt key."""
    (deployment,) = (deepcopy(one) for one in rendered("v4", "minimal", folder) if one["kind"] == "Deployment")
    deployment["spec"]["template"]["spec"]["terminationGracePeriod"] = 45
    with pytest.raises(kubernetes_validate.ValidationError, match="terminationGracePeriod"):
        kubernetes_validate.validate(deployment, version, strict=True)


def test_a_key_that_an_operator_does_not_know_would_be_found(folder: Path) -> None:
    """The models that renderings are held against refuse a misspelt key."""
    (monitor,) = (deepcopy(one) for one in rendered("v4", "secured", folder) if one["kind"] == "PodMonitor")
    monitor["spec"]["podMetricsEndpoints"][0]["intervl"] = "15s"
    with pytest.raises(ValidationError, match="intervl"):
        PodMonitor.model_validate(monitor, extra="forbid")


def test_each_kind_of_an_operator_is_in_some_rendering(folder: Path) -> None:
    """Nothing that the chart can make is left out of the golden renderings."""
    kinds = {one["kind"] for name in CASES for one in rendered("v4", name, folder)}
    assert {*MODELS, "ExternalSecret", "Ingress", "NetworkPolicy", "PodDisruptionBudget"} <= kinds


@pytest.mark.parametrize(("version", "name"), CASES_OF_EACH_HELM)
def test_the_program_reads_what_was_configured(version: str, name: str, folder: Path, tmp_path: Path) -> None:
    """The rendered file and variables are a configuration that the program accepts, value by value as it was given."""
    documents = rendered(version, name, folder)
    settings = loaded(documents, tmp_path)
    values = yaml.safe_load((VALUES / f"{name}.yaml").read_text())
    config = values.get("moderation-consumer", values)["config"]
    given = tmp_path / "given.yaml"
    given.write_text(yaml.safe_dump(config))
    second = [tmp_path / "1.yaml"] if (tmp_path / "1.yaml").exists() else []
    assert settings == load([given, *second], environment(documents)).settings


@pytest.mark.parametrize("name", CASES)
def test_secrets_are_only_named(name: str, folder: Path) -> None:
    """No rendering has a Secret, and each variable of a secret names one that is made elsewhere."""
    documents = rendered("v4", name, folder)
    assert not [one for one in documents if one["kind"] == "Secret"]
    for one in container_of(documents).get("env", []):
        secret = one["name"].endswith(("PASSWORD", "SECRET", "TOKEN", "KEY_ID"))
        assert ("valueFrom" in one) == (secret or one["name"].endswith(("USERNAME", "CLIENT_ID"))), one["name"]


@pytest.mark.parametrize("name", CASES)
def test_every_mount_has_its_volume(name: str, folder: Path) -> None:
    """Our container's mounts are read-only, and each volume that the chart adds is mounted."""
    documents = rendered("v4", name, folder)
    (pod,) = (one["spec"]["template"]["spec"] for one in documents if one["kind"] == "Deployment")
    mounts = container_of(documents)["volumeMounts"]
    assert {one["name"] for one in mounts} == {one["name"] for one in pod["volumes"]}
    assert all(one["readOnly"] for one in mounts)


@pytest.mark.parametrize("name", CASES)
def test_a_path_in_a_variable_is_mounted(name: str, folder: Path) -> None:
    """Each file that a variable names is one that a volume puts there."""
    documents = rendered("v4", name, folder)
    (pod,) = (one["spec"]["template"]["spec"] for one in documents if one["kind"] == "Deployment")
    container = container_of(documents)
    places = {one["name"]: one["mountPath"] for one in container["volumeMounts"]}
    files = {f"{places[one['name']]}/{path}" for one in pod["volumes"] for path in _paths(one)}
    named = {one["value"] for one in container.get("env", []) if one.get("value", "").startswith("/")}
    assert named <= files
    assert set(container["args"][2:]) <= files


def _paths(part: Any) -> list[str]:
    if isinstance(part, list):
        return [path for one in part for path in _paths(one)]
    if isinstance(part, dict):
        own = [part["path"]] if isinstance(part.get("path"), str) else []
        return own + [path for one in part.values() for path in _paths(one)]
    return []


def test_alert_rules_go_in_as_they_are(folder: Path) -> None:
    """Braces in the rules are Prometheus' templates and none of helm's: the groups are those of the file."""
    (rule,) = (one for one in rendered("v4", "secured", folder) if one["kind"] == "PrometheusRule")
    assert rule["spec"] == yaml.safe_load((CHART / "rules" / "moderation-consumer.yaml").read_text())


def test_dashboards_go_in_as_they_are(folder: Path) -> None:
    """Each dashboard is in a ConfigMap that Grafana's sidecar finds, byte for byte, and fits into one."""
    made = {
        name: text
        for one in rendered("v4", "secured", folder)
        if one["kind"] == "ConfigMap" and one["metadata"]["labels"].get("grafana_dashboard") == "1"
        for name, text in one["data"].items()
    }
    files = {f"moderation-consumer-{path.name}": path.read_text() for path in (CHART / "dashboards").glob("*.json")}
    assert made == files
    assert files
    assert all(len(text.encode()) < 1_000_000 for text in files.values())
