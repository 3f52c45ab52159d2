"""Tests of what the content of a callback counts as."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.moderation.tasks.content import result_in, task_in


DATA = {"ReqId": "t1", "DataId": "mm-1", "RiskLevel": "high", "MainData": {"Results": [{"Label": "sexual_x"}]}}


@pytest.mark.parametrize(
    "content",
    [
        {"RequestId": "R", "Code": 200, "Msg": "OK", "Data": DATA},
        {"code": "200", "message": "OK", "data": DATA},
        DATA,
    ],
    ids=["the whole answer", "in other letters", "only the data"],
)
def test_a_result_is_read_with_and_without_its_envelope(content: object) -> None:
    """The whole answer and its data alone bring the same result, of the same task."""
    found = result_in(orjson.dumps(content))
    assert found is not None
    assert (found.code, found.data) == (200, DATA)
    assert task_in(orjson.dumps(content)) == "t1"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no json",
        b"[]",
        b"{}",
        orjson.dumps({"Code": 280, "Data": DATA}),
        orjson.dumps({"Code": 500, "Msg": "failed"}),
        orjson.dumps({"Code": "Throttling.User"}),
        orjson.dumps({"Code": 200}),
        orjson.dumps({"Code": 200, "Data": {"ReqId": "t1"}}),
        orjson.dumps({"Code": 200, "Data": {"RiskLevel": None}}),
        orjson.dumps({"RiskLevel": 3}),
    ],
)
def test_what_does_not_say_how_risky_it_is_is_no_result(content: bytes) -> None:
    """A task that still runs, a failure, and half an answer end nothing: polling goes on."""
    assert result_in(content) is None


def test_the_pages_example_names_no_task() -> None:
    """A result without a task's id counts, and is not taken for another task's."""
    content = orjson.dumps({"Code": 200, "Data": {"DataId": "mm-1", "RiskLevel": "none"}})
    assert result_in(content) is not None
    assert task_in(content) is None


@given(st.binary(max_size=200))
def test_no_bytes_break_it(content: bytes) -> None:
    """Whatever comes is read as no result, without a failure."""
    assert result_in(content) is None
    assert task_in(content) is None
