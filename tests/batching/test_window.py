"""A window closes when waiting longer would gain nothing, and each event leaves in exactly one."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.batching.window import Windows
from consumer.event import Event, Image
from consumer.quota import Bucket
from tests.virtual_time import LoopClock, run


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


Closed = tuple[str, float, list[str]]
Arrival = tuple[float, str, Event]


class Tokens:
    """Tokens that are free, and near, when `free_at` and `near_at` say so, by virtual seconds."""

    def __init__(
        self,
        free_at: Callable[[float], bool] = lambda _: True,
        near_at: Callable[[float], bool] = lambda _: True,
    ) -> None:
        self._free_at = free_at
        self._near_at = near_at

    def free(self) -> bool:
        return self._free_at(asyncio.get_running_loop().time())

    def near(self) -> bool:
        return self._near_at(asyncio.get_running_loop().time())


def gather(
    arrivals: Sequence[Arrival], tokens: Tokens | None = None, *, age: float = 2.0, quiet: float = 1.0
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


def test_at_low_load_nobody_waits() -> None:
    """Where a token is free and the next event is not to be expected within the quiet time, each leaves as it comes."""
    arrivals = [
        (0.0, "t", comment("a")),
        (5.0, "t", comment("b")),
        (10.0, "t", comment("c")),
        (10.1, "u", comment("d")),
    ]
    assert gather(arrivals) == [("t", 0.005, ["a"]), ("t", 5.005, ["b"]), ("t", 10.005, ["c"]), ("u", 10.105, ["d"])]


def test_what_comes_in_one_moment_goes_together() -> None:
    """Events of one thread that are read together are judged together, also by a thread that was never seen."""
    arrivals = [(0.0, "t", comment("a")), (0.0, "t", comment("b")), (0.0, "t", comment("c"))]
    assert gather(arrivals) == [("t", 0.005, ["a", "b", "c"])]


def test_a_thread_that_writes_often_is_waited_for() -> None:
    """Calls of a busy thread wait three times what lies between its events, and leave when it falls silent."""
    arrivals = [(number * 0.1, "t", comment(str(number))) for number in range(8)]
    assert gather(arrivals) == [("t", 0.005, ["0"]), ("t", 1.0, ["1", "2", "3", "4", "5", "6", "7"])]


def test_a_silence_does_not_hide_for_long_that_a_thread_writes_again() -> None:
    """A thread that was silent for an hour and writes again is gathered after a few events."""
    burst = [0.0, *(3600 + number * 0.2 for number in range(20))]
    closed = gather([(at, "t", comment(str(number))) for number, at in enumerate(burst)])
    sizes = [len(ids) for _, _, ids in closed]
    assert sizes[:2] == [1, 1]
    assert len(sizes) <= 10
    assert max(sizes) >= 5


def test_a_busy_thread_is_sent_when_it_is_old() -> None:
    """A thread in which somebody always writes is sent when its first event has waited for the longest time."""
    arrivals = [(number * 0.19, "t", comment(str(number))) for number in range(15)]
    closed = gather(arrivals)
    assert [(at, len(ids)) for _, at, ids in closed] == [(0.005, 1), (2.19, 11), (3.23, 3)]


def test_without_a_token_more_may_join() -> None:
    """While no token is free nothing is gained by closing: the thread gathers until one is, or until it is old."""
    arrivals = [(0.0, "t", comment("a")), (1.0, "t", comment("b"))]
    assert gather(arrivals, Tokens(lambda at: at > 1.42), quiet=0.25) == [("t", 1.455, ["a", "b"])]
    assert gather(arrivals, Tokens(lambda _: False)) == [("t", 2.0, ["a", "b"])]


def test_while_all_tokens_are_taken_old_threads_go_on_gathering() -> None:
    """Beyond its age a thread leaves when its turn at the tokens is near, the oldest first, with all that came."""
    arrivals = [(0.0, "t", comment("a")), (0.5, "u", comment("b")), (3.5, "t", comment("c")), (4.2, "u", comment("d"))]
    turns = [4.0, 6.0]

    def near(at: float) -> bool:
        if turns and at > turns[0]:
            turns.pop(0)
            return True
        return False

    closed = gather(arrivals, Tokens(lambda _: False, near))
    assert [(key, ids) for key, _, ids in closed] == [("t", ["a", "c"]), ("u", ["b", "d"])]
    assert closed[0][1] == pytest.approx(4.05, abs=0.05)
    assert closed[1][1] == pytest.approx(6.05, abs=0.05)


def test_a_full_call_leaves_at_once() -> None:
    """A call that is full leaves, and so does one that the next event does not fit into; the rest goes on waiting."""
    arrivals = [(0.0, "t", comment(str(number), 1000)) for number in range(6)]
    late = Tokens(lambda at: at > 0.22)
    assert gather(arrivals, late) == [("t", 0.0, ["0", "1", "2", "3", "4"]), ("t", 0.255, ["5"])]
    arrivals = [(0.0, "t", comment(str(number), images=10)) for number in range(4)]
    assert gather(arrivals, late) == [("t", 0.0, ["0", "1", "2"]), ("t", 0.255, ["3"])]


def test_a_post_begins_a_call_of_its_own() -> None:
    """A post that comes after its first comments is the main post of the next call."""
    arrivals = [(0.0, "t", comment("c")), (0.1, "t", Event("p", "post", text="p")), (0.2, "t", comment("d"))]
    assert gather(arrivals, Tokens(lambda at: at > 0.42)) == [("t", 0.1, ["c"]), ("t", 0.5, ["p", "d"])]


def test_threads_do_not_mix() -> None:
    """Each thread has its own call."""
    arrivals = [(0.0, "t", comment("a")), (0.0, "u", comment("b")), (0.0, "t", comment("c"))]
    assert gather(arrivals) == [("t", 0.005, ["a", "c"]), ("u", 0.005, ["b"])]


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


def test_more_events_than_tokens_fill_the_calls_and_not_the_queue() -> None:
    """Where five events come for each token, every call takes several along, and nobody waits longer and longer."""
    chance = random.Random(7)
    waits: list[float] = []
    calls = 0

    async def main() -> None:
        nonlocal calls
        loop = asyncio.get_running_loop()
        bucket = Bucket(10, jitter_seconds=0.03, clock=LoopClock())

        async def send(_: str, came: list[float]) -> None:
            nonlocal calls
            await bucket.acquire()
            calls += 1
            waits.extend(loop.time() - at for at in came)

        async with asyncio.TaskGroup() as group:
            windows: Windows[str, float] = Windows(
                own=group.create_task,
                send=send,
                tokens=bucket,
                max_age_seconds=2.0,
                quiet_seconds=1.0,
                clock=LoopClock(),
            )
            while loop.time() < 120:
                await asyncio.sleep(chance.expovariate(50))
                windows.join(f"t{chance.randrange(100)}", comment(str(len(waits)), 30), loop.time())

    run(main())
    assert max(waits) < 15
    assert calls >= 0.97 * 120 * 10 / 1.03
