# ruff: noqa: INP001  # a script beside its parts, no package
"""The dashboards as code: `python -m config.grafana.build` writes their JSON into the chart."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from config.grafana.api import api
from config.grafana.kafka import kafka
from config.grafana.money import money
from config.grafana.overview import overview


if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["FOLDER", "dashboards"]


FOLDER = Path(__file__).parents[2] / "helm" / "moderation-consumer" / "dashboards"


def dashboards() -> Mapping[str, str]:
    """The JSON of each dashboard, by the name of its file."""
    return {"overview.json": overview(), "api.json": api(), "money.json": money(), "kafka.json": kafka()}


if __name__ == "__main__":
    for name, text in dashboards().items():
        (FOLDER / name).write_text(text)
