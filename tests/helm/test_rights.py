"""The rights on Kafka that the page names, tried on brokers that give no others."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from confluent_kafka.admin import AclBinding, AclOperation, AclPermissionType, ResourcePatternType, ResourceType

from tests.app.process import Bench, environment, running
from tests.app.test_restart import simulator
from tests.broker.secured import PASSWORD
from tests.helm.rendering import ROOT


if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.broker.secured import SecuredKafka


LITERAL, PREFIXED = ResourcePatternType.LITERAL, ResourcePatternType.PREFIXED
ROW = re.compile(r"^\| (?P<on>[^|]+) \| (?P<rights>(Read|Write|Create)(, \w+)*) \| (?P<when>[^|]+) \|$", re.MULTILINE)


def rights(bench: Bench, guarantee: str, scale: str) -> Iterator[tuple[ResourceType, str, ResourcePatternType, str]]:
    """What the table of the page gives a user: what on, and which right."""
    on = {
        "each topic of `kafka.topics`": [(ResourceType.TOPIC, bench.events, LITERAL)],
        "the group `kafka.group_id`": [(ResourceType.GROUP, bench.group, LITERAL)],
        "`output.topic`, each of `output.topics`, `output.dead_letters`": [
            (ResourceType.TOPIC, bench.verdicts, LITERAL),
            (ResourceType.TOPIC, bench.letters, LITERAL),
        ],
        "the state topic: `state.topic`, else `<group>.state`": [(ResourceType.TOPIC, f"{bench.group}.state", LITERAL)],
        "the state topic": [(ResourceType.TOPIC, f"{bench.group}.state", LITERAL)],
        "the transactional id `<group>`": [(ResourceType.TRANSACTIONAL_ID, bench.group, LITERAL)],
        "transactional ids that begin with `<group>/`": [(ResourceType.TRANSACTIONAL_ID, f"{bench.group}/", PREFIXED)],
    }
    rows = list(ROW.finditer((ROOT / "docs" / "kubernetes.md").read_text()))
    assert {row["on"] for row in rows} == set(on)
    for row in rows:
        when = row["when"]
        if "exactly_once" in when and not (guarantee in when and scale in when):
            continue
        for kind, name, pattern in on[row["on"]]:
            for right in row["rights"].split(", "):
                yield kind, name, pattern, right


@pytest.mark.kafka
@pytest.mark.parametrize(
    ("user", "guarantee", "scale"),
    [("alice", "at_least_once", "failover"), ("bob", "exactly_once", "failover"), ("carol", "exactly_once", "share")],
)
def test_the_rights_that_the_page_names_are_enough(
    user: str, guarantee: str, scale: str, secured_kafka: SecuredKafka
) -> None:
    """With these rights and no others an event becomes a verdict, and the state topic is made."""
    bench = Bench.on(secured_kafka)
    secured_kafka._create_acls(
        [
            AclBinding(kind, name, pattern, f"User:{user}", "*", AclOperation[right.upper()], AclPermissionType.ALLOW)
            for kind, name, pattern, right in rights(bench, guarantee, scale)
        ]
    )
    bench.produce([b'{"id": "1", "text": "hello"}'])
    with simulator("1") as service:
        env = environment(
            bench,
            service.url,
            KAFKA__BOOTSTRAP_SERVERS=secured_kafka.at("BARE"),
            KAFKA__SECURITY__PROTOCOL="SASL_PLAINTEXT",
            KAFKA__SECURITY__SASL_MECHANISM="SCRAM-SHA-512",
            KAFKA__SECURITY__SASL_USERNAME=user,
            KAFKA__SECURITY__SASL_PASSWORD=PASSWORD,
            KAFKA__SCALE=scale,
            DELIVERY__GUARANTEE=guarantee,
        )
        with running(env):
            assert bench.verdict_ids(1) == ["1"]
