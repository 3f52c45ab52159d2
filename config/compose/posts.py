"""The platform of compose.yaml: writes the demonstration's events to a topic, for ever.

python posts.py BOOTSTRAP_SERVERS TOPIC EVENTS_A_SECOND
"""  # noqa: INP001  # a script that stands alone

from __future__ import annotations

import asyncio
import signal
import sys
import time

from aiokafka import AIOKafkaProducer

from consumer.demo.generator import Generator, timeline


__all__: list[str] = []


async def main(bootstrap_servers: str, topic: str, rate: float) -> None:
    """Send each event when it is due, until a SIGTERM or SIGINT; what was sent is written when this returns."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    seed = time.time_ns()  # other events, with other ids, at each start
    started = loop.time()
    async with AIOKafkaProducer(bootstrap_servers=bootstrap_servers, acks="all", client_id="platform") as producer:
        for at, sample in timeline(Generator(seed, epoch_seconds=time.time()), rate=rate, seed=seed):
            try:
                async with asyncio.timeout_at(started + at):
                    await stop.wait()
                break
            except TimeoutError:
                await producer.send(topic, sample.value, sample.key, headers=list(sample.headers))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3])))
