"""Chaos by seeds: `python -m chaos --seeds 1-10`; `--help` has the rest."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, Any, get_args

import orjson

from chaos.audit import audit, report
from chaos.history import Guarantee, Order, Scale, Terms
from chaos.malformed import flood
from chaos.rolling import rolling
from chaos.run import Plan, run
from chaos.stage import ROOT, staged
from chaos.takeover import frozen, takeover


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from chaos.history import History
    from chaos.stage import Stage


__all__ = ["main", "plan"]


_GUARANTEES: tuple[Guarantee, ...] = get_args(Guarantee)
_SCALES: tuple[Scale, ...] = get_args(Scale)
_ORDERS: tuple[Order, ...] = get_args(Order)
_ROLLING_IN_FLIGHT = 256
_ROLLING_PER_SECOND = 5000
_COMBINATIONS = tuple(product(_GUARANTEES, _SCALES, _ORDERS))


def plan(seed: int, seconds: float = 15.0, **chosen: Any) -> Plan:
    """What a seed is. Twelve in a row have each guarantee with each scale and order once, unless one is chosen."""
    guarantee, scale, order = _COMBINATIONS[seed % len(_COMBINATIONS)]
    terms = Terms(guarantee=guarantee, scale=scale, order=order, on_null="dead_letter" if seed % 5 == 0 else "skip")
    terms = replace(terms, **{name: value for name, value in chosen.items() if value is not None})
    return Plan(seed, terms, seconds, members=3 if seed % 3 == 0 else 2)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run seeds and print what became of their events; 0 when all is as promised."""
    parser = argparse.ArgumentParser(
        prog="python -m chaos", description="Real brokers, real processes, seeded faults, and an audit."
    )
    parser.add_argument(
        "--seeds", type=_seeds, default=range(1, 2), help="one, or the first and the last: 7, 1-100 [1]"
    )
    parser.add_argument("--seconds", type=float, default=15.0, help="how long events are written and faults begin [15]")
    parser.add_argument("--mode", choices=_GUARANTEES, help="the guarantee; by the seed when not given")
    parser.add_argument("--scale", choices=_SCALES, help="by the seed when not given")
    parser.add_argument("--order", choices=_ORDERS, help="by the seed when not given")
    special = parser.add_mutually_exclusive_group()
    special.add_argument(
        "--takeover", action="store_true", help="how soon a standby works after a kill, and after a stop"
    )
    special.add_argument("--frozen", action="store_true", help="what a process does that wakes after its session")
    special.add_argument("--malformed", type=int, metavar="N", help="so many records, a third of them malformed")
    special.add_argument("--rolling", type=int, metavar="N", help="so many events while members are restarted in turn")
    options = parser.parse_args(arguments)
    folder = ROOT / ".cache" / "chaos" / time.strftime("%Y%m%d-%H%M%S")
    if options.takeover or options.frozen or options.malformed or options.rolling:
        return asyncio.run(_special(options, folder))
    return asyncio.run(_seeded(options, folder))


def _seeds(text: str) -> range:
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


async def _seeded(options: argparse.Namespace, folder: Path) -> int:
    broken: list[str] = []
    async with staged() as stage:
        for seed in options.seeds:
            chosen = {"guarantee": options.mode, "scale": options.scale, "order": options.order}
            one = plan(seed, options.seconds, **chosen)
            if not await _one(stage, one, folder / f"seed-{seed}"):
                broken.append(_again(one))
    if broken:
        print("NOT as promised. Again:", *broken, sep="\n  ")
    else:
        print(f"{len(options.seeds)} runs, all as promised.")
    return 1 if broken else 0


async def _special(options: argparse.Namespace, folder: Path) -> int:
    """One of the longer runs."""
    guarantee: Guarantee = options.mode or ("exactly_once" if options.rolling else "at_least_once")
    order: Order = options.order or ("key" if options.rolling else "unordered")
    terms = Terms(guarantee, options.scale or "failover", order)
    with _reported(folder) as say:
        async with staged() as stage:
            if options.rolling:
                terms = replace(terms, max_in_flight=_ROLLING_IN_FLIGHT, text_per_second=_ROLLING_PER_SECOND)
                return 0 if _holds(await rolling(stage, terms, folder, say, count=options.rolling), say) else 1
            if options.malformed:
                return 0 if await flood(stage, terms, folder, say, count=options.malformed) else 1
            measure = takeover if options.takeover else frozen
            return 0 if await measure(stage, terms, folder, say) else 1


def _holds(history: History, say: Callable[[str], None]) -> bool:
    """Whether all is as promised; the audit is said."""
    findings = audit(history)
    say(report(findings))
    return all(finding.holds for finding in findings)


async def _one(stage: Stage, one: Plan, folder: Path) -> bool:
    """One seed: its schedule, what happened, and the audit, on the terminal and in its folder."""
    terms = one.terms
    with _reported(folder) as say:
        say(f"\nSeed {one.seed}: {terms.guarantee}, {terms.scale}, {terms.order}, {one.members} members; {folder}")
        for step in one.steps:
            say(f"  planned {step}")
        history = await run(stage, one, folder, say)
        (folder / "history.json").write_bytes(orjson.dumps(history, default=_readable))
        return _holds(history, say)


@contextmanager
def _reported(folder: Path) -> Iterator[Callable[[str], None]]:
    """Say things on the terminal and in a report of the folder, which is made."""
    folder.mkdir(parents=True)
    with (folder / "report.txt").open("w", buffering=1) as file:

        def say(text: str) -> None:
            print(text, flush=True)
            print(text, file=file)

        yield say


def _again(one: Plan) -> str:
    terms = one.terms
    return (
        f"python -m chaos --seeds {one.seed} --mode {terms.guarantee} --scale {terms.scale} --order {terms.order} "
        f"--seconds {one.seconds:g}"
    )


def _readable(value: object) -> Any:
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    return {"end": value.end, "unfinished": value.unfinished}  # type: ignore[attr-defined]  # the map of a commit


if __name__ == "__main__":
    sys.exit(main())
