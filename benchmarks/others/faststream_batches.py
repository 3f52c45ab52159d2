"""The work on FastStream: a handler of batches that gathers its calls.

usage: python -m benchmarks.others.faststream_batches BOOTSTRAP TOPIC OUT GROUP ENDPOINT BATCH
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import aiohttp
import orjson
from faststream import AckPolicy, FastStream  # type: ignore[import-not-found]  # peers_install puts it elsewhere
from faststream.kafka import KafkaBroker, KafkaMessage  # type: ignore[import-not-found]  # the same
from yarl import URL

from benchmarks.bare_window import request, sign, verdict_of


async def main(bootstrap: str, topic: str, out: str, group: str, endpoint: str, batch: int) -> None:
    """Work until SIGTERM."""
    url = URL(endpoint)
    host = f"{url.host}:{url.port}"
    broker = KafkaBroker(bootstrap, logger=None, enable_idempotence=True, acks="all", linger_ms=5)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session:

        async def judge(record: Any) -> None:
            event = orjson.loads(record.value)
            body = request(event)
            async with session.post(url, data=body, headers=sign(body, host)) as response:
                answer = orjson.loads(await response.read())
            await broker.publish(verdict_of(record, event, answer), topic=out, key=record.key)

        async def handle(message: Any) -> None:
            await asyncio.gather(*(judge(record) for record in message.raw_message))

        # The framework reads what a handler wants from its annotations, which `from __future__` has made words of.
        handle.__annotations__ = {"message": KafkaMessage, "return": None}
        broker.subscriber(
            topic,
            group_id=group,
            batch=True,
            max_records=batch,
            auto_offset_reset="earliest",
            ack_policy=AckPolicy.NACK_ON_ERROR,
        )(handle)
        await FastStream(broker, logger=None).run()


if __name__ == "__main__":
    import uvloop

    bootstrap, topic, out, group, endpoint, batch = sys.argv[1:]
    uvloop.run(main(bootstrap, topic, out, group, endpoint, int(batch)))
