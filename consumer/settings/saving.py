"""The settings of what is spent and saved: cache, packed texts, budgets."""

from __future__ import annotations

from decimal import Decimal  # noqa: TC003  # pydantic reads it at run time
from typing import Annotated, Literal

from pydantic import Field

from consumer.settings.section import Name, Seconds, Section


__all__ = ["Budget", "Cache", "Packed"]


class Cache(Section):
    """The same content for the same service is judged, and paid, once for a while; calls in flight are joined."""

    seconds: Annotated[float, Field(ge=0)] = 600.0
    """For how long an answer is used again; 0 has every content judged anew. A word that is added to a library of the
    account is found in repeated content only after so long."""
    max_bytes: Annotated[int, Field(ge=65_536)] = 16 * 1_048_576
    """How much memory remembered answers may take; the ones not asked for longest go first."""
    image_urls: bool = False
    """Whether two images with one URL, or of one name in a bucket, are one image. Not where a user can replace it."""
    normalize: list[Literal["unicode", "invisible", "repeats"]] = []
    """What makes different texts the same: `unicode`: forms of one character (NFKC); `invisible`: characters that
    are not seen; `repeats`: more than three of one punctuation mark in a row. Never for services with `_pro` in their
    names, and a clean answer to a text in disguise is said of that very text only. docs/savings.md has the tables."""


class Packed(Section):
    """Several short texts in one billed call; a clean answer clears all, another has them asked again in parts.

    A judge of joined texts is not proven to be the judge of each: `shadow` measures it on your own traffic.
    """

    mode: Literal["off", "shadow", "on"] = "off"
    """`shadow` judges a sample both ways, pays for both, and shows agreement and saving. `on` packs once
    `least_samples` were measured with `least_agreement`; it is `shadow` before, and again when that no longer holds."""
    services: list[Name] = []
    """The text services to pack for; when empty, all that judge texts by themselves and are billed by the call."""
    sample: Annotated[float, Field(gt=0, le=1)] = 0.05
    """The share of texts that is judged both ways; a fifth of it while texts are packed."""
    least_samples: Annotated[int, Field(ge=100)] = 2000
    """How many texts have to be judged both ways before any is packed."""
    least_agreement: Annotated[float, Field(gt=0.5, lt=1)] = 0.99
    """The share of the risky texts among them that packed calls must find, too: the lower end of its 95 % interval,
    so that few risky texts prove little. 0.99 takes 381 of them without a miss, 0.95 takes 73."""
    max_texts: Annotated[int, Field(ge=2, le=64)] = 16
    """The most texts in one call."""
    max_age_seconds: Annotated[float, Field(ge=0)] = 1.0
    """How long the first text of a call may wait for others."""


class Budget(Section):
    """How much may be spent in a period."""

    name: Name
    """What metrics, logs and verdicts call it."""
    period: Literal["hour", "day", "month"] = "day"
    """How long it lasts; each begins where the clock of `timezone` does."""
    timezone: Name = "UTC"
    """Where a day begins, such as `Asia/Shanghai`."""
    limit: Annotated[Decimal, Field(gt=0)]
    """How much, in `unit`."""
    unit: Literal["units", "CNY", "USD"]
    """Billed units, or money; what is billed in another currency does not count."""
    routes: list[Name] = []
    """The routes whose calls count; all when empty."""
    when_spent: Literal["hold", "review", "sample"] = "hold"
    """`hold`: events wait for the next period. `review`: they go to a person, unjudged and unpaid. `sample`: a share of
    them is still judged and paid, beyond the limit, and the rest goes to a person."""
    sample: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """The share that is still judged."""
    reserve_seconds: Seconds = 1.0
    """How far ahead money is set aside in the state topic; what was set aside and not used is lost to a crash."""
