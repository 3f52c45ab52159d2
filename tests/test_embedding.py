"""The public API for programs of one's own, against the simulator."""

from __future__ import annotations

import asyncio
import doctest
import gc
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import consumer
from consumer import Event, Image, Moderator
from consumer.errors import ContentRefused, RouteError, SettingsError, StartError
from consumer.moderation.tasks.task import Task
from consumer.settings import load
from consumer.simulator import Fault, Simulator, SimulatorSettings
from consumer.verdict import RiskLevel


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator


__all__: list[str] = []


DOCS = Path(__file__).resolve().parents[1] / "docs"
KEY = {"access_key_id": "testid", "access_key_secret": "testsecret"}
COMMENT = Event("1", "comment", text="What a lovely garden!")


def embedded(url: str, **moderation: Any) -> Moderator:
    return Moderator.from_settings({"moderation": {"endpoint": url, "credentials": KEY, **moderation}}, {})


def against(use: Callable[[Simulator], Awaitable[None]], *faults: str) -> None:
    """Run a coroutine function beside a simulator."""

    async def main() -> None:
        async with Simulator(SimulatorSettings(faults=tuple(map(Fault.parse, faults)))) as simulator:
            await use(simulator)

    asyncio.run(main())


@contextmanager
def beside() -> Iterator[str]:
    """A simulator in a thread of its own, for code that runs an event loop itself; gives its URL."""
    started, url = threading.Event(), ""
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve() -> None:
        nonlocal url
        async with Simulator(SimulatorSettings()) as simulator:
            url = simulator.url
            started.set()
            await stop.wait()

    def work() -> None:
        loop.run_until_complete(serve())
        loop.close()

    thread = threading.Thread(target=work)
    thread.start()
    started.wait()
    try:
        yield url
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()


def test_the_page_s_example_is_true() -> None:
    """The example in docs/embedding.md prints what the page says."""
    with beside() as url:
        text = (DOCS / "embedding.md").read_text(encoding="utf-8").replace("http://127.0.0.1:8099", url)
        test = doctest.DocTestParser().get_doctest(text, {}, "embedding.md", "embedding.md", 0)
        result = doctest.DocTestRunner(optionflags=doctest.REPORT_NDIFF).run(test)
    assert result.attempted >= 4
    assert result.failed == 0


def test_an_event_is_judged_and_billed() -> None:
    """A harmless text passes, for the price of one call; other texts have their own, and the same text has none."""

    async def use(simulator: Simulator) -> None:
        async with embedded(simulator.url) as moderator:
            judged = await moderator.moderate(COMMENT)
            assert (judged.action, judged.risk_level, judged.labels) == ("pass", RiskLevel.NONE, ())
            assert [bill.units for bill in judged.billed] == [1]
            others = [replace(COMMENT, text=f"garden {number}") for number in range(5)]
            await asyncio.gather(*map(moderator.moderate, others))
            assert simulator.ledger.billed_calls == 6
            again = await moderator.moderate(replace(COMMENT, id="2"))
        assert (again.judgement.source, again.billed) == ("cache", ())
        assert again.judgement.request_ids == judged.judgement.request_ids
        assert simulator.ledger.billed_calls == 6

    against(use)


def test_an_event_that_is_given_up_leaves_nothing_behind() -> None:
    """A task whose event was given up while it was submitted is not remembered: nobody will ever come for it."""

    async def use(simulator: Simulator) -> None:
        routes = [{"name": "threads", "services": ["post_text_image_detection"]}]
        own = {"endpoint": simulator.url, "credentials": KEY}
        async with Moderator.from_settings({"moderation": own, "routes": routes}, {}) as moderator, asyncio.timeout(30):
            work = asyncio.create_task(moderator.moderate(Event("1", "post", text="Hello")))
            while not simulator.ledger.billed_calls:
                await asyncio.sleep(0)
            work.cancel()
            while not moderator.metrics.totals("billed_units"):
                await asyncio.sleep(0.01)
            # The time limit ends this where it is remembered; another test's may wait for the collector.
            while [one for one in gc.get_objects() if isinstance(one, Task) and one.place.topic == ""]:
                gc.collect()
                await asyncio.sleep(0.01)

    against(use)


def test_an_unusable_answer_does_not_pass() -> None:
    """Where no answer says how risky the event is, people look at it, and the reason is told."""

    async def use(simulator: Simulator) -> None:
        async with embedded(simulator.url) as moderator:
            judged = await moderator.moderate(COMMENT)
        assert (judged.action, judged.risk_level) == ("review", RiskLevel.UNKNOWN)
        assert judged.judgement.reason

    against(use, "no_risk_level")


@pytest.mark.parametrize(
    ("event", "error"),
    [
        (Event("1", "comment"), RouteError),
        (Event("1", "image", images=(Image(url="ftp://img.example/a.jpg"),)), ContentRefused),
    ],
)
def test_what_would_be_a_dead_letter_is_raised(event: Event, error: type[Exception]) -> None:
    """An event with nothing in it, and content that no service takes, are exceptions of their own, not a group."""

    async def use(simulator: Simulator) -> None:
        with pytest.raises(error):
            async with embedded(simulator.url) as moderator:
                await moderator.moderate(event)

    against(use)


def test_an_event_that_no_route_takes() -> None:
    """With routes of one's own an event that none of them takes is an error that names its kind."""

    async def use(simulator: Simulator) -> None:
        routes = [{"name": "posts", "when": {"kind": ["post"]}, "services": ["ugc_moderation_byllm_cb"]}]
        settings = {"moderation": {"endpoint": simulator.url, "credentials": KEY}, "routes": routes}
        async with Moderator.from_settings(settings, {}) as moderator:
            with pytest.raises(RouteError, match="comment"):
                await moderator.moderate(COMMENT)

    against(use)


def test_a_hold_says_why_it_waits() -> None:
    """While the account is denied, a call waits, the reason is there to be read, and a time-out ends the wait."""

    async def use(simulator: Simulator) -> None:
        async with embedded(simulator.url) as moderator:
            assert moderator.holds == ()
            waiting = asyncio.create_task(moderator.moderate(COMMENT))
            while not moderator.holds:
                await asyncio.sleep(0)
            assert moderator.holds[0].remedy
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting

    against(use, "code=408")


def test_it_is_used_inside_its_context_only() -> None:
    """Before and after its context a moderator refuses to judge."""

    async def use(simulator: Simulator) -> None:
        moderator = embedded(simulator.url)
        with pytest.raises(RuntimeError, match="not open"):
            await moderator.moderate(COMMENT)
        async with moderator:
            pass
        with pytest.raises(RuntimeError, match="not open"):
            await moderator.moderate(COMMENT)

    against(use)


def test_credentials_that_cannot_be_had_end_the_start(tmp_path: Path) -> None:
    """Without credentials there is no moderator, and the remedy says what to do."""

    async def main() -> None:
        settings = {"region": "cn-shanghai", "credentials": {"profile_file": str(tmp_path / "none.json")}}
        async with Moderator.from_settings({"moderation": settings}, {}):
            pass

    with pytest.raises(StartError) as caught:
        asyncio.run(main())
    assert caught.value.remedy


def test_a_replaced_key_is_read_from_its_file(tmp_path: Path) -> None:
    """When the service no longer knows the key, the file is read again, and the event is judged with the new one."""
    file = tmp_path / "config.yaml"

    async def use(simulator: Simulator) -> None:
        def write(key_id: str) -> None:
            key = {**KEY, "access_key_id": key_id}
            file.write_text(f"moderation: {{endpoint: '{simulator.url}', credentials: {key}}}\n")

        write("the-old-one")
        async with Moderator.from_settings(file, {}) as moderator:
            write("testid")
            judged = await moderator.moderate(COMMENT)
        assert (judged.action, judged.judgement.attempts) == ("pass", 2)

    against(use)


def test_settings_that_were_loaded_before(tmp_path: Path) -> None:
    """The settings of the sidecar, as they were loaded, are taken as they are; so is the name of their file."""
    file = tmp_path / "config.yaml"

    async def use(simulator: Simulator) -> None:
        file.write_text(
            "kafka: {bootstrap_servers: ['b:9092'], topics: [t], group_id: g, start: latest}\n"
            f"moderation: {{endpoint: '{simulator.url}', credentials: {KEY}}}\n"
        )
        for settings in (load([file], {}), file, str(file)):
            async with Moderator.from_settings(settings, {}) as moderator:
                assert (await moderator.moderate(COMMENT)).action == "pass"

    against(use)


def test_faulty_settings_are_told_all_at_once() -> None:
    """Settings that cannot be used are told before anything is opened."""
    with pytest.raises(SettingsError) as caught:
        Moderator.from_settings({"moderation": {"region": "atlantis"}, "policy": {"high": "shout"}}, {})
    assert len(caught.value.problems) == 4


def test_the_package_is_light() -> None:
    """`import consumer` brings no other module of ours; the public names come when they are asked for."""
    code = "import consumer, sys; print([name for name in sys.modules if name.startswith(('consumer.', 'aiohttp'))])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
    assert set(consumer.__all__) == {"Author", "Event", "Image", "Moderated", "Moderator", "__version__"}
    assert all(getattr(consumer, name) for name in consumer.__all__)
    with pytest.raises(AttributeError, match="Moderatr"):
        _ = consumer.Moderatr  # type: ignore[attr-defined]  # as a type checker knows


def test_nobody_waits_for_a_moderator_that_has_failed() -> None:
    """When what fetches the results of tasks fails, those who wait for one hear of it instead of waiting for ever."""

    class Broken:
        async def query(self, service: str, task_id: str) -> None:
            raise PermissionError("unforeseen")

    async def main() -> None:
        async with Simulator() as simulator:
            settings = {
                "moderation": {
                    "endpoint": simulator.url,
                    "credentials": {"access_key_id": "testid", "access_key_secret": "testsecret"},
                },
                "tasks": {"first_poll_seconds": 0.1},
                "routes": [{"name": "posts", "services": ["post_text_image_detection"]}],
            }
            moderator = Moderator.from_settings(settings, {})
            await moderator.__aenter__()
            assert moderator._judging is not None
            moderator._judging.board._query = Broken()
            async with asyncio.timeout(20):
                with pytest.raises(RuntimeError, match="no longer"):
                    await moderator.moderate(Event("1", "post", text="hello"))
            with pytest.raises(ExceptionGroup):
                await moderator.__aexit__(None, None, None)

    asyncio.run(main())
