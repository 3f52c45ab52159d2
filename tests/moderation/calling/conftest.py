"""Tests that take a `side` run over both transports and on both event loops."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.moderation.calling.wire import SIDES, Names, Side


if TYPE_CHECKING:
    from _pytest.fixtures import SubRequest


@pytest.fixture(params=SIDES, ids=str)
def side(request: SubRequest) -> Side:
    """One of the transports on one of the event loops, with names of its own."""
    one: Side = request.param
    return replace(one, names=Names())
