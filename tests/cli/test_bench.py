"""`moderation-consumer bench`: what it measures, which events it invents, and what it says of bad input."""

from __future__ import annotations

import json
import os
from itertools import islice
from typing import TYPE_CHECKING

import pytest

from consumer import cli
from consumer.cli.invented import without_secrets
from consumer.intake import Intake
from consumer.record import Partition, Record
from consumer.rehearsal.measuring import Measured
from consumer.rehearsal.synthetic import left_out, synthetic
from consumer.settings import load


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Command = Callable[..., tuple[int, str, str]]


__all__: list[str] = []


CONFIG = """\
kafka:
  bootstrap_servers: [broker.invalid:9092]
  topics: [ugc]
  group_id: g
  start: latest
  security: {protocol: SASL_SSL, sasl_mechanism: PLAIN, sasl_username: u, sasl_password_file: /not/here}
moderation: {region: ap-southeast-1}
mapping: {id: payload.content_id, text: payload.body, kind: type, kinds: {dm: message}}
output: {topics: {block: ugc.blocked}}
"""


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """`bench(*options)` is the exit code, and what is on standard output and standard error."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(("MODERATION", "ALIBABA_CLOUD_"))]:
        monkeypatch.delenv(name)

    def bench(*options: str, text: str = CONFIG) -> tuple[int, str, str]:
        (tmp_path / "config.yaml").write_text(text)
        with pytest.raises(SystemExit) as caught:
            cli.main(["bench", "config.yaml", *options])
        said = capsys.readouterr()
        assert isinstance(caught.value.code, int)
        return caught.value.code, said.out, said.err

    return bench


def test_a_configuration_is_measured_as_it_is(bench: Command, tmp_path: Path) -> None:
    """Its events come through without its brokers and secrets, and each route has its requests, units and cost."""
    events = [{"payload": {"content_id": number, "body": f"text {number}"}, "type": "dm"} for number in range(60)]
    lines = [json.dumps(event) for event in events] + ["no JSON"]
    (tmp_path / "records.jsonl").write_text("\n".join(lines))
    code, out, _ = bench("--file", "records.jsonl", "--latency-ms", "5")
    rows = [line.split() for line in out.splitlines()]
    assert out.startswith("61 of 61 events in ")
    assert ["text", "60", "60", "60", "0.24", "CNY"] in [row[:6] for row in rows]
    assert "verdicts by source: service 60" in out
    assert "dead letters: 1 decode/malformed" in out
    assert "your quota of text calls lets 49 events like these through in a second" in out
    assert code == 0


def test_where_nothing_is_judged_nothing_is_measured(
    bench: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no event has a verdict, what became of them is told in place of an empty table, and the exit code is 65."""
    letters = {"map/mapping": 1, "decode/malformed": 3}

    async def measure(*_: object, **__: object) -> Measured:
        return Measured(6, 6, 1.0, 1.0, {}, {}, letters, {}, "")

    monkeypatch.setattr("consumer.rehearsal.measuring.measure", measure)
    (tmp_path / "records.jsonl").write_text("no JSON\n")
    code, out, err = bench("--file", "records.jsonl")
    assert (code, out) == (65, "")
    assert "nothing was judged: of 6 events 4 became dead letters (3 decode/malformed, 1 map/mapping)" in err
    assert "and 2 were skipped; `check --sample records.jsonl` says why" in err


def test_events_are_invented_in_the_shape_of_the_mapping(tmp_path: Path) -> None:
    """Invented events are read by the mapping as they were meant, whatever the fields are called."""
    file = tmp_path / "config.yaml"
    file.write_text(CONFIG.replace(", sasl_password_file: /not/here", ", sasl_password: x"))
    keys = {f"ALIBABA_CLOUD_ACCESS_KEY_{name}": "x" for name in ("ID", "SECRET")}
    settings = load([file], keys).settings
    read = Intake(settings.mapping).event
    events = [
        read(Record(Partition("ugc", 0), 0, 0, key, value)) for key, value in islice(synthetic(settings, seed=1), 300)
    ]
    assert {event.kind for event in events} == {"message", "comment", "post", "image", "profile"}
    assert len({event.id for event in events}) == len(events)
    assert any(event.text for event in events)
    assert any(event.images for event in events)
    assert left_out(settings) == []


def test_invented_events_have_something_to_judge(tmp_path: Path) -> None:
    """Where the mapping takes no images, no event is nothing but images; fields with expressions are named."""
    file = tmp_path / "config.yaml"
    file.write_text(CONFIG.replace("kind: type,", "kind: type, images: null, origin: flags.ai || 'human',"))
    settings = load([file], without_secrets({})).settings
    read = Intake(settings.mapping).event
    events = [
        read(Record(Partition("ugc", 0), 0, 0, key, value)) for key, value in islice(synthetic(settings, seed=1), 300)
    ]
    assert all(event.text for event in events)
    assert left_out(settings) == ["origin"]


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        (
            CONFIG.replace("payload.body", "payload.body || 'x'"),
            [],
            "mapping.text is an expression, so no events can be",
        ),
        (
            CONFIG.replace("text: payload.body", "text: payload.body, images: 'msg.attachments[].urls'"),
            [],
            "mapping.images is an expression, so no events can be invented: give records of yours with --file",
        ),
        (
            CONFIG.replace("kind: type", "kind: type || 'dm'"),
            [],
            "mapping.kind is an expression, so no events can be invented: give records of yours with --file",
        ),
        (
            CONFIG.replace("output:", "format: {plugin: 'operator:getitem'}\noutput:"),
            [],
            "format.plugin reads records, so no events can be invented: give records of yours with --file",
        ),
        (CONFIG, ["--latency-ms", "fast"], "fast"),
        (CONFIG, ["--latency-ms", "80-20"], "'80-20' is no range of waiting times: the lower end comes first"),
        (CONFIG, ["--events", "20001"], "20001"),
        (CONFIG, ["--file", "config.yaml.nothing"], "No such file"),
    ],
)
def test_what_cannot_be_measured_is_said(bench: Command, text: str, options: list[str], said: str) -> None:
    """What is wrong with the options, or cannot be invented, is a message with exit code 2."""
    code, _, err = bench(*options, text=text)
    assert code == 2
    assert said in err
