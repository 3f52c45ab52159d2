"""What people get wrong when they set this up: each mistake is one message with its place and the remedy."""

from __future__ import annotations

import asyncio
import os
import socket
import tempfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from consumer import cli
from consumer.app import App
from consumer.errors import StartError
from consumer.settings import load
from tests.broker.cluster import unique


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from consumer.demo.broker import EmbeddedBroker


__all__: list[str] = []


GOOD = """\
kafka:
  bootstrap_servers: [broker:9092]
  topics: [ugc, comments]
  group_id: moderation
  start: latest
moderation:
  region: ap-southeast-1
  credentials:
    access_key_id: LTAI-example
    access_key_secret: planted-secret
"""


@dataclass(frozen=True)
class Mistake:
    """What somebody wrote, and what they must read: `place` begins the line, `remedy` is in it."""

    place: str
    remedy: str
    old: str = ""
    new: str = ""
    added: str = ""
    environ: Mapping[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The configuration with the mistake in it."""
        assert self.old in GOOD
        return (GOOD.replace(self.old, self.new) if self.old else GOOD) + self.added


ROUTE = "routes:\n  - name: all\n    services: [{}]\n"
OWN_KEY = "  credentials:\n    access_key_id: LTAI-example\n    access_key_secret: planted-secret\n"

MISTAKES = {
    # Typos
    "a misspelt section": Mistake(
        "config.yaml:6:1: moderations", "did you mean moderation?", "moderation:", "moderations:"
    ),
    "a misspelt key": Mistake("config.yaml:3:3: kafka.topic", "did you mean topics?", "topics:", "topic:"),
    "a key in the wrong section": Mistake(
        "config.yaml:11:10: output.group_id", "did you mean kafka.group_id?", added="output: {group_id: moderation}\n"
    ),
    "a misspelt word": Mistake(
        "config.yaml:11:12: delivery.guarantee",
        "did you mean exactly_once?",
        added="delivery: {guarantee: exactly-once}\n",
    ),
    "a misspelt start": Mistake("config.yaml:5:3: kafka.start", "did you mean earliest?", "latest", "earlist"),
    "a misspelt action": Mistake(
        "config.yaml:11:10: policy.high", "did you mean block?", added="policy: {high: blocked}\n"
    ),
    "a misspelt kind": Mistake(
        "config.yaml:11:11: mapping.default_kind", "did you mean post?", added="mapping: {default_kind: posts}\n"
    ),
    "a misspelt service": Mistake(
        "config.yaml:13:16: routes[0].services[0]",
        "did you mean ugc_moderation_byllm_cb?",
        added=ROUTE.format("ugc_moderation_bylm_cb"),
    ),
    "a misspelt moderation type": Mistake(
        "config.yaml:11:12: moderation.prices.text_llm_advancd",
        "did you mean `text_llm_advanced`?",
        added="  prices: {text_llm_advancd: {price: 1, currency: CNY}}\n",
    ),
    "a misspelt time zone": Mistake(
        "config.yaml:11:23: budgets[0].timezone",
        "did you mean Asia/Shanghai?",
        added="budgets: [{name: day, timezone: Asia/Shangai, limit: 1, unit: CNY}]\n",
    ),
    "a misspelt variable": Mistake(
        "$MODERATION__KAFKA__GROUPID",
        "did you mean $MODERATION__KAFKA__GROUP_ID?",
        environ={"MODERATION__KAFKA__GROUPID": "x"},
    ),
    "a variable for a whole section": Mistake(
        "$MODERATION__QUOTA",
        "set its keys one by one, such as $MODERATION__QUOTA__",
        environ={"MODERATION__QUOTA": "{}"},
    ),
    # Wrong regions
    "a misspelt region": Mistake(
        "config.yaml:7:3: moderation.region",
        "did you mean `ap-southeast-1`?",
        "region: ap-southeast-1",
        "region: ap-southeast1",
    ),
    "a region that has no internal endpoint": Mistake(
        "config.yaml:8:3: moderation.network",
        "use `public`",
        "region: ap-southeast-1",
        "region: us-west-1\n  network: vpc",
    ),
    "a service of another region": Mistake(
        "config.yaml:13:16: routes[0].services[0]",
        "ap-southeast-1; offered there: ugc_moderation_byllm_cb, ",
        added=ROUTE.format("ugc_moderation_byllm_pro"),
    ),
    "a service that the region has nothing like": Mistake(
        "config.yaml:13:16: routes[0].services[0]",
        "ap-southeast-1; it is in cn-beijing, cn-shanghai",
        added=ROUTE.format("post_text_image_detection"),
    ),
    "neither region nor endpoint": Mistake(
        "config.yaml:6:1: moderation.region", "set it, or `moderation.endpoint`", "  region: ap-southeast-1\n", ""
    ),
    # Wrong types
    "a text for a number": Mistake(
        "config.yaml:11:9: quota.text_per_second",
        "expected a whole number of at least 1",
        added="quota: {text_per_second: fifty}\n",
    ),
    "a text for a list": Mistake(
        "config.yaml:3:3: kafka.topics", "expected a list with at least one entry such as [", "[ugc, comments]", "ugc"
    ),
    "a number for a text": Mistake(
        "config.yaml:4:3: kafka.group_id", "put it in quotes", "group_id: moderation", "group_id: 17"
    ),
    "a word for a switch": Mistake(
        "config.yaml:11:11: tracing.enabled", "expected true or false", added="tracing: {enabled: maybe}\n"
    ),
    "a broker without its port": Mistake(
        "config.yaml:2:23: kafka.bootstrap_servers[0]", "such as broker:9092", "broker:9092", "broker"
    ),
    "a port out of range": Mistake("config.yaml:11:9: admin.port", "from 0 to 65535", added="admin: {port: 99999}\n"),
    "a time that is none": Mistake(
        "config.yaml:5:3: kafka.start", "or a time such as 2026-01-31T00:00:00Z", "latest", "yesterday evening"
    ),
    "a negative quota": Mistake(
        "config.yaml:11:9: quota.image_per_second", "of at least 1", added="quota: {image_per_second: -5}\n"
    ),
    "an expression that is none": Mistake(
        "config.yaml:11:11: mapping.images",
        "neither a dotted path nor a JMESPath expression",
        added="mapping: {images: \"media[?type=='photo'\"}\n",
    ),
    "an endpoint with a path": Mistake(
        "config.yaml:11:3: moderation.fallback_endpoint",
        "expected a host or `http://host:port`",
        added="  fallback_endpoint: https://green-cip.example.com/v1\n",
    ),
    "a tab for indentation": Mistake("config.yaml:3:1: not valid YAML", "indent with spaces", "  topics", "\ttopics"),
    "a quote that is not closed": Mistake(
        "config.yaml:", "a quote is not closed", "group_id: moderation", 'group_id: "moderation'
    ),
    # Missing
    "no topics": Mistake(
        "config.yaml:1:1: kafka.topics", "$MODERATION__KAFKA__TOPICS would set it", "  topics: [ugc, comments]\n", ""
    ),
    "no start": Mistake(
        "config.yaml:1:1: kafka.start", "$MODERATION__KAFKA__START would set it", "  start: latest\n", ""
    ),
    "no AccessKey": Mistake(
        "config.yaml:6:1: moderation.credentials.access_key_id",
        "$ALIBABA_CLOUD_ACCESS_KEY_ID would set it too",
        OWN_KEY,
        "",
    ),
    "half an AccessKey": Mistake(
        "config.yaml:8:3: moderation.credentials.access_key_secret",
        "$MODERATION__MODERATION__CREDENTIALS__ACCESS_KEY_SECRET",
        "    access_key_secret: planted-secret\n",
        "",
    ),
    "a secret's file that is not there": Mistake(
        "config.yaml:10:5: moderation.credentials.access_key_secret_file",
        "/run/secrets/nowhere cannot be read: no such file",
        "access_key_secret: planted-secret",
        "access_key_secret_file: /run/secrets/nowhere",
    ),
    "a role without its token": Mistake(
        "config.yaml:8:3: moderation.credentials.oidc_token_file",
        "$ALIBABA_CLOUD_OIDC_TOKEN_FILE would set it too",
        OWN_KEY,
        "  credentials: {provider: oidc, role_arn: r, oidc_provider_arn: p}\n",
    ),
    "a password that is not set": Mistake(
        "config.yaml:6:14: kafka.security.sasl_password",
        "not set, but needed with kafka.security.protocol",
        "  start: latest\n",
        "  start: latest\n  security: {protocol: SASL_SSL, sasl_username: u}\n",
    ),
    "a certificate without its key": Mistake(
        "config.yaml:6:29: kafka.security.key_file",
        "one needs the other",
        "  start: latest\n",
        "  start: latest\n  security: {protocol: SSL, certificate_file: /tls.crt}\n",
    ),
    "callbacks without a secret": Mistake(
        "config.yaml:11:13: callbacks.secret",
        "not set, but needed with callbacks.url",
        added='callbacks: {url: "https://c.example.com", account_id: "1"}\n',
    ),
    "a file that is not there": Mistake(
        "nowhere.yaml", "cannot be read: no such file", environ={"MODERATION_CONFIG": "nowhere.yaml"}
    ),
    # Contradictions
    "a user but no authentication": Mistake(
        "config.yaml:6:14: kafka.security.sasl_username",
        "expected SASL_SSL or SASL_PLAINTEXT",
        "  start: latest\n",
        "  start: latest\n  security: {sasl_username: u, sasl_password: p}\n",
    ),
    "verdicts into a topic that is read": Mistake(
        "config.yaml:11:10: output.topic", "what is written would be read again", added="output: {topic: comments}\n"
    ),
    "dead letters among verdicts": Mistake(
        "config.yaml:11:20: output.dead_letters",
        "give it its own",
        added="output: {topic: t, dead_letters: t}\n",
    ),
    "the state among verdicts": Mistake(
        "config.yaml:11:9: state.topic",
        "the state needs a topic of its own",
        added="state: {topic: moderation.verdicts}\n",
    ),
    "a route for a topic that is not read": Mistake(
        "config.yaml:14:20: routes[0].when.topic[0]",
        "did you mean comments?",
        added=ROUTE.format("baselineCheck_global") + "    when: {topic: [comment]}\n",
    ),
    "two routes of one name": Mistake(
        "config.yaml:14:5: routes[1].name",
        "'all' is also the name of routes[0] (config.yaml:12:5)",
        added=ROUTE.format("baselineCheck_global") + "  - name: all\n    services: [baselineCheck_global]\n",
    ),
    "a budget for a route that is not there": Mistake(
        "config.yaml:14:51: budgets[0].routes[0]",
        "did you mean all?",
        added=ROUTE.format("baselineCheck_global") + "budgets: [{name: b, limit: 1, unit: CNY, routes: [al]}]\n",
    ),
    "a heartbeat too slow": Mistake(
        "config.yaml:6:3: kafka.heartbeat_interval_seconds",
        "expected at most 10",
        "  start: latest\n",
        "  start: latest\n  heartbeat_interval_seconds: 20\n",
    ),
    "a result that is given up before it is asked for": Mistake(
        "config.yaml:11:9: tasks.first_poll_seconds",
        "is not before tasks.deadline_seconds",
        added="tasks: {deadline_seconds: 20}\n",
    ),
    "one port for two": Mistake(
        "config.yaml:11:13: callbacks.port",
        "give each a port of its own",
        added='callbacks: {port: 9464, url: "https://c.example.com", account_id: "1", secret: 0123456789abcdef0}\n',
    ),
    "a key given twice": Mistake(
        "config.yaml:5:3: kafka.group_id",
        "first at config.yaml:4:3",
        "  start: latest",
        "  group_id: other\n  start: latest",
    ),
    "a secret and its file": Mistake(
        "config.yaml:11:5: moderation.credentials.access_key_secret_file",
        "keep one",
        added="    access_key_secret_file: /run/secrets/key\n",
    ),
    "a module that is not there": Mistake(
        "config.yaml:11:10: policy.plugin", "no_such_module", added="policy: {plugin: 'no_such_module:decide'}\n"
    ),
}


@pytest.fixture
def command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int | str | None, list[str]]]:
    """`command(words, mistake)` is the exit code and the lines of the program with this mistake."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(("MODERATION", "ALIBABA_CLOUD_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))

    def command(words: list[str], mistake: Mistake) -> tuple[int | str | None, list[str]]:
        (tmp_path / "config.yaml").write_text(mistake.text)
        for name, value in mistake.environ.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(SystemExit) as caught:
            cli.main([*words, *([] if "MODERATION_CONFIG" in mistake.environ else ["config.yaml"])])
        captured = capsys.readouterr()
        return caught.value.code, (captured.out + captured.err).splitlines()

    return command


def test_there_are_forty() -> None:
    """The table holds forty mistakes and more, each with a place and a remedy of its own."""
    assert len(MISTAKES) >= 40
    assert all(mistake.place and mistake.remedy for mistake in MISTAKES.values())


@pytest.mark.parametrize("words", [["check"], ["run"]], ids=" ".join)
@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_in_the_settings_is_one_line(
    mistake: Mistake, words: list[str], command: Callable[..., tuple[int | str | None, list[str]]]
) -> None:
    """The program ends with 78 and one line that names the place and the remedy; nothing was connected to."""
    code, lines = command(words, mistake)
    assert code == 78
    assert lines[0] == "configuration is not usable:"
    told = [line.strip() for line in lines[1:]]
    (line,) = (line for line in told if line.startswith(mistake.place)) if len(told) > 1 else told
    assert line.startswith(mistake.place)
    assert mistake.remedy in line
    assert not any("planted-secret" in line or "Traceback" in line for line in told)


def unreachable(settings: dict[str, str], mistake: str) -> StartError:
    """What a start with these settings ends with."""
    text = GOOD.replace("  region: ap-southeast-1", "  endpoint: http://127.0.0.1:1") + mistake
    for old, new in settings.items():
        assert old in text
        text = text.replace(old, new)
    return asyncio.run(_started(text))


async def _started(text: str) -> StartError:
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(text)
        file.flush()
        loaded = load([file.name], {})
    with pytest.raises(StartError) as caught:
        await App(loaded).run(asyncio.Event())
    return caught.value


def test_a_broker_that_is_not_there() -> None:
    """A broker that does not listen is named with the key to look at."""
    error = unreachable({"broker:9092": "127.0.0.1:1"}, "admin: {host: 127.0.0.1, port: 0}\n")
    assert "127.0.0.1:1 cannot be reached" in str(error)
    assert "kafka.bootstrap_servers" in error.remedy


def test_a_certificate_that_is_not_there() -> None:
    """A file of certificates that is missing is named with its key, before any broker is asked."""
    error = unreachable(
        {"  start: latest\n": "  start: latest\n  security: {protocol: SSL, ca_file: /nowhere/ca.pem}\n"},
        "admin: {host: 127.0.0.1, port: 0}\n",
    )
    assert "/nowhere/ca.pem" in f"{error} {error.remedy}"
    assert "kafka.security.ca_file" in f"{error} {error.remedy}"


@pytest.mark.parametrize(
    ("key", "more"),
    [
        ("admin.port", "admin: {{host: 127.0.0.1, port: {port}}}\n"),
        (
            "callbacks.port",
            (
                "callbacks: {{url: 'http://c', account_id: '1', secret: 0123456789abcdef0,"
                " host: 127.0.0.1, port: {port}}}\n"
                "admin: {{host: 127.0.0.1, port: 0}}\n"
            ),
        ),
    ],
)
def test_a_port_that_is_taken(key: str, more: str, embedded: EmbeddedBroker) -> None:
    """A port that another program has is named with its key."""
    topic = unique("all")
    embedded.create_topic(topic)
    topics = f"output: {{topic: {topic}.verdicts, dead_letters: {topic}.letters}}\n"
    for name in (f"{topic}.verdicts", f"{topic}.letters"):
        embedded.create_topic(name)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        bootstrap = embedded.bootstrap_servers[0]
        read = {"broker:9092": bootstrap, "[ugc, comments]": f"[{topic}]"}
        error = unreachable(read, f"{topics}{more.format(port=port)}")
    assert port in str(error)
    assert key in f"{error} {error.remedy}"


def test_a_service_that_is_not_there(
    command: Callable[..., tuple[int | str | None, list[str]]], embedded: EmbeddedBroker
) -> None:
    """`check --connect` ends with 69 where nothing answers for the service, and names the endpoint."""
    text = Mistake("", "", "broker:9092", embedded.bootstrap_servers[0], "  endpoint: http://127.0.0.1:1\n")
    code, lines = command(["check", "--connect"], text)
    assert code == 69
    assert any("127.0.0.1:1" in line and "FAIL" in line for line in lines), lines
