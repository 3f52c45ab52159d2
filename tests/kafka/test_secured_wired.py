"""Secured Kafka through the whole program: settings as users write them, what is checked, and what is watched."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING

import aiohttp
import pytest

from consumer.app import App
from consumer.errors import SettingsError, StartError, Stuck
from consumer.settings import load
from tests.broker.carrying import Scene, running, wait_for
from tests.broker.secured import PASSWORD, SecuredKafka


if TYPE_CHECKING:
    from pathlib import Path


def settings(scene: Scene, listener: str, **more: str) -> dict[str, str]:
    """The settings of a user, as variables."""
    environment = scene.environment(
        "http://127.0.0.1:1",
        KAFKA__SECURITY__PROTOCOL="SASL_SSL",
        KAFKA__SECURITY__CA_FILE=str(scene.cluster.directory / "ca.pem"),
        **more,
    )
    return {**environment, "MODERATION__KAFKA__BOOTSTRAP_SERVERS": scene.cluster.at(listener)}


def by_password(user: str) -> dict[str, str]:
    """The settings of a user with a password."""
    return {
        "KAFKA__SECURITY__SASL_MECHANISM": "SCRAM-SHA-512",
        "KAFKA__SECURITY__SASL_USERNAME": user,
        "KAFKA__SECURITY__SASL_PASSWORD": PASSWORD,
    }


@pytest.mark.kafka
def test_settings_of_a_token_are_taken(secured_kafka: SecuredKafka, tmp_path: Path) -> None:
    """A token file needs no user and no password, as the settings are read."""
    (tmp_path / "token").write_text(secured_kafka.issuer.token("nobody"))
    scene = Scene(secured_kafka, "events", "verdicts", "letters", "group")
    own = {
        "KAFKA__SECURITY__SASL_MECHANISM": "OAUTHBEARER",
        "KAFKA__SECURITY__OAUTH_TOKEN_FILE": str(tmp_path / "token"),
    }
    loaded = load([], settings(scene, "OAUTH", **own))
    with pytest.raises(StartError, match="our user may not see the topic events, letters, verdicts"):
        asyncio.run(App(loaded).run(asyncio.Event()))


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"SASL_MECHANISM": "OAUTHBEARER"}, "kafka.security.oauth_token_file: neither it nor oauth_token_endpoint"),
        (
            {"SASL_MECHANISM": "OAUTHBEARER", "OAUTH_TOKEN_ENDPOINT": "https://idp/token", "OAUTH_CLIENT_ID": "me"},
            "kafka.security.oauth_client_secret: not set",
        ),
        (
            {
                "SASL_MECHANISM": "OAUTHBEARER",
                "OAUTH_TOKEN_ENDPOINT": "https://idp/token",
                "OAUTH_TOKEN_FILE": "/run/token",
            },
            "kafka.security.oauth_token_file: set beside kafka.security.oauth_token_endpoint",
        ),
        ({"SASL_USERNAME": "me"}, "kafka.security.sasl_password: not set, but needed with kafka.security.protocol"),
    ],
)
def test_settings_that_lack_something_are_told(variables: dict[str, str], said: str) -> None:
    """What a mechanism needs and what contradicts it is told before anything is connected."""
    environment = {
        "MODERATION__KAFKA__BOOTSTRAP_SERVERS": "h:1",
        "MODERATION__KAFKA__TOPICS": "events",
        "MODERATION__KAFKA__GROUP_ID": "group",
        "MODERATION__KAFKA__START": "latest",
        "MODERATION__KAFKA__SECURITY__PROTOCOL": "SASL_SSL",
        "MODERATION__MODERATION__REGION": "ap-southeast-1",
        "MODERATION__MODERATION__CREDENTIALS__ACCESS_KEY_ID": "testid",
        "MODERATION__MODERATION__CREDENTIALS__ACCESS_KEY_SECRET": "testsecret",
        **{f"MODERATION__KAFKA__SECURITY__{name}": value for name, value in variables.items()},
    }
    with pytest.raises(SettingsError) as error:
        load([], environment)
    assert any(said in str(problem) for problem in error.value.problems), error.value.problems


@pytest.mark.kafka
@pytest.mark.parametrize(
    ("name", "right", "said"),
    [
        ("events", "read", "no right to Read on the topic {} (kafka.topics)"),
        ("verdicts", "write", "no right to Write on the topic {} (output.topic)"),
        ("letters", "write", "no right to Write on the topic {} (output.dead_letters)"),
        ("state", "write", "no right to Write on the topic {} (state.topic)"),
    ],
)
def test_who_may_only_see_a_topic_is_told_what_is_missing(
    secured_kafka: SecuredKafka, name: str, right: str, said: str
) -> None:
    """Describe alone is not enough: the topic, its setting and the right to be granted are named at the start."""
    scene = Scene.on(secured_kafka)
    topic = getattr(scene, name)
    rights = [one for one in scene.rights() if one != ("topic", topic, right)]
    secured_kafka.allow("carol", [*rights, ("topic", topic, "describe")])
    loaded = load([], settings(scene, "SASL", **by_password("carol")))
    with pytest.raises(StartError) as error:
        asyncio.run(App(loaded).run(asyncio.Event()))
    assert said.format(topic) in str(error.value)
    assert f"grant it {right.capitalize()} on the topic" in error.value.remedy


@pytest.mark.kafka
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # a unit that is stuck is left behind
def test_a_transactional_id_without_rights_is_told(secured_kafka: SecuredKafka) -> None:
    """Without Write on the transactional id the id, the setting that needs it and the way out are named."""

    async def main() -> None:
        scene = Scene.on(secured_kafka)
        await asyncio.to_thread(secured_kafka.allow, "carol", scene.rights())
        loaded = load([], settings(scene, "SASL", DELIVERY__GUARANTEE="exactly_once", **by_password("carol")))
        with pytest.raises(Stuck) as stuck:
            await App(loaded).run(asyncio.Event())
        assert f"no rights on the transactional id {scene.group}" in str(stuck.value)
        assert "delivery.guarantee exactly_once needs Write" in str(stuck.value)

    asyncio.run(main())
    gc.collect()  # its connections are closed while nobody minds


@pytest.mark.kafka
def test_the_running_program_tells_when_certificates_expire(secured_kafka: SecuredKafka) -> None:
    """The metrics of a consumer at work have the time at which the authority's certificate expires."""

    async def main() -> None:
        scene = Scene.on(secured_kafka)
        scene.produce(1)
        security = {"protocol": "SSL", "ca_file": str(secured_kafka.directory / "ca.pem")}
        async with running(scene, "TLS", security) as app, aiohttp.ClientSession() as session:
            await wait_for(app, 1)
            async with session.get(f"http://127.0.0.1:{app.admin_port}/metrics") as answer:
                text = await answer.text()
        assert 'moderation_kafka_certificate_expires_timestamp_seconds{file="ca_file"}' in text
        assert "moderation_kafka_refused 0.0" in text

    asyncio.run(main())
