"""What an operation is: where its parameters stand in the request, and who answers it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


__all__ = ["Answer", "Bill", "Operation"]


@dataclass(frozen=True, slots=True)
class Bill:
    """What an answer costs."""

    moderation_type: str
    units: int
    data_id: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a service says: a business code, why, the data, and the bill if there is one."""

    code: int
    message: str
    data: dict[str, Any] | None = None
    bill: Bill | None = None


@dataclass(frozen=True, slots=True)
class Operation:
    """One row of the table.

    `where` says whether the parameters stand in the form body or in the query: what stands elsewhere is not seen.
    `handler` takes the parameters, all of which were sent, and answers. `quota` is the class of the account's limit it
    counts against, `over_quota` the code of a call above it. `messages` has the usual text of each code, and
    `message_field` the name it goes by in an answer.
    """

    name: str
    where: Literal["form", "query"]
    parameters: tuple[str, ...]
    handler: Callable[[Mapping[str, str]], Answer]
    quota: str
    over_quota: int
    message_field: str
    messages: Mapping[int, str] = field(default_factory=dict)
