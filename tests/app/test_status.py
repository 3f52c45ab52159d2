"""Tests of /status: what it tells programs and people of a consumer that has trouble, and that its page is harmless."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import aiohttp
import orjson
import pytest

from consumer.admin.page import SECURITY, page
from consumer.app import App
from consumer.errors import StartError
from consumer.recent import RecentErrors, lines_counted
from consumer.settings import load
from consumer.simulator import Fault, Simulator
from tests import virtual_time
from tests.app.process import Bench, environment


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from consumer.demo.broker import EmbeddedBroker


EVIL = "<script>alert('x')</script>\"&"


class Page(HTMLParser):
    """The tags of a page with their attributes, and its text; fails where a tag is not closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag != "meta":
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += f" {data}"


def status(**more: Any) -> dict[str, Any]:
    """What a consumer tells that has just begun."""
    return {
        "version": "1.0",
        "state": "running",
        "owner": False,
        "started_at": 1_767_323_000.0,
        "now": 1_767_323_090.0,
        "in_flight": 0,
        "oldest_unfinished_seconds": 0.0,
        "holds": [],
        "lanes": [],
        "quotas": {},
        "breakers": {},
        "spending": {},
        "budgets": [],
        "packed": {},
        "tasks_pending": 0,
        "billed": [],
        "calls_with_unknown_bill": 0,
        "verdicts": [],
        "errors": [],
        "settings": {},
        **more,
    }


def everything(word: str) -> dict[str, Any]:
    """A status with this word wherever a word may be."""
    quota = {"limit": 50, "limit_now": 35, "used": 60, "waiting": 3, "taken": 1234.0, "throttled": 2.0}
    lane = {"position": 10, "lag": 5, "waiting": 1, "unfinished": 2, "oldest_unfinished_offset": 10}
    error = {"what": word, "code": word, "where": word, "count": 3, "first_at": 1_767_320_000.0}
    budget = {"limit": 5.0, "spent": 4.5, "waiting": 1, "set_aside": 0.0, "beyond": 0.0}
    spent = {"hour": 0.5, "day": 1234.5, "day_forecast": 2000.25, "month": 1234.5}
    return status(
        version=word,
        state=word,
        owner=True,
        holds=[
            {"reason": word, "meaning": word, "remedy": word, "code": word, "service": word, "since": 1_767_323_000.0}
        ],
        lanes=[{"topic": word, "partition": 3, "state": word, **lane}],
        quotas={word: quota},
        breakers={word: word},
        spending={"cost": {word: spent}},
        budgets=[{"name": word, "period": word, "until": word, "unit": word, "when_spent": word, **budget}],
        calls_with_unknown_bill=2,
        verdicts=[{"route": word, "risk_level": word, "action": "pass", "count": 1_000_000}],
        errors=[{**error, "last_at": 1_767_323_085.0}],
        settings={word: {"value": word, "origin": word}, "log.level": {"value": "info", "origin": "default"}},
    )


def test_nothing_in_the_page_is_taken_for_html() -> None:
    """Whatever stands in names, values and errors is text of the page, never a part of it."""
    text = page(everything(EVIL), ready=False, reason=EVIL)
    shown = Page(text)
    assert not {tag for tag, _ in shown.tags} & {"script", "img", "iframe", "link", "form", "object"}
    assert "<script" not in text
    plain = Page(page(everything("word"), ready=False, reason="word"))
    assert [tag for tag, _ in shown.tags] == [tag for tag, _ in plain.tags]
    assert shown.text.count(EVIL.partition("(")[2][:3]) > 20


def test_the_page_needs_nothing_from_anywhere() -> None:
    """The policy allows one style sheet, which is the page's own, and nothing else; no address is loaded."""
    text = page(status(), ready=True, reason="")
    [style] = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = SECURITY["Content-Security-Policy"]
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}';")
    assert "frame-ancestors 'none'" in policy
    assert not [name for _, given in Page(text).tags for name in given if name in {"src", "href", "style", "onclick"}]
    assert "url(" not in style
    assert "@import" not in style
    assert "prefers-color-scheme: dark" in style


def test_a_page_of_a_consumer_that_has_just_begun_is_whole() -> None:
    """Where there is nothing yet to show, the page says so instead of leaving holes."""
    text = Page(page(status(), ready=False, reason="starting")).text
    for said in ("not ready: starting", "stands by", "No partition is assigned", "Nothing was spent yet", "None since"):
        assert said in text
    assert "up for 1 min 30 s" in text


def test_people_read_numbers_as_people_write_them() -> None:
    """Counts have separators, spans their two largest units, offsets neither; a lowered limit stands out."""
    text = Page(page(everything("word"), ready=True, reason="")).text
    for said in ("1,000,000", "5 s ago", "51 min 30 s ago", "35 now", "1,234.50", "2,000.25", "4.5 of 5 word"):
        assert said in text


def test_a_long_table_is_cut() -> None:
    """Of thousands of partitions five hundred are shown, and the number of the others."""
    lane = everything("t")["lanes"][0]
    text = Page(page(status(lanes=[lane] * 1200), ready=True, reason="")).text
    assert "and 700 more" in text


@pytest.fixture
def bench(embedded: EmbeddedBroker) -> Bench:
    made = Bench.on(embedded)
    made.produce([orjson.dumps({"id": f"e{n}", "text": f"words {n}"}) for n in range(5)] + [b"{broken"])
    return made


async def got(port: int, path: str, accept: str) -> tuple[int, str, dict[str, str]]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}{path}", headers={"Accept": accept}) as answer,
    ):
        return answer.status, await answer.text(), dict(answer.headers)


def test_the_status_of_a_consumer_in_trouble(bench: Bench, tmp_path: Path) -> None:
    """It tells holds, last errors with their codes, lanes with their lag, quotas, and where settings come from."""
    config = tmp_path / "config.yaml"
    config.write_text("# mine\nlog:\n  level: error\n")

    async def main() -> tuple[dict[str, Any], str, dict[str, str]]:
        async with Simulator() as simulator, asyncio.TaskGroup() as tasks:
            simulator.faults.set([Fault.parse("code=408")])
            env = environment(bench, simulator.url, MODERATION__HOLD_PROBE_SECONDS="0.2")
            variables = {name: value for name, value in env.items() if name.startswith("MODERATION__")}
            app, stop = App(load([str(config)], variables)), asyncio.Event()
            tasks.create_task(app.run(stop))
            async with asyncio.timeout(20):
                while not (
                    [one for one in app.metrics.errors.to_list() if one["what"] == "dead letter"] and app._holds()
                ):
                    await asyncio.sleep(0.05)
            _, body, headers = await got(app.admin_port, "/status", "application/json")
            assert headers["Content-Type"] == "application/json"
            assert headers["Cache-Control"] == "no-store"
            code, text, page_headers = await got(app.admin_port, "/status", "text/html,application/xhtml+xml,*/*;q=0.8")
            assert code == 200
            simulator.faults.clear()
            stop.set()
        return orjson.loads(body), text, page_headers

    told, text, headers = asyncio.run(main())
    errors = {(one["what"], one["code"], one["where"]): one["count"] for one in told["errors"]}
    assert errors["dead letter", "malformed", "decode"] == 1
    [(_, called)] = [(key, count) for key, count in errors.items() if key[:2] == ("call", "408")]
    assert called >= 1
    assert [hold["code"] for hold in told["holds"]] == [408]
    assert sum(lane["lag"] for lane in told["lanes"]) == 5
    assert {lane["oldest_unfinished_offset"] for lane in told["lanes"]} >= {0}
    assert told["quotas"]["text"]["limit"] == 10_000
    assert told["quotas"]["text"]["taken"] >= 1
    settings = told["settings"]
    assert settings["log.level"] == {"value": "error", "origin": f"{config}:3:3"}
    assert settings["log.format"] == {"value": "json", "origin": "default"}
    assert settings["kafka.group_id"]["origin"] == "$MODERATION__KAFKA__GROUP_ID"
    for name in ("access_key_id", "access_key_secret"):
        assert settings[f"moderation.credentials.{name}"]["value"] == "(secret)"
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert headers["Content-Security-Policy"] == SECURITY["Content-Security-Policy"]
    shown = Page(text).text
    for said in ("not ready: holding: permission", "malformed", "408", f"{config}:3:3", "(secret)"):
        assert said in shown
    assert "testsecret" not in text + str(told)


class _Turns:
    """An engine as far as liveness looks at it."""

    def __init__(self, *, stopping: bool) -> None:
        self.turned_at = 0.0
        self.stopping = stopping


@pytest.mark.parametrize(("stopping", "patience"), [(False, 60.0), (True, 60.0 + 100 + 5 + 2)])
def test_a_long_drain_is_no_reason_to_be_killed(*, stopping: bool, patience: float) -> None:
    """Liveness fails after a minute in which nothing turns; while it stops, the stop's own limits come on top."""

    async def main() -> None:
        clock = virtual_time.LoopClock()
        env = environment(Bench("localhost:1", "e", "v", "l", "g"), "http://127.0.0.1:9", SHUTDOWN__DRAIN_SECONDS="100")
        app = App(
            load([], {name: value for name, value in env.items() if name.startswith("MODERATION__")}), clock=clock
        )
        assert app.live().ok
        engine = _Turns(stopping=stopping)
        engine.turned_at = clock.monotonic()
        app._engine = engine  # type: ignore[assignment]  # all that liveness looks at
        await clock.sleep(patience - 1)
        assert app.live().ok
        await clock.sleep(2)
        assert not app.live().ok
        assert "has not turned" in app.live().reason

    virtual_time.run(main())


@pytest.fixture
def errors() -> Iterator[RecentErrors]:
    kept = RecentErrors(3, now=iter(range(100)).__next__)
    with lines_counted(kept):
        yield kept


def test_the_last_errors_are_bounded_and_counted(errors: RecentErrors) -> None:
    """The same error again is one more of it; of different ones the last few are kept, the newest first."""
    for code in ("a", "b", "a", "c", "d"):
        errors.add("call", code, "service")
    assert [(one["code"], one["count"], one["first_at"], one["last_at"]) for one in errors.to_list()] == [
        ("d", 1, 4, 4),
        ("c", 1, 3, 3),
        ("a", 2, 0, 2),
    ]


def test_lines_that_are_logged_count_as_errors_without_their_words(
    errors: RecentErrors, caplog: pytest.LogCaptureFixture
) -> None:
    """A warning is told by its event and code; a sentence is no code, and of others only the logger is told."""
    # Commands that ran in this process before may have set other levels.
    for name in ("aiokafka", "aiokafka.conn", "consumer", "consumer.part"):
        caplog.set_level(logging.WARNING, name)
    log = logging.getLogger("aiokafka.conn")
    log.warning("cannot reach %s", "somebody")
    log.info("fine")
    ours = logging.getLogger("consumer.part")
    ours.error({"event": "holding", "code": 408, "service": "text"})
    ours.warning({"event": "polls_fail", "reason": "a long story; with 'somebody' in it"})
    found = [(one["what"], one["code"], one["where"]) for one in errors.to_list()]
    assert found == [
        ("polls_fail", "", "consumer.part"),
        ("holding", "408", "text"),
        ("line logged", "warning", "aiokafka.conn"),
    ]


def test_a_port_in_use_is_a_clear_error(embedded: EmbeddedBroker) -> None:
    """An admin port that somebody else has stops the start, and says which setting to change."""

    async def main() -> None:
        server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        env = environment(Bench.on(embedded), "http://127.0.0.1:9", ADMIN__PORT=str(port))
        app = App(load([], {name: value for name, value in env.items() if name.startswith("MODERATION__")}))
        with pytest.raises(StartError) as caught:
            await app.run(asyncio.Event())
        assert "admin.port" in caught.value.remedy
        server.close()
        await server.wait_closed()

    asyncio.run(main())
