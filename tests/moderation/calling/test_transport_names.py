"""The addresses of a name: several of them, dead ones, those that change, and those that cannot be had."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import pytest

from consumer.errors import NotSent
from consumer.moderation.calling import aiohttp_transport
from consumer.moderation.calling.lean import addresses
from consumer.moderation.calling.lean.addresses import Addresses
from tests.moderation.calling.wire import Side, answering, black_hole, host, replies, whole
from tests.virtual_time import run


if TYPE_CHECKING:
    from consumer.moderation.calling.lean.addresses import AddressInfo


NAME = "moderation.test"
CLOSE = b"Connection: close"
ONCE = whole(b"ab", CLOSE)


def test_a_dead_address_is_passed_over(side: Side) -> None:
    """Where the first of several addresses refuses connections the next one is tried, each time anew."""

    async def main() -> None:
        side.names.known[NAME] = ["127.0.0.3", "127.0.0.4", "127.0.0.1"]
        async with host(replies(ONCE)) as at, side.open() as transport:
            for _ in range(4):
                assert (await transport.post(f"http://{NAME}:{at.port}/", {}, b"")).body == b"ab"

    side.run(main())


def test_a_silent_address_costs_a_moment(side: Side) -> None:
    """Where the first of two addresses does not answer at all the second one is tried beside it soon."""

    async def main() -> None:
        async with (
            black_hole() as port,
            host(replies(ONCE), port=port) as at,
            side.open() as transport,
        ):
            side.names.known[NAME] = ["127.0.0.2", "127.0.0.1"]
            for _ in range(2):
                async with asyncio.timeout(4):
                    assert (await transport.post(f"http://{NAME}:{at.port}/", {}, b"")).body == b"ab"

    side.run(main())


def test_a_name_whose_addresses_are_all_dead_is_not_reached(side: Side) -> None:
    """Where no address takes connections nothing was sent."""

    async def main() -> None:
        side.names.known[NAME] = ["127.0.0.3", "127.0.0.4"]
        async with host(answering) as at, side.open() as transport:
            with pytest.raises(NotSent):
                await transport.post(f"http://{NAME}:{at.port}/", {}, b"")

    side.run(main())


@pytest.mark.parametrize("error", [socket.gaierror(-2, "Name or service not known"), OSError("no such name")])
def test_a_name_that_cannot_be_looked_up_is_not_reached(side: Side, error: Exception) -> None:
    """Where the look-up fails nothing was sent, and it is done anew for the next request."""

    async def main() -> None:
        async with host(answering) as at, side.open() as transport:
            side.names.known[NAME] = error
            with pytest.raises(NotSent):
                await transport.post(f"http://{NAME}:{at.port}/", {}, b"")
            side.names.known[NAME] = ["127.0.0.1"]
            assert (await transport.post(f"http://{NAME}:{at.port}/", {}, b"ab")).body == b"ab"

    side.run(main())


def test_a_name_is_looked_up_once_for_all(side: Side) -> None:
    """Many requests at the same time, and those behind them, need one look-up."""

    async def main() -> None:
        side.names.known[NAME] = ["127.0.0.1"]
        async with host(replies(ONCE)) as at, side.open() as transport:
            for _ in range(2):
                await asyncio.gather(*(transport.post(f"http://{NAME}:{at.port}/", {}, b"") for _ in range(20)))

    side.run(main())
    assert side.names.asked == [NAME]


def test_a_service_that_moves_is_followed(side: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the time of an address is over the name is looked up anew, and new connections go where it leads."""
    monkeypatch.setattr(addresses, "_LIFE_SECONDS", 0.1)
    monkeypatch.setattr(aiohttp_transport, "_DNS_SECONDS", 0.1)

    async def main() -> None:
        side.names.known[NAME] = ["127.0.0.1"]
        async with (
            host(replies(whole(b"old", CLOSE))) as old,
            host(replies(whole(b"new", CLOSE)), port=old.port, address="127.0.0.2"),
            side.open() as transport,
        ):
            assert (await transport.post(f"http://{NAME}:{old.port}/", {}, b"")).body == b"old"
            side.names.known[NAME] = ["127.0.0.2"]
            await asyncio.sleep(0.15)
            assert (await transport.post(f"http://{NAME}:{old.port}/", {}, b"")).body == b"new"

    side.run(main())


class Book:
    """A look-up whose answers are made by hand."""

    def __init__(self) -> None:
        self.found: list[str] | OSError = []
        self.asked = 0
        self.takes_seconds = 1.0

    async def __call__(self, _: str, port: int) -> list[AddressInfo]:
        self.asked += 1
        await asyncio.sleep(self.takes_seconds)
        if isinstance(self.found, OSError):
            raise self.found
        return [(2, 1, 6, "", (address, port)) for address in self.found]


async def first(known: Addresses) -> str:
    """The address that is tried first."""
    address: str = (await known.of(NAME, 1))[0][4][0]
    return address


def test_addresses_are_taken_in_turn() -> None:
    """Each connection begins with another address, and all of them are tried."""

    async def main() -> None:
        book = Book()
        book.found = ["a", "b", "c"]
        known = Addresses(book)
        assert sorted([await first(known) for _ in range(3)]) == ["a", "b", "c"]
        assert sorted(one[4][0] for one in await known.of(NAME, 1)) == ["a", "b", "c"]
        assert book.asked == 1

    run(main())


def test_an_address_is_asked_for_again_after_ten_seconds() -> None:
    """What was found is used for ten seconds, and then looked up anew."""

    async def main() -> None:
        book = Book()
        book.found = ["a"]
        known = Addresses(book)
        assert await first(known) == "a"
        book.found = ["b"]
        await asyncio.sleep(9.9)
        assert await first(known) == "a"
        await asyncio.sleep(0.2)
        assert await first(known) == "b"

    run(main())


def test_while_a_look_up_fails_the_older_answer_is_used() -> None:
    """A DNS that is down does not cut off a service that was there; every ten seconds it is asked again."""

    async def main() -> None:
        book = Book()
        book.found = ["a"]
        known = Addresses(book)
        assert await first(known) == "a"
        book.found = OSError("the DNS is down")
        for _ in range(3):
            await asyncio.sleep(10.1)
            assert await asyncio.gather(*(first(known) for _ in range(3))) == ["a"] * 3
            assert await first(known) == "a"
        assert book.asked == 4
        book.found = ["b"]
        await asyncio.sleep(10.1)
        assert await first(known) == "b"

    run(main())


def test_all_who_wait_for_a_look_up_hear_of_its_failure() -> None:
    """Where there is no older answer each of them has the error, and the next who asks looks up anew."""

    async def main() -> None:
        book = Book()
        book.found = OSError("no such name")
        known = Addresses(book)
        errors = await asyncio.gather(*(first(known) for _ in range(3)), return_exceptions=True)
        assert [str(error) for error in errors] == ["no such name"] * 3
        assert book.asked == 1
        book.found = ["a"]
        assert await first(known) == "a"

    run(main())


def test_a_look_up_that_is_cancelled_is_taken_over() -> None:
    """Whoever of those who wait is cancelled, the others have their addresses."""

    async def main() -> None:
        for who in range(3):
            book = Book()
            book.found = ["a"]
            known = Addresses(book)
            tasks = [asyncio.create_task(first(known)) for _ in range(3)]
            await asyncio.sleep(0.5)
            tasks[who].cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert isinstance(results.pop(who), asyncio.CancelledError)
            assert results == ["a", "a"]
            assert book.asked == (2 if who == 0 else 1)

    run(main())
