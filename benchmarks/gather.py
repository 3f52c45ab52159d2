"""What most people write: read a batch, gather its calls, write, commit, and only then read the next batch.

usage: python -m benchmarks.gather BOOTSTRAP TOPIC OUT GROUP ENDPOINT BATCH

The same calls and the same verdicts as those of the bare window. Each batch waits for its slowest call.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import Any

import aiohttp
import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from yarl import URL

from benchmarks.bare_window import request, sign, verdict_of


async def main(bootstrap: str, topic: str, out: str, group: str, endpoint: str, batch: int) -> None:
    """Work until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    url = URL(endpoint)
    host = f"{url.host}:{url.port}"
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False, auto_offset_reset="earliest"
    )
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap, enable_idempotence=True, linger_ms=5, max_batch_size=262144
    )
    await producer.start()
    await consumer.start()

    async def judge(session: aiohttp.ClientSession, record: Any) -> None:
        event = orjson.loads(record.value)
        body = request(event)
        async with session.post(url, data=body, headers=sign(body, host)) as response:
            answer = orjson.loads(await response.read())
        await (await producer.send(out, verdict_of(record, event, answer), key=record.key))

    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session:
        while not stop.is_set():
            found = await consumer.getmany(timeout_ms=500, max_records=batch)
            records = [record for records in found.values() for record in records]
            if records:
                await asyncio.gather(*(judge(session, record) for record in records))
                await consumer.commit()
    await consumer.stop()
    await producer.stop()


if __name__ == "__main__":
    import uvloop

    bootstrap, topic, out, group, endpoint, batch = sys.argv[1:]
    uvloop.run(main(bootstrap, topic, out, group, endpoint, int(batch)))
