"""Risk and labels → action: what the platform does with what the service found."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from consumer.plugins.calling import RAISED
from consumer.verdict import ACTIONS, RiskLevel


if TYPE_CHECKING:
    from collections.abc import Mapping

    from consumer.event import Event
    from consumer.plugins import PolicyFunction
    from consumer.plugins.calling import Plugin
    from consumer.verdict import Action, Judgement


__all__ = ["Policy", "PolicyPlugin"]


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

    def decide(self, judgement: Judgement, event: Event) -> tuple[Action, Judgement]:  # noqa: ARG002  # plugins look at the event
        """What is to be done with an event, and the judgement as its verdict has it."""
        return self.action(judgement), judgement


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyPlugin(Policy):
    """A policy whose actions go through a function of the user's, which sees the event as well.

    Where the function fails, the configured action is taken, and `review` in place of `pass`; the verdict says why. So
    what was judged and paid for is delivered, and nothing passes since nobody decided about it.
    """

    plugin: Plugin[PolicyFunction]

    def decide(self, judgement: Judgement, event: Event) -> tuple[Action, Judgement]:
        """What the function says is to be done. Where any part of the event went unjudged it never passes."""
        chosen = self.action(judgement)
        try:
            own = self.plugin.call(judgement, event, chosen)
        except RAISED as error:
            failed = self.plugin.failed(error)
        else:
            if type(own) is str and own in ACTIONS:
                unjudged = judgement.reason is not None or judgement.risk_level is RiskLevel.UNKNOWN
                return "review" if own == "pass" and unjudged else own, judgement
            failed = self.plugin.gave(own, "pass, review or block")
        reason = failed if judgement.reason is None else f"{judgement.reason}; {failed}"
        return "review" if chosen == "pass" else chosen, replace(judgement, reason=reason)
