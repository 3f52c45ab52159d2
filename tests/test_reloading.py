"""Tests of settings that are read again: when, what becomes of them, and what is said."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from consumer.errors import SettingsError
from consumer.metrics import Metrics
from consumer.reloading import Reloads, Seams, put_to_work
from consumer.settings import Loaded, load
from tests import virtual_time


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from consumer.settings import Settings


GOOD = """\
kafka: {bootstrap_servers: ["broker:9092"], topics: [ugc], group_id: moderation, start: latest}
moderation:
  region: ap-southeast-1
  credentials: {access_key_id: LTAI-example, access_key_secret: planted-secret}
"""


class Scene:
    """A file, what is at work, and what was put to work."""

    def __init__(self, file: Path) -> None:
        self.file = file
        if not file.exists():
            file.write_text(GOOD)
        self.metrics = Metrics()
        self.taken: list[tuple[Loaded, Sequence[str]]] = []
        self.reads = 0
        self.reloads = Reloads(
            self.read(),
            read=self.read,
            files=[str(file)],
            take=lambda loaded, changed: self.taken.append((loaded, changed)),
            metrics=self.metrics,
            look_seconds=0.02,
        )
        self.reads = 0

    def read(self) -> Loaded:
        self.reads += 1
        return load([self.file], {})

    @property
    def results(self) -> dict[str, float]:
        return {labels[0]: count for labels, count in self.metrics.totals("config_reloads").items() if count}

    @property
    def gauges(self) -> tuple[float, float]:
        failed, needed = (self.metrics.readings(f"config_{name}")[()] for name in ("reload_failed", "restart_needed"))
        return failed, needed

    def run(self, script: Callable[[], Awaitable[None]]) -> None:
        async def main() -> None:
            async with asyncio.TaskGroup() as tasks:
                watching = tasks.create_task(self.reloads.run())
                await script()
                watching.cancel()

        asyncio.run(main())

    async def until(self, **results: int) -> None:
        async with asyncio.timeout(10):
            while self.results != results:
                await asyncio.sleep(0.005)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path / "config.yaml")


def test_a_changed_file_is_put_to_work(scene: Scene) -> None:
    """What a file says anew is taken by itself, once, and counted."""

    async def script() -> None:
        scene.file.write_text(GOOD + "policy: {low: review}\n")
        await scene.until(applied=1)
        await asyncio.sleep(0.1)

    scene.run(script)
    ((loaded, changed),) = scene.taken
    assert loaded.settings.policy.low == "review"
    assert changed == ("policy.low",)
    assert (scene.reads, scene.gauges) == (1, (0, 0))


def test_a_wrong_file_changes_nothing_and_is_told_as_at_start(scene: Scene) -> None:
    """A faulty file is refused with the lines of a start; a later good one is taken, and the alarm is over."""

    async def script() -> None:
        scene.file.write_text(GOOD + "poliy: {low: review}\n")
        await scene.until(refused=1)
        assert scene.taken == []
        assert scene.gauges == (1, 0)
        scene.file.write_text(GOOD + "policy: {low: block}\n")
        await scene.until(refused=1, applied=1)

    with structlog.testing.capture_logs() as logged:
        scene.run(script)
    assert logged[0]["log_level"] == "error"
    assert logged[0]["problems"] == [f"{scene.file}:5:1: poliy: unknown key; did you mean policy?"]
    assert scene.taken[0][0].settings.policy.low == "block"
    assert scene.gauges == (0, 0)


def test_keys_that_need_a_restart_are_named(scene: Scene) -> None:
    """What cannot change is named in a warning and counted, until the file takes it back."""

    async def script() -> None:
        scene.file.write_text(GOOD.replace("[ugc]", "[ugc, posts]") + "log: {level: debug}\n")
        await scene.until(restart=1)
        assert scene.gauges == (0, 1)
        scene.file.write_text(GOOD + "log: {level: debug}\n")
        await scene.until(restart=1, unchanged=1)

    with structlog.testing.capture_logs() as logged:
        scene.run(script)
    assert logged[0]["log_level"] == "warning"
    assert "needs a restart: kafka.topics;" in logged[0]["meaning"]
    assert [changed for _, changed in scene.taken] == [("log.level",)]
    assert scene.gauges == (0, 0)


def test_asking_reads_again_at_once(scene: Scene) -> None:
    """Who asks has the settings read again, whether a file changed or not."""

    async def script() -> None:
        scene.reloads.ask()
        await scene.until(unchanged=1)

    scene.run(script)
    assert scene.taken == []


def test_a_link_that_is_swapped_is_a_change(tmp_path: Path) -> None:
    """A file behind links that are swapped, as in a volume of Kubernetes, is read anew."""
    for name, text in (("..1", GOOD), ("..2", GOOD + "policy: {low: review}\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").write_text(text)
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "config.yaml").symlink_to("..data/config.yaml")
    scene = Scene(tmp_path / "config.yaml")

    async def script() -> None:
        (tmp_path / "..data_tmp").symlink_to("..2")
        os.replace(tmp_path / "..data_tmp", tmp_path / "..data")  # noqa: PTH105  # as the kubelet does
        await scene.until(applied=1)

    scene.run(script)
    assert scene.taken[0][0].settings.policy.low == "review"


def test_a_file_that_is_being_written_is_not_read(scene: Scene) -> None:
    """While a file goes on changing it is left alone: an editor's half file is never told to be faulty."""

    async def main() -> None:
        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(scene.reloads.run())
            for number in range(50):
                scene.file.write_text(GOOD + "policy: {low: " + "x" * number)
                await asyncio.sleep(0.01)
            watching.cancel()

    virtual_time.run(main())
    assert scene.reads == 0


def test_a_bug_in_reading_does_not_stop_the_program(scene: Scene) -> None:
    """An unforeseen error counts as a refusal, is named by its kind only, and the next reading goes on."""

    async def script() -> None:
        scene.reloads.ask()
        await scene.until(refused=1)
        scene.reloads.ask()
        await scene.until(refused=1, unchanged=1)

    read, failures = scene.reloads._read, iter([ValueError("planted-secret")])

    def failing() -> Loaded:
        error = next(failures, None)
        if error is not None:
            raise error
        return read()

    scene.reloads._read = failing
    with structlog.testing.capture_logs() as logged:
        scene.run(script)
    assert logged[0]["problems"] == ["unexpected ValueError while the settings were read"]


def test_only_what_changed_is_replaced(tmp_path: Path) -> None:
    """Each seam is called where its section changed, and none where anything cannot be built."""
    called: dict[str, Any] = {}
    seams = Seams(*(lambda made, name=name: called.update({name: made}) for name in Seams.__dataclass_fields__))
    file = tmp_path / "config.yaml"
    file.write_text(GOOD + "  prices: {text_advanced: {price: 0.5, currency: USD}}\nlog: {level: debug}\n")
    settings = load([file], {}).settings
    put_to_work(settings, ["log.level"], seams)
    assert called == {"log_level": "debug"}
    put_to_work(settings, ["moderation.prices", "quota.text_per_second", "routes", "policy.low"], seams)
    assert called.keys() == {"log_level", "prices", "limits", "routes", "policy"}
    assert str(called["prices"]["text_advanced"].price) == "0.5"
    called.clear()
    with pytest.raises(SettingsError):
        put_to_work(spoilt(settings), ["routes", "moderation.prices"], seams)
    assert called == {}


def spoilt(settings: Settings) -> Settings:
    """Settings with a price of nothing that is billed."""
    prices = {"no_such_type": settings.moderation.prices["text_advanced"]}
    return settings.model_copy(update={"moderation": settings.moderation.model_copy(update={"prices": prices})})
