"""What all tests share: the brokers, their order, and a log that is left as it was found."""

from __future__ import annotations

import logging
import os
import warnings
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from _pytest.logging import LogCaptureHandler
from coverage import Coverage
from coverage.exceptions import CoverageWarning
from hypothesis import is_hypothesis_test


if TYPE_CHECKING:
    from collections.abc import Generator, Iterator


pytest_plugins = ["tests.broker.fixtures"]

TESTS = Path(__file__).parent
# These watch the whole product at work; each part of it has tests of its own.
UNMEASURED = {TESTS / name for name in ("alerts", "benchmarks", "chaos", "observed", "simulation")}

_LOGGERS = (None, "aiokafka", "aiohttp", "asyncio", "consumer.moderation.calling.hold")
LEVELS = {logger: logger.level for logger in map(logging.getLogger, _LOGGERS)}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first, so that workers side by side end at about the same time.

    How long a file takes is told by the time limits that its tests ask for. Workers that run whole files
    (`--dist loadfile`) take them in this order with `--no-loadscope-reorder`.
    """
    asked: dict[Path, float] = defaultdict(float)
    for item in items:
        limit = item.get_closest_marker("timeout")
        if limit is not None:
            asked[item.path] += limit.args[0]
    items.sort(key=lambda item: -asked.get(item.path, 0.0))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Do not measure which lines run where many run again and again: that takes up to four times as long.

    It is so for properties, which are tried with hundreds of examples, and for the tests in `UNMEASURED` with all the
    processes that they start.
    """
    coverage = Coverage.current()
    large = not UNMEASURED.isdisjoint(item.path.parents)
    if coverage is None or not (large or is_hypothesis_test(getattr(item, "obj", None))):
        return (yield)
    told = {name: value for name, value in os.environ.items() if large and name.startswith("COVERAGE_")}
    for name in told:
        del os.environ[name]
    coverage.stop()
    try:
        return (yield)
    finally:
        with warnings.catch_warnings():
            # What it says by itself: modules are imported that it has not seen being imported.
            warnings.simplefilter("ignore", CoverageWarning)
            coverage.start()
        os.environ.update(told)


@pytest.fixture(scope="session", autouse=True)
def _loggers_follow() -> Iterator[None]:
    """Let no logger keep the configuration it was first used with: a later test captures what it says, or nothing."""
    configure = structlog.configure

    def uncached(**given: Any) -> None:
        configure(**given | {"cache_logger_on_first_use": False})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(structlog, "configure", uncached)
        yield


@pytest.fixture(autouse=True)
def _log_as_found() -> Iterator[None]:
    """Begin and end each test without what a command under test, or one in a fixture of its file, did to logging."""
    _undo_logging()
    yield
    _undo_logging()


def _undo_logging() -> None:
    structlog.reset_defaults()
    root = logging.getLogger()
    # Those that capture for a test are the runner's and stay; a command's writes to a standard error that is closed.
    root.handlers[:] = [handler for handler in root.handlers if isinstance(handler, LogCaptureHandler)]
    for logger, level in LEVELS.items():
        logger.setLevel(level)
