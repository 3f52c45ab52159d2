"""`moderation-consumer estimate`: what it reads, what it needs, what it shows, and what it says of bad input."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import os
import sys
import xml.etree.ElementTree as ET
from itertools import islice
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from benchmarks.corpora import as_record, chat
from consumer import cli
from tests.estimate.world import EPOCH_MS, as_yaml, event
from tests.kafka.member import produce, topic_of


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from consumer.demo.broker import EmbeddedBroker

    Command = Callable[..., tuple[int, str, str]]


__all__: list[str] = []


PLAIN = {"routes": [{"name": "all", "services": ["ugc_moderation_byllm"]}]}


@pytest.fixture
def estimate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """`estimate("--file", …)` is the exit code, and what is on standard output and standard error."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(("MODERATION", "ALIBABA_CLOUD_"))]:
        monkeypatch.delenv(name)
    (tmp_path / "config.yaml").write_text(as_yaml(**PLAIN))

    def run(*args: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            cli.main(["estimate", *args, "config.yaml"])
        said = capsys.readouterr()
        assert isinstance(caught.value.code, int)
        return caught.value.code, said.out, said.err

    return run


def envelopes(count: int, *, gap_ms: int = 1000) -> bytes:
    """So many records with all that belongs to them, one after the other."""
    return b"\n".join(
        orjson.dumps(
            {
                "topic": "ugc",
                "partition": number % 3,
                "offset": number // 3,
                "ts": EPOCH_MS + number * gap_ms,
                "payload": event(number, f"text {number % 100}").decode(),
            }
        )
        for number in range(count)
    )


def figures(said: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(said)
    return found


def test_a_file_is_estimated_without_any_credentials(estimate: Command, tmp_path: Path) -> None:
    """Lines of JSON are enough, packed too; missing secrets are not missed, and nothing is written beside."""
    (tmp_path / "config.yaml").write_text(
        as_yaml(
            **PLAIN,
            kafka={
                "security": {"protocol": "SASL_SSL", "sasl_username": "u", "sasl_password_file": "/nowhere/password"}
            },
            moderation={"credentials": {"provider": "oidc"}},
            callbacks={"url": "https://callbacks.example/", "account_id": "1", "secret_file": "/nowhere/secret"},
        )
    )
    (tmp_path / "posts.jsonl.gz").write_bytes(gzip.compress(b"\n".join(event(number, "hi") for number in range(50))))
    code, said, err = estimate("--file", "posts.jsonl.gz")
    assert (code, err) == (0, "")
    assert said.startswith("estimate of posts.jsonl.gz: 50 records, judged all at once")
    assert "CNY 0.0020" in said
    assert "without the cache" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.yaml", "posts.jsonl.gz"]


def test_standard_input_is_a_file_too(estimate: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dash reads standard input, and JSON and pictures can be had of it."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(event(1) + b"\n" + event(2))))
    code, said, _ = estimate("--file", "-", "--json", "--no-savings", "--svg", "cost.svg")
    assert code == 0
    found = figures(said)
    assert (found["source"], found["records"], found["units"]) == ("standard input", 2, 1)
    assert found["savings"] == []
    assert ET.parse("cost.svg").getroot().tag.endswith("svg")


def test_whole_records_are_replayed_in_their_own_time_or_not(estimate: Command, tmp_path: Path) -> None:
    """With timestamps the default is their own time; times and pace can be chosen."""
    (tmp_path / "records.jsonl").write_bytes(envelopes(300))
    options = ("--file", "records.jsonl", "--envelope", "--json", "--no-savings")
    recorded = figures(estimate(*options)[1])
    assert (recorded["pace"], recorded["records"], recorded["units"]) == ("recorded", 300, 100)
    assert recorded["ends_at"] - recorded["begins_at"] == 299
    assert sum(column["cost"].get("CNY", 0) for column in recorded["series"]) == pytest.approx(0.2)
    assert recorded["cost_of_30_days"][0]["cost"] == pytest.approx(0.2 * 30 * 86_400 / 299)
    backlog = figures(estimate(*options, "--pace", "backlog")[1])
    assert (backlog["pace"], backlog["units"], backlog["cost_of_30_days"]) == ("backlog", 100, [])
    assert backlog["seconds"] < recorded["seconds"] / 10
    part = figures(estimate(*options, "--from", "2026-01-02T03:05", "--to", "2026-01-02T03:06")[1])
    assert part["records"] == 60


def test_a_sample_says_how_sure_it_is(estimate: Command, tmp_path: Path) -> None:
    """A part of a chat gives the figures of all of it within its interval, and its seed gives the same part again."""
    lines = (
        {"value": as_record(posted.event).decode(), "timestamp": EPOCH_MS + round(posted.at_seconds * 1000)}
        for posted in islice(chat(5), 5200)
    )
    (tmp_path / "chat.jsonl").write_bytes(b"\n".join(map(orjson.dumps, lines)))
    options = ("--file", "chat.jsonl", "--envelope", "--json", "--no-savings")
    whole = figures(estimate(*options)[1])
    found = figures(estimate(*options, "--sample", "50%", "--seed", "1")[1])
    assert found["sample"]["records"] == pytest.approx(2600, rel=0.02)
    low, high = found["units_interval"]
    assert low < whole["units"] < high
    assert (high - low) / whole["units"] < 0.3
    one = figures(estimate(*options, "--sample", "50%")[1])
    again = figures(estimate(*options, "--sample", "0.5", "--seed", str(one["sample"]["seed"]))[1])
    assert again == one


def test_topics_are_read_without_a_group(estimate: Command, tmp_path: Path, embedded: EmbeddedBroker) -> None:
    """All partitions of the topics are in it, nothing is committed for the group, and a sample reads a part only."""
    topic = topic_of(embedded, "ugc")
    kafka = {"bootstrap_servers": embedded.bootstrap_servers, "topics": [topic]}
    (tmp_path / "config.yaml").write_text(as_yaml(**PLAIN, kafka=kafka))
    values = [(number % 4, event(number, f"text {number % 1000}")) for number in range(6000)]
    asyncio.run(produce(embedded, topic, values))
    whole = figures(estimate("--json", "--no-savings")[1])
    assert (whole["source"], whole["records"], whole["units"]) == (topic, 6000, 1000)
    assert whole["pace"] == "recorded"
    code, said, _ = estimate("--json", "--no-savings", "--sample", "50%", "--seed", "1")
    assert code == 0
    sample = figures(said)
    assert sample["records"] == 6000
    assert sample["sample"]["records"] == pytest.approx(3000, rel=0.1)
    assert sample["events"] == pytest.approx(6000)
    assert sample["units"] == pytest.approx(1000, rel=0.2)


def test_replicas_that_share_are_several(estimate: Command, tmp_path: Path) -> None:
    """With `share` and three replicas, each of them pays for what the others know already."""
    (tmp_path / "config.yaml").write_text(as_yaml(**PLAIN, kafka={"scale": "share"}))
    (tmp_path / "records.jsonl").write_bytes(envelopes(300, gap_ms=0))
    options = ("--file", "records.jsonl", "--envelope", "--json", "--no-savings")
    one, three = (figures(estimate(*options, "--replicas", number)[1]) for number in ("1", "3"))
    assert (one["units"], three["units"]) == (100, 300)


@pytest.mark.parametrize(
    ("content", "options", "code", "said"),
    [
        (b"{}\n{", ["--envelope"], 65, "posts.jsonl:1: no object with a value or payload"),
        (b'{"value": "x"}\n{', ["--envelope"], 65, "posts.jsonl:2: not JSON"),
        (b"", [], 65, "there are no such records in posts.jsonl"),
        (event(1), ["--from", "2026-01-01"], 2, "--from and --to need the records' timestamps"),
        (event(1), ["--from", "yesterday"], 2, "is no time"),
        (event(1), ["--pace", "recorded"], 2, "--pace recorded needs the timestamps"),
        (event(1), ["--sample", "5%"], 2, "has too few to say anything"),
        (b'{"value":"{}","ts":1}', ["--envelope", "--sample", "5%"], 2, "has too few to say anything"),
        (b"{}\n" * 6000, ["--sample", "50%"], 2, "a backlog has no --sample"),
        (event(1), ["--sample", "0"], 2, "--sample takes a part"),
        (event(1), ["--sample", "some"], 2, "is no part of a whole"),
        (event(1), ["--risk", "150%"], 2, "is no part of a whole"),
        (event(1), ["--replicas", "3"], 2, "--replicas is for kafka.scale: share"),
        (event(1), ["--svg", "nowhere/cost.svg", "--no-savings"], 1, "nowhere/cost.svg"),
    ],
)
def test_what_cannot_be_done_is_said(
    estimate: Command, tmp_path: Path, content: bytes, options: list[str], code: int, said: str
) -> None:
    """Bad input and contradictions end with a code of their own, and with the file and line or the option."""
    (tmp_path / "posts.jsonl").write_bytes(content)
    found, out, err = estimate("--file", "posts.jsonl", *options)
    assert found == code
    assert said in " ".join(err.split())
    assert "Traceback" not in out + err


def test_an_envelope_needs_a_file(estimate: Command) -> None:
    """The option that says how lines are read is refused where topics are."""
    code, _, err = estimate("--envelope")
    assert code == 2
    assert "--file" in err


def test_progress_is_shown_to_a_person_only(estimate: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal a bar goes to standard error; otherwise nothing does."""
    (tmp_path / "posts.jsonl").write_bytes(b"\n".join(event(number) for number in range(1500)))
    assert estimate("--file", "posts.jsonl", "--no-savings")[2] == ""
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", terminal)
    assert estimate("--file", "posts.jsonl", "--no-savings")[0] == 0
    assert "reading" in terminal.getvalue()
    assert "replaying" in terminal.getvalue()
    assert "100%" in terminal.getvalue()


def test_what_a_plugin_prints_is_no_estimate(
    estimate: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Standard output is JSON and nothing else, whatever a plugin prints; that is on standard error."""
    code = "print('imported')\ndef asked(document, record):\n    print('asked')\n    return document\n"
    (tmp_path / "acme_estimated.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "config.yaml").write_text(as_yaml(**PLAIN, mapping={"plugin": "acme_estimated:asked"}))
    (tmp_path / "records.jsonl").write_bytes(envelopes(3))
    found, out, err = estimate("--file", "records.jsonl", "--json")
    assert found == 0, err
    assert json.loads(out)
    assert "imported" in err
    assert "asked" in err
