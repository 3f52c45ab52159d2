"""Random and mutated answers through the reader: `python -m fuzz.answers --count 100000 --seed 1`.

Prints what was tried and exits with 0; or prints the first answer that breaks a promise, with all that is needed to
have it again, and exits with 1. Each answer depends on the seed and its number only.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections import Counter
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consumer.moderation.protocol.responses import Layer, is_judged, read, read_finding
from consumer.verdict import RiskLevel
from fuzz.promises import CALLS, broken_promises


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


__all__ = ["EXAMPLES", "answer", "main"]


EXAMPLES = tuple(
    path.read_bytes()
    for path in sorted((Path(__file__).parents[1] / "tests" / "moderation" / "data" / "answers").glob("*.json"))
)
"""The examples of the vendor's pages, which most answers are made from."""

_STATUSES = (*[200] * 18, 201, 302, 400, 403, 404, 429, 500, 502, 503)
_CODES: tuple[Any, ...] = (
    *(200, 200, 200, "200", 200.0, 280, 400, 403, 408, 500, 588),
    *("Throttling.User", None, True, -1, 10**30, "", []),
)
_LEVELS = ("none", "low", "medium", "high", "None", " HIGH ", "severe", "", None, 0, True, ["none"], {"none": "none"})
_NAMES = (
    *("Code", "Data", "RiskLevel", "Result", "Results", "Label", "Confidence", "RiskWords", "Riskwords", "Ext"),
    *("RiskPositions", "StartPos", "EndPos", "CustomizedHit", "LibName", "Keywords", "LlmContent", "OutputText"),
    *("MainData", "CommentDatas", "ReqId", "TaskId", "Usage", "RequestId", "Message", "Msg", "DataId", "Description"),
)
_TEXTS = ("", "none", "nonLabel", "nonLabel_lib", "ad_x_tii_lib", "_", "a,b,,c", "\x00", "\u2028", "😀", "200", "1e999")
_NUMBERS = (0, 1, -1, 0.5, 100, 101, 2**31, 2**53, 2**63 - 1, 1e308, -1e308)


def answer(seed: int, number: int) -> tuple[bytes, int, str]:
    """One answer, its HTTP status, and how it was made."""
    dice = random.Random(f"{seed}/{number}")
    status = dice.choice(_STATUSES)
    way = dice.choices(("example", "damaged", "invented", "noise"), (5, 3, 2, 1))[0]
    if way == "noise":
        return dice.randbytes(dice.randrange(200)), status, way
    if way == "invented":
        return _dumped({"Code": deepcopy(dice.choice(_CODES)), "Data": _invented(dice, 0)}, dice), status, way
    document = json.loads(dice.choice(EXAMPLES))
    for _ in range(dice.choice((0, 1, 1, 2, 3, 5, 8))):
        _change(document, dice)
    body = _dumped(document, dice)
    return (_damaged(body, dice) if way == "damaged" else body), status, way


def _change(document: Any, dice: random.Random) -> None:
    """Change one place of the document: a value, a name, or whether it is there at all."""
    places = list(_places(document))
    if not places:
        return
    holder, key = dice.choice(places)
    value = holder[key]
    match dice.randrange(8):
        case 0:
            del holder[key]
        case 1:
            holder[key] = _invented(dice, 0)
        case 2:
            holder[key] = [value]
        case 3 if isinstance(value, list) and value:
            holder[key] = dice.choice(value)
        case 4 if isinstance(holder, dict):
            spelling = dice.choice((str.lower, str.upper, str.swapcase, str.title))
            holder[dice.choice((spelling(key), dice.choice(_NAMES)))] = holder.pop(key)
        case 5:
            other, there = dice.choice(places)
            if there in other if isinstance(other, dict) else there < len(other):
                holder[key] = json.loads(json.dumps(other[there]))
        case 6 if isinstance(value, list):
            value.extend(json.loads(json.dumps(value)))
        case _:
            holder[key] = _likely(str(key), dice)


def _likely(name: str, dice: random.Random) -> Any:
    """A value that might stand at this name, or nearly."""
    if name.lower() == "code":
        return deepcopy(dice.choice(_CODES))
    if name.lower() == "risklevel":
        return deepcopy(dice.choice(_LEVELS))
    return deepcopy(dice.choice((*_TEXTS, *_NUMBERS, *_LEVELS)))


def _places(document: Any) -> Iterator[tuple[Any, Any]]:
    """Each member and element, with what holds it."""
    stack = [document]
    while stack:
        one = stack.pop()
        keys: Sequence[Any] = list(one) if isinstance(one, dict) else range(len(one)) if isinstance(one, list) else ()
        for key in keys:
            yield one, key
            stack.append(one[key])


def _invented(dice: random.Random, depth: int) -> Any:
    kind = dice.randrange(8 if depth < 6 else 5)
    if kind == 7:
        return [_invented(dice, depth + 1) for _ in range(dice.randrange(4))]
    if kind > 4:
        names = [dice.choice(_NAMES) for _ in range(dice.randrange(6))]
        return {name: _likely(name, dice) if dice.random() < 0.3 else _invented(dice, depth + 1) for name in names}
    return deepcopy(dice.choice((_TEXTS, _NUMBERS, _LEVELS, (None, True, False), _CODES)[kind]))


def _dumped(document: Any, dice: random.Random) -> bytes:
    return json.dumps(document, ensure_ascii=dice.random() < 0.5).encode()


def _damaged(body: bytes, dice: random.Random) -> bytes:
    """Bytes cut off, changed, put in, taken out or repeated."""
    damaged = bytearray(body)
    for _ in range(dice.choice((1, 1, 1, 2, 4))):
        start = dice.randrange(len(damaged) + 1)
        end = min(len(damaged), start + dice.randrange(20))
        match dice.randrange(5):
            case 0:
                del damaged[start:]
            case 1:
                damaged[start:end] = dice.randbytes(end - start)
            case 2:
                damaged[start:start] = dice.choice((b"{", b"[", b'"', b",", b"\\", b"\xff", b"none", dice.randbytes(3)))
            case 3:
                del damaged[start:end]
            case _:
                damaged[start:start] = damaged[start:end]
    return bytes(damaged)


def main(arguments: Sequence[str] | None = None) -> int:
    """Try so many answers; 0 when no promise was broken."""
    parser = argparse.ArgumentParser(prog="fuzz.answers", description="Random answers through the reader.")
    parser.add_argument("--count", type=int, default=100_000, help="how many answers [100000]")
    parser.add_argument("--seed", type=int, default=1, help="of the dice [1]")
    parser.add_argument("--start", type=int, default=0, help="the number of the first answer [0]")
    options = parser.parse_args(arguments)
    began = time.perf_counter()
    made: Counter[str] = Counter()
    layers: Counter[str] = Counter()
    levels: Counter[str] = Counter()
    for number in range(options.start, options.start + options.count):
        body, status, way = answer(options.seed, number)
        broken = broken_promises(body, status)
        if broken:
            print(f"seed {options.seed}, answer {number} ({way}), HTTP {status}:\n{body!r}")
            print("\n".join(broken))
            print(f"again: python -m fuzz.answers --seed {options.seed} --start {number} --count 1")
            return 1
        found = read(body, status)
        made[way] += 1
        layers[found.layer.value] += 1
        if is_judged(found):
            levels[max(read_finding(found, call).risk_level for call in CALLS).word] += 1
    seconds = time.perf_counter() - began
    print(f"{options.count} answers in {seconds:.1f} s, seed {options.seed}: no promise broken")
    print(f"made:  {_counts(made)}")
    print(f"read:  {_counts(layers, [layer.value for layer in Layer])}")
    print(f"level of those with code 200: {_counts(levels, [level.word for level in RiskLevel])}")
    return 0


def _counts(counter: Counter[str], names: Sequence[str] | None = None) -> str:
    return ", ".join(f"{counter[name]} {name}" for name in names or sorted(counter))


if __name__ == "__main__":
    sys.exit(main())
