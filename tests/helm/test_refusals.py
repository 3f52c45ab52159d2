"""Values that are wrong: refused before anything is installed, with the place and the remedy."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from consumer.settings.models import Settings
from consumer.settings.shapes import leaves
from tests.helm.rendering import CHART


if TYPE_CHECKING:
    from tests.helm.rendering import Chart


TYPOS: dict[str, tuple[dict[str, Any], str]] = {
    "a key that is none": ({"replicaCuont": 3}, "replicaCuont"),
    "a key below another that is none": ({"credentials": {"existingsecret": "green"}}, "existingsecret"),
    "a section at the wrong place": ({"kafka": {"topics": ["ugc"]}}, "kafka"),
    "a number in quotes": ({"replicaCount": "3"}, "replicaCount"),
    "less than nothing": ({"replicaCount": -1}, "replicaCount"),
    "a word that is none of the choices": ({"mode": "daemonset"}, "mode"),
    "an image in one line": ({"image": "moderation-consumer:1"}, "image"),
    "a tag that is a number": ({"image": {"tag": 1.2}}, "tag"),
    "a digest cut off": ({"image": {"digest": "sha256:e3b0"}}, "digest"),
    "a pull policy in lower case": ({"image": {"pullPolicy": "always"}}, "pullPolicy"),
    "a pull secret without its key": ({"imagePullSecrets": ["registry"]}, "imagePullSecrets"),
    "a secret in the place of its name": ({"credentials": {"existingSecret": {"name": "green"}}}, "existingSecret"),
    "a configuration in one text": ({"config": "kafka: {}"}, "config"),
    "a switch in quotes": ({"podMonitor": {"enabled": "true"}}, "enabled"),
    "an interval without its unit": ({"podMonitor": {"enabled": True, "interval": "15"}}, "interval"),
    "an interval that is a number": ({"serviceMonitor": {"interval": 15}}, "interval"),
    "an annotation that is no text": ({"podAnnotations": {"example.com/on": True}}, "podAnnotations"),
    "a grace period with its unit": ({"terminationGracePeriodSeconds": "45s"}, "terminationGracePeriodSeconds"),
    "resources without their s": ({"resources": {"limit": {"memory": "1Gi"}}}, "limit"),
    "replicas that go to zero": ({"keda": {"minReplicaCount": 0}}, "minReplicaCount"),
    "a role in the place of its ARN": ({"rrsa": {"roleArn": "moderation"}}, "roleArn"),
    "an ARN in the place of a role": ({"rrsa": {"roleName": "acs:ram::1:role/moderation"}}, "roleName"),
    "a token of a minute": ({"rrsa": {"tokenExpirationSeconds": 60}}, "tokenExpirationSeconds"),
    "a port that is none": ({"networkPolicy": {"kafkaPorts": [90920]}}, "kafkaPorts"),
    "variables as a mapping": ({"extraEnv": {"OTEL_SERVICE_NAME": "moderation"}}, "extraEnv"),
    "a place in a store without its key": ({"externalSecret": {"data": {"password": "kafka"}}}, "password"),
    "a strategy that is none": ({"updateStrategy": {"type": "Rolling"}}, "updateStrategy"),
}

CONTRADICTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "a grace period shorter than a stop": (
        {"terminationGracePeriodSeconds": 21},
        "terminationGracePeriodSeconds: 21 s is less than the 22 s that a stop may take",
    ),
    "a drain longer than the grace period": (
        {"terminationGracePeriodSeconds": 45, "config": {"shutdown": {"drain_seconds": 60.5}}},
        "terminationGracePeriodSeconds: 45 s is less than the 73 s that a stop may take",
    ),
    "scaling with failover": (
        {"keda": {"enabled": True}},
        "keda.enabled: only with config.kafka.scale: share",
    ),
    "more replicas than the quota can use": (
        {"keda": {"enabled": True, "maxReplicaCount": 11}, "config": {"kafka": {"scale": "share"}}},
        "keda.maxReplicaCount: 11 is more than the 10 whole calls a second of the smallest limit",
    ),
    "more replicas at least than at most": (
        {
            "keda": {"enabled": True, "minReplicaCount": 4, "maxReplicaCount": 3},
            "config": {"kafka": {"scale": "share"}},
        },
        "keda.minReplicaCount: 4 is more than the 3 replicas there may be at most",
    ),
    "more fixed replicas than the quota can use": (
        {"replicaCount": 4, "config": {"kafka": {"scale": "share"}, "quota": {"text_per_second": 3}}},
        "replicaCount: 4 is more than the 3 whole calls a second of the smallest limit",
    ),
    "scaling without the Kafka user": (
        {"keda": {"enabled": True}, "config": {"kafka": {"scale": "share", "security": {"protocol": "SASL_SSL"}}}},
        "keda.enabled: KEDA needs the Kafka user, too",
    ),
    "scaling with half of the Kafka user": (
        {
            "keda": {"enabled": True},
            "kafkaUser": {"existingSecret": "kafka-user"},
            "config": {
                "kafka": {"scale": "share", "security": {"protocol": "SASL_SSL", "sasl_username": "moderation"}}
            },
        },
        "keda.enabled: KEDA needs the Kafka user, too, and takes its name and password from a Secret only",
    ),
    "scaling of other charts' pods": (
        {"mode": "sidecar", "keda": {"enabled": True}},
        "keda.enabled: not with mode: sidecar",
    ),
    "a role in two ways": (
        {"rrsa": {"roleName": "a", "roleArn": "acs:ram::1:role/a", "oidcProviderArn": "acs:ram::1:oidc-provider/b"}},
        "rrsa.roleArn: not beside rrsa.roleName",
    ),
    "a role without its provider": (
        {"rrsa": {"roleArn": "acs:ram::1:role/a"}},
        "rrsa.oidcProviderArn: not set",
    ),
    "a provider without its role": (
        {"rrsa": {"oidcProviderArn": "acs:ram::1:oidc-provider/b"}},
        "rrsa.roleArn: not set",
    ),
    "a role that nothing is annotated with": (
        {"rrsa": {"roleName": "a"}, "serviceAccount": {"create": False}},
        "rrsa.roleName: it annotates the chart's service account",
    ),
    "a role beside an AccessKey": (
        {"rrsa": {"roleName": "a"}, "credentials": {"existingSecret": "green"}},
        "rrsa: not beside credentials",
    ),
    "a client without OAUTHBEARER": (
        {"kafkaOauth": {"existingSecret": "client"}, "config": {"kafka": {"security": {"protocol": "SASL_SSL"}}}},
        "kafkaOauth: only used with a SASL_… protocol and sasl_mechanism: OAUTHBEARER",
    ),
    "a token from two places": (
        {
            "kafkaOauth": {"existingSecret": "client", "tokenAudience": "kafka"},
            "config": {"kafka": {"security": {"protocol": "SASL_SSL", "sasl_mechanism": "OAUTHBEARER"}}},
        },
        "kafkaOauth: existingSecret and tokenAudience are both set",
    ),
    "scaling without what KEDA needs for OAUTHBEARER": (
        {
            "keda": {"enabled": True},
            "config": {
                "kafka": {"scale": "share", "security": {"protocol": "SASL_SSL", "sasl_mechanism": "OAUTHBEARER"}}
            },
        },
        "keda.authenticationRef: not set, but needed with OAUTHBEARER",
    ),
    "certificates without TLS": (
        {"kafkaTls": {"ca": {"existingSecret": "ca"}}},
        "kafkaTls: not used with config.kafka.security.protocol: PLAINTEXT; set it to SSL or SASL_SSL",
    ),
    "a user without SASL": (
        {"kafkaUser": {"existingSecret": "user"}, "config": {"kafka": {"security": {"protocol": "SSL"}}}},
        "kafkaUser: not used with config.kafka.security.protocol: SSL; set it to SASL_SSL or SASL_PLAINTEXT",
    ),
    "certificates from two places": (
        {
            "kafkaTls": {"ca": {"existingSecret": "ca", "existingConfigMap": "ca"}},
            "config": {"kafka": {"security": {"protocol": "SSL"}}},
        },
        "kafkaTls.ca: existingSecret and existingConfigMap are both set",
    ),
    "a store without a name": (
        {"externalSecret": {"enabled": True, "data": {"password": {"key": "kafka"}}}},
        "externalSecret.secretStoreRef.name: not set",
    ),
    "a store that nothing is taken from": (
        {"externalSecret": {"enabled": True, "secretStoreRef": {"name": "kms"}}},
        "externalSecret.data: empty",
    ),
    "counted twice": (
        {"podMonitor": {"enabled": True}, "serviceMonitor": {"enabled": True}},
        "serviceMonitor.enabled: not beside podMonitor.enabled",
    ),
    "an ingress to nowhere": (
        {"callbacks": {"ingress": {"enabled": True}}},
        "callbacks.ingress.enabled: set config.callbacks.url",
    ),
    "a secret for no callbacks": (
        {"callbackSecret": {"existingSecret": "s"}},
        "callbackSecret: not used without config.callbacks.url",
    ),
    "any free port": ({"config": {"admin": {"port": 0}}}, "config.admin.port: probes and Prometheus need a port"),
    "a port that only the pod reaches": ({"config": {"admin": {"host": "127.0.0.1"}}}, "config.admin.host: probes"),
    "one port for two": (
        {"config": {"admin": {"port": 9465}, "callbacks": {"url": "https://callbacks.example.com"}}},
        "config.callbacks.port: needs a port of its own",
    ),
    "one name for all replicas": (
        {"config": {"kafka": {"group_instance_id": "pod"}}},
        "config.kafka.group_instance_id: all replicas would have the same one",
    ),
}


@pytest.mark.parametrize("typo", TYPOS)
def test_a_typo_is_refused_with_its_place(typo: str, chart: Chart) -> None:
    """The schema refuses a value that cannot be meant, and its message names the value."""
    values, place = TYPOS[typo]
    message = chart.refused(**values)
    assert "schema" in message
    assert place in message


def test_both_helms_name_every_typo_at_once(each_chart: Chart) -> None:
    """All that the schema refuses is told in one go, by helm 3 as by helm 4."""
    message = each_chart.refused(replicaCuont=3, mode="daemonset", image={"pullPolicy": "always"})
    assert "replicaCuont" in message
    assert "mode" in message
    assert "IfNotPresent" in message


@pytest.mark.parametrize("what", CONTRADICTIONS)
def test_a_contradiction_is_refused_with_its_remedy(what: str, chart: Chart) -> None:
    """What contradicts something else is refused by its name, and with nothing else beside it."""
    values, line = CONTRADICTIONS[what]
    message = chart.refused(**values)
    assert f"\n  {line}" in message
    assert message.count("\n  ") == 1


def test_both_helms_tell_all_contradictions_at_once(each_chart: Chart) -> None:
    """Whoever mends values mends them once: each contradiction has a line, with helm 3 as with helm 4."""
    message = each_chart.refused(
        keda={"enabled": True}, terminationGracePeriodSeconds=1, kafkaTls={"ca": {"existingSecret": "ca"}}
    )
    assert message.count("\n  ") == 3


def secret_keys() -> list[tuple[str, ...]]:
    return [tuple(map(str, path)) for path, shape in leaves(Settings) if shape.secret]


def nested(path: tuple[str, ...], value: str) -> dict[str, Any]:
    inner: Any = value
    for name in reversed(path):
        inner = {name: inner}
    return {"config": inner}


@pytest.mark.parametrize("path", secret_keys(), ids=".".join)
def test_no_secret_gets_into_the_config_map(path: tuple[str, ...], chart: Chart) -> None:
    """Every secret that the program knows is refused in `config`, and its message does not repeat it."""
    message = chart.refused(**nested(path, "planted-in-the-values"))
    assert f"\n  config.{'.'.join(path)}: a secret" in message
    assert "planted-in-the-values" not in message


def test_the_name_of_a_file_is_no_secret(chart: Chart) -> None:
    """A secret in a file, and users' own words that sound like one, may stand in the configuration."""
    chart.documents(config={"kafka": {"security": {"sasl_password_file": "/run/secrets/password"}}})
    chart.documents(
        config={"mapping": {"id": "token", "kinds": {"secret": "message"}}, "policy": {"labels": {"password": "block"}}}
    )


@pytest.mark.parametrize(
    "config", [{"kafka": None}, {"kafka": []}, {"admin": "9464"}, {"quota": {"text_per_second": None}}]
)
def test_an_odd_configuration_is_left_to_the_program(config: dict[str, Any], chart: Chart) -> None:
    """What has the wrong shape below `config` renders; the program tells at its start where it stands."""
    assert chart.objects(config=config)["ConfigMap"]["data"]["config.yaml"]


def test_the_schema_and_the_values_have_the_same_keys() -> None:
    """Every value has its place in the schema, and the schema allows none that values.yaml does not show."""

    def compare(schema: dict[str, Any], values: dict[str, Any], at: str) -> None:
        assert set(schema["properties"]) - {"global"} == set(values), at
        for name, value in values.items():
            inner = schema["properties"][name]
            if "properties" in inner and inner.get("additionalProperties") is False and at + name != "resources":
                compare(inner, value, f"{at}{name}.")

    compare(
        json.loads((CHART / "values.schema.json").read_text()), yaml.safe_load((CHART / "values.yaml").read_text()), ""
    )
