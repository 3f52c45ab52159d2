"""`moderation-consumer test`: what cases may say, what a failing one shows, and what is said of a wrong file."""

from __future__ import annotations

import json
import os
import xml.etree.ElementTree as ET
from base64 import b64encode
from typing import TYPE_CHECKING

import pytest
import yaml

from consumer import cli


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Command = Callable[..., tuple[int, str, str]]


__all__: list[str] = []


CONFIG = """\
kafka: {bootstrap_servers: [broker:9092], topics: [ugc, comments], group_id: g, start: latest}
moderation: {region: cn-shanghai}
routes:
  - {name: posts, when: {kind: [post]}, services: [post_text_image_detection]}
  - {name: late, when: {topic: [comments]}, services: [comment_detection_pro], deadline_seconds: 60}
  - {name: rest, services: [ugc_moderation_byllm, baselineCheck]}
output: {topics: {block: ugc.blocked}}
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """`run(cases, *options)` is the exit code, and what is on standard output and standard error."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(("MODERATION", "ALIBABA_CLOUD_"))]:
        monkeypatch.delenv(name)
    (tmp_path / "config.yaml").write_text(CONFIG)

    def run(cases: str, *options: str, format_of: str = "") -> tuple[int, str, str]:
        (tmp_path / "config.yaml").write_text(CONFIG + format_of)
        (tmp_path / "config.tests.yaml").write_text(cases)
        with pytest.raises(SystemExit) as caught:
            cli.main(["test", "config.yaml", *options])
        said = capsys.readouterr()
        assert isinstance(caught.value.code, int)
        return caught.value.code, said.out, said.err

    return run


def test_what_a_plugin_prints_is_no_result(run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a plugin prints when it is imported and when it is called is on standard error, beside the results."""
    code = "print('imported')\ndef asked(document, record):\n    print('asked')\n    return document\n"
    (tmp_path / "acme_printing.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    case = "tests: [{name: a, record: {value: {id: 1, kind: post, text: hello}}, expect: {route: posts}}]"
    code_found, out, err = run(case, format_of="mapping: {plugin: 'acme_printing:asked'}\n")
    assert code_found == 0, err
    assert err.split()[:2] == ["imported", "asked"]
    assert "imported" not in out
    assert "asked" not in out


def test_a_configuration_is_not_taken_for_cases(run: Command) -> None:
    """A configuration given as cases is told what a file of cases holds, and of no variables or keys of settings."""
    code, _, err = run("x-shared: 1\n" + CONFIG)
    assert code == 78
    assert "config.tests.yaml:2:1: kafka: unknown key; expected tests\n" in err
    assert "tests: required, but not set\n" in err
    assert "$" not in err


def one(value: object, expect: object, **more: object) -> str:
    """A file with one case."""
    record = {"value": value, **(more.pop("record", {}))}  # type: ignore[dict-item]  # a mapping of the test's own
    return yaml.safe_dump({"tests": [{"name": "it", "record": record, "expect": expect, **more}]})


TEXT = {"id": "1", "text": "hello there"}
POST = {"id": "1", "kind": "post", "text": "a post", "images": ["https://x.example/1.jpg"]}


@pytest.mark.parametrize(
    "case",
    [
        one(TEXT, {"route": "rest", "verdict": {"action": "pass", "risk_level": "none", "labels": []}}),
        one(TEXT, {"calls": [{"service": "ugc_moderation_byllm", "text": "hello there"}]}),
        one(
            TEXT, {"topic": "ugc.blocked"}, service=[{"text": "hello", "risk_level": "high", "labels": ["violent_gun"]}]
        ),
        one(
            TEXT,
            {"verdict": {"risk_level": "medium", "labels": ["b", "a"]}},
            service=[{"text": "other", "risk_level": "high"}, {"risk_level": "medium", "labels": ["a", "b"]}],
        ),
        one(TEXT, {"verdict": {"attempts": 3, "action": "pass"}}, service=[{"fault": "code=588,count=2"}]),
        one(TEXT, {"verdict": {"attempts": 2}}, service=[{"fault": "hang,count=1"}]),
        one(TEXT, {"verdict": {"attempts": 2}}, service=[{"fault": "reset,count=1"}]),
        one(TEXT, {"dead_letter": "moderate/400"}, service=[{"fault": "code=400"}]),
        one("no JSON", {"dead_letter": "decode/malformed", "topic": "moderation.dead-letters", "calls": []}),
        one("no JSON", {"dead_letter": "malformed"}),
        one(None, {"skipped": True}),
        one(TEXT, {"route": "late"}, record={"topic": "comments", "age_seconds": 59}),
        one(TEXT, {"calls": [], "verdict": {"action": "review"}}, record={"topic": "comments", "age_seconds": 61}),
        one(POST, {"route": "posts", "calls": [{"service": "post_text_image_detection", "text": "a post"}]}),
        one(
            POST,
            {"verdict": {"action": "block", "labels": ["sexual_nudity"]}, "topic": "ugc.blocked"},
            service=[{"image": "/1.jpg", "risk_level": "high", "labels": ["sexual_nudity"]}],
        ),
        one(
            {**TEXT, "images": ["https://x.example/2.jpg"]},
            {
                "calls": [
                    {"service": "baselineCheck", "images": ["https://x.example/2.jpg"]},
                    {"service": "ugc_moderation_byllm"},
                ]
            },
        ),
    ],
)
def test_a_case_that_holds_passes(run: Command, case: str) -> None:
    """Routes, calls, verdicts, topics, dead letters, skipped records, faults and deadlines can all be expected."""
    code, out, err = run(case)
    assert (code, out.splitlines()[0], err) == (0, "ok    it", "")


@pytest.mark.parametrize(
    ("case", "lines"),
    [
        (
            one(TEXT, {"route": "posts", "verdict": {"action": "pass", "risk_level": "high"}}),
            ["- route: posts", "+ route: rest", "  verdict:", "    action: pass", "-   risk_level: high"],
        ),
        (one(TEXT, {"dead_letter": "map/mapping"}), ["- dead_letter: map/mapping", "+ verdict:", "+   action: pass"]),
        (one("no JSON", {"route": "rest"}), ["- route: rest", "+ dead_letter: decode/malformed"]),
        (one(None, {"verdict": {"action": "pass"}}), ["- verdict:", "-   action: pass", "+ skipped: true"]),
        (
            one(TEXT, {"calls": [{"service": "baselineCheck"}]}),
            ["- - service: baselineCheck", "+ - service: ugc_moderation_byllm", "+   text: hello there"],
        ),
        (
            one(TEXT, {"verdict": {"action": "pass"}}, service=[{"fault": "code=Forbidden.RAM"}]),
            ["- verdict:", "it never ended: it is held for permission"],
        ),
        (
            one(TEXT, {"verdict": {"action": "pass"}}, service=[{"fault": "http_502"}]),
            ["it never ended: no usable answer came to 10"],
        ),
    ],
)
def test_a_case_that_fails_shows_the_difference(run: Command, case: str, lines: list[str]) -> None:
    """A failing case exits with 1, and shows line by line what was expected and what was found, without colours."""
    code, out, _ = run(case)
    assert code == 1
    assert "FAIL  it  (config.tests.yaml:2:3)" in out
    assert "\x1b" not in out
    for line in lines:
        assert line in out
    assert out.splitlines()[-1].startswith("0 passed, 1 failed")


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ("", "config.tests.yaml:1:1: holds no cases: a list `tests:` is expected, each with name, record and expect"),
        ("tests: {a: 1", "config.tests.yaml:1:13: not valid YAML: a mapping in { } is not closed"),
        ("tests: []\n", "holds no cases"),
        (one(TEXT, {"rout": "rest"}), "tests[0].expect.rout: unknown key; did you mean route?"),
        (one(TEXT, {"route": "rests"}), "tests[0].expect.route: there is no route rests; did you mean rest?"),
        (one(TEXT, {}), "tests[0].expect: expects nothing; say at least one of route"),
        (one(TEXT, {"verdict": {"action": "blok"}}), "found 'blok', expected one of pass, review, block; did you mean"),
        (one(TEXT, {"calls": [{"service": "baselinecheck"}]}), "there is no service baselinecheck; did you mean"),
        (one(TEXT, {"route": "rest"}, service=[{"fault": "kode=588"}]), "'kode' is no kind of fault"),
        (one(TEXT, {"route": "rest"}, service=[{"labels": ["a"]}]), "needs either risk_level or fault"),
        (one(TEXT, {"verdict": {"action": "pass"}, "dead_letter": "a"}), "verdict contradicts dead_letter; keep one"),
        (one(TEXT, {"route": "rest"}, record={"value_base64": "aGk="}), "value contradicts value_base64; keep one"),
        (
            "tests:\n- {name: a, record: {value: {id: 1, posted_at: 2026-01-01}}, expect: {route: rest}}\n",
            "config.tests.yaml:2:37: tests[0].record.value.posted_at: found a date, which JSON does not have",
        ),
        (
            "tests:\n- &a {name: a, record: {value: {id: 1}}, expect: {route: rest}}\n- *a\n",
            "tests[1].name: is the name of the case at config.tests.yaml:2:3, too",
        ),
        (
            "tests:\n- {name: a, record: {value_file: no.bin}, expect: {route: rest}}\n",
            "value_file no.bin cannot be read: no such file or directory",
        ),
    ],
)
def test_a_wrong_file_is_told_with_its_place(run: Command, case: str, said: str) -> None:
    """A file of cases that cannot be used exits with 78, and each fault has its place and the nearest right name."""
    code, out, err = run(case)
    assert (code, out) == (78, "")
    assert err.startswith("the cases are not usable:\n  config.tests.yaml")
    assert said in err


def test_junit_has_every_case(run: Command, tmp_path: Path) -> None:
    """`--junit` writes a document with each case, and the difference of those that fail."""
    good, bad = one(TEXT, {"route": "rest"}), one(TEXT, {"route": "posts"}).replace("name: it", "name: <bad> & \\x01")
    both = {"tests": yaml.safe_load(good)["tests"] + yaml.safe_load(bad)["tests"]}
    code, _, _ = run(json.dumps(both), "--junit", "results.xml")
    assert code == 1
    suite = ET.parse(tmp_path / "results.xml").getroot()[0]
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    first, second = suite.findall("testcase")
    assert first.find("failure") is None
    failure = second.find("failure")
    assert failure is not None
    assert "- route: posts\n+ route: rest" in (failure.text or "")


def test_only_some_are_tried(run: Command) -> None:
    """`--only` chooses by name or pattern, and a name that is not there is answered with the nearest."""
    cases = [
        {"name": name, "record": {"value": TEXT}, "expect": {"route": "rest"}} for name in ("spam", "spam 2", "ham")
    ]
    written = json.dumps({"tests": cases})
    assert run(written, "--only", "spam*")[1].splitlines()[:2] == ["ok    spam", "ok    spam 2"]
    assert "1 passed" in run(written, "--only", "ham")[1]
    code, _, err = run(written, "--only", "spamm")
    assert code == 2
    assert "there is no case 'spamm'; did you mean spam?" in err


def test_bytes_and_other_formats_come_in(run: Command, tmp_path: Path) -> None:
    """A value can be bytes or a file of them, and where records are Avro a mapping stands for what is decoded."""
    value = json.dumps(TEXT).encode()
    (tmp_path / "record.bin").write_bytes(value)
    given = [{"value_base64": b64encode(value).decode()}, {"value_file": "record.bin"}]
    cases = [{"name": str(number), "record": one, "expect": {"route": "rest"}} for number, one in enumerate(given)]
    assert run(json.dumps({"tests": cases}))[0] == 0
    avro = "format: {encoding: avro, schema_registry: {url: 'http://registry.invalid:8081'}}\n"
    assert run(one(TEXT, {"route": "rest"}), format_of=avro)[0] == 0


def test_without_cases_it_says_where_they_belong(run: Command, tmp_path: Path) -> None:
    """Where there is no file of cases, the message names the one that was looked for, with exit code 2."""
    run(one(TEXT, {"route": "rest"}))
    (tmp_path / "config.tests.yaml").rename(tmp_path / "others.yaml")
    with pytest.raises(SystemExit) as caught:
        cli.main(["test", "config.yaml"])
    assert caught.value.code == 2
    with pytest.raises(SystemExit) as caught:
        cli.main(["test", "config.yaml", "--tests", "others.yaml"])
    assert caught.value.code == 0
