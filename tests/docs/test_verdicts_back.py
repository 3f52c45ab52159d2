"""The page on sending verdicts back: its reader does what the page says."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from aiokafka import AIOKafkaProducer

from tests.broker.cluster import unique
from tests.docs.pages import ROOT, blocks


if TYPE_CHECKING:
    from consumer.demo.broker import EmbeddedBroker


__all__: list[str] = []


PAGE = ROOT / "docs" / "how-to" / "verdicts-back.md"


def test_the_reader_on_the_page_reads(embedded: EmbeddedBroker) -> None:
    """The reader has each verdict applied in turn, and stops at a shape that it does not know."""
    [code] = [block.text for block in blocks(PAGE) if block.language == "python"]
    namespace: dict[str, Any] = {}
    exec(compile(code, str(PAGE), "exec"), namespace)  # the page's own code
    topic = unique("verdicts")
    embedded.create_topic(topic)
    schema = "moderation-verdict/1"
    verdicts = [{"schema": schema, "event_id": "1"}, {"schema": schema, "event_id": "2"}, {"schema": "other/1"}]
    applied: list[str] = []

    async def apply(verdict: dict[str, str]) -> None:
        applied.append(verdict["event_id"])

    async def main() -> None:
        servers = ",".join(embedded.bootstrap_servers)
        async with AIOKafkaProducer(bootstrap_servers=servers) as producer:
            for verdict in verdicts:
                await producer.send_and_wait(topic, json.dumps(verdict).encode(), partition=0)
        async with asyncio.timeout(30):
            await namespace["read_verdicts"](servers, topic, apply, group=unique("group"))

    with pytest.raises(RuntimeError, match="unknown shape of a verdict: other/1"):
        asyncio.run(main())
    assert applied == ["1", "2"]
