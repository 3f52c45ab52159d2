"""`moderation-consumer dead-letters`: what it shows of them, and what it writes back."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from consumer import cli
from consumer.cli.dead_letters_shared import STAGES
from consumer.engine.letters import shortened
from consumer.errors import DecodeError, MappingError, RecordError
from consumer.record import OutRecord, Partition, Record
from tests.broker.cluster import unique
from tests.kafka.burial import bury, died, everything


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from consumer.demo.broker import EmbeddedBroker
    from tests.broker.cluster import Broker

    Command = Callable[..., tuple[int, list[str], str]]


__all__: list[str] = []


POSTED = 1_767_323_044_891


class Place:
    """A broker's topics of one test, and the configuration that names them."""

    def __init__(self, broker: Broker, file: Path) -> None:
        self.broker = broker
        self.ugc, self.dead, self.group = unique("ugc"), unique("dead"), unique("group")
        for topic in (self.ugc, self.dead):
            broker.create_topic(topic)
        # No moderation service and no credentials: nothing of them is needed.
        file.write_text(
            f"kafka: {{bootstrap_servers: {json.dumps(broker.bootstrap_servers)}, topics: [{self.ugc}], "
            f"group_id: {self.group}, start: latest}}\n"
            f"output: {{dead_letters: {self.dead}}}\n"
            "moderation: {credentials: {provider: static}}\n"
        )

    def record(self, offset: int, value: bytes | None, key: bytes | None = b"k", *headers: tuple[str, bytes]) -> Record:
        return Record(Partition(self.ugc, 1), offset, POSTED, key, value, headers)

    def bury(self, *letters: OutRecord) -> None:
        """Write letters to partition 0, so that they lie at 0@0, 0@1 and so on."""
        asyncio.run(bury(self.broker, *letters, partition=0))

    def values(self, topic: str = "") -> list[bytes | None]:
        return [record.value for record in asyncio.run(everything(self.broker, topic or self.ugc))]


@pytest.fixture
def place(broker: Broker, tmp_path: Path) -> Place:
    return Place(broker, tmp_path / "config.yaml")


@pytest.fixture
def quick(embedded: EmbeddedBroker, tmp_path: Path) -> Place:
    """A place on the embedded broker only."""
    return Place(embedded, tmp_path / "config.yaml")


@pytest.fixture
def letters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """`letters("list", …)` is the exit code, the lines on standard output, and what is on standard error."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(("MODERATION", "ALIBABA_CLOUD_"))]:
        monkeypatch.delenv(name)

    def run(*args: str) -> tuple[int, list[str], str]:
        with pytest.raises(SystemExit) as caught:
            cli.main(["dead-letters", *args, "config.yaml"])
        said = capsys.readouterr()
        assert isinstance(caught.value.code, int)
        return caught.value.code, said.out.splitlines(), said.err

    return run


def test_list_has_a_line_for_each_and_no_content(place: Place, letters: Command) -> None:
    """A line has both places, times, stage, reason and error, nothing of key, value or headers, and no escapes."""
    place.bury(
        died(place.dead, place.record(7, b"content-1", b"content-2", ("h", b"content-3")), MappingError("id: \x1b[2J")),
        died(place.dead, place.record(8, None, None)),
        OutRecord(place.dead, None, b"content-4"),
    )
    code, lines, said = letters("list")
    assert code == 0
    first, second = (line.split("  ") for line in lines)
    assert [first[0], *first[2:]] == ["0@0", f"{place.ugc}/1@7", "map/mapping", r"id: \x1b[2J"]
    assert [second[0], *second[2:]] == ["0@1", f"{place.ugc}/1@8", "decode/malformed", "no JSON"]
    assert first[1].startswith("20")
    assert first[1].endswith("Z")
    assert said == f"not ours in {place.dead}: 1 record\n"
    _, described, _ = letters("list", "--json")
    assert "content" not in "".join([*lines, *described])
    assert json.loads(described[0])["record"] == {
        "topic": place.ugc,
        "partition": 1,
        "offset": 7,
        "timestamp": POSTED,
    }
    assert [(each["partition"], each["offset"], each["reason"]) for each in map(json.loads, described)] == [
        (0, 0, "mapping"),
        (0, 1, "malformed"),
    ]


def test_filters_choose(quick: Place, letters: Command) -> None:
    """Each filter takes the letters it should, several values are alternatives, and several filters all have to fit."""
    quick.bury(
        died(quick.dead, quick.record(0, b"{}", b"a"), MappingError("x")),
        died(quick.dead, quick.record(1, b"{}", "键".encode()), MappingError("x", code="special")),
        died(quick.dead, quick.record(2, b"{}", None), DecodeError("x")),
        died(quick.dead, Record(Partition("other", 0), 3, POSTED, b"a", b"{}"), DecodeError("x")),
    )

    def offsets(*options: str) -> list[int]:
        return [json.loads(line)["record"]["offset"] for line in letters("list", "--json", *options)[1]]

    assert offsets() == [0, 1, 2, 3]
    assert offsets("--stage", "map") == [0, 1]
    assert offsets("--reason", "special") == [1]
    assert offsets("--reason", "special", "--reason", "malformed") == [1, 2, 3]
    assert offsets("--topic", "other") == [3]
    assert offsets("--key", "a") == [0, 3]
    assert offsets("--key", "键") == [1]
    assert offsets("--key", "a", "--stage", "map") == [0]
    assert offsets("--since", "2020-01-01") == [0, 1, 2, 3]
    assert offsets("--since", "2099-01-01T00:00Z") == []
    assert offsets("--until", "2099-01-01") == [0, 1, 2, 3]
    assert offsets("--until", "2020-01-01T08:00+08:00") == []
    assert offsets("--limit", "2") == [0, 1]


def test_every_stage_can_be_chosen() -> None:
    """`--stage` takes the stage of every error that makes a dead letter, and nothing else."""
    kinds: list[type[RecordError]] = [RecordError, *RecordError.__subclasses__()]
    assert set(STAGES) == {kind.stage for kind in kinds}


def test_summary_counts(quick: Place, letters: Command) -> None:
    """`--summary` counts by stage and reason, the most first, as text or JSON; where there is nothing it says so."""
    assert letters("list", "--summary") == (0, [], f"no such dead letter in {quick.dead}\n")
    quick.bury(
        died(quick.dead, quick.record(0, b"")),
        *(died(quick.dead, quick.record(n, b""), MappingError("x")) for n in (1, 2)),
    )
    assert letters("list", "--summary")[1] == ["        2  map/mapping", "        1  decode/malformed"]
    assert [json.loads(line) for line in letters("list", "--summary", "--json")[1]] == [
        {"stage": "map", "reason": "mapping", "count": 2},
        {"stage": "decode", "reason": "malformed", "count": 1},
    ]


def test_show_has_everything(place: Place, letters: Command, tmp_path: Path) -> None:
    """`show` has what failed, the key, every header and the value: as text, or other bytes as digits."""
    place.bury(
        died(place.dead, place.record(7, '{"text": "你好\x1b"}'.encode(), b"\xff", ("h", b"1"), ("h", b"\x00"))),
        died(place.dead, place.record(8, b"\x00\xff", "键".encode())),
        died(place.dead, place.record(9, None, None)),
    )
    code, lines, _ = letters("show", "0@0")
    assert code == 0
    assert [line.split(maxsplit=1)[0] for line in lines[:9]] == [
        *("letter", "record", "stage", "reason", "error", "attempts", "version", "replays", "key")
    ]
    assert lines[1] == f"record     {place.ugc}/1@7, of 2026-01-02T03:04:04.891Z"
    assert lines[8:] == [
        "key        1 byte  0xff",
        "headers    h: 1 byte  1",
        r"           h: 1 byte  \x00",
        "value      19 bytes",
        "",
        r'{"text": "你好\x1b"}',
    ]
    assert letters("show", "0@1")[1][-5:] == [
        "key        3 bytes  键",
        "headers    none",
        "value      2 bytes",
        "",
        "00000000  00 ff",
    ]
    assert letters("show", "0@2")[1][-3:] == ["key        null", "headers    none", "value      null"]
    assert letters("show", "0@1", "--raw", "raw") == (0, [], "2 bytes written to raw\n")
    assert (tmp_path / "raw").read_bytes() == b"\x00\xff"


def test_show_of_what_is_not_there(quick: Place, letters: Command) -> None:
    """A place without a letter is told with exit code 69, and what is no place with 2."""
    quick.bury(died(quick.dead, quick.record(0, b"")))
    code, _, said = letters("show", "0@1")
    assert code == 69
    assert f"no letter at 0@1: {quick.dead} holds offsets from 0 to 1 there, not this" in said
    code, _, said = letters("show", "9@0")
    assert code == 69
    assert "has no such partition" in said
    code, _, said = letters("show", "first")
    assert code == 2
    assert "write it as list does, such as 3@1042" in said


def test_replay_goes_on_where_the_last_one_ended(place: Place, letters: Command) -> None:
    """Each letter is replayed once by several runs, a dry run writes nothing, and --from-start replays all again."""
    place.bury(*(died(place.dead, place.record(n, b"%d" % n)) for n in range(4)))
    code, lines, _ = letters("replay", "--dry-run")
    assert code == 0
    assert [line.rpartition("  -> ")[2] for line in lines[:4]] == 4 * [place.ugc]
    assert lines[4:] == [
        f"would replay 4 to {place.ugc}",
        "note: each is a new event, which is judged, and billed, anew",
    ]
    assert place.values() == []
    assert letters("replay", "--yes", "--rate", "1000", "--limit", "1")[1][-1] == f"replayed 1 to {place.ugc}"
    assert letters("replay", "--yes", "--rate", "1000")[1][-1] == f"replayed 3 to {place.ugc}"
    assert letters("replay", "--yes", "--rate", "1000")[1] == ["to replay: none"]
    assert place.values() == [b"0", b"1", b"2", b"3"]
    letters("replay", "--yes", "--rate", "1000", "--from-start", "--key", "k")
    assert place.values() == 2 * [b"0", b"1", b"2", b"3"]


def test_what_is_not_replayed_is_said_and_counted(quick: Place, letters: Command) -> None:
    """Letters that are cut, replayed often enough, not ours or not chosen are passed over, each with a count."""
    whole = died(quick.dead, quick.record(0, b"x" * 20_000))
    quick.bury(
        shortened(whole, 8192, lambda letter: len(letter.value or b"") + 3000),
        died(quick.dead, quick.record(1, b"1", b"k", ("moderation-replay-count", b"3"))),
        died(quick.dead, quick.record(2, b"2", b"k", ("moderation-replay-count", b"2"))),
        died(quick.dead, quick.record(3, b"3"), MappingError("x")),
        OutRecord(quick.dead, None, b""),
    )
    code, lines, _ = letters("replay", "--yes", "--stage", "decode", "--rate", "1000")
    assert code == 0
    passed = [
        "passed over 1, not chosen",
        "passed over 1, not ours",
        "passed over 1, replayed 3 times or more already",
        "passed over 1, truncated: a part of the original is missing",
    ]
    assert lines[:6] == [
        f"to replay: 1 to {quick.ugc}",
        *passed,
        "note: what is passed over stays behind: --from-start comes back to it",
    ]
    assert quick.values() == [b"2"]
    letters("replay", "--yes", "--from-start", "--reason", "malformed", "--max-replays", "4", "--rate", "1000")
    assert quick.values() == [b"2", b"1", b"2"]
    shown = letters("show", "0@0")[1]
    assert "           so it cannot be replayed; the original may still be where it came from" in shown
    assert letters("list")[1][0].endswith("no JSON (truncated)")
    assert letters("list")[1][1].endswith("no JSON (replayed 3 times)")


def test_what_was_replayed_once_is_said_so(quick: Place, letters: Command) -> None:
    """One replay is `once`, in the list and where replays are limited to it."""
    quick.bury(died(quick.dead, quick.record(0, b"0", b"k", ("moderation-replay-count", b"1"))))
    assert letters("list")[1][0].endswith("no JSON (replayed once)")
    assert "passed over 1, replayed once or more already" in letters("replay", "--yes", "--max-replays", "1")[1]


def test_replay_to_another_topic(quick: Place, letters: Command) -> None:
    """`--to` writes elsewhere and says when nothing there is moderated; a missing topic is told beforehand."""
    quick.bury(died(quick.dead, quick.record(0, b"0")))
    missing, other = unique("missing"), unique("other")
    code, _, said = letters("replay", "--yes", "--to", missing)
    assert code == 69
    assert f"0@0 would go to {missing}, but there is no such topic" in said
    quick.broker.create_topic(other)
    code, lines, _ = letters("replay", "--yes", "--to", other)
    assert code == 0
    assert f"note: {other} is not in kafka.topics: nothing of it is moderated with this configuration" in lines
    assert (quick.values(other), quick.values()) == ([b"0"], [])
    code, _, said = letters("replay", "--yes", "--to", quick.dead)
    assert code == 2
    assert "is the topic of dead letters itself" in said


class Terminal(io.StringIO):
    """What somebody types."""

    def isatty(self) -> bool:
        return True


def test_replay_asks_first(quick: Place, letters: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal it asks and takes no for an answer; without one it wants --yes or --dry-run."""
    quick.bury(died(quick.dead, quick.record(0, b"0")))
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    code, _, said = letters("replay")
    assert code == 2
    assert "say --yes to replay, or --dry-run to see what would go" in said
    monkeypatch.setattr(sys, "stdin", Terminal("n\n"))
    code, lines, _ = letters("replay")
    assert code == 130
    assert "replay 1 letter? each is a new event, which is judged, and billed, anew [y/N]" in "".join(lines)
    assert quick.values() == []
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    assert letters("replay")[0] == 0
    assert quick.values() == [b"0"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_replay_stops_at_a_signal(quick: Place, letters: Command, tmp_path: Path, number: signal.Signals) -> None:
    """A signal ends it after the letter at hand, with what was replayed recorded; the next run does the others."""
    quick.bury(*(died(quick.dead, quick.record(n, b"%d" % n)) for n in range(5)))
    command = [sys.executable, "-m", "consumer", "dead-letters", "replay", "--yes", "--rate", "4", "config.yaml"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while not quick.values():
            assert process.poll() is None
        process.send_signal(number)
        out, said = process.communicate(timeout=20)
    assert process.returncode == 128 + number
    assert said == "stopped; the next run goes on behind these\n"
    count = len(quick.values())
    assert 1 <= count < 5
    assert out.splitlines()[-1] == f"replayed {count} to {quick.ugc}"
    assert letters("replay", "--yes", "--rate", "1000")[0] == 0
    assert quick.values() == [b"0", b"1", b"2", b"3", b"4"]


def test_rate_is_kept(quick: Place, letters: Command) -> None:
    """Six records at ten a second take half a second, by the times of the records themselves."""
    quick.bury(*(died(quick.dead, quick.record(n, b"%d" % n)) for n in range(6)))
    assert letters("replay", "--yes", "--rate", "10")[0] == 0
    times = [record.timestamp for record in asyncio.run(everything(quick.broker, quick.ugc))]
    assert times[-1] - times[0] >= 450


def test_problems_of_the_settings_are_told(letters: Command, tmp_path: Path) -> None:
    """What is wrong with the sections of Kafka is told as ever; what is wrong elsewhere does not matter here."""
    file = tmp_path / "config.yaml"
    file.write_text("kafka: {bootstrap_servers: [b:9092], topics: [ugc], start: soon}\nmoderation: {regoin: x}\n")
    code, _, said = letters("list")
    assert code == 78
    assert [line.split(": ")[1] for line in said.splitlines()[1:]] == ["kafka.group_id", "kafka.start"]
    file.write_text("kafka: {bootstrap_servers: [b:9092], topics: [ugc], group_id: g, start: latest}\nkafak: {}\n")
    code, _, said = letters("list")
    assert code == 78
    assert "kafak: unknown key; did you mean kafka?" in said


def test_broker_that_is_not_there_is_told(letters: Command, tmp_path: Path) -> None:
    """Without a broker the error names it with a remedy and exit code 69."""
    (tmp_path / "config.yaml").write_text(
        "kafka: {bootstrap_servers: ['127.0.0.1:1'], topics: [ugc], group_id: g, start: latest}\n"
    )
    for command in (("list",), ("show", "0@0"), ("replay", "--dry-run")):
        code, _, said = letters(*command)
        assert code == 69
        assert said.startswith("Error: the Kafka broker 127.0.0.1:1 cannot be reached")


@pytest.mark.parametrize("command", [[], ["list"], ["show"], ["replay"]])
def test_help_fits_a_screen(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Each help has an example and no more than 45 lines."""
    with pytest.raises(SystemExit) as caught:
        cli.main(["dead-letters", *command, "--help"])
    assert caught.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    assert "  Example:" in lines
    assert len(lines) <= 45
