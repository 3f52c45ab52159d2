# ruff: noqa: INP001  # a script's parts beside it, no package
"""Panels that stand on more than one dashboard."""

from __future__ import annotations

from typing import Any

from grafana_foundation_sdk.models import units

from config.grafana.panels import lines
from config.grafana.queries import advice, grown, query


__all__ = ["dead_letters"]


def dead_letters() -> Any:
    """How many, by stage and reason."""
    return lines(
        "Dead letters",
        units.Short,
        advice("dead_letters"),
        query(f"sum by (stage, reason) ({grown('dead_letters')})", "{{stage}}: {{reason}}"),
        stacked=True,
        many=True,
    )
