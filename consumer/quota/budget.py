"""Budgets: what a call costs is set aside before it is sent, so that no crash and no takeover can overspend."""

from __future__ import annotations

import asyncio
import random
import secrets
from contextlib import suppress
from itertools import product
from typing import TYPE_CHECKING, Any, Final

import structlog

from consumer.errors import BudgetSpent, Stuck
from consumer.quota.account import Account, Payment
from consumer.quota.budget_notes import KIND, Unreadable, book_of, decode, encode, key_of, read_key
from consumer.quota.ledger import THRESHOLDS, Ledger
from consumer.quota.periods import LONGEST_SECONDS, period_at, zone_of


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from consumer.clock import Clock
    from consumer.metrics import Metrics
    from consumer.quota.account import Part
    from consumer.quota.budget_notes import Book
    from consumer.quota.ledger import Slice
    from consumer.quota.notes import Key, Notes
    from consumer.settings.saving import Budget
    from consumer.verdict import Billed


__all__ = ["Budgets"]


_log = structlog.get_logger(__name__)

_TURN_SECONDS: Final = 1.0
# A wait for the next period looks at the clock now and then: a machine may sleep, or its clock be put right.
_LOOK_SECONDS: Final = 60.0
_SWEEP_SECONDS: Final = 600.0
# A note is read within milliseconds of its acknowledgement, or it is lost, or the reader is late.
_READ_SECONDS: Final = 10.0
# For so long after its end a period's notes are kept, for clocks that differ and people who look.
_KEPT_SECONDS: Final = 24 * 3600.0


class Budgets:
    """What may be spent, by budget and period: a `consumer.moderation.calling.purse.Purse`.

    With `notes` the budgets are those of all processes that share them: keep `run` in a task, and `close` at the end,
    so that what was set aside and not used is given back. Without, they are this process's own, and forgotten with it.
    """

    def __init__(
        self,
        budgets: Sequence[Budget],
        *,
        clock: Clock,
        metrics: Metrics,
        notes: Notes | None = None,
        stop_seconds: float = 2.0,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._budgets = budgets
        self._clock = clock
        self._notes = notes
        self._stop_seconds = stop_seconds
        self._chance = chance
        self._owner = secrets.token_hex(8)
        self._zones = {one.timezone: zone_of(one.timezone) for one in budgets}
        self._covering: dict[str, tuple[Budget, ...]] = {}
        self._now: dict[str, Account] = {}
        self._accounts: dict[Book, Account] = {}
        self._heard: dict[Book, dict[str, Slice]] = {}
        self._overtaken: dict[Key, Slice] = {}
        self._todo = asyncio.Event()
        self._turned_at = self._swept_at = clock.monotonic()
        self._sweep_seconds = _SWEEP_SECONDS * (1 + random.random())  # so that one replica is the first
        self._passed = metrics.counter("budget_thresholds")
        for about, percent in product(budgets, THRESHOLDS):
            # Seen at zero: to Prometheus, a counter that begins at one has not grown.
            self._passed.labels(about.name, str(percent))
        self._gauges = {name: metrics.gauge(f"budget_{name}") for name in ("limit", "spent", "share")}
        self._holding = metrics.gauge("holding").labels("budget")
        self._holding.set(0)
        if notes is not None:
            notes.follow(KIND, self._hear)

    # What a purse does

    async def open(self, route: str, expected: Sequence[Billed]) -> Payment:
        """See `consumer.moderation.calling.purse.Purse`."""
        parts = self._parts(route, expected)
        for account, amount in parts:
            if account.ledger.free < amount:
                return await self._open_later(route, expected)
        return self._take(parts)

    async def _open_later(self, route: str, expected: Sequence[Billed]) -> Payment:
        luck: float | None = None
        while True:
            parts = self._parts(route, expected)
            lacking = [(account, amount) for account, amount in parts if account.ledger.free < amount]
            spent = [(account, amount) for account, amount in lacking if account.ledger.room < amount]
            sampled = [(account, amount) for account, amount in spent if account.about.when_spent == "sample"]
            for account, amount in spent:
                # No period is long enough for it.
                if amount > account.about.limit and account.about.when_spent == "hold":
                    raise BudgetSpent(f"it costs {amount} {account.about.unit}, more than all of {account.about.name}")
                self._say(account, all_of_it=amount <= account.about.limit)
                if account.about.when_spent == "review":
                    raise _refusal(account)
            if sampled:
                luck = self._chance() if luck is None else luck
                if unlucky := [account for account, _ in sampled if luck >= account.about.sample]:
                    raise _refusal(unlucky[0])
            if held := [account for account, _ in spent if account.about.when_spent == "hold"]:
                await self._held(held[0])
            elif len(lacking) > len(spent):
                await self._set_aside([part for part in lacking if part not in spent])
            else:
                return self._take([part for part in parts if part not in sampled], sampled)

    def _take(self, parts: Sequence[Part], beyond: Sequence[Part] = ()) -> Payment:
        for account, amount in parts:
            ledger = account.ledger
            ledger.take(amount)
            if ledger.free <= ledger.low and not account.writing:
                self._todo.set()
        for account, amount in beyond:
            account.ledger.beyond += amount
        return Payment(parts, beyond, self._spent)

    async def _set_aside(self, parts: Sequence[Part]) -> None:
        """Have enough set aside of all of these, and wait for the first."""
        for account, amount in parts:
            account.ledger.wait(amount)
        self._todo.set()
        try:
            await parts[0][0].change(_LOOK_SECONDS)
        finally:
            for account, amount in parts:
                account.ledger.wait(-amount)

    async def _held(self, account: Account) -> None:
        """Wait for the next period, or for something to be given back."""
        if account.held_since is None:
            account.held_since = self._clock.now()
            _log.warning("holding", reason="budget", budget=account.about.name, until=account.until)
        account.held += 1
        self._holding.set(1)
        try:
            await account.change(min(_LOOK_SECONDS, max(0.0, account.period.end - self._clock.now())))
        finally:
            account.held -= 1
            if not any(one.held for one in self._accounts.values()):
                self._holding.set(0)

    # What people are told

    def holds(self) -> list[dict[str, Any]]:
        """The budgets that events wait for."""
        return [
            {
                "reason": "budget",
                "budget": account.about.name,
                "meaning": f"{account.about.limit} {account.about.unit} are spent; events wait for the next period",
                "remedy": "raise the limit, or wait",
                "since": account.held_since,
                "until": account.until,
            }
            for account in self._accounts.values()
            if account.held
        ]

    def status(self) -> list[dict[str, Any]]:
        """Each budget in its period of now; `set_aside` is what this process has not used yet of what it may."""
        return [
            {
                "name": account.about.name,
                "period": account.period.kind,
                "until": account.until,
                "unit": account.about.unit,
                "limit": float(account.about.limit),
                "spent": float(account.ledger.spent),
                "set_aside": float(account.ledger.reserved + (account.ledger.free if self._notes else 0)),
                "beyond": float(account.ledger.all_beyond),
                "when_spent": account.about.when_spent,
                "waiting": account.held,
            }
            for account in self._current()
        ]

    def _spent(self, account: Account) -> None:
        """Something was spent: say what is to be said of it."""
        if account.ledger.passing:
            self._say(account)

    def _say(self, account: Account, *, all_of_it: bool = False) -> None:
        about, ledger = account.about, account.ledger
        for percent in ledger.passed(all_of_it=all_of_it):
            self._passed.labels(about.name, str(percent)).inc()
            _log.warning(
                "budget_threshold",
                budget=about.name,
                percent=percent,
                spent=str(ledger.spent),
                limit=str(about.limit),
                unit=about.unit,
                until=account.until,
            )
            self._todo.set()

    def _show(self) -> None:
        for account in self._current():
            about, spent = account.about, account.ledger.spent
            self._gauges["limit"].labels(about.name).set(float(about.limit))
            self._gauges["spent"].labels(about.name).set(float(spent))
            self._gauges["share"].labels(about.name).set(float(spent / about.limit))

    # What is kept

    async def run(self) -> None:
        """Set aside ahead of what is used, and show what is spent, until cancelled.

        Raises:
            Stuck: what is set aside cannot be recorded.
        """
        async with asyncio.TaskGroup() as writes:
            while True:
                self._todo.clear()
                self._turn(writes)
                with suppress(TimeoutError):
                    async with asyncio.timeout(_TURN_SECONDS):
                        await self._todo.wait()

    async def close(self) -> None:
        """Give back what was set aside and not used, within a bounded time. `run` has ended, and nothing is opened."""
        if self._notes is None:
            return
        now = self._clock.monotonic()
        puts = []
        for account in self._now.values():
            ledger = account.ledger
            used = ledger.used + ledger.reserved
            if ledger.written != used or ledger.beyond != ledger.written_beyond:
                puts.append(self._notes.put(key_of(account.book, self._owner), encode(ledger.write(used, now))))
        try:
            async with asyncio.timeout(self._stop_seconds):
                await asyncio.gather(*puts)
        except (TimeoutError, Stuck) as error:
            _log.warning("budgets_not_given_back", error=str(error) or type(error).__name__)

    def _turn(self, writes: asyncio.TaskGroup) -> None:
        now = self._clock.monotonic()
        accounts = self._current()
        if (notes := self._notes) is not None:
            for account in accounts:
                if not account.writing:
                    self._write_if_due(notes, account, writes, now)
            for key, said in self._overtaken.items():
                writes.create_task(notes.put(key, encode(said)))
            self._overtaken.clear()
        if now - self._turned_at >= _TURN_SECONDS:
            self._turned_at = now
            self._show()
        if now - self._swept_at >= self._sweep_seconds:
            self._swept_at = now
            self._sweep()

    def _write_if_due(self, notes: Notes, account: Account, writes: asyncio.TaskGroup, now: float) -> None:
        ledger = account.ledger
        value = ledger.to_write(now)
        if value is not None:
            account.writing = True
            writes.create_task(self._write(notes, account, ledger.write(value, now)))

    async def _write(self, notes: Notes, account: Account, said: Slice) -> None:
        """Write a note, and return when it is acknowledged and read: only then the next one may follow.

        One that is not read is written once more, as it was: a note with a later number would never count where the
        reader is always late. Whichever copy is read first counts, at its own place in the log; the others say nothing
        new. What was missed is counted from the first copy on, since it may be the one that is read.
        """
        account.read.clear()
        account.gaps = notes.gaps
        while True:
            await notes.put(key_of(account.book, self._owner), encode(said))
            with suppress(TimeoutError):
                async with asyncio.timeout(_READ_SECONDS):
                    await account.read.wait()
            if account.read.is_set():
                break
            _log.warning("budget_note_not_read", budget=account.about.name, seconds=_READ_SECONDS)
        account.writing = False
        self._todo.set()

    def _hear(self, key: Key, value: bytes | None) -> str | None:
        """A note was read; returns why it cannot be used, if so."""
        try:
            book, owner = read_key(key)
            said = None if value is None else decode(value)
        except Unreadable as unreadable:
            return unreadable.reason
        account = self._accounts.get(book)
        if owner == self._owner:
            if account is not None:
                self._hear_own(account, said)
            return None
        heard = self._heard.setdefault(book, {})
        known = heard.get(owner)
        if said is None:
            heard.pop(owner, None)
        elif known is not None and said.number < known.number:
            # A note that was written twice has overtaken a later one: who reads only what is left must find that.
            self._overtaken[key] = known
            self._todo.set()
            return None
        else:
            heard[owner] = said
        if account is not None:
            room = account.ledger.room
            account.ledger.hear(owner, said)
            if account.ledger.room > room or account.ledger.waiting:
                account.tell()
            self._todo.set()
        return None

    def _hear_own(self, account: Account, said: Slice | None) -> None:
        ledger = account.ledger
        if said is not None and said.number == ledger.number:
            ledger.read_back(sure=self._notes is not None and account.gaps == self._notes.gaps)
            account.read.set()
            account.tell()
        else:
            ledger.stale = True
        self._todo.set()

    def _sweep(self) -> None:
        """Have the notes deleted of periods that are long over, whoever wrote them."""
        for book in [*self._accounts, *self._heard]:
            if self._clock.now() < book.start + LONGEST_SECONDS[book.kind] + _KEPT_SECONDS:
                continue
            account = self._accounts.get(book)
            if account is not None and (account.writing or self._now[account.about.name] is account):
                continue
            owners = list(self._heard.pop(book, {}))
            if self._accounts.pop(book, None) is not None:
                owners.append(self._owner)
            if self._notes is not None:
                for owner in owners:
                    self._notes.delete(key_of(book, owner))

    # Which budgets

    def _parts(self, route: str, expected: Sequence[Billed]) -> list[Part]:
        """The accounts that cover a request, and what it will cost each."""
        covering = self._covering.get(route)
        if covering is None:
            covering = tuple(one for one in self._budgets if not one.routes or route in one.routes)
            self._covering[route] = covering
        now = self._clock.now()
        accounts = (self._account(about, now) for about in covering)
        return [(account, price) for account in accounts if (price := account.price(expected)) > 0]

    def _current(self) -> list[Account]:
        now = self._clock.now()
        return [self._account(about, now) for about in self._budgets]

    def _account(self, about: Budget, now: float) -> Account:
        """A budget's account in the period that this moment is in."""
        account = self._now.get(about.name)
        if account is None or not account.period.start <= now < account.period.end:
            period = period_at(about.period, self._zones[about.timezone], now)
            book = book_of(about, period)
            account = self._accounts.get(book)
            if account is None:
                ledger = Ledger(
                    about.limit,
                    self._heard.get(book, {}),
                    reserve_seconds=about.reserve_seconds,
                    now=self._clock.monotonic(),
                    alone=self._notes is None,
                )
                account = self._accounts[book] = Account(about, book, period, ledger)
            before = self._now.get(about.name)
            if before is not None and before.held_since is not None:
                _log.warning("hold is over", reason="budget", budget=about.name)
            self._now[about.name] = account
        return account


def _refusal(account: Account) -> BudgetSpent:
    return BudgetSpent(f"the budget {account.about.name} is spent until {account.until}")
