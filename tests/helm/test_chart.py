"""What the chart does with values, beyond what the golden renderings show."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import yaml

import consumer
from consumer.settings import load
from tests.helm.rendering import CASES, CHART, ROOT, VALUES, host_chart


if TYPE_CHECKING:
    from pathlib import Path

    from tests.helm.rendering import Chart


CONFIG: dict[str, Any] = {
    "kafka": {"bootstrap_servers": ["kafka:9092"], "topics": ["ugc"], "group_id": "g", "start": "latest"},
    "moderation": {"region": "ap-southeast-1"},
}
SECRETS: dict[str, Any] = {"credentials": {"existingSecret": "green"}}
SHARE = {**CONFIG, "kafka": {**CONFIG["kafka"], "scale": "share"}}


@pytest.mark.parametrize("name", CASES)
def test_the_chart_lints(name: str, each_chart: Chart) -> None:
    """Neither helm finds anything to complain of, with the values of any golden rendering."""
    values = yaml.safe_load((VALUES / f"{name}.yaml").read_text())
    chart = host_chart(each_chart) if name == "sidecar" else each_chart
    assert "0 chart(s) failed" in chart.run("lint", "--strict", **values)


def test_default_values_render(each_chart: Chart) -> None:
    """Without any values there are two replicas, a configuration, a service for metrics and an account of no rights."""
    assert "0 chart(s) failed" in each_chart.run("lint", "--strict")
    objects = each_chart.objects()
    assert sorted(objects) == ["ConfigMap", "Deployment", "PodDisruptionBudget", "Service", "ServiceAccount"]
    assert objects["Deployment"]["spec"]["replicas"] == 2
    assert objects["ServiceAccount"]["automountServiceAccountToken"] is False


def test_the_chart_installs_this_version() -> None:
    """The chart's image tag is the version it was released with."""
    about = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert about["appVersion"] == consumer.__version__
    assert about["version"] == consumer.__version__


def test_the_package_has_all_that_is_rendered(each_chart: Chart) -> None:
    """What `helm package` makes renders as the folder does, with alert rules and dashboards in it."""
    values = yaml.safe_load((VALUES / "secured.yaml").read_text())
    folder = each_chart.folder / "packages"
    subprocess.run(
        [each_chart.helm, "package", CHART, "--destination", folder], check=True, capture_output=True, timeout=50
    )
    (package,) = folder.iterdir()
    assert replace(each_chart, path=package).documents(**values) == each_chart.documents(**values)


def test_an_old_kubernetes_is_refused(chart: Chart) -> None:
    """Where a field that is used is not known yet, helm says which version is needed."""
    done = chart.tried("template", "release", "--kube-version", "1.26.0", values={})
    assert "requires kubeVersion: >=1.27.0" in done.stderr


def test_every_selector_finds_the_pods_and_nothing_else(chart: Chart) -> None:
    """Services, monitors, budgets and policies select by labels that the pods have, and that never change."""
    values = yaml.safe_load((VALUES / "secured.yaml").read_text())
    documents = chart.documents(**values)
    by_kind = {one["kind"]: one["spec"] for one in documents if "spec" in one}
    labels = by_kind["Deployment"]["template"]["metadata"]["labels"]
    stable = {"app.kubernetes.io/name": "moderation-consumer", "app.kubernetes.io/instance": "release"}
    assert stable.items() <= labels.items()
    assert labels["team"] == "trust-and-safety"
    assert by_kind["Service"]["selector"] == stable
    assert by_kind["NetworkPolicy"]["podSelector"]["matchLabels"] == stable
    for kind in ("Deployment", "PodDisruptionBudget", "PodMonitor"):
        assert by_kind[kind]["selector"]["matchLabels"] == stable
    for one in by_kind["Deployment"]["template"]["spec"]["topologySpreadConstraints"]:
        assert one["labelSelector"]["matchLabels"] == stable


def test_the_service_monitor_finds_the_service_of_metrics_only(chart: Chart) -> None:
    """The service for callbacks is not scraped."""
    values = yaml.safe_load((VALUES / "callbacks.yaml").read_text())
    documents = chart.documents(**values, serviceMonitor={"enabled": True})
    (monitor,) = (one for one in documents if one["kind"] == "ServiceMonitor")
    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    found = [
        one["metadata"]["name"]
        for one in documents
        if one["kind"] == "Service" and wanted <= one["metadata"]["labels"].items()
    ]
    assert found == ["moderation"]


def test_the_pod_has_no_rights_that_it_does_not_need(chart: Chart) -> None:
    """It runs as a user without name or capabilities, on a read-only file system, without a token of the cluster."""
    pod = chart.pod()["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
    assert pod["containers"][0]["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


@pytest.mark.parametrize(
    ("shutdown", "seconds"),
    [
        ({}, 45),
        ({"drain_seconds": 60}, 95),
        ({"leave_seconds": 0.5}, 35),
        ({"drain_seconds": 0, "flush_seconds": 1}, 31),
    ],
)
def test_a_stop_has_time_to_drain(shutdown: dict[str, float], seconds: int, chart: Chart, tmp_path: Path) -> None:
    """The grace period follows the program's settings, with a second more for each of seven clients to be closed."""
    objects = chart.objects(config={**CONFIG, "shutdown": shutdown}, **SECRETS)
    grace = objects["Deployment"]["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    file = tmp_path / "config.yaml"
    file.write_text(objects["ConfigMap"]["data"]["config.yaml"])
    own = load([file], {"ALIBABA_CLOUD_ACCESS_KEY_ID": "a", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "b"}).settings.shutdown
    assert grace == seconds
    assert grace >= own.drain_seconds + own.flush_seconds + 7 * (own.leave_seconds + 1)


def test_the_shortest_grace_period_that_fits_is_taken(chart: Chart) -> None:
    """A grace period of one's own may be as short as a stop; a second less is refused."""
    assert chart.pod(terminationGracePeriodSeconds=22)["spec"]["terminationGracePeriodSeconds"] == 22
    assert "21 s is less than the 22 s" in chart.refused(terminationGracePeriodSeconds=21)


def test_a_new_pod_stands_by_before_an_old_one_stops(chart: Chart) -> None:
    """Pods are replaced one by one, the new one first; only a change of how work is shared has them all stopped."""
    assert chart.objects()["Deployment"]["spec"]["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
    }
    recreated = chart.objects(updateStrategy={"type": "Recreate"})["Deployment"]["spec"]
    assert recreated["strategy"] == {"type": "Recreate"}


def test_a_change_of_the_configuration_replaces_the_pods(each_chart: Chart) -> None:
    """The pod carries a checksum of its configuration, which any change of it changes, and nothing else."""

    def checksum(**values: Any) -> str:
        told: str = each_chart.pod(**values)["metadata"]["annotations"]["checksum/config"]
        return told

    first = checksum(config=CONFIG)
    assert checksum(config=CONFIG, podMonitor={"enabled": True}, replicaCount=5) == first
    assert checksum(config={**CONFIG, "admin": {"port": 9501}}) != first
    assert checksum(config={**CONFIG, "policy": {"labels": {"ad": "block"}}}) != first


def test_a_change_of_the_sidecars_configuration_replaces_the_pods(chart: Chart) -> None:
    """The pods of another chart carry the checksum, too."""

    def checksum(level: str) -> str:
        values = yaml.safe_load((VALUES / "sidecar.yaml").read_text())
        values["moderation-consumer"]["config"]["log"] = {"level": level}
        told: str = host_chart(chart).pod(**values)["metadata"]["annotations"]["checksum/moderation-consumer"]
        return told

    assert checksum("info") == checksum("info") != checksum("debug")


def test_scaling_ends_where_the_quota_does(chart: Chart) -> None:
    """KEDA may make as many replicas as the smallest limit has whole calls a second, or fewer if told so."""
    enabled = {"enabled": True}
    assert chart.objects(config=SHARE, keda=enabled)["ScaledObject"]["spec"]["maxReplicaCount"] == 10
    limits = {"multimodal_submit_per_second": 80, "multimodal_query_per_second": 60}
    raised = {**SHARE, "quota": limits}
    assert chart.objects(config=raised, keda=enabled)["ScaledObject"]["spec"]["maxReplicaCount"] == 50
    fewer = {**enabled, "maxReplicaCount": 12}
    assert chart.objects(config=raised, keda=fewer)["ScaledObject"]["spec"]["maxReplicaCount"] == 12
    assert "replicas" not in chart.objects(config=SHARE, keda=enabled)["Deployment"]["spec"]


def test_scaling_looks_at_the_groups_lag(chart: Chart) -> None:
    """KEDA asks the same brokers for the same group, and begins where the program does; its values are all texts."""
    objects = chart.objects(config=SHARE, keda={"enabled": True})
    (trigger,) = objects["ScaledObject"]["spec"]["triggers"]
    assert objects["ScaledObject"]["spec"]["scaleTargetRef"]["name"] == objects["Deployment"]["metadata"]["name"]
    assert trigger == {
        "type": "kafka",
        "metadata": {
            "bootstrapServers": "kafka:9092",
            "consumerGroup": "g",
            "lagThreshold": "1000",
            "offsetResetPolicy": "latest",
        },
    }


def test_a_budget_for_one_replica_would_only_be_in_the_way(chart: Chart) -> None:
    """A single replica has no disruption budget, so that nodes can be drained."""
    assert "PodDisruptionBudget" not in chart.objects(replicaCount=1)
    assert chart.objects()["PodDisruptionBudget"]["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


def test_the_external_secret_gives_what_no_secret_was_named_for(chart: Chart) -> None:
    """A Secret that is named goes before the one that the operator makes."""
    values = {
        "externalSecret": {
            "enabled": True,
            "secretStoreRef": {"name": "kms"},
            "data": {name: {"key": name} for name in ("access-key-id", "access-key-secret", "username", "password")},
        },
        "config": {**CONFIG, "kafka": {**CONFIG["kafka"], "security": {"protocol": "SASL_SSL"}}},
        "kafkaUser": {"existingSecret": "kafka-user"},
    }
    objects = chart.objects(**values)
    (container,) = objects["Deployment"]["spec"]["template"]["spec"]["containers"]
    named = {one["name"]: one["valueFrom"]["secretKeyRef"]["name"] for one in container["env"]}
    made = objects["ExternalSecret"]["spec"]["target"]["name"]
    assert named["ALIBABA_CLOUD_ACCESS_KEY_SECRET"] == made
    assert named["MODERATION__KAFKA__SECURITY__SASL_PASSWORD"] == "kafka-user"


def test_a_secret_may_hold_the_password_only(chart: Chart) -> None:
    """Where the user's name is configured, it is not looked for in the Secret."""
    security = {"protocol": "SASL_SSL", "sasl_username": "moderation"}
    config = {**CONFIG, "kafka": {**CONFIG["kafka"], "security": security}}
    (container,) = chart.pod(config=config, kafkaUser={"existingSecret": "kafka-user"})["spec"]["containers"]
    assert [one["name"] for one in container["env"]] == ["MODERATION__KAFKA__SECURITY__SASL_PASSWORD"]


@pytest.mark.parametrize(
    ("url", "host", "path"),
    [
        ("https://callbacks.example.com", "callbacks.example.com", "/"),
        ("https://callbacks.example.com:8443/a/b/", "callbacks.example.com", "/a/b"),
    ],
)
def test_the_ingress_follows_the_callback_address(url: str, host: str, path: str, chart: Chart) -> None:
    """Host and path are those that the service is told to call."""
    config = {**CONFIG, "callbacks": {"url": url}}
    (rule,) = chart.objects(config=config, callbacks={"ingress": {"enabled": True}})["Ingress"]["spec"]["rules"]
    assert rule["host"] == host
    assert rule["http"]["paths"][0]["path"] == path


def test_names_stay_within_what_kubernetes_takes(chart: Chart) -> None:
    """However long the names, each object has its own, of at most 63 characters."""
    values = yaml.safe_load((VALUES / "secured.yaml").read_text())
    documents = chart.documents(**{**values, "fullnameOverride": "a-very-long-name-" * 5})
    names = [(one["kind"], one["metadata"]["name"]) for one in documents]
    assert len(names) == len(set(names))
    assert all(len(name) <= 63 and not name.endswith("-") for _, name in names)


def test_the_notes_name_what_is_missing(chart: Chart) -> None:
    """After an installation a user is told which values the program will not start without, and how to look at it."""
    bare = chart.run("install", "release", "--dry-run=client")
    for name in (
        "config.kafka.bootstrap_servers",
        "config.kafka.topics",
        "config.kafka.start",
        "config.moderation.region",
    ):
        assert f"  {name}\n" in bare
    assert "  credentials.existingSecret, or rrsa\n" in bare
    full = chart.run("install", "release", "--dry-run=client", config={**CONFIG, "admin": {"port": 9500}}, **SECRETS)
    assert "will not start" not in full
    assert "curl localhost:9500/status" in full


def test_the_notes_say_what_secured_kafka_and_callbacks_lack(chart: Chart) -> None:
    """A user for SASL and the secret of callbacks are asked for where the configuration needs them."""
    config = {
        **CONFIG,
        "kafka": {**CONFIG["kafka"], "security": {"protocol": "SASL_SSL"}},
        "callbacks": {"url": "https://callbacks.example.com"},
    }
    notes = chart.run("install", "release", "--dry-run=client", config=config, **SECRETS)
    assert "  kafkaUser.existingSecret\n" in notes
    assert "  callbackSecret.existingSecret\n" in notes
    assert (
        "get from https://callbacks.example.com to port 80 of the service release-moderation-consumer-callbacks"
        in notes
    )


def test_the_chart_carries_the_whole_example(each_chart: Chart, tmp_path: Path) -> None:
    """The configuration that the project shows for production comes through helm value by value."""
    example = ROOT / "config" / "production.yaml"
    config = yaml.safe_load(example.read_text())
    config["kafka"]["start"] = config["kafka"]["start"].isoformat()
    file = tmp_path / "config.yaml"
    file.write_text(each_chart.objects(config=config)["ConfigMap"]["data"]["config.yaml"])
    secrets = {
        "ALIBABA_CLOUD_ACCESS_KEY_ID": "a",
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "b",
        "MODERATION__KAFKA__SECURITY__SASL_PASSWORD": "c",
    }
    assert load([file], secrets).settings == load([example], secrets).settings
