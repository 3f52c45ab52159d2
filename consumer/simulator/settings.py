"""What can be chosen about a simulator."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from consumer.simulator.latency import NO_LATENCY, Latency


if TYPE_CHECKING:
    from consumer.simulator.faults import Fault


__all__ = ["DIALECTS", "QUOTAS", "Dialect", "SimulatorSettings"]


QUOTAS = ("text", "image", "image_llm", "multimodal_submit", "multimodal_query")
"""The classes of the account's limits; the setting of each is called `<class>_per_second`."""
Dialect = Literal["sdk", "seed", "table"]
DIALECTS: tuple[Dialect, ...] = get_args(Dialect)


@dataclass(frozen=True, slots=True)
class SimulatorSettings:
    """One simulator is one account with one AccessKey.

    Attributes:
        host: the address to listen on.
        port: the port to listen on; 0 takes any free one.
        access_key_id: the AccessKey it knows.
        access_key_secret: the AccessKey's secret.
        security_token: the token that must come with every call, for temporary (STS) credentials.
        verify: whether signature, date and nonce are checked.
        text_per_second: the account's quota of text calls (the text page says 50); None for no limit.
        image_per_second: the account's quota of image calls (the image page says 100); None for no limit.
        image_llm_per_second: the same for image services of large models (the image price page says 50).
        multimodal_submit_per_second: the same for multimodal tasks (the multimodal page says 10).
        multimodal_query_per_second: the same for queries for their results (the multimodal page says 10).
        dialect: how answers are spelled: as the official SDK reads them, or as the vendor's pages differ from it, in
            their examples (`seed`) or in their tables (`table`).
        translation: whether texts of international services are translated, as an account can have it switched on.
        latency: how long the service thinks before it answers a call.
        task_latency: how long a multimodal task takes from its submission to its result; in milliseconds too.
        task_polls: how many queries a task answers with 280 (in progress), at the least.
        too_early_seconds: how soon after the submission a query is refused as one for an unknown task.
        account_id: the id of the main account, part of a callback's checksum.
        callback_envelope: whether a callback's Content is the whole answer to a query, or its Data alone.
        callback_interval_seconds: how long after an unsuccessful delivery of a callback the next one is tried.
        upload_token_seconds: how long a token for uploads is good.
        faults: faults from the start.
        seed: of the dice for faults and latency.
        keep_calls: whether the ledger lists every line of the bill.
    """

    host: str = "127.0.0.1"
    port: int = 0
    access_key_id: str = "testid"
    access_key_secret: str = "testsecret"  # noqa: S105  # a simulator guards nothing
    security_token: str | None = None
    verify: bool = True
    text_per_second: int | None = 50
    image_per_second: int | None = 100
    image_llm_per_second: int | None = 50
    multimodal_submit_per_second: int | None = 10
    multimodal_query_per_second: int | None = 10
    dialect: Dialect = "sdk"
    translation: bool = False
    latency: Latency = NO_LATENCY
    task_latency: Latency = Latency(1000.0, sigma=0.3)  # noqa: RUF009  # a frozen value
    task_polls: int = 0
    too_early_seconds: float = 0.0
    account_id: str = "1234567890123456"
    callback_envelope: bool = True
    callback_interval_seconds: float = 5.0
    upload_token_seconds: float = 3600.0
    faults: tuple[Fault, ...] = ()
    seed: int = 0
    keep_calls: bool = False

    def __post_init__(self) -> None:
        if self.dialect not in DIALECTS:
            raise ValueError(f"{self.dialect!r} is no dialect; there are {', '.join(DIALECTS)}")
        # What is no number is neither below nor above any.
        if self.task_polls < 0 or not 0 <= self.too_early_seconds < math.inf:
            raise ValueError("task_polls and too_early_seconds cannot be below 0, nor without an end")
        if not all(0 < one < math.inf for one in (self.callback_interval_seconds, self.upload_token_seconds)):
            raise ValueError("callback_interval_seconds and upload_token_seconds must be above 0, and finite")
