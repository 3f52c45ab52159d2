"""`moderation-consumer check`: what it says of a configuration, of samples, and of the world outside."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import socket
import sys
from typing import TYPE_CHECKING

import pytest

from consumer import cli
from consumer.building import needed_topics
from consumer.cli.check_connect import TopicConfigs, connect, list_topics, signed_call, topic_configs
from consumer.cli.check_routes import outlook
from consumer.errors import StartError
from consumer.settings import Settings, load
from consumer.simulator.server import Simulator
from consumer.simulator.settings import SimulatorSettings
from tests.broker.cluster import unique


if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from consumer.demo.broker import EmbeddedBroker
    from consumer.settings.models import Kafka
    from tests.broker.cluster import KafkaCluster


__all__: list[str] = []


_CONFIG = """\
kafka:
  bootstrap_servers: [broker:9092]
  topics: [ugc, comments]
  group_id: moderation
  start: latest
moderation:
  region: ap-southeast-1
  credentials: {access_key_id: testid, access_key_secret: testsecret}
"""
_TOPICS = {"ugc", "comments", "moderation.verdicts", "moderation.dead-letters"}


@pytest.fixture
def check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int | str | None, str]]:
    """`check(text, *options)` is the exit code and the output of the command on this configuration."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(("MODERATION", "ALIBABA_CLOUD_"))]:
        monkeypatch.delenv(name)

    def check(text: str, *options: str) -> tuple[int | str | None, str]:
        (tmp_path / "config.yaml").write_text(text)
        with pytest.raises(SystemExit) as caught:
            cli.main(["check", "config.yaml", *options])
        captured = capsys.readouterr()
        return caught.value.code, captured.out + captured.err

    return check


@pytest.mark.parametrize(("encoding", "library"), [("avro", "fastavro"), ("protobuf", "google.protobuf")])
def test_a_missing_library_is_found_without_connecting(
    check: Callable[..., tuple[int | str | None, str]], monkeypatch: pytest.MonkeyPatch, encoding: str, library: str
) -> None:
    """Where a start would fail for want of a format's library, `check` says so, with the command that installs it."""
    text = f"{_CONFIG}format: {{encoding: {encoding}, schema_registry: {{url: 'http://registry:8081'}}}}\n"
    assert check(text)[0] == 0
    monkeypatch.setitem(sys.modules, library, None)
    code, said = check(text)
    assert code == 69
    assert f"format: FAILED: format.encoding {encoding} needs a library that is not installed: {library}\n" in said
    assert "  pip install 'moderation-consumer[formats]'\n" in said


def _settings(tmp_path: Path, text: str = _CONFIG) -> Settings:
    file = tmp_path / "config.yaml"
    file.write_text(text)
    return load([file], {}).settings


async def _answer(_: Settings) -> str:
    return "service answers 200: Judged."


async def _all_topics(_: Kafka) -> set[str]:
    return _TOPICS


async def _good_configs(_: Kafka, topics: Collection[str]) -> TopicConfigs:
    sizes = dict.fromkeys(topics, 1_048_588) | {"moderation.dead-letters": 1_064_972}
    return {
        topic: {"max.message.bytes": str(size), "cleanup.policy": "delete", "retention.ms": "604800000"}
        for topic, size in sizes.items()
    }


def test_a_good_configuration(check: Callable[..., tuple[int, str]]) -> None:
    """A usable configuration exits with 0 and says its routes, where each kind goes, and all topics."""
    code, said = check(_CONFIG)
    assert code == 0
    lines = [" ".join(line.split()) for line in said.splitlines()]
    assert "settings: ok" in lines
    assert "text everything else -> ugc_moderation_byllm_cb" in lines
    assert "comment text, images, text_by_ai, images_by_ai" in lines
    assert "read ugc, comments" in lines
    assert "dead letters moderation.dead-letters" in lines
    assert "note:" not in said


def test_a_bad_configuration(check: Callable[..., tuple[int, str]]) -> None:
    """Settings that cannot be used exit with 78 and the problems on standard error."""
    code, said = check(_CONFIG.replace("group_id", "grup_id"))
    assert code == 78
    assert said.splitlines() == [
        "configuration is not usable:",
        "  config.yaml:1:1: kafka.group_id: required, but not set; $MODERATION__KAFKA__GROUP_ID would set it",
        "  config.yaml:4:3: kafka.grup_id: unknown key; did you mean group_id?",
    ]


def test_origins_hide_secrets(check: Callable[..., tuple[int, str]]) -> None:
    """`--origins` has every value with its place, and hides secrets."""
    code, said = check(_CONFIG.replace("testsecret", "planted-secret"), "--origins")
    assert code == 0
    lines = [" ".join(line.split()) for line in said.splitlines()]
    assert "kafka.group_id moderation (config.yaml:4:3)" in lines
    assert "kafka.client_id moderation-consumer (default)" in lines
    assert "moderation.credentials.access_key_secret (secret) (config.yaml:8:40)" in lines
    assert "planted-secret" not in said


@pytest.mark.parametrize(
    ("routes", "note"),
    [
        (
            "[{name: c, when: {kind: [comment]}, services: [ugc_moderation_byllm_cb, baselineCheck_global]}]",
            "no route takes post events with text: dead letters",
        ),
        (
            "[{name: all, services: [ugc_moderation_byllm_cb]}]",
            "route all cannot judge post events with images (unjudged): dead letters",
        ),
        (
            (
                "[{name: all, services: [ugc_moderation_byllm_cb, baselineCheck_global]}, "
                "{name: late, when: {kind: [post]}, services: [baselineCheck_global]}]"
            ),
            "route late is never taken: those before it take all of it",
        ),
        (
            "[{name: zh, when: {language: [zh]}, services: [ugc_moderation_byllm_cb, baselineCheck_global]}]",
            "no route takes comment events with text, language not known: dead letters",
        ),
        (
            "[{name: some, when: {topic: [ugc]}, services: [ugc_moderation_byllm_cb, baselineCheck_global]}]",
            "no route takes image events with images, topic comments: dead letters",
        ),
        (
            (
                "[{name: all, services: [ugc_moderation_byllm_cb, baselineCheck_global], deadline_seconds: 5, "
                "on_deadline: rest}, {name: rest, services: [ugc_moderation_byllm_cb]}]"
            ),
            "route rest cannot judge late post events with images (unjudged): dead letters",
        ),
    ],
)
def test_gaps_between_routes_are_noted(tmp_path: Path, routes: str, note: str) -> None:
    """Events that no route takes or judges in full, and routes that are never reached, are told before they happen."""
    assert note in outlook(_settings(tmp_path, f"{_CONFIG}routes: {routes}\n")).notes


def test_a_route_for_late_events_alone_is_in_use(tmp_path: Path) -> None:
    """A route that only late events reach is not called one that is never taken."""
    services = "services: [ugc_moderation_byllm_cb, baselineCheck_global]"
    late = f"[{{name: all, {services}, deadline_seconds: 5, on_deadline: rest}}, {{name: rest, {services}}}]"
    assert outlook(_settings(tmp_path, f"{_CONFIG}routes: {late}\n")).notes == ()


def test_a_sample_record(check: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    """`--sample` shows the event in a record, its route and its calls; a record may take several lines of a file."""
    record = {"id": 7, "kind": "post", "text": "hello", "images": ["https://x.example/1.png"], "author": {"id": 5}}
    (tmp_path / "record.json").write_text(json.dumps(record, indent=2))
    code, said = check(_CONFIG, "--sample", "record.json")
    assert code == 0
    lines = said.splitlines()
    assert lines[lines.index("sample record: ok") + 1 :] == [
        "  id: 7",
        "  kind: post",
        "  text: hello",
        "  image: https://x.example/1.png",
        "  author.id: 5",
        "  origin: human",
        "  route: images",
        "  call: ugc_moderation_byllm_cb (TextModerationPlus), 5 characters",
        "  call: baselineCheck_global (ImageModeration), one image",
    ]


def test_a_file_of_samples(check: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    """Of a file with a record in each line every record is tried; one that would be a dead letter makes it fail."""
    (tmp_path / "records.jsonl").write_text('{"id": 1, "text": "a"}\n\n{"text": "b"}\nnot json\n{"id": 2}\n')
    code, said = check(_CONFIG, "--sample", "records.jsonl")
    assert code == 69
    heads = [line for line in said.splitlines() if line.startswith("sample ")]
    assert heads[0] == "sample line 1: ok"
    assert heads[1].startswith("sample line 3: FAILED, a dead letter (map/mapping): id: nothing at `id`")
    assert heads[2].startswith("sample line 4: FAILED, a dead letter (decode/malformed): not JSON at byte ")
    assert heads[3].startswith("sample line 5: FAILED, a dead letter (route/nothing_to_judge): ")


def test_a_sample_that_no_route_takes(check: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    """A record that no route takes is shown as a dead letter, with its event."""
    (tmp_path / "record.json").write_text('{"id": 1, "kind": "post", "text": "a"}')
    only_images = "routes: [{name: i, when: {kind: [image]}, services: [baselineCheck_global]}]\n"
    code, said = check(_CONFIG + only_images, "--sample", "record.json")
    assert code == 69
    assert "sample record: FAILED, a dead letter (route/no_route): no route takes it" in said
    assert "  kind: post" in said


def test_samples_with_images_of_this_machine(check: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    """What would be uploaded is said, and each image has its call; the same bytes are uploaded and judged once."""
    gif = b"GIF89a and so on"
    (tmp_path / "images").mkdir()
    for name in ("a.gif", "same.gif"):
        (tmp_path / "images" / name).write_bytes(gif)
    images = [{"file": "a.gif"}, {"file": "same.gif"}, {"content": base64.b64encode(b"BM").decode()}]
    (tmp_path / "record.json").write_text(json.dumps({"id": 1, "images": images}))
    code, said = check(_CONFIG + f"mapping: {{image_directory: {tmp_path}/images}}\n", "--sample", "record.json")
    assert code == 0
    lines = said.splitlines()
    assert lines[lines.index("  route: images") + 1 :] == [
        f"  upload: {tmp_path}/images/a.gif (image/gif, 16 bytes)",
        "  upload: image 3 of the record (image/bmp, 2 bytes)",
        "  call: baselineCheck_global (ImageModeration), one image",
        "  call: baselineCheck_global (ImageModeration), one image",
    ]


def test_a_sample_with_a_file_that_is_elsewhere(check: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    """A file that only the machine of the consumer may have is told, and is no fault."""
    (tmp_path / "record.json").write_text('{"id": 1, "images": [{"file": "a.gif"}]}')
    code, said = check(_CONFIG + "mapping: {image_directory: /nowhere}\n", "--sample", "record.json")
    assert code == 0
    assert (
        "  upload: /nowhere/a.gif, not looked at (an image's file cannot be read: No such file or directory); "
        "where the consumer runs it has to be there\n"
        "  call: baselineCheck_global (ImageModeration), one image\n"
    ) in said


@pytest.mark.parametrize(("content", "reason"), [(b"no image", "image_format"), (b"", "image_empty")])
def test_a_sample_with_a_file_that_is_no_image(
    check: Callable[..., tuple[int, str]], tmp_path: Path, content: bytes, reason: str
) -> None:
    """What no service would take is a dead letter before anything is sent."""
    (tmp_path / "a.gif").write_bytes(content)
    (tmp_path / "record.json").write_text('{"id": 1, "images": [{"file": "a.gif"}]}')
    code, said = check(_CONFIG + f"mapping: {{image_directory: {tmp_path}}}\n", "--sample", "record.json")
    assert code == 69
    assert f"sample record: FAILED, a dead letter (moderate/{reason}): an image is" in said
    assert "call:" not in said


def test_all_there(tmp_path: Path) -> None:
    """When all answer, every finding is ok: broker, each topic with the key that names it, and the call."""
    findings = asyncio.run(connect(_settings(tmp_path), topics=_all_topics, configs=_good_configs, call=_answer))
    assert all(finding.ok for finding in findings)
    assert [(finding.name, finding.said) for finding in findings] == [
        ("broker", "broker:9092"),
        ("topic", "ugc (kafka.topics)"),
        ("topic", "comments (kafka.topics)"),
        ("topic", "moderation.verdicts (output.topic)"),
        ("topic", "moderation.dead-letters (output.dead_letters)"),
        ("dead letters", "moderation.dead-letters takes and keeps them whole"),
        ("signed call", "service answers 200: Judged."),
    ]


def test_a_topic_that_nothing_is_written_to_need_not_be_there(tmp_path: Path) -> None:
    """Where each action has a topic of its own, the one for all of them is not asked for, neither here nor at start."""
    own = f"{_CONFIG}output: {{topics: {{pass: good, review: ugc.review, block: blocked}}}}\n"
    settings = _settings(tmp_path, own)

    async def there(_: Kafka) -> set[str]:
        return {"ugc", "comments", "good", "ugc.review", "blocked", "moderation.dead-letters"}

    findings = asyncio.run(connect(settings, topics=there, configs=_good_configs, call=_answer))
    assert [finding.said for finding in findings if not finding.ok] == []
    assert "moderation.verdicts" not in needed_topics(settings)


def test_missing_topics(tmp_path: Path) -> None:
    """Each topic that does not exist is a failure of its own with the key to correct, outputs of actions included."""

    async def some(_: Kafka) -> set[str]:
        return {"ugc", "moderation.verdicts"}

    settings = _settings(tmp_path, f"{_CONFIG}output: {{topics: {{block: blocked}}}}\n")
    findings = asyncio.run(connect(settings, topics=some, configs=_good_configs, call=_answer))
    failed = {finding.said: finding.remedy for finding in findings if not finding.ok}
    assert list(failed) == [
        "comments (kafka.topics) does not exist",
        "blocked (output.topics.block) does not exist",
        "moderation.dead-letters (output.dead_letters) does not exist",
    ]
    assert failed["blocked (output.topics.block) does not exist"].startswith(
        "create it, or correct output.topics.block"
    )


@pytest.mark.parametrize(
    ("change", "said", "remedy"),
    [
        (
            {"max.message.bytes": "1064971"},
            "takes 1064971 bytes, but a record of ugc may have 1048588, and its dead letter adds headers",
            "set max.message.bytes of moderation.dead-letters to at least 1064972",
        ),
        (
            {"cleanup.policy": "compact,delete"},
            "is compacted: it refuses letters without a key",
            "set cleanup.policy of moderation.dead-letters to delete",
        ),
        (
            {"retention.ms": "3600000"},
            "keeps them for 1.0 hours only",
            "set retention.ms of moderation.dead-letters to",
        ),
        ({"retention.ms": "-1"}, "takes and keeps them whole", ""),
    ],
)
def test_a_topic_that_loses_dead_letters(tmp_path: Path, change: dict[str, str], said: str, remedy: str) -> None:
    """A topic of dead letters that would not take or keep all is a warning with its remedy, and no failure."""

    async def configs(kafka: Kafka, topics: Collection[str]) -> TopicConfigs:
        good = await _good_configs(kafka, topics)
        return good | {"moderation.dead-letters": good["moderation.dead-letters"] | change}

    findings = asyncio.run(connect(_settings(tmp_path), topics=_all_topics, configs=configs, call=_answer))
    (found,) = [finding for finding in findings if finding.name == "dead letters"]
    assert f"moderation.dead-letters {said}" in found.said
    assert found.remedy.startswith(remedy)
    assert found.ok
    assert found.word == ("warning" if remedy else "ok")


def test_a_broker_that_does_not_tell_how_topics_are(tmp_path: Path) -> None:
    """Where our user may not see how topics are configured, it is said that they were not checked."""

    async def nothing(_kafka: Kafka, _topics: Collection[str]) -> TopicConfigs:
        return {}

    findings = asyncio.run(connect(_settings(tmp_path), topics=_all_topics, configs=nothing, call=_answer))
    (found,) = [finding for finding in findings if finding.name == "dead letters"]
    assert (found.word, found.remedy) == ("warning", "grant our user DescribeConfigs on all topics")
    assert "its size limit and retention are not checked" in found.said


def test_a_broker_that_refuses_does_not_stop_the_call(tmp_path: Path) -> None:
    """A refusal is told with its remedy, and the signed call is tried all the same."""

    async def refused(_: Kafka) -> set[str]:
        raise StartError("broker:9092 refuses our credentials", "check sasl_username")

    async def denied(_: Settings) -> str:
        raise StartError("answers 408", "activate the service")

    findings = asyncio.run(connect(_settings(tmp_path), topics=refused, configs=_good_configs, call=denied))
    assert [(finding.name, finding.ok, finding.said, finding.remedy) for finding in findings] == [
        ("broker", False, "broker:9092 refuses our credentials", "check sasl_username"),
        ("signed call", False, "answers 408", "activate the service"),
    ]


def test_nothing_listens(check: Callable[..., tuple[int, str]]) -> None:
    """Where neither broker nor service listens, both failures are printed with remedies and the exit code is 69."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        port = closed.getsockname()[1]
        text = _CONFIG.replace("broker:9092", f"127.0.0.1:{port}")
        code, said = check(text.replace("region:", f"endpoint: http://127.0.0.1:{port}\n  region:"), "--connect")
    assert code == 69
    assert f"broker: FAILED: the Kafka broker 127.0.0.1:{port} cannot be reached" in said
    assert f"signed call: FAILED: http://127.0.0.1:{port}/ does not answer" in said
    assert "Traceback" not in said


def _call(tmp_path: Path, simulated: SimulatorSettings, routes: str = "") -> str:
    async def main() -> str:
        async with Simulator(simulated) as simulator:
            text = _CONFIG.replace("region:", f"endpoint: {simulator.url}\n  region:")
            return await signed_call(_settings(tmp_path, text + routes))

    return asyncio.run(main())


def test_a_signed_call_is_answered(tmp_path: Path) -> None:
    """With the right AccessKey the service judges the text that is sent."""
    assert _call(tmp_path, SimulatorSettings()).endswith(" answers 200: Judged.")


def test_a_signed_call_of_an_image_service(tmp_path: Path) -> None:
    """Where only images are judged, a call with an image that does not exist shows as much and costs nothing."""
    routes = "routes: [{name: i, services: [baselineCheck_global]}]\n"
    assert "baselineCheck_global at " in _call(tmp_path, SimulatorSettings(), routes)


def test_a_wrong_secret_is_told(tmp_path: Path) -> None:
    """A signature that the service refuses is a failure, with the setting to look at."""
    with pytest.raises(StartError, match="SignatureDoesNotMatch: The signature is wrong") as caught:
        _call(tmp_path, SimulatorSettings(access_key_secret="another"))
    assert "moderation.credentials" in caught.value.remedy


def test_topics_of_a_broker(tmp_path: Path, embedded: EmbeddedBroker) -> None:
    """The topics are those of the cluster that is configured."""
    embedded.create_topic("check-sees-this")
    settings = _settings(tmp_path, _CONFIG.replace("[broker:9092]", json.dumps(embedded.bootstrap_servers)))
    assert "check-sees-this" in asyncio.run(list_topics(settings.kafka))


@pytest.mark.kafka
def test_configurations_of_topics(tmp_path: Path, kafka: KafkaCluster) -> None:
    """Size limit, policy and retention are those of the cluster, for each topic that is asked for."""
    names = unique("check"), unique("check")
    kafka.create_topic(names[0], config={"max.message.bytes": "20000", "retention.ms": "3600000"})
    kafka.create_topic(names[1], config={"cleanup.policy": "compact"})
    settings = _settings(tmp_path, _CONFIG.replace("[broker:9092]", json.dumps(kafka.bootstrap_servers)))
    found = asyncio.run(topic_configs(settings.kafka, names))
    assert [(found[name]["max.message.bytes"], found[name]["cleanup.policy"]) for name in names] == [
        ("20000", "delete"),
        ("1048588", "compact"),
    ]
    assert [found[name]["retention.ms"] for name in names] == ["3600000", "604800000"]


def test_configurations_that_the_broker_does_not_tell(tmp_path: Path, embedded: EmbeddedBroker) -> None:
    """A broker that does not know the request leaves nothing known, and nothing failed."""
    embedded.create_topic("check-sees-this")
    settings = _settings(tmp_path, _CONFIG.replace("[broker:9092]", json.dumps(embedded.bootstrap_servers)))
    assert asyncio.run(topic_configs(settings.kafka, ["check-sees-this"])) == {}
