"""The chart, rendered by the real helm."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

import consumer
from consumer.settings import load


ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm" / "moderation-consumer"
CONFIG = {
    "kafka": {"bootstrap_servers": ["kafka:9092"], "topics": ["ugc"], "group_id": "g", "start": "latest"},
    "moderation": {"region": "ap-southeast-1"},
    "delivery": {"memory_budget_bytes": 134_217_728},
    "admin": {"port": 9500},
}
SECRETS = {"credentials": {"existingSecret": "green"}, "kafkaUser": {"existingSecret": "kafka-user"}}


class Chart:
    """The chart with the values of one test."""

    def __init__(self, helm: Path, folder: Path) -> None:
        self._helm = helm
        self._folder = folder

    def run(self, *command: str, **values: Any) -> str:
        file = self._folder / "values.yaml"
        file.write_text(yaml.safe_dump(values))
        done = subprocess.run(
            [self._helm, *command, str(CHART), "--values", file],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def objects(self, **values: Any) -> dict[str, Any]:
        """What is applied to the cluster, by kind."""
        text = self.run("template", "release", **values)
        return {one["kind"]: one for one in yaml.safe_load_all(text) if one is not None}

    def pod(self, **values: Any) -> dict[str, Any]:
        template: dict[str, Any] = self.objects(**values)["Deployment"]["spec"]["template"]
        return template


@pytest.fixture
def chart(helm: Path, tmp_path: Path) -> Chart:
    return Chart(helm, tmp_path)


def test_the_chart_lints(chart: Chart) -> None:
    """Helm finds nothing to complain of, with default values and with all secrets named."""
    assert "0 chart(s) failed" in chart.run("lint", "--strict")
    assert "0 chart(s) failed" in chart.run("lint", "--strict", config=CONFIG, **SECRETS)


def test_default_values_render_the_four_objects(chart: Chart) -> None:
    """Without any values there are a deployment, its configuration, a service for metrics and a service account."""
    objects = chart.objects()
    assert sorted(objects) == ["ConfigMap", "Deployment", "Service", "ServiceAccount"]
    selector = objects["Deployment"]["spec"]["selector"]["matchLabels"]
    assert selector.items() <= objects["Deployment"]["spec"]["template"]["metadata"]["labels"].items()
    assert objects["Service"]["spec"]["selector"] == selector
    pod = objects["Deployment"]["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == objects["ServiceAccount"]["metadata"]["name"]
    assert pod["volumes"][0]["configMap"]["name"] == objects["ConfigMap"]["metadata"]["name"]


def test_the_chart_installs_this_version() -> None:
    """The chart's image tag is the version it was released with."""
    about = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert about["appVersion"] == consumer.__version__
    assert about["version"] == consumer.__version__


def test_probes_and_metrics_share_the_configured_port(chart: Chart) -> None:
    """Liveness asks /livez, readiness /readyz, Prometheus the service; all follow the port in the configuration."""
    for values, port in (({}, 9464), ({"config": CONFIG}, 9500)):
        objects = chart.objects(**values)
        (container,) = objects["Deployment"]["spec"]["template"]["spec"]["containers"]
        assert container["livenessProbe"]["httpGet"] == {"path": "/livez", "port": "admin"}
        assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "admin"}
        assert container["ports"] == [{"name": "admin", "containerPort": port}]
        assert objects["Service"]["spec"]["ports"] == [{"name": "metrics", "port": port, "targetPort": "admin"}]


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


def test_a_stop_has_time_to_drain(chart: Chart) -> None:
    """The grace period is twice what a stop may take, and an old pod is gone before a new one works."""
    deployment = chart.objects()["Deployment"]["spec"]
    settings = load_rendered(chart).shutdown
    needed = settings.drain_seconds + settings.flush_seconds + settings.leave_seconds
    assert deployment["template"]["spec"]["terminationGracePeriodSeconds"] == 45 > 2 * needed
    assert deployment["strategy"] == {"type": "Recreate"}


def load_rendered(chart: Chart) -> Any:
    objects = chart.objects(config=CONFIG, **SECRETS)
    (container,) = objects["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert container["args"] == ["run", "/etc/moderation-consumer/config.yaml"]
    assert container["volumeMounts"][0]["mountPath"] == "/etc/moderation-consumer"
    file = chart._folder / "config.yaml"
    file.write_text(objects["ConfigMap"]["data"]["config.yaml"])
    return load([file], {one["name"]: "from-the-secret" for one in container["env"]}).settings


def test_the_program_reads_what_the_chart_renders(chart: Chart) -> None:
    """The rendered file and the variables from Secrets are a configuration that the program accepts, value by value."""
    settings = load_rendered(chart)
    assert settings.kafka.topics == ["ugc"]
    assert settings.delivery.memory_budget_bytes == 134_217_728
    assert settings.admin.port == 9500
    assert settings.moderation.credentials.access_key_secret.get_secret_value() == "from-the-secret"
    assert settings.kafka.security.sasl_username == "from-the-secret"


def test_secrets_are_only_named(chart: Chart) -> None:
    """Keys and passwords come from Secrets that exist; the token of temporary credentials may be missing there."""
    (container,) = chart.pod(**SECRETS)["spec"]["containers"]
    named = {one["name"]: one["valueFrom"]["secretKeyRef"] for one in container["env"]}
    assert named == {
        "ALIBABA_CLOUD_ACCESS_KEY_ID": {"name": "green", "key": "access-key-id"},
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": {"name": "green", "key": "access-key-secret"},
        "ALIBABA_CLOUD_SECURITY_TOKEN": {"name": "green", "key": "security-token", "optional": True},
        "MODERATION__KAFKA__SECURITY__SASL_USERNAME": {"name": "kafka-user", "key": "username"},
        "MODERATION__KAFKA__SECURITY__SASL_PASSWORD": {"name": "kafka-user", "key": "password"},
    }
    assert "env" not in chart.pod()["spec"]["containers"][0]


def test_a_change_of_the_configuration_replaces_the_pods(chart: Chart) -> None:
    """The pod carries a checksum of its configuration, so that a changed value reaches it."""
    first, again = chart.pod(config=CONFIG), chart.pod(config=CONFIG)
    other = chart.pod(config={**CONFIG, "admin": {"port": 9501}})
    assert first["metadata"]["annotations"] == again["metadata"]["annotations"]
    assert first["metadata"]["annotations"]["checksum/config"] != other["metadata"]["annotations"]["checksum/config"]


def test_the_notes_name_what_is_missing(chart: Chart) -> None:
    """After an installation a user is told which values the program will not start without, and how to look at it."""
    bare = chart.run("install", "release", "--dry-run=client")
    for name in ("kafka.bootstrap_servers", "kafka.topics", "kafka.start", "moderation.region"):
        assert f"  config.{name}\n" in bare
    assert "  credentials.existingSecret\n" in bare
    full = chart.run("install", "release", "--dry-run=client", config=CONFIG, **SECRETS)
    assert "will not start" not in full
    assert "curl localhost:9500/status" in full
