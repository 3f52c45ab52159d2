"""How budgets are written down: the keys and values of what processes say they have set aside."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast, get_args

import orjson

from consumer.quota.ledger import Slice
from consumer.quota.periods import Kind


if TYPE_CHECKING:
    from consumer.quota.notes import Key
    from consumer.quota.periods import Period
    from consumer.settings.saving import Budget


__all__ = ["KIND", "Book", "Unreadable", "book_of", "decode", "encode", "key_of", "read_key"]


KIND: Final = "budget"
VERSION: Final = 1

# No amount comes near it. A damaged number that is written with a few characters may have a billion digits.
_DIGITS: Final = 100


class Book(NamedTuple):
    """One budget in one period. What is counted in another unit, or by another clock, is another book."""

    budget: str
    unit: str
    kind: Kind
    mark: str

    @property
    def start(self) -> float:
        """When the period began, in seconds since the epoch."""
        return datetime.strptime(self.mark, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()


class Unreadable(ValueError):
    """A note that cannot be used; `reason` is a word for the metric."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def book_of(budget: Budget, period: Period) -> Book:
    """The book of a budget in a period."""
    return Book(budget.name, budget.unit, period.kind, period.mark)


def key_of(book: Book, owner: str) -> Key:
    """What a process's note is kept under."""
    return (KIND, *book, owner)


def read_key(key: Key) -> tuple[Book, str]:
    """The book and the process that a key names.

    Raises:
        Unreadable: it names none.
    """
    try:
        _, budget, unit, kind, mark, owner = key
        book = Book(budget, unit, cast("Kind", kind), mark)
        if kind not in get_args(Kind) or book.start < 0:
            raise Unreadable("damaged")
    except ValueError as error:
        raise Unreadable("damaged") from error
    return book, owner


def encode(said: Slice) -> bytes:
    """A note's value; amounts are text, to the last digit."""
    return orjson.dumps(
        {
            "version": VERSION,
            "number": said.number,
            "set_aside": str(said.set_aside),
            "beyond": str(said.beyond),
            "said": said.said,
        }
    )


def decode(value: bytes) -> Slice:
    """What a note says. Members that are not known here are ignored.

    Raises:
        Unreadable: it is of a later version, or damaged.
    """
    try:
        found = orjson.loads(value)
        if _whole(found["version"]) > VERSION:
            raise Unreadable("version")
        return Slice(
            _whole(found["number"]), _amount(found["set_aside"]), _amount(found["beyond"]), _whole(found["said"])
        )
    except (ValueError, KeyError, TypeError, InvalidOperation) as error:
        raise error if isinstance(error, Unreadable) else Unreadable("damaged") from error


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise TypeError
    return value


def _amount(value: Any) -> Decimal:
    if not isinstance(value, str) or len(value) > _DIGITS:
        raise TypeError
    amount = Decimal(value)
    if not amount.is_finite() or amount < 0 or abs(amount.adjusted()) > _DIGITS:
        raise ValueError
    return amount
