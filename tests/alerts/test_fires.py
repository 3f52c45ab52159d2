"""Tests that each alert fires on the running product, in the scenario it is for and in no other."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from tests.alerts.playing import played, queries_in, watched, watching
from tests.alerts.rules import alerts
from tests.alerts.scenarios import HEALTHY, SCENARIOS
from tests.broker.carrying import Scene, running
from tests.broker.secured import SecuredKafka, write_identity
from tests.broker.token_endpoint import TokenEndpoint
from tests.observed.prometheus import required
from tests.ports import free_port


if TYPE_CHECKING:
    from pathlib import Path

    from tests.observed.prometheus import Prometheus


# Certificates and tokens: the embedded broker has neither.
SECURED = {"ModerationCertificateExpiring", "ModerationCertificateStale", "ModerationKafkaTokenExpired"}
_SLOW_MACHINE_SECONDS = 180.0


def test_there_is_a_scenario_for_each_alert() -> None:
    """Each alert fires in at least one scenario, and what fires in one is an alert."""
    assert set().union(*(scenario.fires for scenario in SCENARIOS)) | SECURED == {alert.name for alert in alerts()}
    assert not HEALTHY.fires | HEALTHY.may_fire


@pytest.mark.timeout(300)
def test_each_alert_fires_in_its_scenario_and_in_no_other(tmp_path: Path) -> None:
    """Side by side, each scenario raises its alerts, a healthy deployment none, and the runbooks' queries find them."""
    required("prometheus", "prometheus")
    outcome = asyncio.run(played(tmp_path, seconds=_SLOW_MACHINE_SECONDS))
    assert outcome.missing(SCENARIOS) == []
    assert outcome.unexpected(SCENARIOS) == []
    assert outcome.unanswered == []


@pytest.mark.kafka
@pytest.mark.timeout(150)
def test_trouble_with_certificates_and_tokens_fires(secured_kafka: SecuredKafka, tmp_path: Path) -> None:
    """A certificate of hours, a file that is replaced by nonsense, and a token that is not renewed: an alert each."""
    required("prometheus", "prometheus")
    ends = datetime.now(UTC) + timedelta(hours=12)
    certificate = secured_kafka.ca.issue_cert("alice", common_name="alice", not_after=ends)
    identity = write_identity(tmp_path, "alice", certificate)
    trusting = {"ca_file": str(secured_kafka.directory / "ca.pem")}
    ports = {job: free_port() for job in ("certificate", "token")}

    async def main() -> None:
        scenes = {job: Scene.on(secured_kafka) for job in ports}
        for scene in scenes.values():
            await asyncio.to_thread(secured_kafka.allow, "alice", scene.rights())
        endpoint = TokenEndpoint(secured_kafka.issuer, "client", "secret", seconds=8)
        mutual = {"protocol": "SSL", **trusting, **identity}
        async with (
            endpoint.serving(),
            running(scenes["certificate"], "MTLS", mutual, ADMIN__PORT=str(ports["certificate"])),
            running(
                scenes["token"],
                "OAUTH",
                {"protocol": "SASL_SSL", **trusting, **endpoint.security()},
                ADMIN__PORT=str(ports["token"]),
            ),
            watching(tmp_path, {job: f"127.0.0.1:{port}" for job, port in ports.items()}) as prometheus,
        ):
            endpoint.up = False
            (tmp_path / "alice.crt").write_text("no certificate")
            expected = {
                "certificate": {"ModerationCertificateExpiring", "ModerationCertificateStale"},
                "token": {"ModerationKafkaTokenExpired"},
            }
            fired = await watched(prometheus, expected, seconds=60)
            for job, names in expected.items():
                assert fired[job].keys() >= names, job
            assert await asyncio.to_thread(severities, prometheus) == {"critical", "warning"}
            for name in SECURED:
                assert await asyncio.to_thread(prometheus.query, queries_in(name)[0]), name

    asyncio.run(main())


def severities(prometheus: Prometheus) -> set[str]:
    """With which severities the certificate is reported; both, since it is the last day."""
    name = "ModerationCertificateExpiring"
    return {one["labels"]["severity"] for one in prometheus.alerts() if one["labels"]["alertname"] == name}
