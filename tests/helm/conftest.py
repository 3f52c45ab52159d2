"""The chart, rendered by a real helm 4 and a real helm 3."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.helm.binaries import VERSIONS, helm_or_skip
from tests.helm.rendering import Chart


if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def helm() -> Path:
    """The path of helm 4."""
    return helm_or_skip("v4")


@pytest.fixture
def chart(helm: Path, tmp_path: Path) -> Chart:
    """The chart, rendered by helm 4."""
    return Chart(helm, tmp_path)


@pytest.fixture(params=VERSIONS)
def each_chart(request: pytest.FixtureRequest, tmp_path: Path) -> Chart:
    """The chart, rendered by helm 4 and by helm 3."""
    return Chart(helm_or_skip(request.param), tmp_path)
