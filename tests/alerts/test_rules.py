"""Tests of the alert rules by Prometheus' own tool: each is right, fires, keeps silent, resolves, and is explained."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from consumer.meters import Counter, Histogram
from consumer.metrics import CATALOGUE, PREFIX
from consumer.moderation.protocol.codes import BUSINESS, GATEWAY, NO_ANSWER, NOT_SENT, UNKNOWN, UNREADABLE
from tests.alerts.rules import ROOT, RULES, Alert, alerts, expressions, faster, metrics_in
from tests.observed.prometheus import required


UNITS = Path(__file__).parent / "unit"
CASES = ("fires", "keeps silent", "resolves")
NAMES = sorted({alert.name for alert in alerts()})
EVERY = pytest.mark.parametrize("alert", alerts(), ids=lambda alert: f"{alert.name}-{alert.labels['severity']}")


def promtool(*arguments: object) -> str:
    """What promtool says; it is an error if it finds one."""
    command = [required("promtool", "prometheus"), *map(str, arguments)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def unit_tests(name: str) -> list[dict[str, Any]]:
    """The groups of tests of an alert."""
    document = yaml.safe_load((UNITS / f"{name}.yaml").read_text(encoding="utf-8"))
    groups: list[dict[str, Any]] = document["tests"]
    return groups


def test_the_rules_are_right() -> None:
    """Promtool finds no fault in the rules, and as many of them as the file has."""
    assert f"{len(expressions())} rules found" in promtool("check", "rules", RULES)


def test_the_unit_tests_pass() -> None:
    """Every alert does on made-up series what its unit tests say, at the minutes they say."""
    said = promtool("test", "rules", *sorted(UNITS.glob("*.yaml")))
    assert said.count("SUCCESS") == len(NAMES)


def test_the_rules_stay_right_when_they_are_made_faster(tmp_path: Path) -> None:
    """Divided by 60, a rule of minutes is one of seconds, and a day is 24 minutes; nothing else is changed."""
    fast = tmp_path / "rules.yaml"
    fast.write_text(faster(60))
    promtool("check", "rules", fast)
    rules = {
        rule.get("alert", rule.get("record")): rule
        for group in yaml.safe_load(fast.read_text())["groups"]
        for rule in group["rules"]
    }
    assert rules["ModerationRiskShareUnusual"]["for"] == "10000ms"
    assert "increase15m >= 30" in rules["ModerationRiskShareUnusual"]["expr"]
    assert "[1440000ms] offset 30000ms" in rules["moderation:risky:ratio1d"]["expr"]
    assert "> 10  # seconds" in rules["ModerationStuck"]["expr"]
    assert "< 300" in rules["ModerationCredentialsExpiring"]["expr"]


@pytest.mark.parametrize("name", NAMES)
def test_each_alert_is_tested_in_all_ways(name: str) -> None:
    """The unit tests of each alert have it fire with its texts, keep silent, and resolve after it fired."""
    groups = unit_tests(name)
    for case in CASES:
        assert any(group["name"].startswith(case) for group in groups), case
    for group in groups:
        tests = group["alert_rule_test"]
        assert {test["alertname"] for test in tests} == {name}
        outcomes = [bool(test["exp_alerts"]) for test in tests]
        wanted = {"fires": [True], "keeps": [False] * len(outcomes), "resolves": [True, False]}
        assert outcomes == wanted[group["name"].split()[0].rstrip(",")]
        for test in tests:
            for expected in test["exp_alerts"]:
                assert expected["exp_annotations"]["summary"]


def test_there_are_no_unit_tests_of_alerts_that_are_gone() -> None:
    """Each file of unit tests is about an alert of the rules."""
    assert sorted(path.stem for path in UNITS.glob("*.yaml")) == NAMES


@EVERY
def test_each_alert_is_explained(alert: Alert) -> None:
    """An alert has a severity, a short summary, values and a remedy in its description, and its own runbook."""
    assert alert.labels["severity"] in {"critical", "warning"}
    assert set(alert.annotations) == {"summary", "description", "runbook_url"}
    assert "$labels" in alert.annotations["summary"]
    assert len(alert.annotations["summary"]) < 140
    assert alert.annotations["description"].endswith(".")
    assert alert.annotations["runbook_url"] == f"docs/runbooks/{alert.name}.md"


@pytest.mark.parametrize("name", NAMES)
def test_each_alert_has_a_runbook(name: str) -> None:
    """The runbook says what it means, how to look, what to do and how to know it is over, and the table names it."""
    page = (ROOT / "docs" / "runbooks" / f"{name}.md").read_text(encoding="utf-8")
    assert page.startswith(f"# {name}\n")
    headings = re.findall(r"^## (.+)$", page, re.MULTILINE)
    assert headings == ["What it means", "How to look", "What to do", "How to know it is over"]
    assert f"[{name}](runbooks/{name}.md)" in (ROOT / "docs" / "alerts.md").read_text(encoding="utf-8")


def test_there_are_no_runbooks_of_alerts_that_are_gone() -> None:
    """Each runbook is about an alert of the rules."""
    assert sorted(path.stem for path in (ROOT / "docs" / "runbooks").glob("*.md")) == NAMES


def exposed() -> dict[str, set[str]]:
    """The names of all series that the program exposes, with the labels of their metrics."""
    found: dict[str, set[str]] = {}
    for metric in CATALOGUE:
        endings = {Counter: ("_total",), Histogram: ("_bucket", "_sum", "_count")}.get(metric.kind, ("",))
        found.update({f"{PREFIX}{metric.name}{ending}": set(metric.labels) for ending in endings})
    return found


def test_rules_and_runbooks_name_only_metrics_that_exist() -> None:
    """Each metric in a rule or in a query of a runbook is one that the program exposes."""
    known = exposed()
    for expression in expressions():
        assert metrics_in(expression) <= {*known, "up"}, expression
    for page in (ROOT / "docs" / "runbooks").glob("*.md"):
        named = set(re.findall(r"\bmoderation_[a-z_]+\b", page.read_text(encoding="utf-8"))) - {"moderation_type"}
        assert named <= known.keys(), page.name


def test_errors_of_calls_are_what_is_tried_again() -> None:
    """The codes that the error rate counts are those that the codes table has tried again, and no others."""
    (alert,) = [alert for alert in alerts() if alert.name == "ModerationCallErrors"]
    (pattern,) = re.findall(r'code=~"([^"]+)"', alert.expression)
    rows = [*BUSINESS.values(), *GATEWAY, UNKNOWN, UNREADABLE, NOT_SENT, NO_ANSWER]
    for row in rows:
        assert bool(re.fullmatch(pattern, str(row.code))) == (row.outcome == "retry"), row.code


def test_runbooks_look_for_words_that_are_logged() -> None:
    """What a runbook greps the log for is the name of a line that the program logs."""
    code = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "consumer").rglob("*.py"))
    for page in (ROOT / "docs" / "runbooks").glob("*.md"):
        for pattern in re.findall(r"kubectl logs .*\| grep (?:-E )?(\"[^\"]+\"|\w+)$", page.read_text(), re.MULTILINE):
            for word in pattern.strip('"').split("|"):
                assert f'"{word}"' in code, f"{page.name}: {word}"


def test_rules_sum_over_labels_that_exist() -> None:
    """A label that a rule matches or sums over belongs to one of its metrics, to a target, or to a replica."""
    known = exposed()
    every = set().union(*known.values()) | {"instance", "pod", "job"}
    for expression in expressions():
        lists = re.findall(r"(?:without|by|on|ignoring) \(([^)]*)\)", expression)
        matched = re.findall(r"(\w+)(?:=~|!~|!=|=)\"", expression)
        named = {name.strip() for one in lists for name in one.split(",")} | set(matched)
        assert named <= every, expression
