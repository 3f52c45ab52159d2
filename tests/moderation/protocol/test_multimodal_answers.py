"""A task's result is read part by part: each event gets its own verdict, and none passes by accident."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.moderation.protocol.responses import (
    Answer,
    Finding,
    Layer,
    read,
    read_content,
    read_parts,
    task_id_of,
)
from consumer.verdict import RiskLevel


SERVICE = "post_text_image_detection"
CLEAN = [{"Label": "nonLabel", "Description": "No risk"}]
GUN = [{"Label": "violent_gun", "Description": "a gun"}]
FOUR = [(), (0,), (0, 0), (1,)]


def result(level: Any, main: Any, comments: Any = None, **more: Any) -> dict[str, Any]:
    data = {"RiskLevel": level, "MainData": main, "CommentDatas": comments, **more}
    return {"Code": 200, "RequestId": "R-1", "Data": {name: value for name, value in data.items() if value is not None}}


def parts(answer: dict[str, Any], paths: Any = FOUR) -> dict[Any, Finding]:
    return read_parts(read(orjson.dumps(answer), 200), SERVICE, paths)


def levels(answer: dict[str, Any], paths: Any = FOUR) -> list[str]:
    return [finding.risk_level.word for finding in parts(answer, paths).values()]


def of(main: Any, comment: Any, reply: Any, other: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    return {"Result": main}, [{"Result": comment, "CommentDatas": [{"Result": reply}]}, {"Result": other}]


@pytest.mark.parametrize("level", ["low", "medium", "high"])
def test_the_risk_is_that_of_the_parts_that_have_a_label(level: str) -> None:
    """One risky comment makes that comment risky, and neither the post, nor its reply, nor the other comment."""
    assert levels(result(level, *of(CLEAN, GUN, CLEAN, CLEAN))) == ["none", level, "none", "none"]
    assert levels(result(level, *of(CLEAN, CLEAN, GUN, GUN))) == ["none", "none", level, level]


def test_a_risk_that_nobody_explains_is_everybodys() -> None:
    """A risky thread without any label of a risk makes every part risky; an allow list's hit explains nothing."""
    allowed = [{"Label": "nonLabel_lib"}]
    assert levels(result("medium", *of(CLEAN, [], CLEAN, allowed))) == ["medium"] * 4


def test_a_clean_thread_is_clean() -> None:
    """Without risk every part that the answer mentions is clean, whatever its labels."""
    assert levels(result("none", *of(CLEAN, GUN, [], CLEAN))) == ["none"] * 4


@pytest.mark.parametrize("level", [None, "", "severe", 0, ["none"]])
def test_an_unknown_level_is_unknown_for_all(level: Any) -> None:
    """Where the level of all is missing or not known, no part is clean, and labels stay to be seen."""
    found = parts(result(level, *of(CLEAN, GUN, CLEAN, CLEAN)))
    assert {one.risk_level for one in found.values()} == {RiskLevel.UNKNOWN}
    assert [label.label for label in found[(0,)].labels] == ["violent_gun"]


@pytest.mark.parametrize("level", ["none", "high"])
def test_what_is_not_mentioned_is_unknown(level: str) -> None:
    """A part that the answer leaves out, or mentions without a result, was perhaps not judged."""
    answer = result(level, {"Result": GUN}, [{"CommentDatas": [{"Result": None}]}])
    assert levels(answer) == [level, "unknown", "unknown", "unknown"]
    assert levels(result(level, None)) == ["unknown"] * 4


def test_positions_prove_nothing_where_comments_are_missing() -> None:
    """In a risky thread whose answer has too few comments, one without a risk may be another one's."""
    main, comments = of(GUN, CLEAN, CLEAN, CLEAN)
    assert levels(result("high", main, comments[:1])) == ["high", "unknown", "none", "unknown"]
    assert levels(result("none", main, comments[:1])) == ["none", "none", "none", "unknown"]


def test_each_event_of_a_task_can_be_read_alone() -> None:
    """After a restart an event knows only its own place, and gets the same verdict as with all the others."""
    answer = result("high", *of(CLEAN, GUN, CLEAN, CLEAN))
    together = parts(answer)
    assert all(parts(answer, [path]) == {path: together[path]} for path in FOUR)


def test_all_dialects_of_a_result() -> None:
    """Lists for objects, objects for lists, and the SDK's names are read alike."""
    answer = result(
        "high", [{"Results": CLEAN}], {"results": GUN[0], "commentDatas": {"Result": CLEAN}}, ReqId="t", DataId="1"
    )
    assert levels(answer, [(), (0,), (0, 0)]) == ["none", "high", "none"]


def test_a_label_is_said_once_and_where_it_was_found() -> None:
    """A label that stands twice in a result is one label of the verdict, of text and images together."""
    (label,) = parts(result("high", {"Result": GUN * 2}), [()])[()].labels
    assert (label.label, label.category, label.found_in, label.service) == (
        "violent_gun",
        "violent",
        "text_and_image",
        SERVICE,
    )
    assert (label.description, label.confidence) == ("a gun", None)


def test_a_labels_own_level_counts_if_it_is_higher() -> None:
    """Should a label ever have a level of its own, a riskier one than that of all is not lost."""
    assert levels(result("low", {"Result": [{**GUN[0], "RiskLevel": "high"}]}), [()]) == ["high"]


def test_tokens_are_counted_once() -> None:
    """What the model used stands with the main part alone, so that sums are right; so does what nobody knows yet."""
    main, comments = of(CLEAN, CLEAN, CLEAN, CLEAN)
    found = parts(result("none", main, comments, Usage={"Total_tokens": 3}, NewThing=[1], DataId="x", ReqId="t"))
    assert found[()].extra == {"usage": {"total_tokens": 3}, "new_thing": [1]}
    assert all(not found[path].extra for path in FOUR[1:])


@pytest.mark.parametrize("code", [280, 400, 500, "Throttling.User"])
def test_only_a_result_is_a_judgement(code: int | str) -> None:
    """Data beside any other code than 200 judges nothing."""
    answer = {**result("none", *of(CLEAN, CLEAN, CLEAN, CLEAN)), "Code": code}
    assert levels(answer) == ["unknown"] * 4


@pytest.mark.parametrize(
    ("data", "task_id"),
    [
        ({"ReqId": "a", "TaskId": "b"}, "a"),
        ({"taskid": "b"}, "b"),
        ({"ReqId": "", "TaskId": " b "}, "b"),
        ({"ReqId": 5}, None),
        ({"DataId": "x"}, None),
        (None, None),
    ],
)
def test_the_tasks_id(data: Any, task_id: str | None) -> None:
    """The id is found under the SDK's name or the page's; a submission without one has none."""
    assert task_id_of(read(orjson.dumps({"Code": 200, "Data": data}), 200)) == task_id


def test_a_callback_with_and_without_its_envelope() -> None:
    """A callback's content is read as the whole answer, or as its data alone."""
    whole = result("high", {"Result": GUN})
    assert read_content(orjson.dumps(whole)) == read(orjson.dumps(whole), 200)
    bare = read_content(orjson.dumps(whole["Data"]))
    assert (bare.layer, bare.code, bare.data) == (Layer.BUSINESS, 200, whole["Data"])


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"ReqId":"t"}', b'{"Code":500,"RiskLevel":"none"}', b"\xff"])
def test_a_callback_that_judges_nothing(content: bytes) -> None:
    """A callback without a level and without code 200 is no result."""
    assert read_parts(read_content(content), SERVICE, [()])[()].risk_level is RiskLevel.UNKNOWN


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=4) | st.sampled_from([CLEAN, GUN]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["Result", "results", "CommentDatas", "MainData", "RiskLevel", "Label"]), inner, max_size=3
        )
    ),
    max_leaves=12,
)
PATHS = st.lists(st.lists(st.integers(0, 3), max_size=2).map(tuple), max_size=5, unique=True)


@given(st.sampled_from(["none", "high", "x", None]), JSON, JSON, PATHS)
def test_any_data_can_be_read(level: Any, main: Any, comments: Any, paths: list[tuple[int, ...]]) -> None:
    """Whatever stands where the parts should be, each path gets a finding, and none is clean without a known level."""
    data = {"RiskLevel": level, "MainData": main, "CommentDatas": comments}
    answer = Answer(Layer.BUSINESS, 200, 200, None, data)
    found = read_parts(answer, SERVICE, paths)
    assert list(found) == paths
    if level not in {"none", "high"}:
        assert all(one.risk_level >= RiskLevel.UNKNOWN for one in found.values())
    orjson.dumps([[one.extra, [label.to_dict() for label in one.labels]] for one in found.values()])
