"""Tests of compose.yaml: its form, and that what its services are told agrees with the program and with each other."""

from __future__ import annotations

import shlex
import subprocess
from urllib.parse import urlsplit

import pytest
import yaml

from consumer.cli import group
from consumer.cli.simulate import command as simulate
from consumer.settings import Loaded, load
from tests.image.composition import COMPOSE, environment, mounted, published, service, tool


OURS = ("simulator", "platform", "consumer")
SERVICES = ("kafka", "topics", *OURS, "prometheus", "grafana")
CONFIG = "/etc/moderation-consumer/consumer.yaml"


def loaded() -> Loaded:
    """The consumer's settings, as its container reads them."""
    folder, _, name = CONFIG.rpartition("/")
    return load([str(mounted("consumer")[folder] / name)], environment("consumer"))


def test_compose_takes_it() -> None:
    """The file is valid by the schema of the Compose specification."""
    command = [tool("check-jsonschema", "check-jsonschema"), "--builtin-schema", "vendor.compose-spec", str(COMPOSE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_image_has_a_version() -> None:
    """No service runs whatever happens to be the latest image."""
    assert set(yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["services"]) == set(SERVICES)
    for name in SERVICES:
        tag = service(name)["image"].partition(":")[2]
        assert tag, name
        assert tag != "latest", name


@pytest.mark.parametrize("name", SERVICES)
def test_whatever_is_mounted_is_there(name: str) -> None:
    """Each file and folder of the project that a service mounts exists."""
    assert [str(path) for path in mounted(name).values() if not path.exists()] == []


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_open_to_this_machine_only(name: str) -> None:
    """No port is published to the network: there are no passwords behind them."""
    assert all(str(port).startswith("127.0.0.1:") for port in service(name).get("ports", ()))


@pytest.mark.parametrize("name", OURS)
def test_our_containers_may_do_as_little_as_in_the_chart(name: str) -> None:
    """They cannot write to their root, have no capabilities, and can gain none."""
    one = service(name)
    assert one["read_only"] is True
    assert one["cap_drop"] == ["ALL"]
    assert one["security_opt"] == ["no-new-privileges:true"]


def test_the_consumer_is_given_the_time_that_its_stop_takes() -> None:
    """The grace period is longer than the parts of a stop together."""
    shutdown = loaded().settings.shutdown
    needed = shutdown.drain_seconds + shutdown.flush_seconds + shutdown.leave_seconds
    assert float(service("consumer")["stop_grace_period"].removesuffix("s")) > needed


def test_the_consumer_is_started_with_its_configuration() -> None:
    """Its command is one of the program, and names the file that is mounted and can be loaded."""
    name, *arguments = service("consumer")["command"]
    assert name in group.list_commands(group.make_context("moderation-consumer", ["run"]))
    assert arguments == [CONFIG]
    assert loaded().settings.kafka.group_id


def test_the_consumer_calls_the_simulator_with_keys_that_it_knows() -> None:
    """Endpoint, port, AccessKey and limits are the same on both sides."""
    name, *arguments = service("simulator")["command"]
    assert name == "simulate"
    told = simulate.make_context("simulate", list(arguments)).params
    moderation, quota, variables = loaded().settings.moderation, loaded().settings.quota, environment("consumer")
    assert moderation.endpoint is not None
    where = urlsplit(moderation.endpoint)
    assert (where.hostname, where.port) == ("simulator", told["port"])
    assert told["host"] == "0.0.0.0"
    assert variables["ALIBABA_CLOUD_ACCESS_KEY_ID"] == told["access_key_id"]
    assert variables["ALIBABA_CLOUD_ACCESS_KEY_SECRET"] == told["access_key_secret"]
    assert (told["quotas"], quota.text_per_second, quota.image_per_second) == ((), 50, 100)


def test_everybody_comes_to_the_same_kafka() -> None:
    """The broker tells the containers to come to the address that they are given."""
    advertised = environment("kafka")["KAFKA_ADVERTISED_LISTENERS"].split(",")
    (inside,) = (address.partition("://")[2] for address in advertised if address.startswith("PLAINTEXT:"))
    (outside,) = (address.partition("://")[2] for address in advertised if address.startswith("HOST:"))
    assert loaded().settings.kafka.bootstrap_servers == [inside]
    assert service("platform")["command"][0] == inside
    assert f"--bootstrap-server {inside}" in service("topics")["command"][0]
    assert int(outside.rpartition(":")[2]) in published("kafka")


def test_the_topics_that_are_needed_are_made() -> None:
    """Those that the platform writes and the consumer reads and writes are made first."""
    settings = loaded().settings
    output = settings.output
    needed = {*settings.kafka.topics, output.topic, *output.topics.values(), output.dead_letters}
    words = shlex.split(service("topics")["command"][0].split("in ", 1)[1].split(";", 1)[0])
    assert set(words) == needed
    assert service("platform")["command"][1] in settings.kafka.topics
    for name in ("platform", "consumer"):
        assert service(name)["depends_on"]["topics"] == {"condition": "service_completed_successfully"}


@pytest.mark.parametrize(("name", "path", "port"), [("consumer", "/livez", 9464), ("simulator", "/stats", 8099)])
def test_health_is_asked_where_it_is_told(name: str, path: str, port: int) -> None:
    """The health check asks the port that the service listens on, which this machine can ask, too."""
    assert f"http://127.0.0.1:{port}{path}" in service(name)["healthcheck"]["test"][-1]
    assert published(name) == {port: port}
    assert loaded().settings.admin.port == 9464
