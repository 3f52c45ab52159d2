"""`moderation-consumer explain`: the fields, rules, calls, prices and topics of one event, and how it is given."""

from __future__ import annotations

import base64
import io
import json
import os
import sys
from typing import TYPE_CHECKING

import pytest

from consumer import cli
from tests.ports import free_port


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Command = Callable[..., tuple[int, str, str]]


__all__: list[str] = []


CONFIG = """\
kafka: {bootstrap_servers: [broker:9092], topics: [ugc], group_id: g, start: latest}
moderation: {region: ap-southeast-1}
mapping:
  id: payload.content_id
  text: payload.body
  kind: type
  kinds: {dm: message}
  images: payload.media[?type=='photo'].url
routes:
  - {name: models, when: {origin: [ai], has_text: true}, services: [ugc_moderation_byllm_global, aigcDetector_global]}
  - {name: pictures, when: {has_images: true}, services: [ugc_moderation_byllm_cb, baselineCheck_global]}
  - {name: words, when: {has_text: true}, services: [ugc_moderation_byllm_cb], deadline_seconds: 30}
policy: {medium: block, labels: {contraband: block}}
output: {topics: {review: ugc.review}}
"""
DM = {"payload": {"content_id": 7, "body": "hello"}, "type": "dm"}


@pytest.fixture
def explain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """`explain(record, *options)` is the exit code, and what is on standard output and standard error."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(("MODERATION", "ALIBABA_CLOUD_"))]:
        monkeypatch.delenv(name)
    (tmp_path / "config.yaml").write_text(CONFIG)

    def explain(record: object, *options: str) -> tuple[int, str, str]:
        given = record if isinstance(record, str) else json.dumps(record)
        with pytest.raises(SystemExit) as caught:
            cli.main(["explain", "config.yaml", given, *options])
        said = capsys.readouterr()
        assert isinstance(caught.value.code, int)
        return caught.value.code, "\n".join(" ".join(line.split()) for line in said.out.splitlines()), said.err

    return explain


def test_each_field_says_where_it_came_from(explain: Command) -> None:
    """A field has its value, its place in the record, and the line of the configuration that says so."""
    code, out, _ = explain(DM)
    assert code == 0
    assert "id 7 `payload.content_id` (config.yaml:4:3)" in out
    assert "kind message dm at `type`, by mapping.kinds (config.yaml:6:3)" in out
    assert "origin human nothing at `origin`, so mapping.default_origin (default)" in out
    assert "title" not in out


def test_each_rule_says_why_it_does_not_take_it(explain: Command) -> None:
    """The rules before the one that takes the event say which of their conditions do not hold, with what is there."""
    _, out, _ = explain(DM)
    rules = out.partition("routes:\n")[2].partition("\ncalls:")[0].splitlines()
    assert rules == [
        "models no wants origin ai, but it is human",
        "pictures no wants with images, but it has none",
        "words takes it with text",
    ]
    assert "note: if it is older than 30 s before anything is sent for it, it goes to review, unjudged" in out


def test_calls_have_their_parameters_and_price(explain: Command) -> None:
    """Each call has what the service is told, its units and price, and the limit that it counts against."""
    media = [{"type": "photo", "url": "https://x.example/a.jpg"}, {"type": "clip", "url": "https://x.example/b.mp4"}]
    _, out, _ = explain({"payload": {"content_id": "p", "body": "x" * 1001, "media": media}})
    assert "calls: 2, 0.008 CNY and 0.0006 USD at list or configured prices" in out
    assert f"content: {'x' * 60}… (1001 characters)" in out
    assert "price: 2 units of text_llm_advanced, 0.008 CNY" in out
    assert "imageUrl: https://x.example/a.jpg\ndataId: p\nprice: 1 unit of image_standard, 0.0006 USD" in out
    assert "quota: image, 100 calls a second" in out
    assert "b.mp4" not in out


def test_each_risk_has_its_action_and_topic(explain: Command) -> None:
    """At each level of risk it says what is done and where the verdict goes, and which labels count on top."""
    _, out, _ = explain(DM)
    assert "risk low pass to moderation.verdicts" in out
    assert "risk medium block to moderation.verdicts" in out
    assert "risk unknown review to ugc.review" in out
    assert "label contraband: block, if that is more severe" in out


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"type": "dm"}, "DEAD LETTER to moderation.dead-letters: map/mapping: id: nothing at `payload.content_id`"),
        ("{no json", "DEAD LETTER to moderation.dead-letters: decode/malformed: not JSON"),
        ({"payload": {"content_id": 1}}, "DEAD LETTER to moderation.dead-letters: route/no_route: no route takes"),
    ],
)
def test_a_dead_letter_has_its_reason(explain: Command, record: object, said: str) -> None:
    """A record that would be a dead letter says why, and exits with 65."""
    code, out, _ = explain(record)
    assert code == 65
    assert said in out


def test_json_has_all_of_it(explain: Command) -> None:
    """`--json` is one object with fields, routes, calls, cost and ways, and nothing is cut short."""
    code, out, _ = explain({"payload": {"content_id": "p", "body": "y" * 100}}, "--json")
    found = json.loads(out)
    assert code == 0
    assert [rule["takes"] for rule in found["routes"]] == [False, False, True]
    assert found["calls"][0]["parameters"] == {"content": "y" * 100, "dataId": "p"}
    assert found["calls"][0]["billed"][0]["units"] == 1
    assert (found["cost"], found["dead_letter"]) == ({"CNY": 0.004}, None)
    assert {way["risk_level"]: way["topic"] for way in found["ways"]}["unknown"] == "ugc.review"


def test_the_simulator_judges_it_on_request(explain: Command) -> None:
    """`--verdict` prints the verdict that the simulator makes of the event, without a socket."""
    _, out, _ = explain({"payload": {"content_id": "p", "body": "you idiot"}}, "--verdict", "--json")
    verdict = json.loads(out)["verdict"]
    assert (verdict["event_id"], verdict["route"], verdict["action"]) == ("p", "words", "block")
    assert [label["label"] for label in verdict["labels"]] == ["inappropriate_profanity"]
    _, out, _ = explain(DM, "--verdict")
    assert '"risk_level": "none"' in out


def test_a_record_is_a_file_or_comes_in(explain: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """RECORD is JSON, a file, or - for standard input; a line break at its end is none of it."""
    value = json.dumps(DM)
    (tmp_path / "record.json").write_text(f"{value}\n")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(value.encode())))
    assert explain("record.json") == explain("-") == explain(value)


def test_what_is_no_record_is_said(explain: Command, tmp_path: Path) -> None:
    """A missing file exits with 66, and several records or a wrong header with 2, each with the remedy."""
    code, _, err = explain("nothing.json")
    assert code == 66
    assert "nothing.json cannot be read: no such file or directory; RECORD is a file, - for standard input" in err
    (tmp_path / "two.jsonl").write_text('{"id": 1}\n{"id": 2}\n')
    code, _, err = explain("two.jsonl")
    assert code == 2
    assert "there are 2 records in it; give one, or see all of them with `check --sample two.jsonl`" in err
    code, _, err = explain(DM, "--header", "trace")
    assert code == 2
    assert "'trace' is no header; write it as NAME=VALUE" in err


@pytest.mark.parametrize("value", ["[1]", "null", '""', " [", "true", "12"])
def test_json_that_is_no_object_is_no_file(explain: Command, value: str) -> None:
    """Whatever else JSON has is a record, too, and would be a dead letter, as it would in `run`."""
    code, out, _ = explain(value)
    assert code == 65
    assert "DEAD LETTER to moderation.dead-letters: decode/" in out


def test_a_file_may_have_a_name_of_json(explain: Command, tmp_path: Path) -> None:
    """A file that is there is read, though its name could be JSON."""
    (tmp_path / "12").write_text(json.dumps(DM))
    assert explain("12") == explain(DM)


PLUGIN = """
import sys

print("imported")


def to_event(document, record):
    print("asked")
    if document.get("fail"):
        raise KeyError(document["fail"])
    return document
"""


@pytest.fixture
def explain_plugin(explain: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """The same with a mapping plugin in the configuration that prints what it does."""
    (tmp_path / "acme_explained.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "acme_explained", raising=False)
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG.replace("mapping:\n", "mapping:\n  plugin: acme_explained:to_event\n"))
    return explain


def test_a_plugin_that_fails_has_given_no_fields(explain_plugin: Command) -> None:
    """No field of the record is said to be the plugin's where it gave none."""
    code, out, _ = explain_plugin({"payload": {"content_id": 7, "body": "hello"}, "id": "m", "fail": "x"})
    assert code == 65
    assert "DEAD LETTER to moderation.dead-letters: map/plugin: the mapping plugin 'acme_explained:to_event'" in out
    assert "event:" not in out


def test_what_a_plugin_prints_is_kept_apart(explain_plugin: Command) -> None:
    """Standard output is JSON and nothing else, whatever a plugin prints; that is on standard error."""
    _, out, err = explain_plugin(DM, "--json", "--verdict")
    assert json.loads(out)["fields"][0]["value"] == "7"
    assert "imported" in err
    assert "asked" in err


def test_the_kind_of_a_record_that_fails_is_the_mapped_one(explain: Command) -> None:
    """A word of the platform's own is shown as what it stands for, also where another field is missing."""
    code, out, _ = explain({"payload": {}, "type": "dm"})
    assert code == 65
    assert "kind message dm at `type`, by mapping.kinds" in out


def test_a_local_image_is_no_fault(explain: Command) -> None:
    """An image that would be uploaded first has a call like any other, and the upload is told."""
    image = base64.b64encode(b"GIF89a").decode()
    code, out, _ = explain({"payload": {"content_id": "p", "media": [{"type": "photo", "url": {"content": image}}]}})
    assert code == 0
    assert "ossObjectName: image 1 of the record" in out
    assert "note: uploaded before any call: image 1 of the record (image/gif, 6 bytes)" in out


def test_a_local_image_that_no_service_takes_is_a_dead_letter(explain: Command) -> None:
    """Bytes that are no image are told before anything is sent for them."""
    code, out, _ = explain({"payload": {"content_id": "p", "media": [{"type": "photo", "url": {"content": "aGk="}}]}})
    assert code == 65
    assert "DEAD LETTER to moderation.dead-letters: moderate/image_format: an image is of no supported format" in out


def test_missing_secrets_are_not_missed(explain: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the files of all secrets are elsewhere, an event is explained all the same."""
    security = "{protocol: SASL_SSL, sasl_mechanism: PLAIN, sasl_username: u, sasl_password_file: /not/here}"
    keys = "{access_key_id: a, access_key_secret_file: /not/here/either}"
    text = CONFIG.replace("start: latest", f"start: latest, security: {security}")
    text = text.replace("region: ap-southeast-1", f"region: ap-southeast-1, credentials: {keys}")
    monkeypatch.setenv("MODERATION__CALLBACKS__SECRET_FILE", "/nor/here")
    (tmp_path / "config.yaml").write_text(text)
    assert explain(DM)[0] == 0


def test_a_registry_that_does_not_answer_is_told_with_the_reason(
    explain: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record that needs a schema of a registry that is away says what is wrong there, and what to do about it."""
    monkeypatch.setattr("consumer.rehearsal.intake._FETCH_SECONDS", 0.5)
    registry = f"http://127.0.0.1:{free_port()}"
    with (tmp_path / "config.yaml").open("a") as config:
        config.write(f"format: {{encoding: avro, schema_registry: {{url: '{registry}'}}}}\n")
    (tmp_path / "a.bin").write_bytes(b"\0\0\0\0\1\2")
    code, _, err = explain("a.bin")
    assert code == 69
    assert f"{registry} does not answer: nobody listens at 127.0.0.1:" in err
    assert "start the registry, or correct host and port in format.schema_registry.url" in err
