"""The protocol of budgets by itself: ledgers that write into one log and read it late, compacted, or never."""

from __future__ import annotations

import random
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.quota.ledger import Ledger, Slice


LIMIT = 12
OWNERS = ("a", "b", "c")

WEIGHTS = {
    "take": 6, "want": 4, "paid": 1, "free": 8, "write": 8, "append": 8, "read": 6, "read all": 4, "round": 3,
    "die": 0.3, "late": 0.3, "compact": 1,
}  # fmt: skip


def amount(number: int) -> Decimal:
    return Decimal(number)


class Owner:
    """A process: its ledger, how far it has read, and what is on its way into the log."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.now = 0.0
        self.ledger = Ledger(amount(LIMIT), {}, reserve_seconds=1.0, now=0.0, alone=False)
        self.heard: dict[str, Slice] = {}
        self.position = 0
        self.gaps = self.gaps_before = 0
        self.handed_over: Slice | None = None
        self.pending = False


class Play:
    """The log, its readers and writers, and what they have really spent."""

    def __init__(self) -> None:
        self.lives = 0
        self.log: list[tuple[str, Slice] | None] = []
        self.owners = {name: self.born(name) for name in OWNERS}
        self.late: list[tuple[str, Slice]] = []
        self.spent = amount(0)

    def born(self, name: str) -> Owner:
        self.lives += 1
        return Owner(f"{name}{self.lives}")

    def step(self, what: str, who: str = "", more: int = 0) -> None:
        owner = self.owners.get(who) or Owner("")
        ledger = owner.ledger
        match what:
            case "take" if ledger.free >= more:
                ledger.take(amount(more))
                self.spent += more
            case "want":
                ledger.wait(more - ledger.waiting)
            case "paid" if ledger.reserved >= more:
                ledger.settle(amount(more), amount(more))
            case "free" if ledger.reserved >= more:
                ledger.settle(amount(more), amount(0))
                self.spent -= more
            case "write" if not owner.pending:
                owner.now += [0.1, 0.1, 2.0, 2.0, 20.0][more - 1]
                value = ledger.to_write(owner.now)
                if value is not None:
                    owner.handed_over, owner.pending = ledger.write(value, owner.now), True
                    owner.gaps_before = owner.gaps
            case "append" if owner.handed_over is not None:
                self.log.append((owner.name, owner.handed_over))
                owner.handed_over = None
            case "read" | "read all":
                self.read(owner, 1 if what == "read" else len(self.log))
            case "round":
                # What usually happens: some is wanted, set aside, and used.
                for one, given in (("want", more), ("write", 3), ("append", 0), ("read all", 0), ("want", 0)):
                    self.step(one, who, given)
                self.step("take", who, more)
            case "die":
                if owner.handed_over is not None:
                    self.late.append((owner.name, owner.handed_over))
                self.owners[who] = self.born(who)
            case "late" if self.late:
                self.log.append(self.late.pop())
            case "compact":
                last = {entry[0]: place for place, entry in enumerate(self.log) if entry is not None}
                self.log = [
                    entry if entry is not None and last[entry[0]] == place else None
                    for place, entry in enumerate(self.log)
                ]
            case _:
                return
        assert self.spent <= LIMIT

    def read(self, owner: Owner, count: int) -> None:
        for entry in self.log[owner.position : owner.position + count]:
            owner.position += 1
            if entry is None:
                owner.gaps += 1
            elif entry[0] != owner.name:
                owner.ledger.hear(*entry)
            elif entry[1].number == owner.ledger.number:
                owner.ledger.read_back(sure=owner.gaps == owner.gaps_before)
                owner.pending = False


@settings(deadline=None, max_examples=400)
@given(seed=st.integers(0, 2**32))
def test_all_together_use_no_more_than_the_limit(seed: int) -> None:
    """However late each process reads, whatever is compacted before, and whoever dies: the limit holds."""
    chance = random.Random(seed)
    play = Play()
    for what in chance.choices(list(WEIGHTS), list(WEIGHTS.values()), k=250):
        play.step(what, chance.choice(OWNERS), chance.randint(1, 5))


def written(ledger: Ledger, now: float = 0.0) -> int | None:
    """What is set aside in all by a record that is written now, and read at once."""
    value = ledger.to_write(now)
    if value is None:
        return None
    ledger.write(value, now)
    ledger.read_back(sure=True)
    return int(value)


def spent(used: int, others: int = 0) -> Ledger:
    """A ledger of which so much is used, and set aside by another process."""
    ledger = Ledger(amount(LIMIT), {"x": Slice(1, amount(others))}, reserve_seconds=1.0, now=0.0, alone=False)
    ledger.wait(amount(used))
    ledger.write(amount(used), 0.0)
    ledger.read_back(sure=True)
    ledger.wait(-amount(used))
    ledger.take(amount(used))
    ledger.settle(amount(used), amount(used))
    return ledger


def test_what_is_refused_is_given_back_at_once() -> None:
    """What was set aside at the same time as by others, and is over the limit, is given back with the next record."""
    ledger = spent(4)
    ledger.wait(amount(8))
    ledger.write(amount(12), 0.0)
    ledger.hear("x", Slice(1, amount(5)))
    ledger.read_back(sure=True)
    assert ledger.free == 3
    assert written(ledger) == 7
    assert ledger.free == 3
    assert written(ledger) is None


def test_what_was_refused_is_asked_for_again_when_there_is_room() -> None:
    """As soon as others give something back, what is still waited for is set aside once more."""
    ledger = spent(4)
    ledger.wait(amount(8))
    ledger.write(amount(12), 0.0)
    ledger.hear("x", Slice(1, amount(5)))
    ledger.read_back(sure=True)
    ledger.hear("x", Slice(2, amount(0)))
    assert written(ledger) == 12
    assert ledger.free == 8


def test_what_may_be_used_stays_so() -> None:
    """What others set aside later takes nothing away from what was granted before."""
    ledger = spent(4)
    ledger.wait(amount(6))
    assert written(ledger) == 10
    ledger.write(amount(11), 0.0)
    ledger.hear("x", Slice(1, amount(8)))
    ledger.read_back(sure=True)
    assert ledger.free == 6


def test_a_bill_over_the_limit_is_written_once() -> None:
    """Where more was paid than is left, the record says so, and is not written again and again."""
    ledger = spent(4, others=6)
    ledger.settle(amount(0), amount(5))
    assert written(ledger) == 9
    assert written(ledger) is None
    assert written(ledger, 100.0) is None


def test_what_is_set_aside_follows_the_rate() -> None:
    """At a high rate it is what `reserve_seconds` need, and at a low rate a call or two."""
    ledger = Ledger(amount(1000), {}, reserve_seconds=2.0, now=0.0, alone=False)
    for second in range(10):
        for call in range(20):
            now = second + call / 20
            ledger.wait(amount(1))
            written(ledger, now)
            ledger.wait(amount(-1))
            ledger.take(amount(1))
    assert 20 <= ledger.free <= 42
    for second in range(10, 30):
        written(ledger, float(second))
    assert 1 <= ledger.free <= 2
