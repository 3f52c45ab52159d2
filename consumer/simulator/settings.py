"""What can be chosen about a simulator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from consumer.simulator.latency import NO_LATENCY, Latency


if TYPE_CHECKING:
    from consumer.simulator.faults import Fault


__all__ = ["DIALECTS", "Dialect", "SimulatorSettings"]


Dialect = Literal["sdk", "seed"]
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
        dialect: how answers are spelled: as the official SDK reads them, or as the vendor's pages differ from it.
        latency: how long the service thinks.
        faults: faults from the start.
        seed: of the dice for faults and latency.
        keep_calls: whether the ledger lists every billed call.
    """

    host: str = "127.0.0.1"
    port: int = 0
    access_key_id: str = "testid"
    access_key_secret: str = "testsecret"  # noqa: S105  # a simulator guards nothing
    security_token: str | None = None
    verify: bool = True
    text_per_second: int | None = 50
    image_per_second: int | None = 100
    dialect: Dialect = "sdk"
    latency: Latency = NO_LATENCY
    faults: tuple[Fault, ...] = ()
    seed: int = 0
    keep_calls: bool = False

    def __post_init__(self) -> None:
        if self.dialect not in DIALECTS:
            raise ValueError(f"{self.dialect!r} is no dialect; there are {' and '.join(DIALECTS)}")
