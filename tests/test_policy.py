"""Risk and labels → action."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.policy import Policy
from consumer.verdict import Action, Judgement, Label, RiskLevel, merge


ACTIONS: tuple[Action, ...] = ("pass", "review", "block")
LEVELS = st.sampled_from(list(RiskLevel))
LABELS = st.lists(
    st.builds(
        Label,
        label=st.sampled_from(["contraband_drug", "ad_link"]),
        category=st.sampled_from(["contraband", "ad"]),
        service=st.just("s"),
        found_in=st.just("text"),
    ),
    max_size=3,
).map(tuple)
JUDGEMENTS = st.builds(
    Judgement,
    risk_level=LEVELS,
    services=st.just(("s",)),
    labels=LABELS,
    reason=st.none() | st.just("no risk level in the answer"),
)
POLICIES = st.builds(
    Policy,
    levels=st.dictionaries(LEVELS, st.sampled_from(ACTIONS)),
    labels=st.dictionaries(st.sampled_from(["contraband_drug", "contraband", "ad"]), st.sampled_from(ACTIONS)),
)


def judged(level: RiskLevel, *labels: Label) -> Judgement:
    return Judgement(level, ("s",), labels)


DRUG = Label("contraband_drug", "contraband", "s", "text")


@pytest.mark.parametrize(
    ("level", "action"),
    [
        (RiskLevel.NONE, "pass"),
        (RiskLevel.LOW, "pass"),
        (RiskLevel.UNKNOWN, "review"),
        (RiskLevel.MEDIUM, "review"),
        (RiskLevel.HIGH, "block"),
    ],
)
def test_the_default_policy(level: RiskLevel, action: Action) -> None:
    """Without configuration no and low risk pass, medium and unknown go to a person, high risk is blocked."""
    assert Policy().action(judged(level)) == action


@given(POLICIES, JUDGEMENTS)
def test_what_was_not_judged_never_passes(policy: Policy, judgement: Judgement) -> None:
    """Whatever is configured, an event with an unknown level or an unjudged part is at least reviewed."""
    if judgement.reason is not None or judgement.risk_level is RiskLevel.UNKNOWN:
        assert policy.action(judgement) != "pass"


@given(POLICIES, st.lists(JUDGEMENTS, min_size=1, max_size=3))
def test_a_merged_event_with_an_unknown_part_never_passes(policy: Policy, parts: list[Judgement]) -> None:
    """One unjudged image keeps an event from passing, however clean its other parts are."""
    if any(part.reason is not None or part.risk_level is RiskLevel.UNKNOWN for part in parts):
        reasoned = tuple(
            part if part.risk_level is not RiskLevel.UNKNOWN else Judgement(part.risk_level, ("s",), reason="no answer")
            for part in parts
        )
        assert policy.action(merge(reasoned)) != "pass"


@given(POLICIES, JUDGEMENTS)
def test_a_label_only_makes_an_action_more_severe(policy: Policy, judgement: Judgement) -> None:
    """An action for a label or category raises the level's action, and never lowers it."""
    without = Policy(policy.levels).action(judgement)
    assert ACTIONS.index(policy.action(judgement)) >= ACTIONS.index(without)


def test_a_label_and_a_category_can_have_actions_of_their_own() -> None:
    """A low risk of a label or category that the platform does not bear is blocked."""
    low = judged(RiskLevel.LOW, DRUG)
    assert Policy(labels={"contraband_drug": "block"}).action(low) == "block"
    assert Policy(labels={"contraband": "review"}).action(low) == "review"
    assert Policy(labels={"ad": "block"}).action(low) == "pass"
    assert Policy(labels={"contraband_drug": "pass"}).action(judged(RiskLevel.HIGH, DRUG)) == "block"


def test_a_labels_own_action_stands_before_its_categorys() -> None:
    """An exception for one label of a category holds."""
    policy = Policy(labels={"contraband": "block", "contraband_drug": "review"})
    assert policy.action(judged(RiskLevel.LOW, DRUG)) == "review"


def test_a_level_can_have_another_action() -> None:
    """A platform that wants all low risks looked at says so; the other levels keep their defaults."""
    policy = Policy(levels={RiskLevel.LOW: "review"})
    assert policy.action(judged(RiskLevel.LOW)) == "review"
    assert policy.action(judged(RiskLevel.HIGH)) == "block"
