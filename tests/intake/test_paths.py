"""Where a field is in a document."""

from __future__ import annotations

from typing import Any

import jmespath
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.errors import MappingError
from consumer.intake.paths import compile_path


NAMES = st.sampled_from(["a", "b", "c_1"])
DOCUMENTS = st.dictionaries(
    NAMES,
    st.recursive(
        st.none() | st.integers() | st.text(max_size=3),
        lambda inner: st.dictionaries(NAMES, inner, max_size=3) | st.lists(inner, max_size=2),
        max_leaves=6,
    ),
    max_size=3,
)


@given(DOCUMENTS, st.lists(NAMES, min_size=1, max_size=4).map(".".join))
def test_a_dotted_path_finds_what_jmespath_finds(document: dict[str, Any], path: str) -> None:
    """The short way of dotted paths differs from JMESPath in nothing but its speed."""
    assert compile_path("text", path)(document) == jmespath.search(path, document)


@pytest.mark.parametrize(
    ("expression", "document", "found"),
    [
        ('"user-id"', {"user-id": 7}, 7),
        ("body.text || caption", {"body": {}, "caption": "hi"}, "hi"),
        ("blocks[?type=='text'].value | join(' ', @)", {"blocks": [{"type": "text", "value": "a"}]}, "a"),
        ("media[].url", {"media": [{"url": "x"}, {"url": "y"}]}, ["x", "y"]),
        ("is_bot && 'ai' || 'human'", {"is_bot": True}, "ai"),
    ],
)
def test_anything_else_is_jmespath(expression: str, document: dict[str, Any], found: object) -> None:
    """Quoted names, alternatives, filters, projections and functions all work."""
    assert compile_path("text", expression)(document) == found


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("a..b", "unexpected '.b' at character 3"),
        ("a[?b==1", "unexpected '1' at character 7"),
        ("join(', ', ", "ends too early, at character 12"),
        ("", "it is empty"),
        (
            "user-id",
            'at character 5; names with other characters than letters, digits and _ need quotes: "user-id"',
        ),
        ("user.nick-name", 'need quotes: user."nick-name"'),
        ("a.b#", "unexpected '#' at character 4"),
        ("lower(text)", "unknown function lower() at character 1"),
        ("items[].{t: trim (text)}", "unknown function trim() at character 13"),
        ("join(text)", "join() at character 1 takes 2 arguments, not 1"),
        ("a || not_null()", "not_null() at character 6 takes at least 1 arguments, not 0"),
    ],
)
def test_a_wrong_expression_is_told_where(expression: str, said: str) -> None:
    """A wrong expression is refused at start, with the character where it goes wrong."""
    with pytest.raises(ValueError) as caught:
        compile_path("text", expression)
    assert said in str(caught.value)


def test_a_function_given_the_wrong_type_fails_the_record() -> None:
    """A JMESPath function that does not take what a record has makes a mapping error, without the content."""
    find = compile_path("text", "join(' ', words)")
    assert find({"words": ["a", "b"]}) == "a b"
    with pytest.raises(MappingError) as caught:
        find({"words": "my secret"})
    assert str(caught.value) == (
        "text: join() in `join(' ', words)` was given a value of type string; it takes array-string"
    )
    assert caught.value.__suppress_context__


def test_an_expression_that_breaks_fails_the_record() -> None:
    """An expression that JMESPath itself cannot finish makes a mapping error too."""
    find = compile_path("text", "words[::0]")
    with pytest.raises(MappingError, match=r"text: .* failed with ValueError"):
        find({"words": ["a"]})
