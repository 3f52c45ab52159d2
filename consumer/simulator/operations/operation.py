"""What an operation is: where its parameters stand in the request, and who answers it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from consumer.simulator.account import Account
    from consumer.simulator.ledger import Bill
    from consumer.simulator.tasks import Task


__all__ = ["Answer", "Asked", "Operation"]


@dataclass(frozen=True, slots=True)
class Asked:
    """What a handler is asked: the parameters, all of which were sent; by which host; of which account."""

    parameters: Mapping[str, str]
    host: str
    account: Account


@dataclass(frozen=True, slots=True)
class Answer:
    """What a service says: a business code, why, the data, the bills if there are any, and the task it made of it."""

    code: int
    message: str
    data: dict[str, Any] | None = None
    bills: tuple[Bill, ...] = ()
    data_id: str | None = None
    task: Task | None = None


@dataclass(frozen=True, slots=True)
class Operation:
    """One row of the table.

    `where` says whether the parameters stand in the form body or in the query: what stands elsewhere is not seen.
    `quota` is the class of the account's limit it counts against unless its service has one of its own, `over_quota`
    the code of a call above it. `messages` has the usual text of each code, and `message_field` the name it goes by in
    an answer. `billed_codes` are those that the vendor's page says are billed.
    """

    name: str
    where: Literal["form", "query"]
    parameters: tuple[str, ...]
    handler: Callable[[Asked], Answer]
    quota: str
    over_quota: int
    message_field: str
    messages: Mapping[int, str] = field(default_factory=dict)
    billed_codes: frozenset[int] = frozenset({200})
