"""Whatever stands in a configuration, loading it ends in settings or in a SettingsError."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from consumer.errors import SettingsError
from consumer.settings import load, values


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


__all__: list[str] = []


_WORDS = st.sampled_from(
    [
        *("kafka", "topics", "group_id", "start", "security", "sasl_password", "output", "mapping", "kinds", "text"),
        *("routes", "name", "when", "services", "like", "moderation", "credentials", "access_key_secret_file", "retry"),
        *("prices", "policy", "labels", "delivery", "max_in_flight", "quota", "admin", "port", "log", "level"),
    ]
)
_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=12)
    | _WORDS
    | st.dates()
    | st.datetimes()
    | st.binary(max_size=4)
    | st.just("." * 5000)
)
_KEYS = _WORDS | st.text(max_size=6) | st.integers() | st.none() | st.booleans()
_VALUES: st.SearchStrategy[Any] = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=4), max_leaves=12
)
_TOKENS = st.sampled_from(
    [*"[]{},-&*!|>'\"%@`#?:~<1 ", "\n", "\n  ", "\t", "a: ", "<<: ", "kafka: ", "---\n", "!!int "]
)
_RELAXED = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def _load(file: Path, environ: dict[str, str]) -> None:
    problems = ["none"]
    try:
        list(values(load([file], environ)))
    except SettingsError as error:
        problems = error.problems
    assert problems
    assert all(problem.isprintable() for problem in problems)


@_RELAXED
@given(st.dictionaries(_KEYS, _VALUES, max_size=5))
def test_any_mapping(tmp_path: Path, document: dict[Any, Any]) -> None:
    """Any nesting of any values is either usable or told in problems of one line each."""
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(document, allow_unicode=True), encoding="utf-8")
    _load(file, {})


@_RELAXED
@given(st.text(max_size=60) | st.lists(_TOKENS, max_size=25).map("".join))
def test_any_text(tmp_path: Path, text: str) -> None:
    """Any text, YAML or not, ends in problems of one line each."""
    file = tmp_path / "config.yaml"
    with suppress(UnicodeEncodeError):
        file.write_text(text, encoding="utf-8")
        _load(file, {})


@_RELAXED
@given(st.binary(max_size=40))
def test_any_bytes(tmp_path: Path, content: bytes) -> None:
    """Any bytes end in problems of one line each."""
    file = tmp_path / "config.yaml"
    file.write_bytes(content)
    _load(file, {})


@pytest.mark.timeout(20)
@pytest.mark.parametrize("merged", [False, True])
def test_aliases_that_multiply(problems: Callable[..., list[str]], *, merged: bool) -> None:
    """A few lines of aliases that stand for a billion values are refused at once, by the place where they do."""
    if merged:
        last = "{<<: [" + ", ".join(["*a{}"] * 10) + "]}"
        text = "kafka:\n  a0: &a0 {topics: [ugc]}\n"
    else:
        last = "[" + ", ".join(["*a{}"] * 10) + "]"
        text = "kafka:\n  a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    text += "".join(f"  a{level}: &a{level} {last.replace('{}', str(level - 1))}\n" for level in range(1, 10))
    said = [problem for problem in problems(text) if "stands for more than 100,000 values" in problem]
    assert len(said) == 1
    assert said[0].startswith("config.yaml:")
    assert ": kafka.a" in said[0]
    assert "an alias (*)" in said[0]


@_RELAXED
@given(
    st.dictionaries(
        st.sampled_from(
            [
                "MODERATION__KAFKA__TOPICS",
                "MODERATION__KAFKA__START",
                "MODERATION__KAFKA__SECURITY__SASL_PASSWORD_FILE",
                "MODERATION__ROUTES",
                "MODERATION__MODERATION__SERVICES",
                "MODERATION__MODERATION__PRICES",
                "MODERATION__POLICY__LABELS",
                "MODERATION__QUOTA__JITTER_SECONDS",
                "MODERATION__MAPPING__TEXT",
                "MODERATION__X",
                "ALIBABA_CLOUD_ACCESS_KEY_ID",
            ]
        ),
        st.text(max_size=30) | _VALUES.map(lambda value: yaml.safe_dump(value, default_flow_style=True)),
    )
)
@example(environ={"MODERATION__MAPPING__TEXT": "``"})
def test_any_variables(tmp_path: Path, environ: dict[str, str]) -> None:
    """Any values of variables are either usable or told in problems of one line each."""
    file = tmp_path / "config.yaml"
    file.write_text("moderation: {region: cn-shanghai}\n")
    _load(file, environ)
