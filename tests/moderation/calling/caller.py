"""Processes that call as fast as the quota lets them, and ask over a socket whether their commits succeed.

`python -m tests.moderation.calling.caller PORT URL,guarded URL,unguarded …` makes a process for each URL. On its
connection to the port it says who it is, and then sends a line for each commit; what comes back is `+` for a success.
"""

from __future__ import annotations

import asyncio
import os
import sys

import structlog

from consumer.clock import SystemClock
from consumer.metrics import Metrics
from consumer.moderation.calling.client import ModerationClient
from consumer.moderation.calling.lean import LeanTransport
from consumer.moderation.credentials import FixedCredentials
from consumer.moderation.protocol.billing import LIST_PRICES
from consumer.moderation.protocol.endpoints import Endpoint
from consumer.moderation.protocol.services import QUOTAS
from consumer.moderation.protocol.signing import Credentials
from consumer.quota import Bucket, OpenGuard, StallGuard
from consumer.runtime import new_event_loop
from consumer.settings.models import Retry, Timeouts
from tests.moderation.support import Claim, text_call


async def work(port: int, url: str, kind: str) -> None:
    """Call and commit until killed, or until there is nobody to commit to."""
    clock = SystemClock()
    stall_guard = StallGuard(clock, proof_seconds=15)
    guard = stall_guard if kind == "guarded" else OpenGuard()
    async with LeanTransport(Timeouts(), guard) as transport:
        client = ModerationClient(
            transport,
            endpoint=Endpoint.parse(url),
            credentials=FixedCredentials(Credentials("testid", "testsecret")),
            tokens={quota: Bucket(50, jitter_seconds=0.03, clock=clock) for quota in QUOTAS},
            prices=LIST_PRICES,
            retry=Retry(),
            hold_probe_seconds=30,
            clock=clock,
            metrics=Metrics(),
            guard=guard,
        )
        tasks = [asyncio.create_task(one) for one in (stall_guard.run(), *(judge(client) for _ in range(10)))]
        await commit(stall_guard, port, url)
        for task in tasks:
            task.cancel()


async def commit(guard: StallGuard, port: int, name: str) -> None:
    """Prove by each commit that succeeds that nobody has taken over."""
    answers, commits = await asyncio.open_connection("127.0.0.1", port)
    commits.write(f"{name} {os.getpid()}\n".encode())
    while True:
        sent_at = guard.now()
        commits.write(b"?\n")
        answer = await answers.readline()
        if answer == b"+\n":
            guard.proven(sent_at)
        elif not answer:
            return
        await asyncio.sleep(0.05)


async def judge(client: ModerationClient) -> None:
    """Have one text after the other judged."""
    while True:
        await client.call(text_call(), Claim())


def main() -> None:
    """Make the processes, and wait for them."""
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    port, *callers = sys.argv[1:]
    for caller in callers:
        if not os.fork():
            with asyncio.Runner(loop_factory=new_event_loop) as runner:
                runner.run(work(int(port), *caller.split(",")))
            return
    for _ in callers:
        os.wait()


if __name__ == "__main__":
    main()
