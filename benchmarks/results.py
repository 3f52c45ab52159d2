"""What a benchmark found: a table, its charts and the bounds it is held against; kept as JSON."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from benchmarks.machine import Machine


if TYPE_CHECKING:
    from collections.abc import Sequence


__all__ = ["KEPT", "MEASURED", "Bound", "Chart", "Found", "Line", "Result", "adopt", "load", "save", "table"]


KEPT = Path(__file__).resolve().parent / "results"
"""The results that the page on performance is made from."""
MEASURED = KEPT.parents[1] / ".cache" / "bench"
"""Where what is measured goes at first."""


@dataclass(frozen=True, slots=True)
class Line:
    """One contender's points in a chart, as (x, y)."""

    name: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """A picture of a result.

    Attributes:
        title: what it shows.
        x: what goes to the right, with its unit.
        y: what goes up, with its unit.
        lines: who does how.
        ticks: the names of the whole numbers on the x axis; with them the chart has bars, else lines.
        logarithmic: whether x is drawn by its order of magnitude.
    """

    title: str
    x: str
    y: str
    lines: tuple[Line, ...]
    ticks: tuple[str, ...] = ()
    logarithmic: bool = False


@dataclass(frozen=True, slots=True)
class Bound:
    """A figure and what it has to be."""

    what: str
    measured: float
    bound: float
    at_most: bool = False

    @property
    def held(self) -> bool:
        """Whether it is as it has to be."""
        return self.measured <= self.bound if self.at_most else self.measured >= self.bound


@dataclass(frozen=True, slots=True)
class Found:
    """What a question's answer is."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    charts: tuple[Chart, ...] = ()
    bounds: tuple[Bound, ...] = ()
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        said = [table(self.title, self.columns, self.rows), *(f"- {note}" for note in self.notes)]
        for one in self.bounds:
            sign = "≤" if one.at_most else "≥"
            said.append(f"- {'held' if one.held else 'NOT held'}: {one.what} {one.measured:,.3g} {sign} {one.bound:g}")
        return "\n".join(said)


@dataclass(frozen=True, slots=True)
class Result:
    """An answer, with where and when it was found and how long that took."""

    name: str
    found: Found
    machine: Machine
    measured_at: str
    seconds: float
    plan: dict[str, Any]


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table with its title."""
    lines = [f"### {title}", "", "| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def save(result: Result, folder: Path) -> None:
    """Write a result as JSON into a folder, over an earlier one of the same question."""
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"{result.name}.partial"
    partial.write_bytes(orjson.dumps(result, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    partial.replace(folder / f"{result.name}.json")


def load(folder: Path) -> dict[str, Result]:
    """All results in a folder, by the names of their questions."""
    found = (_result(orjson.loads(path.read_bytes())) for path in sorted(folder.glob("*.json")))
    return {one.name: one for one in found}


def adopt(measured: Path, kept: Path) -> list[str]:
    """Take results over into another folder, over earlier ones; returns the names of their files."""
    kept.mkdir(parents=True, exist_ok=True)
    paths = sorted(measured.glob("*.json"))
    for path in paths:
        shutil.copyfile(path, kept / path.name)
    return [path.name for path in paths]


def _result(said: dict[str, Any]) -> Result:
    found = said["found"]
    charts = tuple(
        Chart(
            one["title"],
            one["x"],
            one["y"],
            tuple(Line(line["name"], tuple((x, y) for x, y in line["points"])) for line in one["lines"]),
            tuple(one["ticks"]),
            one["logarithmic"],
        )
        for one in found["charts"]
    )
    answer = Found(
        found["title"],
        tuple(found["columns"]),
        tuple(tuple(row) for row in found["rows"]),
        charts,
        tuple(Bound(**one) for one in found["bounds"]),
        tuple(found["notes"]),
    )
    machine = Machine(**said["machine"])
    return Result(said["name"], answer, machine, said["measured_at"], said["seconds"], said["plan"])
