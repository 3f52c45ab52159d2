"""Faults are what they say, befall whom they should, and can be had again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.simulator import faults as module
from consumer.simulator.faults import KINDS, Fault, Faults


WRITTEN = [
    "code=588,share=0.1",
    "code=Throttling.User,retry_after_ms=1500",
    "code=408",
    "reset_billed,count=3,service=baselineCheck_global",
    "slow,seconds=2.5,operation=TextModerationPlus",
    "garbage",
    "callback_late,seconds=60",
    "task_never,share=0.5",
]


@pytest.mark.parametrize("text", WRITTEN)
def test_a_fault_reads_as_it_is_written(text: str) -> None:
    """A fault prints in the notation it is read in."""
    fault = Fault.parse(text)
    assert Fault.parse(str(fault)) == fault


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("explode", "no kind of fault"),
        ("code", "a code belongs to"),
        ("reset=5", "a code belongs to"),
        ("code=588,often", "no option"),
        ("code=588,share=lots", "no value for share"),
        ("code=588,share=0", "above 0"),
        ("reset,count=0", "at least 1"),
        ("slow,seconds=0", "above 0"),
        ("slow,seconds=nan", "seconds is nan"),
        ("slow,seconds=inf", "seconds is inf"),
        ("reset,share=nan", "share is nan"),
    ],
)
def test_what_is_no_fault_is_refused(text: str, said: str) -> None:
    """A fault that cannot be read is an error that says why."""
    with pytest.raises(ValueError, match=said):
        Fault.parse(text)


def test_every_kind_is_explained() -> None:
    """The module's text has a line for each kind of fault."""
    assert module.__doc__ is not None
    explained = {line.split()[0].removesuffix("=N") for line in module.__doc__.splitlines() if line.startswith("    ")}
    assert explained == KINDS


def test_a_counted_fault_ends() -> None:
    """A fault with a count befalls that many calls and then no more."""
    faults = Faults([Fault("reset", count=2)])
    assert [faults.strike("op", "service") is not None for _ in range(4)] == [True, True, False, False]
    assert faults.to_dict()["fired"] == {"reset,count=2": 2}


def test_a_fault_befalls_its_service_and_operation_only() -> None:
    """A fault limited to a service or an operation leaves the others alone; the first that fits decides."""
    faults = Faults()
    faults.add("code=500,service=one", Fault("hang", operation="op"))
    assert [str(faults.strike(*call)) for call in (("op", "one"), ("op", "two"), ("other", "two"))] == [
        "code=500,service=one",
        "hang,operation=op",
        "None",
    ]


@given(st.integers(), st.floats(0.05, 0.95))
def test_the_same_seed_gives_the_same_faults(seed: int, share: float) -> None:
    """Two simulators with one seed have the same faults and the same latencies; setting them anew starts over."""
    mine, yours = (Faults([Fault("reset", share=share)], seed=seed) for _ in range(2))
    first = [mine.strike("op", "service") for _ in range(50)]
    assert first == [yours.strike("op", "service") for _ in range(50)]
    mine.set(mine.now)
    assert first == [mine.strike("op", "service") for _ in range(50)]


def test_a_share_is_about_that_share() -> None:
    """A share of 0.2 befalls about a fifth of the calls."""
    faults = Faults([Fault("reset", share=0.2)], seed=7)
    assert sum(faults.strike("op", "service") is not None for _ in range(10_000)) == pytest.approx(2000, rel=0.1)


def test_a_call_its_task_and_its_callback_each_have_their_faults() -> None:
    """A fault strikes where its kind belongs, and is not used up elsewhere."""
    faults = Faults([Fault("callback_forged", count=1), Fault("task_lost", count=1), Fault("reset", count=1)])
    call = ("MultimodalAsyncModeration", "post_text_image_detection")
    struck = [faults.strike(*call, kinds) for kinds in (module.OF_CALLS, module.OF_TASKS, module.OF_CALLBACKS)]
    assert [fault and fault.kind for fault in struck] == ["reset", "task_lost", "callback_forged"]
    assert faults.strike(*call, KINDS) is None
