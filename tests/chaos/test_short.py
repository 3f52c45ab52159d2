"""Two seeds of real chaos, one for each guarantee: three brokers, two consumers, and all that was promised."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from chaos.__main__ import plan
from chaos.audit import audit, report
from chaos.run import run
from chaos.stage import staged


if TYPE_CHECKING:
    from pathlib import Path

    from chaos.finding import Finding
    from tests.broker.cluster import KafkaCluster


SECONDS = 6.0


@pytest.mark.kafka
@pytest.mark.timeout(300)
def test_under_faults_every_event_has_its_outcome(kafka: KafkaCluster, tmp_path: Path) -> None:
    """With brokers and consumers killed and frozen and the service failing, the audit of each guarantee holds."""
    runs = (
        plan(115, SECONDS, guarantee="at_least_once", scale="failover", order="key"),
        plan(166, SECONDS, guarantee="exactly_once", scale="share", order="unordered"),
    )

    async def main() -> list[list[Finding]]:
        found = []
        async with staged() as stage:
            for one in runs:
                folder = tmp_path / str(one.seed)
                folder.mkdir()
                found.append(audit(await run(stage, one, folder, print)))
        return found

    for findings in asyncio.run(main()):
        assert all(finding.holds for finding in findings), report(findings)
