"""The configuration's reference: current, complete, and of one mind with what checks a configuration."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
import yaml

from config.reference.__main__ import files
from config.reference.page import EXAMPLES
from config.reference.schema import schema
from config.reference.walk import groups, keys, section_of
from consumer.errors import SettingsError
from consumer.settings import Settings, load


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from config.reference.walk import Key
    from consumer.settings.section import Section


__all__: list[str] = []


_SECRETS = {"ALIBABA_CLOUD_ACCESS_KEY_ID": "id", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "secret"}
_VALIDATOR = jsonschema.Draft7Validator(schema())
_GOOD: dict[str, Any] = {
    "kafka": {"bootstrap_servers": ["broker:9092"], "topics": ["ugc"], "group_id": "g", "start": "latest"},
    "moderation": {"region": "ap-southeast-1"},
}
_ROUTE = {"name": "all", "services": ["ugc_moderation_byllm_cb"]}
_BUDGET = {"name": "b", "limit": 5, "unit": "CNY"}


def everything(model: type[Section] = Settings, path: tuple[str | None, ...] = ()) -> Iterator[Key]:
    """Every key of every section, entries of lists and mappings included."""
    for key in keys(model, path):
        yield key
        inner, entries = section_of(key.shape)
        if inner is not None:
            yield from everything(inner, (*key.path, None) if entries else key.path)


@pytest.mark.parametrize("file", files(), ids=lambda file: file.name)
def test_the_reference_is_current(file: Path) -> None:
    """What is committed is what the models say; `python -m config.reference` writes it anew."""
    assert file.read_text(encoding="utf-8") == files()[file]


def test_every_key_says_what_it_means() -> None:
    """Each key of each section has a description that is a sentence, and each section says what it is about."""
    assert [key.path for key in everything() if not key.description.endswith(".")] == []
    sections = {model for key in everything() if (model := section_of(key.shape)[0]) is not None}
    assert [model.__name__ for model in sections if not (model.__doc__ or "").strip()] == []


def test_every_section_stands_in_one_group() -> None:
    """The page has each section once."""
    named = [name for names in groups().values() for name in names]
    assert sorted(named) == sorted(Settings.model_fields)


def test_every_key_is_on_the_page() -> None:
    """The page has a row for each key, and names its variable where it has one."""
    page = next(text for file, text in files().items() if file.suffix == ".md")
    for key in everything():
        if key.shape.section is None:
            assert (f"\n### {key.name}\n" if len(key.path) == 1 else f"\n| `{key.name}` |") in page
            assert all(f"`{name}`" in page for name in key.variables), key.path


def test_the_examples_of_the_page_are_one_good_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All examples of the page together are accepted by the schema and by the program."""
    given = yaml.safe_load(EXAMPLES.read_text(encoding="utf-8"))
    assert list(_VALIDATOR.iter_errors(given)) == []
    monkeypatch.chdir(tmp_path)
    for name, section in (("sasl_password", given["kafka"]["security"]), ("secret", given["callbacks"])):
        (tmp_path / name).write_text("a-secret-of-enough-characters")
        section[f"{name}_file"] = name
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(given))
    assert load(["config.yaml"], _SECRETS).settings.kafka.topics == ["posts", "comments"]


def test_the_schema_is_one() -> None:
    """The schema keeps to its own dialect, so that editors read all of it."""
    jsonschema.Draft7Validator.check_schema(schema())
    assert json.loads(json.dumps(schema())) == schema()


def _with(path: str, value: Any) -> dict[str, Any]:
    """The good configuration with one more value; `list[].key` is a key of a list's only entry."""
    made: dict[str, Any] = json.loads(json.dumps(_GOOD))
    here: Any = made
    *sections, last = path.split(".")
    for name in sections:
        if name.endswith("[]"):
            entry = dict(_ROUTE if name == "routes[]" else _BUDGET)
            here[name[:-2]] = [entry]
            here = entry
        else:
            here = here.setdefault(name, {})
    here[last] = value
    return made


_BOTH_ACCEPT = [
    ("kafka.start", "earliest"),
    ("kafka.start", "2026-01-31T00:00:00Z"),
    ("kafka.start", "2026-01-31"),
    ("kafka.start", "20260131"),
    ("kafka.bootstrap_servers", ["[::1]:9092", "a.b.c:1"]),
    ("kafka.session_timeout_seconds", 6),
    ("kafka.group_instance_id", None),
    ("kafka.security", None),
    ("kafka.security.sasl_password", "x"),
    ("output.topics", {"pass": "a", "review": "b", "block": "c"}),
    ("output.topics", None),
    ("mapping.kind", None),
    ("mapping.kinds", {"dm": "message"}),
    ("routes", []),
    ("routes", None),
    ("routes[].weight", 1000),
    ("routes[].when", None),
    ("routes[].when", {"has_text": None, "kind": ["post"]}),
    ("routes[].deadline_seconds", None),
    ("moderation.services", {"own": {"like": "baselineCheck", "info_type": ["customImage"]}}),
    ("moderation.prices", {"text_advanced": {"price": 0, "currency": "USD"}}),
    ("moderation.retry.attempts", 100),
    ("policy.labels", {"ad": "block"}),
    ("policy.unknown", "block"),
    ("quota.text_per_second", 1),
    ("quota.jitter_seconds", 0),
    ("budgets[].limit", 0.01),
    ("cache.normalize", ["unicode", "repeats"]),
    ("cache.image_urls", True),
    ("packed.least_agreement", 0.95),
    ("dead_letters.max_in_a_row", None),
    ("dead_letters.max_share", 0.5),
    ("state.replication_factor", 3),
    ("admin.port", 0),
    ("log", None),
    ("tracing.enabled", False),
    ("x-shared", {"log": 7}),
]

_BOTH_REFUSE = [
    ("kafak", {}),
    ("log.x-shared", {}),
    ("kafka.topic", ["ugc"]),
    ("kafka.topics", []),
    ("kafka.topics", "ugc"),
    ("kafka.topics", ["ugc posts"]),
    ("kafka.bootstrap_servers", ["broker"]),
    ("kafka.start", "earlist"),
    ("kafka.session_timeout_seconds", 5),
    ("kafka.scale", "shared"),
    ("kafka.group_id", 17),
    ("kafka.group_id", ""),
    ("kafka.group_id", None),
    ("kafka.security.sasl_passwd", "x"),
    ("kafka.security.protocol", "SASL"),
    ("kafka.security.oauth_token_endpoint", "idp/oauth2/token"),
    ("output.topics", {"passed": "a"}),
    ("mapping.default_kind", "video"),
    ("mapping.kinds", {"dm": "chat"}),
    ("routes", {"name": "all"}),
    ("routes", [{"name": "all"}]),
    ("routes[].servces", ["x"]),
    ("routes[].weight", 0),
    ("routes[].weight", "heavy"),
    ("routes[].when.kinds", ["post"]),
    ("routes[].when.kind", ["posts"]),
    ("moderation.network", "internal"),
    ("moderation.services", {"own": {}}),
    ("moderation.services", {"own": {"like": "baselineCheck", "endpont": "x"}}),
    ("moderation.prices", {"text_advancd": {"price": 1, "currency": "CNY"}}),
    ("moderation.prices", {"text_advanced": {"price": 1, "currency": "yuan"}}),
    ("moderation.retry.attempts", 0),
    ("moderation.credentials.provider", "ram"),
    ("policy.unknown", "pass"),
    ("policy.labels", {"ad": "ban"}),
    ("quota.text_per_second", 0.5),
    ("quota.text_per_second", True),
    ("quota.texts_per_second", 50),
    ("budgets[].unit", "EUR"),
    ("budgets[].limit", 0),
    ("budgets[].when_spent", "stop"),
    ("cache.normalize", ["lower"]),
    ("packed.sample", 0),
    ("packed.least_agreement", 1),
    ("delivery.guarantee", "exactly-once"),
    ("delivery.max_in_flight", 0),
    ("admin.port", 65536),
    ("callbacks.url", "callbacks.example.com"),
    ("log.level", "verbose"),
    ("log.colour", "red"),
    ("tracing.enabled", "perhaps"),
]


def _loads(given: dict[str, Any], tmp_path: Path) -> bool:
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(given))
    try:
        load([tmp_path / "config.yaml"], _SECRETS)
    except SettingsError:
        return False
    return True


@pytest.mark.parametrize(("path", "value"), _BOTH_ACCEPT, ids=str)
def test_what_the_program_takes_the_schema_takes(path: str, value: Any, tmp_path: Path) -> None:
    """A value that the program accepts is not marked by an editor."""
    given = _with(path, value)
    assert _loads(given, tmp_path)
    assert list(_VALIDATOR.iter_errors(given)) == []


@pytest.mark.parametrize(("path", "value"), _BOTH_REFUSE, ids=str)
def test_what_the_schema_refuses_the_program_refuses(path: str, value: Any, tmp_path: Path) -> None:
    """A misspelt key or word, a wrong type and a value out of bounds are refused by the editor and by the program."""
    given = _with(path, value)
    assert not _loads(given, tmp_path)
    assert list(_VALIDATOR.iter_errors(given)) != []


def test_every_default_is_taken_by_the_schema() -> None:
    """What the page calls a default may be written out, key by key."""
    written = Settings.model_validate(_GOOD).model_dump(mode="json")
    assert [error.json_path for error in _VALIDATOR.iter_errors(written)] == []
