"""What all tests share: the brokers, their order, and a log that is left as it was found."""

from __future__ import annotations

import logging
from collections import defaultdict
from typing import TYPE_CHECKING

import pytest


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


pytest_plugins = ["tests.broker.fixtures"]


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


@pytest.fixture(autouse=True)
def _log_levels() -> Iterator[None]:
    """Give libraries' loggers back the levels that a command under test took from them."""
    loggers = [logging.getLogger(name) for name in ("aiokafka", "aiohttp", "asyncio")]
    levels = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)
