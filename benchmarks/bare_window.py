"""The ceiling: a bare sliding window of aiokafka and aiohttp that does the same work and nothing more.

usage: python -m benchmarks.bare_window BOOTSTRAP TOPIC OUT GROUP ENDPOINT IN_FLIGHT [SESSION_SECONDS [lean]]

What a careful engineer writes in an afternoon: workers share one session, calls are signed, verdicts are written by an
idempotent producer, and every 100 ms the highest offset below which all is acknowledged is committed. No mapping, no
routing, no quota, no retries, no metrics, no dead letters. With `lean` it calls through the product's own transport in
the place of aiohttp: what is left then between it and the product is the price of the promises.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import signal
import sys
import time
import uuid
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import aiohttp
import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from yarl import URL


if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Post = Callable[[dict[str, str], bytes], Awaitable[bytes]]


BILL = {"moderation_type": "text_llm_standard", "units": 1, "cost": 0.002, "currency": "CNY", "plan_units": 2.67}


def sign(body: bytes, host: str) -> dict[str, str]:
    """The headers of one signed call."""
    digest = hashlib.sha256(body).hexdigest()
    date, nonce = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), uuid.uuid4().hex
    names = "content-type;host;x-acs-action;x-acs-content-sha256;x-acs-date;x-acs-signature-nonce;x-acs-version"
    canonical = (
        f"POST\n/\n\ncontent-type:application/x-www-form-urlencoded\nhost:{host}\nx-acs-action:TextModerationPlus\n"
        f"x-acs-content-sha256:{digest}\nx-acs-date:{date}\nx-acs-signature-nonce:{nonce}\n"
        f"x-acs-version:2022-03-02\n\n{names}\n{digest}"
    )
    to_sign = "ACS3-HMAC-SHA256\n" + hashlib.sha256(canonical.encode()).hexdigest()
    signature = hmac.digest(b"testsecret", to_sign.encode(), "sha256").hex()
    return {
        "content-type": "application/x-www-form-urlencoded",
        "x-acs-action": "TextModerationPlus",
        "x-acs-content-sha256": digest,
        "x-acs-date": date,
        "x-acs-signature-nonce": nonce,
        "x-acs-version": "2022-03-02",
        "Authorization": f"ACS3-HMAC-SHA256 Credential=testid,SignedHeaders={names},Signature={signature}",
    }


def request(event: Any) -> bytes:
    """The body of the call for one event."""
    content = orjson.dumps({"content": event["text"], "dataId": event["id"]}).decode()
    return urlencode({"Service": "ugc_moderation_byllm", "ServiceParameters": content}).encode()


def verdict_of(record: Any, event: Any, answer: Any) -> bytes:
    """The verdict on one record, in the form that the product has."""
    return orjson.dumps(
        {
            "schema": "moderation-verdict/1",
            "event_id": event["id"],
            "kind": event["kind"],
            "route": "all",
            "services": ["ugc_moderation_byllm"],
            "risk_level": answer["Data"]["RiskLevel"],
            "action": "pass",
            "labels": [one for one in answer["Data"]["Result"] if one["Label"] != "nonLabel"],
            "source": "service",
            "request_ids": [answer["RequestId"]],
            "task_id": None,
            "attempts": 1,
            "billed": [BILL],
            "reason": None,
            "extra": {},
            "judged_at": time.time(),
            "latency_ms": 0.0,
            "record": {
                "topic": record.topic,
                "partition": record.partition,
                "offset": record.offset,
                "timestamp": record.timestamp,
            },
        }
    )


@asynccontextmanager
async def by_aiohttp(endpoint: str) -> AsyncIterator[Post]:
    """Calls over one session of aiohttp."""
    url = URL(endpoint)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session:

        async def post(headers: dict[str, str], body: bytes) -> bytes:
            async with session.post(url, data=body, headers=headers) as response:
                return await response.read()

        yield post


@asynccontextmanager
async def by_lean(endpoint: str) -> AsyncIterator[Post]:
    """Calls over the product's transport."""
    # Here, since others of those who are measured take parts of this file, and do not have the product installed.
    from consumer.moderation.calling.lean.transport import LeanTransport  # noqa: PLC0415  # see above
    from consumer.settings.models import Timeouts  # noqa: PLC0415  # see above

    async with LeanTransport(Timeouts()) as transport:

        async def post(headers: dict[str, str], body: bytes) -> bytes:
            return (await transport.post(endpoint, headers, body)).body

        yield post


async def main(
    bootstrap: str,
    topic: str,
    out: str,
    group: str,
    endpoint: str,
    in_flight: int,
    session_seconds: float,
    *,
    lean: bool = False,
) -> None:
    """Work until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    url = URL(endpoint)
    host = f"{url.host}:{url.port}"
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=bootstrap,
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        session_timeout_ms=int(session_seconds * 1000),
        heartbeat_interval_ms=500,
    )
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap, enable_idempotence=True, linger_ms=5, max_batch_size=262144
    )
    await producer.start()
    await consumer.start()
    waiting: asyncio.Queue[Any] = asyncio.Queue(maxsize=in_flight)
    order: dict[TopicPartition, deque[list[Any]]] = {}

    async def read() -> None:
        while True:
            for partition, records in (await consumer.getmany(timeout_ms=500)).items():
                lane = order.setdefault(partition, deque())
                for record in records:
                    slot = [record.offset, False]
                    lane.append(slot)
                    await waiting.put((record, slot))

    async def work(post: Post) -> None:
        while True:
            record, slot = await waiting.get()
            event = orjson.loads(record.value)
            body = request(event)
            answer = orjson.loads(await post(sign(body, host), body))
            sent = await producer.send(out, verdict_of(record, event, answer), key=record.key)
            sent.add_done_callback(lambda done, slot=slot: slot.__setitem__(1, done.exception() is None))

    async def commit() -> None:
        while True:
            await asyncio.sleep(0.1)
            positions = {}
            for partition, lane in order.items():
                at = None
                while lane and lane[0][1]:
                    at = lane.popleft()[0] + 1
                if at is not None:
                    positions[partition] = at
            if positions:
                await consumer.commit(positions)

    async with by_lean(endpoint) if lean else by_aiohttp(endpoint) as post:
        tasks = [asyncio.create_task(read()), asyncio.create_task(commit())]
        tasks += [asyncio.create_task(work(post)) for _ in range(in_flight)]
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait([stopped, *tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
    await consumer.stop()
    await producer.stop()


if __name__ == "__main__":
    import uvloop

    bootstrap, topic, out, group, endpoint, in_flight, *more = sys.argv[1:]
    seconds, lean = float(more[0]) if more else 10.0, more[1:] == ["lean"]
    uvloop.run(main(bootstrap, topic, out, group, endpoint, int(in_flight), seconds, lean=lean))
