"""A plugin's name → its function, and what people read where it cannot be used."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from consumer.errors import SettingsError
from consumer.plugins.loading import GROUPS, load
from consumer.settings import load_embedded


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from consumer.plugins.calling import Kind


__all__: list[str] = []


_MODULE = '''\
"""Plugins that can be used, and some that cannot."""

import functools


def to_event(document, record):
    return document


def narrow(document):
    return document


def by_name(event, topic, *, limit):
    return True


def optional(event, topic, limit=3):
    return True


async def slow(event, topic):
    return True


def several(event, topic):
    yield True


def five(document, record, limit):
    return document


short = functools.partial(five, limit=5)
late = functools.partial(slow)
VERSION = 3


class Rules:
    def __init__(self, event, topic):
        self.event = event

    @staticmethod
    def always(event, topic):
        return True


class Called:
    def __call__(self, event, topic):
        return True


called = Called()


def __getattr__(name):
    if name == "broken":
        raise RuntimeError("no such thing today")
    raise AttributeError(name)
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that modules are imported from, and that is forgotten with them."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "acme_mapping.py").write_text(_MODULE)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith("acme"):
            del sys.modules[name]


@pytest.fixture
def package(folder: Path) -> Callable[[str, str], None]:
    """`package(name, entry_points)` is an installed package, as far as its metadata tell."""

    def package(name: str, entry_points: str) -> None:
        info = folder / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(entry_points)

    return package


def problem(kind: Kind, name: str) -> str:
    """What is wrong with a plugin, behind its place and its name."""
    with pytest.raises(SettingsError) as caught:
        load(kind, name, "some.setting")
    (line,) = caught.value.problems
    begin = f"some.setting: the {kind} plugin '{name}' cannot be used: "
    assert line.startswith(begin)
    assert "Traceback" not in line
    assert "\n" not in line
    return line.removeprefix(begin)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("mapping", "acme_mapping:to_event"),
        ("mapping", "acme_mapping:short"),
        ("rule", "acme_mapping:optional"),
        ("rule", "acme_mapping:Rules.always"),
        ("rule", "acme_mapping:called"),
        ("rule", "operator:eq"),
    ],
)
def test_a_function_is_found_by_its_module_and_name(kind: Kind, name: str) -> None:
    """Functions, partial ones, static methods and objects that can be called are all plugins."""
    plugin = load(kind, name, "some.setting")
    assert callable(plugin.function)
    assert (plugin.kind, plugin.name) == (kind, name)


def test_a_function_is_found_by_an_entry_point(package: Callable[[str, str], None]) -> None:
    """The name that an installed package gives a function is enough."""
    package("acme", "[moderation_consumer.mapping]\nforum = acme_mapping:to_event [extra]\n")
    assert load("mapping", "forum", "mapping.plugin").function({"id": "1"}, None) == {"id": "1"}


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("kind", "name", "said"),
    [
        ("mapping", "acme_mapping:to_evnt", "acme_mapping has no 'to_evnt'; did you mean to_event?"),
        ("mapping", "acme_mapping:nothing_like_it", "acme_mapping has no 'nothing_like_it'"),
        ("rule", "acme_mapping:Rules.alway", "acme_mapping:Rules has no 'alway'; did you mean always?"),
        ("mapping", "acme_maping:to_event", "there is no module acme_maping; did you mean acme_mapping?"),
        (
            "mapping",
            "zzz_qqq.inner:to_event",
            "there is no module zzz_qqq; install its package, or put its folder into PYTHONPATH",
        ),
        ("mapping", "consumer.intak:Intake", "there is no module consumer.intak; did you mean consumer.intake?"),
        (
            "mapping",
            "acme_mapping:narrow",
            "acme_mapping:narrow takes (document), but a mapping is called with (document, record)",
        ),
        (
            "rule",
            "acme_mapping:by_name",
            "acme_mapping:by_name takes (event, topic, limit by name), but a rule is called with (event, topic)",
        ),
        ("policy", "acme_mapping:to_event", "takes (document, record), but a policy is called with (judgement, event"),
        ("codec", "acme_mapping:narrow", "a codec is called with (value, headers)"),
        ("rule", "acme_mapping:slow", "acme_mapping:slow is asynchronous; a plain function is wanted"),
        ("rule", "acme_mapping:late", "acme_mapping:late is asynchronous; a plain function is wanted"),
        ("rule", "acme_mapping:several", "acme_mapping:several has a yield; a function that returns is wanted"),
        ("rule", "acme_mapping:VERSION", "acme_mapping:VERSION is of the type int; a function is wanted"),
        ("rule", "acme_mapping:Rules", "acme_mapping:Rules is a class; a function is wanted"),
        (
            "rule",
            "acme_mapping:broken",
            "reading 'broken' of acme_mapping failed: RuntimeError: no such thing today, at acme_mapping.py:58",
        ),
        ("rule", "acme_mapping:", "a function is named as module:function, such as acme_forum:to_event"),
        ("rule", "acme-mapping:slow", "a function is named as module:function, such as acme_forum:to_event"),
        ("rule", ":slow", "a function is named as module:function, such as acme_forum:to_event"),
    ],
)
def test_what_is_wrong_with_a_function_is_said_in_one_line(kind: Kind, name: str, said: str) -> None:
    """Each fault names the plugin, its place, and what is near or wanted."""
    assert said in problem(kind, name)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("import zzz_qqq", "importing acme_faulty failed: ModuleNotFoundError: No module named 'zzz_qqq', at "),
        ("\n\nint('x')", "at acme_faulty.py:3"),
        ("def broken(:", "importing acme_faulty failed: SyntaxError: "),
        ("raise SystemExit", "importing acme_faulty failed: SystemExit, at acme_faulty.py:1"),
        ("raise ValueError('one\\ntwo')", "importing acme_faulty failed: ValueError: one, at acme_faulty.py:1"),
        ("import json\njson.loads('{')", "JSONDecodeError: "),
    ],
)
def test_a_module_that_cannot_be_imported_tells_why(folder: Path, content: str, said: str) -> None:
    """The cause is the first line of the error, with the line of the file that it comes from."""
    (folder / "acme_faulty.py").write_text(content)
    assert said in problem("mapping", "acme_faulty:to_event")


@pytest.mark.parametrize(
    ("kind", "name", "said"),
    [
        ("mapping", "fourm", "in the group moderation_consumer.mapping; did you mean forum?"),
        ("mapping", "staff", "it is a plugin for another place, a policy"),
        ("mapping", "zzz", "there is forum; install its package, or name a function as module:function"),
        ("codec", "zzz", "there is none at all; install its package"),
        ("mapping", "acme_mapping.to_event", "a function is named with a colon: acme_mapping:to_event"),
        ("policy", "bare", "its entry point is acme_mapping; a function is wanted, as in module:function"),
        ("policy", "staff", "acme_mapping has no 'trust_staff'"),
        ("rule", "double", "several packages have one of this name: acme (a:b) and other (c:d)"),
    ],
)
def test_a_name_that_is_no_entry_point_is_answered_with_those_there_are(
    package: Callable[[str, str], None], kind: Kind, name: str, said: str
) -> None:
    """What is near is proposed; a plugin of another kind, and one that two packages have, are said to be so."""
    package(
        "acme",
        "[moderation_consumer.mapping]\nforum = acme_mapping:to_event\n"
        "[moderation_consumer.policy]\nstaff = acme_mapping:trust_staff\nbare = acme_mapping\n"
        "[moderation_consumer.rule]\ndouble = a:b\n",
    )
    package("other", "[moderation_consumer.rule]\ndouble = c:d\n")
    assert said in problem(kind, name)


def test_plugins_are_checked_beside_everything_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each plugin's fault stands at its own line, among those of settings that are faulty in another way."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text(
        "mapping:\n  default_kind: posts\n  plugin: 'zzz_qqq:to_event'\n"
        "routes:\n- {name: a, services: [ugc_moderation_byllm_cb], when: {plugin: zzz_qqq}}\n- {name: b}\n"
        "format: {topics: {forum.old: {plugin: zzz_qqq}}}\npolicy: {plugin: zzz_qqq}\n"
        "moderation: {region: ap-southeast-1, credentials: {access_key_id: a, access_key_secret: b}}\n"
    )
    with pytest.raises(SettingsError) as caught:
        load_embedded("config.yaml", {})
    keys = [line.partition(": the ")[0] for line in caught.value.problems if "cannot be used" in line]
    assert keys == [
        "config.yaml:3:3: mapping.plugin",
        "config.yaml:5:57: routes[0].when.plugin",
        "config.yaml:7:31: format.topics.forum.old.plugin",
        "config.yaml:8:10: policy.plugin",
    ]
    assert len(caught.value.problems) == 6


def test_each_kind_has_a_group_of_its_own() -> None:
    """The groups are an interface: packages of others declare their entry points in them."""
    assert GROUPS == {
        "mapping": "moderation_consumer.mapping",
        "rule": "moderation_consumer.rule",
        "policy": "moderation_consumer.policy",
        "codec": "moderation_consumer.codec",
    }
