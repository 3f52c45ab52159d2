"""A window closes when waiting longer would gain nothing, and each event leaves in exactly one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.batching.window import Windows
from consumer.event import Event, Image
from tests.virtual_time import LoopClock, run


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


Closed = tuple[str, float, list[str]]
Arrival = tuple[float, str, Event]


class Tokens:
    """Tokens that are free when `free_at` says so, by virtual seconds."""

    def __init__(self, free_at: Callable[[float], bool] = lambda _: True) -> None:
        self._free_at = free_at

    def free(self) -> bool:
        return self._free_at(asyncio.get_running_loop().time())


def gather(
    arrivals: Sequence[Arrival], tokens: Tokens | None = None, *, age: float = 2.0, quiet: float = 0.25
) -> list[Closed]:
    """What leaves, and when, as these arrive: key, time and ids."""
    closed: list[Closed] = []

    async def send(key: str, ids: list[str]) -> None:
        closed.append((key, round(asyncio.get_running_loop().time(), 3), ids))

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            windows: Windows[str, str] = Windows(
                own=group.create_task,
                send=send,
                tokens=tokens or Tokens(),
                max_age_seconds=age,
                quiet_seconds=quiet,
                clock=LoopClock(),
            )
            for at, key, event in arrivals:
                await asyncio.sleep(at - asyncio.get_running_loop().time())
                windows.join(key, event, event.id)
        assert len(windows) == 0

    run(main())
    return closed


def comment(name: str, characters: int = 10, images: int = 0) -> Event:
    pictures = tuple(Image(f"https://h/{name}/{number}.jpg") for number in range(images))
    return Event(name, "comment", text="x" * characters, images=pictures)


def test_a_quiet_thread_is_sent_when_a_token_is_free() -> None:
    """What came within the quiet time goes together; a later comment goes with the next call."""
    arrivals = [(0.0, "t", comment("a")), (0.2, "t", comment("b")), (0.4, "t", comment("c")), (0.9, "t", comment("d"))]
    assert gather(arrivals) == [("t", 0.65, ["a", "b", "c"]), ("t", 1.15, ["d"])]


def test_a_busy_thread_is_sent_when_it_is_old() -> None:
    """A thread in which somebody always writes is sent when its first event has waited for the longest time."""
    arrivals = [(number * 0.19, "t", comment(str(number))) for number in range(15)]
    closed = gather(arrivals)
    assert [(at, len(ids)) for _, at, ids in closed] == [(2.0, 11), (2.91, 4)]


def test_without_a_token_more_may_join() -> None:
    """While no token is free nothing is gained by closing: the thread gathers until one is, or until it is old."""
    arrivals = [(0.0, "t", comment("a")), (1.0, "t", comment("b"))]
    assert gather(arrivals, Tokens(lambda at: at > 1.42)) == [("t", 1.45, ["a", "b"])]
    assert gather(arrivals, Tokens(lambda _: False)) == [("t", 2.0, ["a", "b"])]


def test_a_full_call_leaves_at_once() -> None:
    """A call that is full leaves, and so does one that the next event does not fit into; the rest goes on waiting."""
    arrivals = [(0.0, "t", comment(str(number), 1000)) for number in range(6)]
    assert gather(arrivals) == [("t", 0.0, ["0", "1", "2", "3", "4"]), ("t", 0.25, ["5"])]
    arrivals = [(0.0, "t", comment(str(number), images=10)) for number in range(4)]
    assert gather(arrivals) == [("t", 0.0, ["0", "1", "2"]), ("t", 0.25, ["3"])]


def test_a_post_begins_a_call_of_its_own() -> None:
    """A post that comes after its first comments is the main post of the next call."""
    arrivals = [(0.0, "t", comment("c")), (0.1, "t", Event("p", "post", text="p")), (0.2, "t", comment("d"))]
    assert gather(arrivals) == [("t", 0.1, ["c"]), ("t", 0.45, ["p", "d"])]


def test_threads_do_not_mix() -> None:
    """Each thread has its own call."""
    arrivals = [(0.0, "t", comment("a")), (0.0, "u", comment("b")), (0.0, "t", comment("c"))]
    assert gather(arrivals) == [("t", 0.25, ["a", "c"]), ("u", 0.25, ["b"])]


def test_an_event_that_no_call_takes_is_a_fault_of_the_caller() -> None:
    """An overlong event has to be split before; a window that it could never leave is not opened."""
    windows: Windows[str, str] = Windows(
        own=lambda work: work.close(),
        send=lambda *_: pytest.fail("nothing can be sent"),
        tokens=Tokens(),
        max_age_seconds=1,
        quiet_seconds=0,
        clock=LoopClock(),
    )

    async def main() -> None:
        with pytest.raises(ValueError, match="split"):
            windows.join("t", comment("a", 6000), "a")
        assert len(windows) == 0

    run(main())


@given(
    st.lists(
        st.tuples(
            st.floats(0, 3, allow_nan=False),
            st.sampled_from("tu"),
            st.sampled_from([1, 600, 1000]),
            st.sampled_from([0, 0, 10]),
        ),
        max_size=20,
    ),
    st.sampled_from([0.05, 0.5, 2.0]),
    st.sampled_from([0.0, 0.1, 1.0]),
    st.integers(0, 3),
)
def test_each_event_leaves_once_in_order_and_in_time(
    sizes: list[tuple[float, str, int, int]], age: float, quiet: float, free_in_four: int
) -> None:
    """Whatever comes when: each event leaves once, in the order of its thread, and none waits longer than the limit."""
    times = sorted(at for at, *_ in sizes)
    arrivals = [
        (at, key, comment(str(number), characters, images))
        for number, (at, (_, key, characters, images)) in enumerate(zip(times, sizes, strict=True))
    ]
    closed = gather(arrivals, Tokens(lambda at: int(at * 10) % 4 < free_in_four), age=age, quiet=quiet)
    came = {event.id: at for at, _, event in arrivals}
    for key in "tu":
        left = [name for thread, _, ids in closed if thread == key for name in ids]
        assert left == [event.id for _, thread, event in arrivals if thread == key]
    for _, at, ids in closed:
        assert all(came[name] - 0.001 <= at <= came[ids[0]] + age + 0.001 for name in ids)
