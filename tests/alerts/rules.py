"""The alert rules as tests read them: their texts, the metrics they name, and all their times divided by a factor."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml


if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


__all__ = ["ROOT", "RULES", "Alert", "alerts", "expressions", "faster", "metrics_in"]


ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "helm" / "moderation-consumer" / "rules" / "moderation-consumer.yaml"

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_DURATION = re.compile(r"(\d+)(ms|[smhdw])")
# Where a rule has durations: the ranges and steps in brackets, and offsets.
_IN_EXPRESSION = re.compile(r"(?<=\[)[^\]]+(?=\])|(?<=\boffset )\w+")
_MARKED = re.compile(r"\b(\d+)(?=  # seconds)")
_METRIC = re.compile(r"\b(?:moderation_\w+|up)\b(?!\s*[:=(])")
_QUOTED = re.compile(r'"[^"]*"')


@dataclass(frozen=True, slots=True)
class Alert:
    """One alerting rule, as the file has it."""

    name: str
    expression: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]


def alerts() -> list[Alert]:
    """All alerts; a name may come twice, with two severities."""
    return [
        Alert(rule["alert"], rule["expr"], rule["labels"], rule["annotations"])
        for rule in _rules(_document())
        if "alert" in rule
    ]


def expressions() -> list[str]:
    """The expressions of all rules, recording rules included."""
    return [rule["expr"] for rule in _rules(_document())]


def metrics_in(expression: str) -> set[str]:
    """The metrics that an expression names, but for the series that our own rules record."""
    return set(_METRIC.findall(_QUOTED.sub('""', expression)))


def faster(factor: float) -> str:
    """The rules with each of their times divided by `factor`, so that an hour passes in an hour / factor.

    These are `for`, the ranges and offsets of the expressions, and the numbers that are marked as seconds. Numbers of
    anything else stay, and so do the seconds until credentials or a certificate expire: those are told by the world.
    """
    document = _document()
    for rule in _rules(document):
        rule["expr"] = _MARKED.sub(lambda found: f"{int(found[1]) / factor:g}", rule["expr"])
        rule["expr"] = _IN_EXPRESSION.sub(lambda found: _divided(found[0], factor), rule["expr"])
        if "for" in rule:
            rule["for"] = _divided(rule["for"], factor)
    return yaml.safe_dump(document, sort_keys=False)


def _divided(text: str, factor: float) -> str:
    return _DURATION.sub(lambda found: f"{round(int(found[1]) * _UNITS[found[2]] / factor * 1000)}ms", text)


def _document() -> Any:
    return yaml.safe_load(RULES.read_text(encoding="utf-8"))


def _rules(document: Any) -> Iterator[dict[str, Any]]:
    for group in document["groups"]:
        yield from group["rules"]
