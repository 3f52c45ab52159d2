"""Where values come from, and which source wins."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest

from consumer.settings import load, values


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from consumer.settings import Loaded


__all__: list[str] = []


def test_what_others_repeat_stands_at_the_top(good: str, read: Callable[..., Loaded]) -> None:
    """A key at the top that begins with `x-` is no setting, and may hold what anchors and aliases share."""
    shared = "x-waits: &waits {base_seconds: 0.25}\nx-any: [1, {such: thing}]\n"
    loaded = read(f"{shared}{good}  retry: {{<<: *waits, max_seconds: 7}}\n")
    assert loaded.settings.moderation.retry.base_seconds == 0.25
    assert loaded.settings.moderation.retry.max_seconds == 7
    assert not any(value.key.startswith("x-") for value in values(loaded))


def test_every_value_knows_its_origin(good: str, read: Callable[..., Loaded]) -> None:
    """A value's origin is its line, its variable, or the default; every value that is shown has one."""
    loaded = read(good, {"MODERATION__KAFKA__GROUP_ID": "other"})
    assert loaded.origin("kafka.start") == "config.yaml:5:3"
    assert loaded.origin("kafka.topics[0]") == "config.yaml:3:12"
    assert loaded.origin("kafka.group_id") == "$MODERATION__KAFKA__GROUP_ID"
    assert loaded.origin("delivery.max_in_flight") == loaded.origin("delivery") == "default"
    shown = {value.key: (value.shown, value.origin) for value in values(loaded)}
    assert shown["kafka.topics"] == ("[ugc]", "config.yaml:3:3")
    assert shown["quota.jitter_seconds"] == ("0.03", "default")
    assert shown["kafka.session_timeout_seconds"] == ("30", "default")
    assert shown["moderation.endpoint"] == ("not set", "default")


def test_an_unknown_key_has_no_origin(good: str, read: Callable[..., Loaded]) -> None:
    """Asking for the origin of a key that does not exist is an error, not "default"."""
    with pytest.raises(KeyError):
        read(good).origin("kafka.nope")


def test_values_in_lists_and_mappings_of_sections_have_their_lines(good: str, read: Callable[..., Loaded]) -> None:
    """Routes and services are shown key by key, each with its own line."""
    text = f"routes:\n  - name: all\n    services: [mine_01]\n{good}  services:\n    mine_01: {{like: baselineCheck}}\n"
    shown = {value.key: value.origin for value in values(read(text))}
    assert shown["routes[0].name"] == "config.yaml:2:5"
    assert shown["routes[0].services"] == "config.yaml:3:5"
    assert shown["routes[0].when.has_text"] == "default"
    assert shown["moderation.services.mine_01.like"] == "config.yaml:15:15"


def test_the_environment_wins(good: str, read: Callable[..., Loaded]) -> None:
    """A variable replaces what the file says, key by key: its neighbours stay."""
    kafka = read(
        good, {"MODERATION__KAFKA__SECURITY__PROTOCOL": "SSL", "MODERATION__KAFKA__START": "earliest"}
    ).settings.kafka
    assert (kafka.security.protocol, kafka.start, kafka.group_id) == ("SSL", "earliest", "moderation")


def test_a_later_file_wins(good: str, tmp_path: Path) -> None:
    """Of two files the later one wins, key by key; a list is replaced as a whole."""
    base, local = tmp_path / "base.yaml", tmp_path / "local.yaml"
    base.write_text(good)
    local.write_text("kafka: {topics: [a, b]}\npolicy: {labels: {ad: block}}\n")
    loaded = load([base, local], {})
    assert loaded.settings.kafka.topics == ["a", "b"]
    assert loaded.settings.kafka.group_id == "moderation"
    assert loaded.origin("kafka.topics") == f"{local}:1:9"


def test_the_environment_alone_is_enough() -> None:
    """Without any file everything can come from variables."""
    loaded = load(
        [],
        {
            "MODERATION__KAFKA__BOOTSTRAP_SERVERS": "a:9092, b:9092",
            "MODERATION__KAFKA__TOPICS": "ugc",
            "MODERATION__KAFKA__GROUP_ID": "g",
            "MODERATION__KAFKA__START": "latest",
            "MODERATION__MODERATION__ENDPOINT": "http://localhost:8080",
            "ALIBABA_CLOUD_ACCESS_KEY_ID": "id",
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "secret",
        },
    )
    assert loaded.settings.kafka.bootstrap_servers == ["a:9092", "b:9092"]
    assert loaded.settings.moderation.credentials.access_key_id == "id"


def test_a_variable_names_the_file(good: str, tmp_path: Path) -> None:
    """`MODERATION_CONFIG` is read when no file is named, and only then."""
    named, given = tmp_path / "named.yaml", tmp_path / "given.yaml"
    named.write_text(good)
    given.write_text(good.replace("group_id: moderation", "group_id: given"))
    environ = {"MODERATION_CONFIG": str(named)}
    assert load([], environ).settings.kafka.group_id == "moderation"
    assert load([given], environ).settings.kafka.group_id == "given"


def test_structures_come_from_variables_as_yaml(good: str, read: Callable[..., Loaded]) -> None:
    """A list may be YAML or JSON, a mapping or a list of routes is YAML, and its values come from the variable."""
    loaded = read(
        good,
        {
            "MODERATION__KAFKA__TOPICS": '["a", "b"]',
            "MODERATION__POLICY__LABELS": "{ad: block}",
            "MODERATION__ROUTES": "[{name: all, services: [baselineCheck_global]}]",
        },
    )
    assert loaded.settings.kafka.topics == ["a", "b"]
    assert loaded.settings.policy.labels == {"ad": "block"}
    assert loaded.settings.routes[0].services == ["baselineCheck_global"]
    assert loaded.origin("routes[0].services") == "$MODERATION__ROUTES"


def test_an_empty_variable_unsets_what_may_be_unset(good: str, read: Callable[..., Loaded]) -> None:
    """An empty variable takes away a value that is optional."""
    text = good.replace("  region:", "  endpoint: proxy:8080\n  region:")
    assert read(text, {"MODERATION__MODERATION__ENDPOINT": ""}).settings.moderation.endpoint is None


def test_kubernetes_variables_are_no_settings(good: str, read: Callable[..., Loaded]) -> None:
    """What Kubernetes injects for a service called moderation is not taken for a setting."""
    read(
        good,
        {
            "MODERATION_PORT": "tcp://10.0.0.1:9464",
            "MODERATION_PORT_9464_TCP_ADDR": "10.0.0.1",
            "MODERATION_CONSUMER_SERVICE_HOST": "10.0.0.1",
        },
    )


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("earliest", "earliest"),
        ("'latest'", "latest"),
        ("2026-01-31T12:00:00Z", datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ("'2026-01-31T12:00:00Z'", datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ("2026-01-31T12:00:00+08:00", datetime(2026, 1, 31, 12, tzinfo=timezone(timedelta(hours=8)))),
        ("2026-01-31 12:00:00", datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ("2026-01-31", datetime(2026, 1, 31, tzinfo=UTC)),
        ("'2026-01-31'", datetime(2026, 1, 31, tzinfo=UTC)),
    ],
)
def test_a_start_is_a_word_or_a_moment(good: str, read: Callable[..., Loaded], written: str, meant: object) -> None:
    """A start may be quoted or not; a time without a zone is UTC."""
    assert read(good.replace("start: latest", f"start: {written}")).settings.kafka.start == meant


def test_a_start_from_the_environment(good: str, read: Callable[..., Loaded]) -> None:
    """A start from a variable means the same as from the file."""
    start = read(good, {"MODERATION__KAFKA__START": "2026-01-31T12:00:00"}).settings.kafka.start
    assert start == datetime(2026, 1, 31, 12, tzinfo=UTC)


def test_anchors_and_merge_keys(good: str, read: Callable[..., Loaded]) -> None:
    """An alias repeats a value, `<<` brings in a mapping, and a key beside it wins over what it brings."""
    text = (
        "routes:\n"
        "  - {name: images, services: &both [ugc_moderation_byllm_cb], when: &when {kind: [image]}}\n"
        "  - {name: posts, services: *both, when: {<<: *when, kind: [post], has_images: true}}\n"
        "  - {name: rest, services: *both, when: {<<: [*when, {kind: [profile], has_text: true}]}}\n"
    )
    images, posts, rest = read(text + good).settings.routes
    assert images.services == posts.services == rest.services
    assert (posts.when.kind, posts.when.has_images) == (["post"], True)
    assert (rest.when.kind, rest.when.has_text) == (["image"], True)


def test_keys_are_texts_as_they_are_written(good: str, read: Callable[..., Loaded]) -> None:
    """A platform's kinds may be numbers, `on` or `no`: in a mapping's keys YAML's types do not count."""
    loaded = read(f"mapping: {{kinds: {{1: message, no: comment}}}}\n{good}")
    assert loaded.settings.mapping.kinds == {"1": "message", "no": "comment"}


def test_a_section_with_everything_commented_out(good: str, read: Callable[..., Loaded]) -> None:
    """A section, list or mapping without a value counts as left out."""
    loaded = read(f"policy:\nroutes:\noutput:\n  topics:\n{good}")
    assert (loaded.settings.policy.high, loaded.settings.routes, loaded.settings.output.topics) == ("block", [], {})


def test_a_byte_order_mark_is_no_fault(good: str, read: Callable[..., Loaded]) -> None:
    """A file saved with a byte order mark is read like any other."""
    assert read("\ufeff" + good).settings.kafka.group_id == "moderation"
