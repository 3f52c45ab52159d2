"""What becomes of a record that a plugin fails at: nothing is lost, nothing passes unjudged, and no content is said."""

from __future__ import annotations

import asyncio
import gc
import sys
import warnings
from dataclasses import replace
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.building import routes
from consumer.cli.check_routes import outlook
from consumer.clock import SystemClock
from consumer.embedding import Moderator
from consumer.errors import DecodeError, MappingError, NothingToJudge, RecordError, RouteError
from consumer.event import Author, Event, Image, OssObject
from consumer.intake import Intake
from consumer.intake.formats import formats_for
from consumer.intake.mapping import Mapper
from consumer.intake.plugged import PluginMapper
from consumer.metrics import Metrics
from consumer.plugins.calling import Plugin
from consumer.policy import Policy, PolicyPlugin
from consumer.record import Partition, Record
from consumer.rehearsal.explaining import phrase
from consumer.routing import Route, Router, When, WhenPlugin
from consumer.settings import Settings, load_embedded
from consumer.settings.models import Format, Mapping
from consumer.simulator import Simulator, SimulatorSettings
from consumer.verdict import ACTIONS, Action, Judgement, RiskLevel


if TYPE_CHECKING:
    from collections.abc import Callable

    from consumer.plugins.calling import Kind


__all__: list[str] = []


SECRET = "kangaroo"
RECORD = Record(Partition("ugc", 0), 7, 1_767_225_600_000, None, SECRET.encode())
EVENT = Event("1", "message", text=SECRET)
MODERATION = {
    "region": "ap-southeast-1",
    "credentials": {"access_key_id": "testid", "access_key_secret": "testsecret"},
}
CLEAN = Judgement(RiskLevel.NONE, ("s",))


def failing(error: BaseException) -> Callable[..., Any]:
    """A function that raises this, whatever it is given."""

    def fail(*_: Any) -> Any:
        raise error

    return fail


def giving(found: Any) -> Callable[..., Any]:
    """A function that returns this, whatever it is given."""
    return lambda *_: found


def rule(function: Callable[..., Any], metrics: Metrics | None = None) -> Router:
    """A route that asks this function, and one behind it that takes everything."""
    when = WhenPlugin(kinds=frozenset({"message"}), rule=Plugin("rule", "r", function, metrics))
    return Router([Route("asked", ("a",), when), Route("rest", ("b",))])


def mapping(function: Callable[..., Any], metrics: Metrics | None = None, **settings: Any) -> PluginMapper:
    return PluginMapper(Plugin("mapping", "m", function, metrics), Mapper(Mapping.model_validate(settings)))


def refusal(function: Callable[..., Any], kind: Kind, metrics: Metrics | None = None) -> RecordError:
    """The dead letter of a record that a plugin with this function sees."""
    if kind == "mapping":
        see: Callable[[], object] = partial(mapping(function, metrics).event, {"text": SECRET}, RECORD)
    else:
        see = partial(rule(function, metrics).route, EVENT, "ugc")
    with pytest.raises(RecordError) as caught:
        see()
    return caught.value


@pytest.mark.parametrize(("kind", "stage"), [("mapping", MappingError), ("rule", RouteError)])
@pytest.mark.parametrize(
    "error", [KeyError(SECRET), SystemExit(SECRET), asyncio.CancelledError(SECRET), RecursionError(SECRET)]
)
def test_what_a_plugin_raises_is_a_dead_letter(kind: Kind, stage: type[RecordError], error: BaseException) -> None:
    """Its reason is `plugin`; the error names the plugin, the kind of error and its line, and has no content."""
    metrics = Metrics()
    letter = refusal(failing(error), kind, metrics)
    assert type(letter) is stage
    assert letter.reason == "plugin"
    name = type(error).__name__
    line = failing.__code__.co_firstlineno + 4
    assert str(letter) == f"the {kind} plugin '{kind[0]}' failed with {name} at test_at_work.py:{line}"
    assert metrics.totals("plugin_failures") == {(kind, kind[0]): 1}
    [shown] = metrics.errors.to_list()
    assert (shown["what"], shown["code"], shown["where"]) == ("plugin failed", name, f"{kind} {kind[0]}")


@pytest.mark.parametrize("kind", ["mapping", "rule"])
@pytest.mark.parametrize("found", [None, SECRET, [SECRET], 1, object()])
def test_rubbish_is_a_dead_letter(kind: Kind, found: object) -> None:
    """A value of the wrong type is named by its type; a rule has to say True or False, and not what is like them."""
    letter = refusal(giving(found), kind)
    assert letter.reason == "plugin"
    assert SECRET not in str(letter)
    assert str(letter).startswith(f"the {kind} plugin '{kind[0]}' returned {'nothing' if found is None else 'a value'}")


@pytest.mark.parametrize(
    ("kind", "error", "reason"),
    [
        ("mapping", MappingError("no number"), "mapping"),
        ("mapping", MappingError("no number", code="no_number"), "no_number"),
        ("mapping", DecodeError("no number", code="An Id: 4711"), "plugin"),
        ("rule", RouteError("no number"), "no_route"),
    ],
)
def test_a_plugin_can_refuse_a_record_in_its_own_words(kind: Kind, error: RecordError, reason: str) -> None:
    """An error that is meant for dead letters keeps its message and its code, and is no failure of the plugin's."""
    metrics = Metrics()
    letter = refusal(failing(error), kind, metrics)
    assert letter.stage == ("map" if kind == "mapping" else "route")
    assert str(letter) == f"the {kind} plugin '{kind[0]}': no number"
    assert letter.reason == reason
    assert metrics.totals("plugin_failures") == {}


@pytest.mark.parametrize("kind", ["mapping", "rule"])
def test_a_coroutine_in_place_of_a_result_is_named_once(kind: Kind) -> None:
    """A plugin that forgot to wait for another function has its name in the letter, and Python itself says nothing."""

    async def other() -> dict[str, Any]:
        return {}

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        letter = refusal(lambda *_: other(), kind)
        gc.collect()
    assert f"the {kind} plugin '{kind[0]}' returned a value of the type coroutine" in str(letter)
    assert said == []


def test_the_place_of_an_error_is_the_plugin_s_own_line() -> None:
    """Where a library raises, the line of the plugin that called it is named, which people can mend."""

    def function(_document: dict[str, Any], _record: Record) -> Any:
        return Partition._make([SECRET])

    assert f"TypeError at test_at_work.py:{function.__code__.co_firstlineno + 1}" in str(refusal(function, "mapping"))


def test_a_rule_is_asked_last_and_decides() -> None:
    """The plugin sees only what the other conditions of its route take; where it says no, the next route is tried."""
    seen: list[str] = []

    def function(event: Event, topic: str) -> bool:
        seen.append(f"{event.id} {topic}")
        return event.id == "1"

    router = rule(function)
    events = (EVENT, replace(EVENT, id="2", kind="post"), replace(EVENT, id="3"))
    routes = [router.route(event, "ugc") for event in events]
    assert [route and route.name for route in routes] == ["asked", "rest", "rest"]
    assert seen == ["1 ugc", "3 ugc"]


def test_nobody_knows_what_a_plugin_will_say() -> None:
    """A route with a plugin may be taken, and so may the ones behind it, up to the first without one."""
    router = rule(giving(True))
    assert [route.name for route in router.may_take(EVENT, "ugc")] == ["asked", "rest"]
    assert [route.name for route in router.may_take(replace(EVENT, kind="post"), "ugc")] == ["rest"]
    heavy = WhenPlugin(rule=Plugin("rule", "r", giving(True)))
    assert Router([Route("a", ("a",), heavy, weight=2), Route("b", ("b",), When(), weight=5)]).weight("ugc") == 5


FULL = Event(
    "1",
    "post",
    text="text",
    title="title",
    images=(
        Image(url="https://img.example/1.png"),
        Image(oss=OssObject("b", "o", "r")),
        Image(file="/srv/1.png"),
        Image(content=b"png"),
    ),
    author=Author("2", "Ann"),
    thread="t",
    parent="p",
    posted_at="2026",
    language="en",
    origin="ai",
)


def test_a_mapping_gives_an_event() -> None:
    """An event that it made is taken as it is, but for NUL characters, which would part a word before the judge."""
    assert mapping(giving(FULL)).event({}, RECORD) is FULL
    assert mapping(giving(replace(FULL, text="a\0b", title="\0"))).event({}, RECORD) == replace(
        FULL, text="ab", title=""
    )


def test_a_mapping_gives_a_document_for_the_configured_paths() -> None:
    """What is no event is read as a record would be, by the rest of the section, and its faults name the plugin."""
    made = mapping(lambda document, record: {"nr": record.offset, "text": document["text"]}, id="nr")
    assert made.event({"text": SECRET}, RECORD) == Event("7", "message", text=SECRET)
    with pytest.raises(MappingError) as caught:
        mapping(giving({"text": SECRET})).event({}, RECORD)
    assert str(caught.value) == "the mapping plugin 'm': id: nothing at `id`; a string or an integer is wanted"
    assert caught.value.reason == "mapping"


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("id", ["", " ", 5, None]),
        ("kind", ["video", None, ["post"]]),
        ("origin", ["robot", None]),
        ("text", [None, 5, b"text"]),
        ("title", [None]),
        ("thread", [5]),
        ("parent", [5]),
        ("posted_at", [5.5]),
        ("language", [b"en"]),
        ("author", ["Ann", None, Author(5), Author("1", ["Ann"])]),  # type: ignore[arg-type]  # as somebody's code may do
        (
            "images",
            [
                None,
                [Image(url="u")],
                ("https://img.example/1.png",),
                (Image(),),
                (Image(url=""),),
                (Image(url="u", file="f"),),
                (Image(url=5),),  # type: ignore[arg-type]  # the same
                (Image(content=b""),),
                (Image(content="png"),),  # type: ignore[arg-type]  # the same
                (Image(oss=OssObject("b", "", "r")),),
                (Image(oss={"bucket": "b"}),),  # type: ignore[arg-type]  # the same
            ],
        ),
    ],
)
def test_an_event_with_a_wrong_field_is_a_dead_letter(field: str, values: list[Any]) -> None:
    """A field of a type or with a word that the judge could not take is named, since it would go unjudged."""
    for value in values:
        letter = refusal(giving(replace(FULL, **{field: value})), "mapping")
        assert letter.reason == "plugin"
        assert f"the mapping plugin 'm' returned an event with a wrong `{field}`, which has to be" in str(letter)


def policy(function: Callable[..., Any], metrics: Metrics | None = None, **levels: Any) -> PolicyPlugin:
    return PolicyPlugin(plugin=Plugin("policy", "p", function, metrics), **levels)


def test_a_policy_has_the_last_word() -> None:
    """It sees judgement, event and the configured action, and may be milder as well as more severe."""
    seen: list[object] = []

    def function(*given: Any) -> Action:
        seen.extend(given)
        return "pass"

    high = Judgement(RiskLevel.HIGH, ("s",))
    assert policy(function).decide(high, EVENT) == ("pass", high)
    assert seen == [high, EVENT, "block"]
    assert policy(giving("block")).decide(CLEAN, EVENT) == ("block", CLEAN)
    assert Policy().decide(high, EVENT) == ("block", high)


@pytest.mark.parametrize(
    ("function", "how"),
    [
        (failing(KeyError(SECRET)), "failed with KeyError at test_at_work.py:"),
        (giving(None), "returned nothing; pass, review or block is wanted"),
        (giving(SECRET), "returned another text; pass, review or block is wanted"),
        (giving(["pass"]), "returned a value of the type list; pass, review or block is wanted"),
    ],
)
def test_where_a_policy_fails_people_look_at_the_event(function: Callable[..., Any], how: str) -> None:
    """What was judged and paid is delivered: with the configured action, but never passed, and the reason why."""
    metrics = Metrics()
    failed = policy(function, metrics)
    for level, action in (
        (RiskLevel.NONE, "review"),
        (RiskLevel.LOW, "review"),
        (RiskLevel.MEDIUM, "review"),
        (RiskLevel.HIGH, "block"),
    ):
        chosen, judgement = failed.decide(Judgement(level, ("s",)), EVENT)
        assert (chosen, judgement.risk_level) == (action, level)
        assert (judgement.reason or "").startswith(f"the policy plugin 'p' {how}")
        assert SECRET not in (judgement.reason or "")
    unjudged = failed.decide(Judgement(RiskLevel.UNKNOWN, ("s",), reason="no answer"), EVENT)[1]
    assert (unjudged.reason or "").startswith("no answer; the policy plugin 'p' ")
    assert metrics.totals("plugin_failures") == {("policy", "p"): 5}


@given(
    st.sampled_from(list(RiskLevel)),
    st.none() | st.just("no answer"),
    st.sampled_from([*map(giving, [*ACTIONS, None, "", "PASS", 0]), failing(ValueError())]),
    st.sampled_from(ACTIONS),
)
def test_nothing_passes_unjudged_whatever_a_policy_says(
    level: RiskLevel, reason: str | None, function: Callable[..., Any], none: Action
) -> None:
    """An event of which a part was not judged, or that nobody decided about, never passes."""
    action, judgement = policy(function, levels={RiskLevel.NONE: none}).decide(
        Judgement(level, ("s",), reason=reason), EVENT
    )
    assert action in ACTIONS
    if level is RiskLevel.UNKNOWN or judgement.reason is not None:
        assert action != "pass"


@pytest.fixture
def acme(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module to put functions into, that can be imported."""
    module = ModuleType("acme")
    monkeypatch.setitem(sys.modules, "acme", module)
    return module


def test_a_codec_reads_the_records_of_its_topic(acme: ModuleType) -> None:
    """It is given value and headers; records of other topics are JSON as ever."""
    acme.__dict__["read"] = lambda value, headers: {"text": value.decode(), "id": dict(headers)["id"].decode()}
    settings = Format.model_validate({"topics": {"ugc": {"plugin": "acme:read"}}})
    metrics = Metrics()
    read = Intake(Mapping(), metrics, formats_for(settings, clock=SystemClock(), metrics=metrics)).event
    assert read(replace(RECORD, headers=(("id", b"9"),))) == Event("9", "message", text=SECRET)
    assert read(replace(RECORD, partition=Partition("new", 0), value=b'{"id": 1}')) == Event("1", "message")
    with pytest.raises(DecodeError, match=r"^the codec plugin 'acme:read' failed with KeyError at test_at_work.py:"):
        read(RECORD)
    assert metrics.totals("plugin_failures") == {("codec", "acme:read"): 1}


@pytest.mark.parametrize("found", [None, SECRET, [("text", SECRET)]])
def test_a_codec_gives_a_dict(acme: ModuleType, found: object) -> None:
    """Anything else is a dead letter, with its type and without content."""
    acme.__dict__["read"] = lambda _value, _headers: found
    formats = formats_for(Format(plugin="acme:read"), clock=SystemClock(), metrics=Metrics())
    assert formats is not None
    with pytest.raises(DecodeError) as caught:
        formats.document(RECORD)
    assert caught.value.reason == "plugin"
    assert str(caught.value).endswith("; a dict is wanted")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("settings", [{"format": {"plugin": "acme:skip"}}, {"mapping": {"plugin": "acme:skip"}}])
def test_a_plugin_can_have_a_record_skipped(acme: ModuleType, settings: dict[str, Any]) -> None:
    """A codec or a mapping that finds nothing to judge says so, and is no failure."""
    acme.__dict__["skip"] = failing(NothingToJudge("a notice of the system"))
    loaded = load_embedded({**settings, "moderation": MODERATION}, {})
    metrics = Metrics()
    formats = formats_for(loaded.format, clock=SystemClock(), metrics=metrics)
    with pytest.raises(NothingToJudge):
        Intake(loaded.mapping, metrics, formats).event(replace(RECORD, value=b"{}"))
    assert metrics.totals("plugin_failures") == {}


def test_check_tells_what_a_rule_may_do(acme: ModuleType) -> None:
    """It names the plugin, every route that an event may take, and that none may be left for it."""
    acme.__dict__["asked"] = lambda _event, _topic: True
    services = ["ugc_moderation_byllm_cb", "baselineCheck_global"]
    own = {
        "kafka": {"bootstrap_servers": ["b:9092"], "topics": ["t"], "group_id": "g", "start": "latest"},
        "moderation": MODERATION,
        "routes": [
            {"name": "asked", "when": {"kind": ["post"], "plugin": "acme:asked"}, "services": services},
            {"name": "posts", "when": {"kind": ["post"], "has_text": True}, "services": services},
        ],
    }
    settings = Settings.model_validate(own)
    assert phrase(routes(settings)[0].when) == "kind post, plugin acme:asked"
    found = outlook(settings)
    assert found.by_kind["post"] == ("asked", "posts")
    assert "no route takes an event that all plugins say no to: dead letters" in found.notes
    assert not [note for note in found.notes if "never taken" in note]


def test_an_embedded_moderator_asks_them_as_well(acme: ModuleType) -> None:
    """Rule and policy decide there, too, and what they fail at is counted in its metrics."""
    acme.__dict__["asked"] = lambda event, topic: event.id != "2" and not topic
    acme.__dict__["decide"] = lambda _judgement, event, _action: {"1": "block"}[event.id]
    services = ["ugc_moderation_byllm_cb"]
    settings = {
        "routes": [
            {"name": "asked", "when": {"plugin": "acme:asked"}, "services": services},
            {"name": "rest", "services": services},
        ],
        "policy": {"plugin": "acme:decide"},
    }

    async def main() -> None:
        async with Simulator(SimulatorSettings()) as simulator:
            moderation = {"moderation": {**MODERATION, "endpoint": simulator.url}}
            async with Moderator.from_settings({**settings, **moderation}, {}) as moderator:
                one = await moderator.moderate(EVENT)
                two = await moderator.moderate(replace(EVENT, id="2"))
                assert (one.route, one.action, one.judgement.reason) == ("asked", "block", None)
                assert (two.route, two.action) == ("rest", "review")
                assert (two.judgement.reason or "").startswith("the policy plugin 'acme:decide' failed with KeyError")
                assert moderator.metrics.totals("plugin_failures") == {("policy", "acme:decide"): 1}

    asyncio.run(main())
