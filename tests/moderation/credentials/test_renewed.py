"""When credentials are fetched anew, and that nobody waits for it, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from consumer.errors import StartError
from consumer.metrics import Metrics
from consumer.moderation.credentials.lease import Lease
from consumer.moderation.credentials.renewed import RenewedCredentials
from consumer.moderation.protocol.signing import Credentials
from tests.virtual_time import EPOCH, LoopClock, run


__all__: list[str] = []


HOUR = 3600.0
Reply = Callable[[int], Lease]


def hourly(number: int) -> Lease:
    """Credentials that live for an hour from now."""
    now = asyncio.get_running_loop().time()
    return Lease(Credentials(f"id{number}", "secret", "token"), EPOCH + now + HOUR)


class Place:
    """Gives credentials by a function of the number of the fetch, after some time."""

    def __init__(self, reply: Reply = hourly, *, takes: float = 0.0) -> None:
        self._reply = reply
        self.takes = takes
        self.times: list[float] = []

    async def fetch(self) -> Lease:
        self.times.append(asyncio.get_running_loop().time())
        await asyncio.sleep(self.takes)
        return self._reply(len(self.times))


def failing(*numbers: int) -> Reply:
    def reply(number: int) -> Lease:
        if number in numbers:
            raise StartError("the place is down", "wait")
        return hourly(number)

    return reply


async def watched(place: Place, seconds: float, metrics: Metrics | None = None) -> RenewedCredentials:
    """Start, run for so long, and end the run."""
    credentials = RenewedCredentials(place, clock=LoopClock(), metrics=metrics or Metrics())
    await credentials.start()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(credentials.run(), seconds)
    return credentials


def test_they_are_renewed_a_quarter_of_an_hour_before_they_expire() -> None:
    """Of an hour 45 minutes are used, then the next credentials are fetched."""
    place = Place()
    credentials = run(watched(place, 2 * HOUR))
    assert place.times == [0, 2700, 5400]
    assert credentials.current.access_key_id == "id3"


def test_short_ones_are_renewed_after_half_their_life() -> None:
    """Credentials that live for ten minutes are renewed after five, not all the time."""

    def short(number: int) -> Lease:
        now = asyncio.get_running_loop().time()
        return Lease(Credentials(f"id{number}", "s"), EPOCH + now + 600)

    place = Place(short)
    run(watched(place, 1000))
    assert place.times == [0, 300, 600, 900]


def test_the_same_credentials_again_are_no_reason_to_hurry() -> None:
    """A place that gives the same credentials until they expire, or whose clock differs, is asked once a minute."""
    place = Place(lambda _: Lease(Credentials("id", "s"), EPOCH + HOUR))
    run(watched(place, 2900))
    assert place.times == [0, 2700, 2760, 2820, 2880]


def test_credentials_without_an_end_are_left_alone() -> None:
    """Where nobody says when credentials expire, nothing is fetched again."""
    place = Place(lambda _: Lease(Credentials("id", "s")))
    run(watched(place, 100 * HOUR))
    assert place.times == [0]


def test_nobody_waits_for_a_slow_place() -> None:
    """While the next credentials are on their way for ten minutes, the old ones are there at any moment."""

    async def main() -> list[str]:
        place = Place()
        credentials = RenewedCredentials(place, clock=LoopClock(), metrics=Metrics())
        await credentials.start()
        place.takes = 600.0
        seen: list[str] = []
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(credentials.run())
            for _ in range(35):
                await asyncio.sleep(100)
                seen.append(credentials.current.access_key_id)
            running.cancel()
        return seen

    assert run(main()) == ["id1"] * 32 + ["id2"] * 3


def test_a_failure_is_tried_again_with_growing_pauses() -> None:
    """A place that is down is asked after 1, 2, 4 … 60 seconds, the old credentials stay, and the log says why."""
    place = Place(failing(*range(2, 11)))
    with capture_logs() as logs:
        credentials = run(watched(place, HOUR))
    pauses = [after - before for before, after in zip(place.times[1:], place.times[2:], strict=False)]
    assert pauses[:9] == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert credentials.current.access_key_id == "id11"
    told = [line for line in logs if line["event"] == "credentials not renewed"]
    assert [line["log_level"] for line in told] == ["warning"] * 9
    assert (told[0]["error"], told[0]["remedy"]) == ("the place is down", "wait")


def test_expired_credentials_are_an_error_in_the_log_and_still_used() -> None:
    """Once they have expired without being renewed, the log's level rises; calls go on and hold by themselves."""
    place = Place(failing(*range(2, 1000)))
    with capture_logs() as logs:
        credentials = run(watched(place, 1.5 * HOUR))
    assert credentials.current.access_key_id == "id1"
    assert {line["log_level"] for line in logs if line["event"] == "credentials not renewed"} == {"warning", "error"}


def test_the_first_failure_ends_the_start() -> None:
    """Without first credentials there is nothing to start with: the error carries the remedy."""

    async def main() -> Any:
        credentials = RenewedCredentials(Place(failing(1)), clock=LoopClock(), metrics=Metrics())
        await credentials.start()

    with pytest.raises(StartError, match="the place is down") as caught:
        run(main())
    assert caught.value.remedy == "wait"


def test_before_the_start_there_are_none() -> None:
    """Asking before the start is a mistake that is told."""
    with pytest.raises(RuntimeError, match="not started"):
        _ = RenewedCredentials(Place(), clock=LoopClock(), metrics=Metrics()).current


def test_many_who_were_refused_reload_once() -> None:
    """Fifty calls that are refused at the same time make one fetch, and all of them see its result."""

    async def main() -> tuple[Place, set[str]]:
        place = Place(takes=1.0)
        credentials = RenewedCredentials(place, clock=LoopClock(), metrics=Metrics())
        await credentials.start()

        async def refused() -> str:
            await credentials.reload()
            return credentials.current.access_key_id

        return place, set(await asyncio.gather(*(refused() for _ in range(50))))

    place, seen = run(main())
    assert (place.times, seen) == ([0, 1], {"id2"})


def test_a_reload_that_fails_changes_nothing() -> None:
    """A reload never raises, and the credentials stay as they are."""

    async def main() -> str:
        credentials = RenewedCredentials(Place(failing(2)), clock=LoopClock(), metrics=Metrics())
        await credentials.start()
        await credentials.reload()
        return credentials.current.access_key_id

    assert run(main()) == "id1"


def test_a_reload_that_is_given_up_leaves_the_next_one_its_turn() -> None:
    """When the call that reloads is cancelled, the next one fetches by itself."""

    async def main() -> tuple[list[float], str]:
        place = Place(takes=10.0)
        credentials = RenewedCredentials(place, clock=LoopClock(), metrics=Metrics())
        await credentials.start()
        first = asyncio.create_task(credentials.reload())
        second = asyncio.create_task(credentials.reload())
        await asyncio.sleep(5)
        first.cancel()
        await second
        return place.times, credentials.current.access_key_id

    assert run(main()) == ([0, 10, 15], "id3")


def test_the_time_of_expiry_is_a_metric() -> None:
    """The gauge tells when the credentials in use expire."""
    metrics = Metrics()
    run(watched(Place(), HOUR, metrics))
    assert metrics.registry.get_sample_value("moderation_credentials_expire_at_seconds") == EPOCH + 2700 + HOUR
