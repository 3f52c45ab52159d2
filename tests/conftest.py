"""What all tests share: the brokers, and a log that is left as it was found."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest


if TYPE_CHECKING:
    from collections.abc import Iterator


pytest_plugins = ["tests.broker.fixtures"]


@pytest.fixture(autouse=True)
def _log_levels() -> Iterator[None]:
    """Give libraries' loggers back the levels that a command under test took from them."""
    loggers = [logging.getLogger(name) for name in ("aiokafka", "aiohttp", "asyncio")]
    levels = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)
