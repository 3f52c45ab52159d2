"""Tests of the vendor in memory: what it bills, what it refuses, and what goes wrong with it."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from consumer.errors import NoAnswer
from tests.simulation.loop import SimLoop, run
from tests.simulation.network import Network
from tests.simulation.vendor import Mishap, Vendor


if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any


def served(test: Callable[[Vendor], Coroutine[Any, Any, None]], **vendor: Any) -> Vendor:
    """Run a test on a vendor, and return the vendor."""

    async def main(loop: SimLoop) -> Vendor:
        made = Vendor(Network(loop, random.Random(1)), random.Random(2), **{"limit": 10, **vendor})
        await test(made)
        return made

    return run(main)


def test_each_judged_call_is_billed_once() -> None:
    """A judged call is in the ledger with its event and caller, and content that is refused costs nothing."""

    async def main(vendor: Vendor) -> None:
        assert await vendor.call("a", "e1") == "judged"
        assert await vendor.call("a", "refused2") == "refused"
        assert await vendor.call("b", "e3") == "judged"

    vendor = served(main)
    assert [(charge.event, charge.client) for charge in vendor.ledger] == [("e1", "a"), ("e3", "b")]
    assert vendor.overruns == []


def test_no_second_takes_more_than_the_limit() -> None:
    """Of eleven calls at once one is refused and counted as an overrun; a second later there is room again."""

    async def main(vendor: Vendor) -> None:
        answers = await asyncio.gather(*(vendor.call("a", f"e{n}") for n in range(11)))
        assert Counter(answers) == {"judged": 10, "throttled": 1}
        await asyncio.sleep(1.1)
        assert await vendor.call("a", "e11") == "judged"

    assert [quota for _, quota in served(main).overruns] == ["call"]


@pytest.mark.parametrize(
    ("mishap", "billed", "seconds"), [("error", 0, 1.0), ("throttle", 0, 1.0), ("reset", 1, 1.0), ("hang", 1, 2.0)]
)
def test_mishaps_cost_what_they_say(mishap: Mishap, billed: int, seconds: float) -> None:
    """An error and a throttled call are not billed; a reset and a hang are, though no answer ever comes."""

    async def main(vendor: Vendor) -> None:
        async with asyncio.timeout(seconds):
            if billed:
                with pytest.raises(NoAnswer):
                    await vendor.call("a", "e1")
            else:
                assert await vendor.call("a", "e1") in ("error", "throttled")

    vendor = served(main, trouble=1.0, mishaps=(mishap,))
    assert [charge.lost for charge in vendor.ledger] == [True] * billed


def test_a_task_has_its_result_after_a_while() -> None:
    """A submission is billed and gives an id; its result is there later, and asking for it costs nothing."""

    async def main(vendor: Vendor) -> None:
        task = await vendor.submit("a", "e1")
        assert not await vendor.query("a", task)
        await asyncio.sleep(2)
        assert await vendor.query("a", task)

    vendor = served(main, task_seconds=(1.0, 2.0))
    assert [charge.event for charge in vendor.submitted] == ["e1"]
    assert vendor.ledger == []
