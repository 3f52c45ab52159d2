"""The fuzz of both transports in short, and that it would find what it looks for."""

from __future__ import annotations

import pytest

from consumer.moderation.calling.lean.connection import Connection
from consumer.moderation.calling.lean.reading import Reading
from fuzz.peer import KINDS, Said, Script, verdict
from fuzz.wire import DIFFERENCES, EXAMPLES, difference, main, script


def test_a_thousand_answers_break_no_promise(capsys: pytest.CaptureFixture[str]) -> None:
    """Random and mutated answers in random pieces end both transports alike, and the run says what it tried."""
    assert main(["--count", "1000", "--seed", "20260102"]) == 0
    said = capsys.readouterr().out
    assert "1000 answers" in said
    assert "no promise broken" in said
    assert "on the same connection" in said


def test_an_answer_can_be_had_again() -> None:
    """The same seed and number give the same answer in the same pieces, whatever was tried before."""
    assert [script(7, number) for number in range(50)] == [script(7, number) for number in range(50)]
    assert script(7, 0) != script(8, 0)


@pytest.mark.parametrize("raw", EXAMPLES[:-1])
@pytest.mark.parametrize("kind", KINDS)
def test_every_example_is_an_answer(raw: bytes, kind: str) -> None:
    """What the fuzz starts from is read by both transports where the connection is closed in order."""
    found = verdict("lean" if kind == "lean" else "aiohttp", Script((Said(raw),), "close"))
    assert found.answer is not None
    assert not found.broken


WHOLE = EXAMPLES[0]
LONG = WHOLE.replace(b"Date", b"X: y\r\n" * 200 + b"Date")
SHOWN = {
    "something unreadable behind the answer": Script((Said(WHOLE + b"x"),), "stay"),
    "lines against the rules": Script((Said(WHOLE.replace(b"\r\nDate", b"\nDate")),), "stay"),
    "very many headers, or a very long one": Script(
        (Said(WHOLE.replace(b"Date", b"X: y\r\n" * 200 + b"Date")),), "stay"
    ),
    "a reset as the end of a body": Script((Said(b"HTTP/1.1 200 OK\r\n\r\n{}"),), "reset"),
    "an unknown transfer coding": Script((Said(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: x\r\n\r\n{}"),), "close"),
    "silence behind a preliminary answer": Script((Said(b"HTTP/1.1 100 Go on\r\n\r\n"), Said(WHOLE, 5.0)), "stay"),
}


@pytest.mark.parametrize("name", DIFFERENCES)
def test_each_difference_that_is_listed_is_there(name: str) -> None:
    """Every difference has an answer that shows it, and no other reason is found for it."""
    found = SHOWN[name]
    assert difference(found, verdict("aiohttp", found), verdict("lean", found)) == name


def _uses_all_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Connection, "usable", property(lambda _: True, lambda *_: None))
    monkeypatch.setattr(Connection, "ready", lambda _: True)


def _takes_what_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Connection, "eof_received", lambda self: self._finish(self._reading or Reading()))


def _never_looks_at_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Connection, "look", lambda _: None)


def _fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RecursionError("too deep")

    monkeypatch.setattr(Reading, "on_message_complete", fail)
    monkeypatch.setattr(Connection, "_fail", fail)


@pytest.mark.parametrize("defect", [_uses_all_again, _takes_what_is_cut_off, _never_looks_at_the_time, _fails])
def test_a_transport_with_a_defect_is_found_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], defect: object
) -> None:
    """A transport that uses bad connections, takes half of an answer, hangs or fails ends the run with the bytes."""
    assert callable(defect)
    defect(monkeypatch)
    assert main(["--count", "300"]) == 1
    out = capsys.readouterr().out
    assert "seed 1, answer " in out
    assert "again: python -m fuzz.wire --seed 1 --start " in out
