"""What of changed settings can be put to work while the program runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from consumer.errors import SettingsError
from consumer.settings.models import Settings
from consumer.settings.nodes import dotted
from consumer.settings.replacing import LIVE, difference, is_live, replacement
from consumer.settings.shapes import leaves


if TYPE_CHECKING:
    from collections.abc import Callable

    from consumer.settings import Loaded


__all__: list[str] = []


@pytest.mark.parametrize(
    ("added", "live"),
    [
        ("routes: [{name: all, services: [ugc_moderation_byllm_cb]}]\n", ["routes"]),
        ("policy: {low: review, labels: {ad: block}}\n", ["policy.low", "policy.labels"]),
        ("quota: {text_per_second: 7, multimodal_query_per_second: 3}\n", None),
        ("log: {level: debug}\n", ["log.level"]),
    ],
)
def test_what_can_change_is_applied(good: str, read: Callable[..., Loaded], added: str, live: list[str] | None) -> None:
    """Routes, policy, quotas and the log's level are taken from the new settings, and nothing waits for a restart."""
    old, new = read(good), read(good + added)
    found = replacement(old, new)
    assert list(found.applied) == (live or ["quota.text_per_second", "quota.multimodal_query_per_second"])
    assert found.restart == ()
    assert found.loaded.settings == new.settings


def test_prices_can_change(good: str, read: Callable[..., Loaded]) -> None:
    """A price that is added is taken, beside a section that stays as it was."""
    new = read(good + "  prices: {text_advanced: {price: 0.5, currency: USD}}\n")
    found = replacement(read(good), new)
    assert found.applied == ("moderation.prices",)
    assert found.loaded.settings == new.settings


def test_what_cannot_change_stays_and_is_named(good: str, read: Callable[..., Loaded]) -> None:
    """Other keys are named and keep their values and origins, while what can change beside them does."""
    old = read(good)
    new = read(
        "\n" + good.replace("[ugc]", "[ugc, posts]") + "log: {level: debug, format: console}\nadmin: {port: 1}\n"
    )
    found = replacement(old, new)
    assert found.applied == ("log.level",)
    assert found.restart == ("kafka.topics", "admin.port", "log.format")
    settings = found.loaded.settings
    assert (settings.kafka.topics, settings.log.format, settings.log.level) == (["ugc"], "json", "debug")
    assert found.loaded.origin("kafka.topics") == old.origin("kafka.topics")
    assert found.loaded.origin("kafka.group_id") == new.origin("kafka.group_id") != old.origin("kafka.group_id")
    assert found.loaded.origin("log.level") == new.origin("log.level")


def test_the_same_settings_differ_in_nothing(good: str, read: Callable[..., Loaded]) -> None:
    """Settings that say the same in other words are no change."""
    old = read(good)
    new = read(good.replace("[ugc]", "\n    - ugc # the same") + "log:\n  level: info\n")
    assert not difference(old.settings, new.settings)


def test_a_new_access_key_needs_no_restart(good: str, read: Callable[..., Loaded]) -> None:
    """An AccessKey that replaces another is left out: it is read again when the service refuses the old one."""
    old, new = read(good), read(good.replace("LTAI-example", "LTAI-other").replace("planted-secret", "another"))
    assert not difference(old.settings, new.settings)


def test_shared_quotas_need_a_restart(good: str, read: Callable[..., Loaded]) -> None:
    """Where the group's leader hands the quota out, a change of it needs a restart."""
    shared = good.replace("start:", "scale: share\n  start:")
    found = replacement(read(shared), read(shared + "quota: {text_per_second: 7}\n"))
    assert (found.applied, found.restart) == ((), ("quota.text_per_second",))


def test_what_contradicts_the_settings_at_work_is_refused(good: str, read: Callable[..., Loaded]) -> None:
    """A route to a service that only a restart makes known is refused with its place."""
    old = read(good)
    new = read(
        good
        + "  services: {my_copy_01: {like: ugc_moderation_byllm_cb}}\n"
        + "routes: [{name: all, services: [my_copy_01]}]\n"
    )
    with pytest.raises(SettingsError) as caught:
        replacement(old, new)
    assert caught.value.problems == [
        (
            "config.yaml:12:33: routes[0].services[0]: there is no service 'my_copy_01'; "
            "a copy made in the console is declared in moderation.services"
        )
    ]


def test_every_live_key_is_a_key() -> None:
    """The list of what can change names keys that exist."""
    names = [path for path, _ in leaves(Settings)]
    assert [dotted(live) for live in LIVE if not any(path[: len(live)] == live for path in names)] == []
    assert is_live(("policy", "labels"))
    assert not is_live(("quota", "jitter_seconds"))
