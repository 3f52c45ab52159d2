"""Random and mutated answers over both transports: `python -m fuzz.wire --count 20000 --seed 1`.

Each answer comes in random pieces, some of them late, and its connection stays, is closed or is reset. Nothing but
`NoAnswer` may be raised, nothing may take longer than its time-out, no connection may be used again that is not clean,
and both transports have to say the same, but for the differences that are listed below with their reasons. Prints what
was tried and exits with 0; or prints the first answer that breaks a promise, and exits with 1. Each answer depends on
the seed and its number only.
"""

from __future__ import annotations

import argparse
import gzip
import random
import re
import sys
import time
import zlib
from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING
from unittest import mock

import httptools

from fuzz.peer import Said, Script, verdict


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fuzz.peer import Ending, Verdict


__all__ = ["DIFFERENCES", "difference", "main", "script"]


_Parser = httptools.HttpResponseParser
_JSON = b'{"Code":200,"Data":{"RiskLevel":"none"}}'
_CHUNKS = b"12\r\n" + _JSON[:18] + b"\r\n16\r\n" + _JSON[18:] + b"\r\n0\r\n\r\n"
_OK = b"HTTP/1.1 200 OK\r\n"
_DATE = b"Date: Fri, 02 Jan 2026 03:04:05 GMT\r\n"


def _whole(body: bytes, *headers: bytes, first: bytes = _OK) -> bytes:
    lines = b"".join(line + b"\r\n" for line in headers)
    return first + _DATE + lines + b"Content-Length: %d\r\n\r\n" % len(body) + body


EXAMPLES = (
    _whole(_JSON),
    _whole(
        _JSON, b"Content-Type: application/json;charset=utf-8", b"x-acs-request-id: 0000", b"Connection: keep-alive"
    ),
    _whole(_JSON, b"Connection: close"),
    _whole(b"", first=b"HTTP/1.1 503 Service Unavailable\r\n"),
    _whole(b"busy", b"Retry-After: 3", first=b"HTTP/1.1 429 Too Many Requests\r\n"),
    _whole(gzip.compress(_JSON, mtime=0), b"Content-Encoding: gzip"),
    _whole(zlib.compress(_JSON), b"Content-Encoding: deflate"),
    _OK + _DATE + b"Transfer-Encoding: chunked\r\n\r\n" + _CHUNKS,
    _OK + b"Transfer-Encoding: chunked\r\nTrailer: x\r\n\r\n" + _CHUNKS[:-2] + b"X: y\r\n\r\n",
    _OK + _DATE + b"\r\n" + _JSON,
    b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\nConnection: keep-alive\r\n\r\n" % len(_JSON) + _JSON,
    b"HTTP/1.0 200 OK\r\n\r\n" + _JSON,
    b"HTTP/1.1 204 No Content\r\n" + _DATE + b"\r\n",
    b"HTTP/1.1 304 Not Modified\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n" + _whole(_JSON),
    b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n" + _whole(_JSON),
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
)
_TOKENS = (
    *(
        b"\r\n",
        b"\n",
        b"\r",
        b"\r\n\r\n",
        b":",
        b" ",
        b"\t",
        b"\0",
        b";",
        b",",
        b"0",
        b"1",
        b"-1",
        b"ffffffffffffffffff",
    ),
    *(
        b"Content-Length: 3\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: gzip\r\n",
        b"Connection: close\r\n",
    ),
    *(
        b"Content-Encoding: gzip\r\n",
        b"Connection: upgrade\r\nUpgrade: x\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.0",
        b"200",
    ),
    *(
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"X: " + b"y" * 9000 + b"\r\n",
        b"X: y\r\n" * 140,
        b"\xff",
        b"\xc3\xa9",
        b"chunked",
    ),
)


def script(seed: int, number: int) -> tuple[Script, str]:
    """One answer in its pieces, and how it was made."""
    dice = random.Random(f"{seed}/{number}")
    way = dice.choices(("example", "mutated", "two", "noise"), (3, 14, 2, 1))[0]
    raw = dice.choice(EXAMPLES)
    if way == "noise":
        raw = dice.randbytes(dice.randrange(1, 100))
    if way == "two":
        raw += dice.choice((b"\r\n", b"", b"\0", b"x")) + dice.choice(EXAMPLES)
    if way == "mutated" or (way == "two" and dice.random() < 0.3):
        raw = _mutated(raw, dice)
    endings: tuple[Ending, ...] = ("stay", "close", "reset")
    return Script(tuple(_pieces(raw, dice)), dice.choices(endings, (6, 4, 1))[0]), way


def _mutated(raw: bytes, dice: random.Random) -> bytes:
    """Bytes changed, put in, taken out, repeated or cut off."""
    found = bytearray(raw)
    for _ in range(dice.choice((1, 1, 1, 2, 3, 5))):
        # Most of what can go wrong is where lines begin and end.
        ends = [match.start() for match in re.finditer(rb"[\r\n: ]", found)]
        start = dice.choice(ends) if ends and dice.random() < 0.6 else dice.randrange(len(found) + 1)
        end = min(len(found), start + dice.choice((1, 1, 2, dice.randrange(1, 30))))
        match dice.randrange(6):
            case 0:
                del found[start:end]
            case 1:
                found[start:end] = dice.randbytes(end - start)
            case 2 | 3:
                found[start:start] = dice.choice(_TOKENS)
            case 4:
                found[start:start] = found[start:end]
            case _:
                del found[start if dice.random() < 0.5 else len(found) - dice.randrange(min(5, len(found) + 1)) :]
    return bytes(found)


def _pieces(raw: bytes, dice: random.Random) -> list[Said]:
    count = dice.choice((0, 0, 1, 2, 5, min(len(raw), 400)))
    cuts = sorted({0, len(raw), *(dice.randrange(len(raw) + 1) for _ in range(count))})
    places = range(len(cuts) - 1)
    # A few pauses of a few seconds are enough to run into any time-out.
    pauses = (
        {dice.choice(places): dice.choice((0.01, 0.5, 5.0)) for _ in range(4)} if places and dice.random() < 0.2 else {}
    )
    return [Said(raw[a:b], pauses.get(place, 0.0)) for place, (a, b) in enumerate(pairwise(cuts))]


def _stands_alone(found: Script, aiohttp: Verdict, lean: Verdict) -> bool:
    """Aiohttp throws an answer away when what comes with it, behind it, cannot be read; without that it has it, too."""
    if aiohttp.answer is not None or lean.answer is None:
        return False
    raw = found.raw
    low, high = 0, len(raw)
    while low < high:
        middle = (low + high) // 2
        if verdict("lean", Script((Said(raw[:middle]),), "stay")).answer is None:
            low = middle + 1
        else:
            high = middle
    alone = Script((Said(raw[:low]),), "stay")
    return low < len(raw) and verdict("aiohttp", alone).answer == verdict("lean", alone).answer == lean.answer


def _lax(found: Script, aiohttp: Verdict, lean: Verdict) -> bool:
    """Aiohttp takes lines that end or go on against the rules, and letters that must not be in them."""
    if lean.answer is not None:
        return False
    with mock.patch("httptools.HttpResponseParser", _lax_parser):
        return verdict("lean", found).answer == aiohttp.answer


def _lax_parser(protocol: object) -> httptools.HttpResponseParser:
    parser = _Parser(protocol)
    parser.set_dangerous_leniencies(
        lenient_headers=True, lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True
    )
    return parser


def _many_headers(found: Script, aiohttp: Verdict, lean: Verdict) -> bool:
    """Aiohttp counts headers, and measures each of them; the lean transport measures the head."""
    lines = found.raw.split(b"\n")
    return aiohttp.answer is None and lean.answer is not None and (len(lines) > 128 or max(map(len, lines)) > 8190)


def _reset(found: Script, aiohttp: Verdict, lean: Verdict) -> bool:
    """To aiohttp a reset is an end of a body as good as any other."""
    if found.ending != "reset" or lean.answer is not None:
        return False
    closed = Script(found.pieces, "close")
    found_of_closed = verdict("aiohttp", closed), verdict("lean", closed)
    return found_of_closed[0].answer == aiohttp.answer and difference(closed, *found_of_closed) is not None


def _coding(found: Script, aiohttp: Verdict, lean: Verdict) -> bool:
    """Aiohttp takes a body in a transfer coding that it does not know for one that ends with the connection."""
    unfolded = re.sub(rb"\r?\n[ \t]", b" ", found.raw)
    codings = [value.lstrip().lower() for value in re.findall(rb"(?i)\ntransfer-encoding\s*:([^\r\n]*)", unfolded)]
    return lean.answer is None and aiohttp.answer is not None and codings not in ([], [b"chunked"])


def _preliminary(found: Script, aiohttp: Verdict, lean: Verdict) -> bool:
    """Behind a preliminary answer aiohttp does not watch for silence any more."""
    if lean.answer is not None or not re.search(rb"HTTP/1.[01] 1", found.raw):
        return False
    prompt = Script(tuple(Said(piece.data) for piece in found.pieces), found.ending)
    if prompt == found:
        return False
    found_of_prompt = verdict("aiohttp", prompt), verdict("lean", prompt)
    return found_of_prompt[0].answer == aiohttp.answer and difference(prompt, *found_of_prompt) is not None


DIFFERENCES: dict[str, Callable[[Script, Verdict, Verdict], bool]] = {
    "something unreadable behind the answer": _stands_alone,
    "lines against the rules": _lax,
    "very many headers, or a very long one": _many_headers,
    "a reset as the end of a body": _reset,
    "an unknown transfer coding": _coding,
    "silence behind a preliminary answer": _preliminary,
}
"""Where the transports may say different things; each is shown to be the reason, and no more than that."""


def difference(found: Script, aiohttp: Verdict, lean: Verdict) -> str | None:
    """The reason for which the two verdicts differ; an empty text where they do not, None where there is none."""
    if aiohttp.answer == lean.answer:
        return ""
    return next((name for name, fits in DIFFERENCES.items() if fits(found, aiohttp, lean)), None)


def main(arguments: Sequence[str] | None = None) -> int:
    """Try so many answers; 0 when no promise was broken."""
    parser = argparse.ArgumentParser(prog="fuzz.wire", description="Random answers over both transports.")
    parser.add_argument("--count", type=int, default=20_000, help="how many answers [20000]")
    parser.add_argument("--seed", type=int, default=1, help="of the dice [1]")
    parser.add_argument("--start", type=int, default=0, help="the number of the first answer [0]")
    options = parser.parse_args(arguments)
    began = time.perf_counter()
    made: Counter[str] = Counter()
    ends: Counter[str] = Counter()
    for number in range(options.start, options.start + options.count):
        found, way = script(options.seed, number)
        aiohttp, lean = verdict("aiohttp", found), verdict("lean", found)
        why = difference(found, aiohttp, lean)
        if aiohttp.broken or lean.broken or why is None:
            print(f"seed {options.seed}, answer {number} ({way}), the connection: {found.ending}")
            print("\n".join(f"{piece.after_seconds:4} s: {piece.data!r}" for piece in found.pieces))
            print(f"aiohttp: {aiohttp}\nlean:    {lean}")
            print(f"again: python -m fuzz.wire --seed {options.seed} --start {number} --count 1")
            return 1
        made[way] += 1
        ends["answered" if lean.answer else "not answered"] += 1
        ends["on the same connection"] += lean.reused
        ends[f"differ: {why}" if why else "the same"] += 1
    print(f"{options.count} answers in {time.perf_counter() - began:.1f} s, seed {options.seed}: no promise broken")
    for counter in (made, ends):
        print(", ".join(f"{counter[name]} {name}" for name in sorted(counter)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
