"""Results and what is made of them: JSON, tables, charts, the flame graph, and the page."""

from __future__ import annotations

import sysconfig
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import flame, plots
from benchmarks.__main__ import QUESTIONS
from benchmarks.areas import AREAS, areas
from benchmarks.heap import Heap, load_heap, stack_of
from benchmarks.heap import told as told_of_heap
from benchmarks.machine import machine
from benchmarks.profile import load_profile, taken, told
from benchmarks.report import PAGE, PICTURES, page, pictures
from benchmarks.results import KEPT, Bound, Chart, Found, Line, Result, adopt, load, save


if TYPE_CHECKING:
    from pathlib import Path


LINES = (
    Line("bare window", ((1.0, 3000.0), (10.0, 3200.0))),
    Line("moderation-consumer", ((1.0, 6100.0), (10.0, 6500.5))),
)
FOUND = Found(
    "Partitions: 20 events",
    ("partitions", "events/s"),
    (("1", "6,100"), ("10", "6,500")),
    (Chart("By partitions", "partitions", "events/s", LINES, logarithmic=True),),
    (Bound("faster than the bare window", 2.03, 1.8), Bound("memory, MB", 81, 80, at_most=True)),
    ("somebody was <left> out",),
)
SAMPLES = {
    ("main", "poll (consumer/engine/window.py:3)", "sign (consumer/moderation/protocol/signing.py:9)"): 60,
    ("main", "poll (consumer/engine/window.py:3)"): 30,
    ("main", "elsewhere (x.py:1)"): 9,
    ("main", "seldom (x.py:2)"): 1,
}


def result(name: str) -> Result:
    return Result(name, FOUND, machine(), "2026-01-31 12:00 UTC", 3.5, {"events": 20})


def words(svg: str) -> list[str]:
    """All that a picture says, which has to be well-formed for that."""
    return [text for text in ET.fromstring(svg).itertext() if text.strip()]


def test_a_result_is_read_as_it_was_written(tmp_path: Path) -> None:
    """A result that is saved and loaded again is the same, and the later one of a question counts."""
    save(result("order"), tmp_path)
    save(result("partitions"), tmp_path)
    save(result("order"), tmp_path)
    found = load(tmp_path)
    assert list(found) == ["order", "partitions"]
    assert found["order"].found == FOUND
    assert found["order"].machine.cores >= 1


def test_what_is_measured_anew_replaces_what_is_kept(tmp_path: Path) -> None:
    """Taking results over leaves those alone that were not measured again."""
    kept, measured = tmp_path / "kept", tmp_path / "measured"
    save(result("order"), kept)
    save(result("partitions"), measured)
    assert adopt(measured, kept) == ["partitions.json"]
    assert set(load(kept)) == {"order", "partitions"}


def test_a_bound_that_is_not_held_is_said() -> None:
    """What a question prints says of each bound whether it is held, in its own direction."""
    said = str(FOUND)
    assert "- held: faster than the bare window 2.03 ≥ 1.8" in said
    assert "- NOT held: memory, MB 81 ≤ 80" in said


def test_a_chart_says_its_numbers() -> None:
    """Lines and bars are well-formed SVG that names each contender and each of its values."""
    lines = words(plots.draw(FOUND.charts[0]))
    assert {"By partitions", "moderation-consumer", "moderation-consumer, 10: 6,500 events/s"} <= set(lines)
    bars = words(plots.draw(Chart("Order", "", "events/s", LINES[:1], ("no", "by key"))))
    assert "by key: 3,000 events/s" in bars


def test_numbers_below_the_axis_stand_apart() -> None:
    """Of two points that are close to each other only the first has its number below the axis."""
    close = (Line("one", ((1290.0, 1.0), (1e6, 2.0))), Line("other", ((1536.0, 1.0), (1e6, 2.0))))
    said = words(plots.draw(Chart("a", "x", "y", close, logarithmic=True)))
    assert {"1,290", "1,000,000"} <= set(said)
    assert "1,536" not in said


@given(st.lists(st.tuples(st.floats(0.01, 1e7), st.floats(0, 1e7)), min_size=1, max_size=8), st.booleans())
def test_every_chart_is_inside_its_picture(points: list[tuple[float, float]], logarithmic: bool) -> None:  # noqa: FBT001  # hypothesis passes by position
    """Whatever the numbers are, each point lies within the picture."""
    drawn = plots.draw(Chart("a", "x", "y", (Line("one", tuple(points)),), logarithmic=logarithmic))
    root = ET.fromstring(drawn)
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    circles = [one for one in root.iter() if one.tag.endswith("circle")]
    assert len(circles) == len(points)
    for one in circles:
        assert 0 <= float(one.attrib["cx"]) <= width
        assert 0 <= float(one.attrib["cy"]) <= height


def test_a_flame_graph_leaves_out_what_is_rare() -> None:
    """Frames are as wide as their samples, and those below the least share are left to their callers."""
    raw = "".join(f"{';'.join(stack)} {count}\n" for stack, count in SAMPLES.items())
    assert flame.stacks(raw) == SAMPLES
    said = words(flame.draw(flame.grown(SAMPLES, least_share=0.05), "closed loop", "samples"))
    assert "sign (consumer/moderation/protocol/signing.py:9): 60.0%" in said
    assert "main: 100.0%" in said
    assert not any("seldom" in one for one in said)


def test_time_belongs_to_the_innermost_part_that_is_known() -> None:
    """Each sample counts for one area, and the table has a sentence for each."""
    profile = taken(SAMPLES, "sampled.")
    assert profile.areas["signing"] == 60
    assert profile.areas["engine"] == 30
    assert sum(profile.areas.values()) == profile.samples == 100
    section = told(profile)
    assert all(area.time in section for area in AREAS)
    assert "| signing | 60% |" in section


def test_what_modules_take_is_told_from_what_their_code_takes() -> None:
    """A stack begins at the event loop, and ends where an import begins."""
    packages = "/srv/site-packages"
    outside = [("run", f"{sysconfig.get_path('stdlib')}/asyncio/runners.py", 118), ("main", f"{packages}/x.py", 1)]
    working = ("call", f"{packages}/consumer/moderation/flights.py", 9)
    names = stack_of([working, *outside])
    assert names == ("run (asyncio/runners.py)", "call (consumer/moderation/flights.py)")
    assert areas({names: 7})["judge, cache and routes"] == 7
    loading = [("<module>", f"{packages}/consumer/engine/lane.py", 1), ("_load", "<frozen importlib>", 1)]
    assert areas({stack_of([*loading, *outside]): 7})["modules"] == 7


def test_the_memory_has_a_sentence_for_each_part() -> None:
    """The table of the memory has all parts with their bytes, the largest first."""
    section = told_of_heap(Heap(9_000_000, {"HTTP": 7_000_000, "engine": 2_000_000}, "traced."))
    assert all(area.memory in section for area in AREAS)
    assert section.index("| HTTP | 7.0 |") < section.index("| engine | 2.0 |")


def test_the_page_has_every_result() -> None:
    """The page has the bars, the table and the picture of each question that was measured, and its method."""
    text = page({"order": result("order")}, None, None)
    assert "| faster than the bare window | 2.03 | ≥ 1.8 | held |" in text
    assert "| memory, MB | 81 | ≤ 80 | **not held** |" in text
    assert "| 10 | 6,500 |" in text
    assert "![By partitions](pictures/performance-order.svg)" in text
    assert "it stands here for what the work costs by itself" in text.replace("\n", " ")
    assert list(pictures({"order": result("order")})) == ["performance-order.svg"]


@pytest.mark.parametrize("question", QUESTIONS.values(), ids=lambda question: question.name)
def test_every_question_can_be_asked_by_itself(question: object) -> None:
    """Each question's text begins with the question and says how it is asked."""
    heading, _, rest = getattr(question, "about", "").partition("\n")
    assert heading.endswith("?")
    assert f"usage: python -m benchmarks.{getattr(question, 'name', '')} " in rest


def test_the_page_is_that_of_the_kept_results() -> None:
    """The page and its pictures are what `python -m benchmarks.report` makes of the results that are kept."""
    results = {name: one for name, one in load(KEPT).items() if name in QUESTIONS}
    assert PAGE.read_text(encoding="utf-8") == page(results, load_profile(KEPT), load_heap(KEPT))
    for name, drawn in pictures(results).items():
        assert (PICTURES / name).read_text(encoding="utf-8") == drawn
