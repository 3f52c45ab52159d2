"""The simulator's own pages, beside the service: /ledger, /stats, /faults and /reset."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from consumer.simulator.backend import Backend, Reply
from consumer.simulator.faults import Fault
from consumer.simulator.latency import Latency


if TYPE_CHECKING:
    from consumer.simulator.backend import Request


__all__ = ["PAGES", "page"]


PAGES = frozenset({"/ledger", "/stats", "/faults", "/reset"})


def page(backend: Backend, request: Request) -> Reply:
    """Answer a request for one of `PAGES`.

    `POST /faults` takes `{"faults": ["code=588,share=0.1"], "latency_ms": "20-80"}`; either may be left out, and what
    is given replaces what was in force. `POST /reset` puts everything back to how it started.
    """
    name = request.target.partition("?")[0]
    wanted = {"/ledger": ("GET",), "/stats": ("GET",), "/faults": ("GET", "POST"), "/reset": ("POST",)}[name]
    if request.method not in wanted:
        return _json({"error": f"{name} takes {' or '.join(wanted)}"}, status=405)
    if name == "/ledger":
        return _json(backend.ledger.to_dict())
    if name == "/stats":
        account = backend.account
        return _json(
            {**backend.stats.to_dict(), "tasks": account.tasks.to_dict(), "uploads": account.objects.to_dict()}
        )
    if name == "/reset":
        backend.reset()
        return _json({"reset": True})
    if request.method == "POST":
        try:
            _set_faults(backend, request.body)
        except ValueError as problem:
            return _json({"error": str(problem)}, status=400)
    return _json(backend.faults.to_dict())


def _set_faults(backend: Backend, body: bytes) -> None:
    asked = orjson.loads(body)
    if not isinstance(asked, dict) or not asked.keys() <= {"faults", "latency_ms"}:
        raise ValueError('expected {"faults": ["code=588,share=0.1", …], "latency_ms": "20-80"}')
    written = asked.get("faults", [])
    if not isinstance(written, list) or not all(isinstance(text, str) for text in written):
        raise ValueError("faults is a list of strings")
    faults = [Fault.parse(text) for text in written] if "faults" in asked else None
    latency = Latency.parse(str(asked["latency_ms"])) if "latency_ms" in asked else None
    if faults is not None:
        backend.faults.set(faults)
    if latency is not None:
        backend.faults.set_latency(latency)


def _json(value: object, status: int = 200) -> Reply:
    return Reply(status=status, body=orjson.dumps(value, option=orjson.OPT_INDENT_2) + b"\n")
