"""Risk and labels → action: what the platform does with what the service found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from consumer.verdict import RiskLevel


if TYPE_CHECKING:
    from collections.abc import Mapping

    from consumer.verdict import Action, Judgement


__all__ = ["Policy"]


_DEFAULTS: dict[RiskLevel, Action] = {
    RiskLevel.NONE: "pass",
    RiskLevel.LOW: "pass",
    RiskLevel.UNKNOWN: "review",
    RiskLevel.MEDIUM: "review",
    RiskLevel.HIGH: "block",
}
_SEVERITY: dict[Action, int] = {"pass": 0, "review": 1, "block": 2}


@dataclass(frozen=True, slots=True)
class Policy:
    """An action for each risk level, and for single labels or whole categories where they differ.

    The defaults follow the image page's advice: act on high risk, have people look at medium risk, and treat low risk
    as clean unless recall matters more. The most severe action of the level and of all labels wins.
    """

    levels: Mapping[RiskLevel, Action] = field(default_factory=lambda: dict(_DEFAULTS))
    labels: Mapping[str, Action] = field(default_factory=dict)

    def action(self, judgement: Judgement) -> Action:
        """What is to be done. Where any part of the event went unjudged it never passes, whatever is configured."""
        level = judgement.risk_level
        chosen: Action = self.levels.get(level, _DEFAULTS[level])
        if chosen == "pass" and (judgement.reason is not None or level is RiskLevel.UNKNOWN):
            chosen = "review"
        if self.labels:
            for label in judgement.labels:
                own = self.labels.get(label.label) or self.labels.get(label.category)
                if own is not None and _SEVERITY[own] > _SEVERITY[chosen]:
                    chosen = own
        return chosen
