"""Random and mutated answers never make the reader fail, and never pass by accident."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.moderation.protocol.findings import Finding
from consumer.verdict import RiskLevel
from fuzz import promises
from fuzz.promises import broken_promises


if TYPE_CHECKING:
    import random


EXAMPLES = [path.read_bytes() for path in sorted((Path(__file__).parents[1] / "data" / "answers").glob("*.json"))]
STATUSES = st.sampled_from([200, 200, 200, 204, 302, 400, 500])
NAMES = st.sampled_from(
    ["Code", "code", "Data", "RiskLevel", "risklevel", "Result", "Results", "MainData", "CommentDatas", "Label", "Ext"]
)
WORDS = st.sampled_from(["none", "None", " none ", "low", "high", "nothing", "nonLabel", "200", "0200", "280", ""])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats() | WORDS | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES | st.text(max_size=4), inner, max_size=4),
    max_leaves=10,
)


@settings(max_examples=400)
@given(st.dictionaries(NAMES, VALUES, max_size=5), STATUSES)
def test_random_answers_keep_every_promise(answer: dict[str, Any], status: int) -> None:
    """Whatever JSON comes back, it can be read, and is clean only if it plainly says so."""
    assert broken_promises(orjson.dumps(answer), status) == []


@settings(max_examples=400)
@given(st.sampled_from(EXAMPLES), st.randoms(use_true_random=False), st.integers(1, 6), VALUES, STATUSES)
def test_mutated_answers_keep_every_promise(
    example: bytes, chance: random.Random, changes: int, value: Any, status: int
) -> None:
    """The vendor's own examples with members changed, dropped or moved keep every promise."""
    document = orjson.loads(example)
    for _ in range(changes):
        _mutate(document, chance, copy.deepcopy(value))
    assert broken_promises(orjson.dumps(document), status) == []


@settings(max_examples=400)
@given(st.sampled_from(EXAMPLES), st.integers(0, 2000), st.integers(0, 40), st.binary(max_size=6))
def test_damaged_answers_keep_every_promise(example: bytes, start: int, length: int, noise: bytes) -> None:
    """The vendor's own examples with bytes cut out or replaced keep every promise."""
    assert broken_promises(example[:start] + noise + example[start + length :], 200) == []


@given(st.binary(max_size=200), st.integers(100, 599))
def test_any_bytes_keep_every_promise(body: bytes, status: int) -> None:
    """Bytes that are no JSON keep every promise."""
    assert broken_promises(body, status) == []


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_examples_keep_every_promise(example: bytes) -> None:
    """The vendor's own examples keep every promise as they are."""
    assert broken_promises(example, 200) == []


def test_a_broken_promise_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that takes whatever it gets for clean is found out."""
    monkeypatch.setattr(promises, "read_finding", lambda *_: Finding(RiskLevel.NONE))
    assert broken_promises(_example("none"), 200) == []
    assert "text: clean beside a risk that nothing else explains" in broken_promises(_example("high"), 200)
    assert "text: none from an answer with code None and HTTP 200" in broken_promises(b"{}", 200)


def _example(level: str) -> bytes:
    return orjson.dumps({"Code": 200, "Data": {"RiskLevel": level, "Result": []}})


def _mutate(document: Any, chance: random.Random, value: Any) -> None:
    """Change one place of a document, somewhere in its depth."""
    holder = document
    while True:
        inner = list(holder.values()) if isinstance(holder, dict) else list(holder)
        deeper = [one for one in inner if isinstance(one, dict | list) and one]
        if not deeper or chance.random() < 0.3:
            break
        holder = chance.choice(deeper)
    if isinstance(holder, dict) and holder:
        name = chance.choice(list(holder))
        kind = chance.randrange(4)
        if kind == 0:
            del holder[name]
        elif kind == 1:
            holder[name] = value
        elif kind == 2:
            holder[name.swapcase()] = holder.pop(name)
        else:
            holder[name] = [holder[name]]
    elif isinstance(holder, list) and holder:
        at = chance.randrange(len(holder))
        if chance.random() < 0.5:
            del holder[at]
        else:
            holder.insert(at, value)
