"""`moderation-consumer test` with several records in a case: what comes one after the other, and depends on that."""

from __future__ import annotations

import json
import os
import random
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from consumer import cli


if TYPE_CHECKING:
    from collections.abc import Callable

    Command = Callable[..., tuple[int, str, str]]


__all__: list[str] = []


ROOT = Path(__file__).parents[2]
CONFIG = """\
kafka: {bootstrap_servers: [broker:9092], topics: [ugc, backfill], group_id: g, start: latest}
moderation: {region: cn-shanghai}
routes:
  - {name: posts, when: {kind: [post, comment]}, services: [post_text_image_detection]}
  - {name: live, when: {topic: [ugc], has_images: false}, services: [ugc_moderation_byllm], weight: 10}
  - {name: backfill, when: {has_images: false}, services: [ugc_moderation_byllm]}
  - {name: images, services: [baselineCheck]}
"""
LLM = {"service": "ugc_moderation_byllm"}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """`run(cases, *options)` is the exit code, and what is on standard output and standard error."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(("MODERATION", "ALIBABA_CLOUD_"))]:
        monkeypatch.delenv(name)

    def run(cases: list[dict[str, Any]], *options: str, more: str = "") -> tuple[int, str, str]:
        (tmp_path / "config.yaml").write_text(CONFIG + more)
        lines = ",\n".join(json.dumps(case) for case in cases)
        (tmp_path / "config.tests.yaml").write_text(f'{{"tests": [\n{lines}\n]}}')
        with pytest.raises(SystemExit) as caught:
            cli.main(["test", "config.yaml", *options])
        said = capsys.readouterr()
        assert isinstance(caught.value.code, int)
        return caught.value.code, said.out, said.err

    return run


def text(name: str, words: str, **more: object) -> dict[str, Any]:
    return {"value": {"id": name, "text": words}, **more}


def case(*records: dict[str, Any], **more: object) -> dict[str, Any]:
    return {"name": "it", "records": list(records), **more}


def holds(run: Command, given: dict[str, Any], more: str = "") -> bool:
    code, out, err = run([given], more=more)
    assert (code, err) == (0, ""), out + err
    return out.startswith("ok    it\n")


def test_the_same_text_is_paid_once_while_it_is_remembered(run: Command) -> None:
    """A repeated text is joined or remembered without a call of its own, and called for anew when it is forgotten."""
    fresh = {"calls": [LLM], "verdict": {"source": "service", "attempts": 1}}
    records = (
        text("1", "hello", expect=fresh),
        text("2", "hello", expect={"calls": [], "verdict": {"source": "joined"}}),
        text("3", "hello", after_seconds=0.02, expect={"calls": [], "verdict": {"source": "joined"}}),
        text("4", "hello", after_seconds=599, expect={"calls": [], "verdict": {"source": "cache", "attempts": 0}}),
        text("5", "hello", after_seconds=2, expect=fresh),
    )
    assert holds(run, case(*records))
    assert holds(run, case(*(one | {"expect": {"calls": [LLM]}} for one in records)), "cache: {seconds: 0}\n")


def test_who_calls_again_after_a_useless_answer_has_that_call(run: Command) -> None:
    """Where an answer for two records is of use to neither, the second is called for anew, and has that call."""
    records = (
        text("1", "hello", expect={"calls": [LLM], "verdict": {"action": "review"}}),
        text("2", "hello", expect={"calls": [LLM], "verdict": {"action": "pass"}}),
    )
    assert holds(run, case(*records, service=[{"fault": "no_risk_level,count=2"}]))


def test_a_thread_is_judged_by_one_call(run: Command) -> None:
    """Events of a thread stand in one call, which is the first one's, and each has the verdict of its own part."""
    post = {"id": "p", "kind": "post", "thread": "t", "text": "a post"}
    comment = {"id": "c", "kind": "comment", "thread": "t", "parent": "p", "text": "a threat"}
    records = (
        {
            "value": post,
            "expect": {
                "calls": [{"service": "post_text_image_detection", "text": "a post\na threat"}],
                "verdict": {"action": "pass", "source": "thread"},
            },
        },
        {"value": comment, "expect": {"calls": [], "verdict": {"action": "block", "source": "thread"}}},
        {
            "value": {**comment, "id": "d"},
            "after_seconds": 60,
            "expect": {"calls": [{"service": "post_text_image_detection", "text": "a threat"}]},
        },
    )
    assert holds(run, case(*records, service=[{"text": "threat", "risk_level": "high", "labels": ["violent_gun"]}]))


@pytest.mark.parametrize(
    ("order", "same_key", "other_key", "no_key"),
    [("unordered", (4, 1), 2, 3), ("key", (3, 4), 1, 2), ("partition", (1, 2), 3, 4)],
)
def test_the_order_in_which_verdicts_leave_shows(
    run: Command, order: str, same_key: tuple[int, int], other_key: int, no_key: int
) -> None:
    """Behind a slow record those of its key wait, those of its partition, or none, as `delivery.order` says."""
    given = case(
        text("1", "slow", key="a", expect={"position": same_key[0]}),
        text("2", "quick", key="a", after_seconds=0.1, expect={"position": same_key[1]}),
        text("3", "other", key="b", after_seconds=0.1, expect={"position": other_key}),
        text("4", "none", after_seconds=0.1, expect={"position": no_key}),
        service=[{"text": "slow", "fault": "hang,count=1"}],
    )
    assert holds(run, given, f"delivery: {{order: {order}}}\n")


@pytest.mark.parametrize(("topic", "earlier", "later"), [("ugc", 4, 3), ("backfill", 3, 4)])
def test_quotas_and_weights_are_kept(run: Command, topic: str, earlier: int, later: int) -> None:
    """While calls wait for a quota the heavier route goes first, and services of another quota do not wait."""
    picture = {"topic": "backfill", "value": {"id": "4", "images": ["https://x.example/1.jpg"]}}
    given = case(
        text("1", "a", topic="backfill", expect={"position": 1}),
        text("2", "b", topic="backfill", after_seconds=0.5, expect={"position": earlier}),
        text("3", "c", topic=topic, after_seconds=0.1, expect={"position": later}),
        {**picture, "expect": {"position": 2}},
    )
    assert holds(run, given, "quota: {text_per_second: 1}\n")


def test_a_budget_is_spent_and_comes_again(run: Command) -> None:
    """When a budget is spent the next record goes to people unpaid, and in the next period it is paid for again."""
    more = "budgets: [{name: b, period: hour, limit: 2, unit: units, when_spent: review}]\n"
    given = case(
        text("1", "a", expect={"verdict": {"action": "pass"}}),
        text("2", "b", after_seconds=5, expect={"verdict": {"action": "pass"}}),
        text("3", "c", after_seconds=5, expect={"calls": [], "verdict": {"action": "review"}}),
        text("4", "d", after_seconds=3600, expect={"calls": [LLM], "verdict": {"action": "pass"}}),
    )
    assert holds(run, given, more)


def test_each_record_ends_in_its_own_way(run: Command, tmp_path: Path) -> None:
    """Verdicts, dead letters, skipped records and bytes in one case are each told from the others."""
    (tmp_path / "one.json").write_bytes(json.dumps({"id": "6", "text": "from a file"}).encode())
    records = (
        {"value": None, "expect": {"skipped": True}},
        text("2", "a", expect={"verdict": {"event_id": "2"}}),
        {"value": "no JSON", "expect": {"dead_letter": "decode/malformed", "position": 1}},
        {"value": None, "after_seconds": 86_400, "expect": {"skipped": True}},
        text("5", "late", age_seconds=7, expect={"verdict": {"event_id": "5"}, "position": 3}),
        {"value_file": "one.json", "expect": {"calls": [{**LLM, "text": "from a file"}], "position": 4}},
    )
    assert holds(run, case(*records))


def test_the_difference_names_the_record(run: Command, tmp_path: Path) -> None:
    """Only records that differ are shown, each by its number and place, and JUnit has them in its one test case."""
    good, bad = text("1", "a", expect={"route": "live"}), text("2", "b", after_seconds=1, expect={"route": "posts"})
    code, out, _ = run([case(good, bad, {"value": "no JSON"}), {**case(good), "name": "fine"}], "--junit", "j.xml")
    assert code == 1
    lines = [line.strip() for line in out.splitlines()]
    place = json.dumps(case(good)).index('{"value"')
    assert lines[0] == "FAIL  it  (config.tests.yaml:2:1)"
    assert lines[1].startswith("record 2 of 3 (config.tests.yaml:2:")
    assert int(lines[1].rstrip(")").rpartition(":")[2]) > place + 1
    assert lines[2:4] == ["- route: posts", "+ route: live"]
    assert lines[5].startswith("record 3 of 3 (")
    assert lines[6] == "+ dead_letter: decode/malformed"
    assert "record 1" not in out
    assert lines[-2:] == ["ok    fine", lines[-1]]
    tried = ET.parse(tmp_path / "j.xml").getroot()[0].findall("testcase")
    assert [one.get("name") for one in tried] == ["it", "fine"]
    failure = tried[0].find("failure")
    assert failure is not None
    assert "record 2 of 3 (config.tests.yaml:2:" in (failure.text or "")
    assert failure.get("message", "").count("record ") == 2
    assert tried[1].find("failure") is None


def test_one_that_never_ends_leaves_the_others_alone(run: Command) -> None:
    """A record that is held is told to wait for that, while those after it go on to their verdicts."""
    given = case(
        text("1", "a", expect={"verdict": {"action": "pass"}}),
        {"value": {"id": "2", "images": ["https://x.example/1.jpg"]}, "after_seconds": 7200, "expect": {"position": 1}},
        service=[{"text": "a", "fault": "http_502"}],
    )
    code, out, _ = run([given])
    assert code == 1
    assert "+ waits_for: no usable answer came to 1" in out
    assert "record 2" not in out


def test_chance_is_the_same_each_time(run: Command) -> None:
    """A case in which chance plays a part, such as the pauses of retries, ends the same way each time."""
    records = [text(str(number), f"text {number}") for number in range(8)]
    given = case(*records, service=[{"fault": "code=588,count=5"}])
    wrong = case(*(one | {"expect": {"position": 8}} for one in records[-1:]), *records[:-1], service=given["service"])
    random.seed(1)
    first = run([wrong])[1].splitlines()[:-1]
    random.seed(2)
    assert run([wrong])[1].splitlines()[:-1] == first


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (case(text("1", "a"), record=text("1", "a")), "tests[0].records: contradicts record; keep one"),
        (case(text("1", "a", expect={"route": "live"}), expect={"route": "live"}), "tests[0].expect: contradicts rec"),
        ({"name": "it", "expect": {"route": "live"}}, "tests[0]: needs record, or records where several come in"),
        ({"name": "it", "recods": []}, "tests[0].recods: unknown key; did you mean record"),
        ({"name": "it", "record": text("1", "a")}, "tests[0].expect: required, but not set"),
        (case(), "tests[0].records: found a list without entries, expected a list with at least one entry"),
        (case() | {"records": None}, "tests[0].records: found nothing, expected a list of records"),
        (case(text("1", "a")), "tests[0].records: expect nothing; say what is to become of at least one"),
        (case(text("1", "a", expect={})), "tests[0].records[0].expect: expects nothing; say at least one of route"),
        (
            case(text("1", "a", after_secs=1)),
            "tests[0].records[0].after_secs: unknown key; did you mean after_seconds?",
        ),
        (case({"key": "a"}), "tests[0].records[0]: needs one of value, value_base64, value_file"),
        (case(text("1", "a", value_file="no.bin", expect={"route": "live"})), "value contradicts value_file; keep one"),
        (
            case({"value_file": "no.bin", "expect": {"route": "live"}}),
            "tests[0].records[0]: value_file no.bin cannot be read",
        ),
        (
            {"name": "it", "record": text("1", "a", after_seconds=1), "expect": {"route": "live"}},
            "tests[0].record.after_seconds: is for records, of which several come in; leave it out, or list them",
        ),
        (
            {"name": "it", "record": text("1", "a", expect={"route": "live"})},
            "tests[0].record.expect: contradicts record, beside which it stands; move it there",
        ),
        (
            {"name": "it", "record": text("1", "a"), "expect": {"position": 1}},
            "tests[0].expect.position: a record that comes alone is written first; leave it out",
        ),
        (
            case(text("1", "a", after_seconds=1, expect={"route": "live"})),
            "tests[0].records[0].after_seconds: the first record comes after no other; leave it out",
        ),
        (
            case(text("1", "a"), text("2", "b", after_seconds=-1, expect={"route": "live"})),
            "tests[0].records[1].after_seconds: found -1, expected a number of at least 0",
        ),
        (
            case(text("1", "a"), text("2", "b", expect={"route": "lives"})),
            "tests[0].records[1].expect.route: there is no route lives; did you mean live?",
        ),
        (
            case(text("1", "a"), text("2", "b", expect={"calls": [{"service": "baselinecheck"}]})),
            "tests[0].records[1].expect.calls[0].service: there is no service baselinecheck; did you mean",
        ),
        (
            case(text("1", "a"), text("2", "b", expect={"position": 3})),
            "tests[0].records[1].expect.position: found 3, but there are 2 records",
        ),
        (
            case(text("1", "a", expect={"position": 2}), text("2", "b", expect={"position": 2})),
            "tests[0].records[1].expect.position: is the position of records[0], too",
        ),
    ],
)
def test_a_wrong_case_is_told_with_its_place(run: Command, given: dict[str, Any], said: str) -> None:
    """What cannot stand together, or cannot come true, exits with 78, a place, and the nearest right name."""
    code, out, err = run([given])
    assert (code, out) == (78, "")
    assert err.startswith("the cases are not usable:\n  config.tests.yaml:2:")
    assert said in err
    assert "Traceback" not in err


@pytest.mark.parametrize("file", sorted((ROOT / "config").glob("*.tests.yaml")), ids=lambda file: file.name)
def test_the_examples_pass(file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The cases beside each example in config/ all pass."""
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit) as caught:
        cli.main(["test", f"config/{file.name.removesuffix('.tests.yaml')}.yaml"])
    assert (caught.value.code, " 0 failed" in capsys.readouterr().out) == (0, True)


def test_the_cases_on_the_page_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The cases that docs/testing.md shows all hold with config/minimal.yaml."""
    monkeypatch.chdir(ROOT)
    shown = re.findall(r"```yaml\n(tests:.*?)```", Path("docs/testing.md").read_text(encoding="utf-8"), re.DOTALL)
    files = [tmp_path / f"{number}.yaml" for number in range(len(shown))]
    for file, cases in zip(files, shown, strict=True):
        file.write_text(cases)
    with pytest.raises(SystemExit) as caught:
        cli.main(["test", "config/minimal.yaml", *(word for file in files for word in ("--tests", str(file)))])
    assert (caught.value.code, "3 passed, 0 failed" in capsys.readouterr().out) == (0, True)
