"""A bad minute: everything that the dashboards show happens once, under a steady feed of events."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import orjson

from consumer.simulator import Fault, Latency, SimulatorSettings, truth
from tests.broker.cluster import unique
from tests.observed.product import Product
from tests.ports import free_ports


if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.broker.cluster import Broker


__all__ = ["bad_minute", "observed"]


_USUAL = "90~0.4"
_SLOW = "700~0.3"
# Always: what any large service has, and some tasks that never end, or are not reported.
_ALWAYS = (
    "code=500,share=0.01",
    "http_502,share=0.01",
    "reset_billed,share=0.01",
    "garbage,share=0.005",
    "task_never,share=0.03",
    "callback_forged,share=0.1",
    "callback_never,share=0.3",
)
_IMAGES = "baselineCheck"
_OLD_RECORDS, _EXPIRED = 80, 5
_RATE = 45.0
_TAKEOVERS = 4


@contextmanager
def observed(broker: Broker) -> Iterator[Product]:
    """The product in a region with all services, two replicas that run, and a second topic with old records.

    Of that topic, one partition has lost records that were not judged, and one is to be read on from where no log is.
    """
    callbacks = free_ports(2)
    backfill = unique("backfill")
    settings: dict[str, Any] = {
        "moderation": {"region": "cn-shanghai", "hold_probe_seconds": 1, "retry": {"max_seconds": 2}},
        "routes": [
            {"name": "backfill", "when": {"topic": [backfill]}, "services": [_TEXT]},
            {"name": "profiles", "when": {"kind": ["profile"]}, "services": ["profile_text_image_detection"]},
            {"name": "threads", "when": {"kind": ["post", "comment"]}, "services": ["post_text_image_detection"]},
            {"name": "images", "when": {"has_images": True}, "services": [_TEXT, _IMAGES]},
            {"name": "chat", "services": [_TEXT], "weight": 4, "deadline_seconds": 5},
        ],
        "quota": {"text_per_second": 50, "image_per_second": 60},
        "tasks": {"first_poll_seconds": 2, "poll_interval_seconds": 2, "deadline_seconds": 10},
        "threads": {"max_age_seconds": 1},
        "callbacks": {
            "url": f"http://127.0.0.1:{callbacks[0]}/moderation",
            "account_id": SimulatorSettings().account_id,
            "secret": "a secret of the callbacks' own",
            "host": "127.0.0.1",
        },
        "packed": {"mode": "on", "sample": 1, "least_samples": 100, "least_agreement": 0.51, "max_age_seconds": 0.3},
        "budgets": [
            {"name": "everything-day", "limit": 50, "unit": "CNY"},
            {
                "name": "backfill-hour",
                "period": "hour",
                "limit": 200,
                "unit": "units",
                "routes": ["backfill"],
                "when_spent": "review",
            },
        ],
        "delivery": {"guarantee": "exactly_once"},
        "dead_letters": {"max_in_a_row": None},
    }
    service = SimulatorSettings(
        latency=Latency.parse(_USUAL), task_latency=Latency.parse("1200~0.4"), callback_interval_seconds=2
    )
    with Product(broker, settings=settings, service=service) as product:
        _prepare(product, broker, backfill)
        topics = {"topics": [product.events, backfill]}
        for name, port in zip(("one", "two"), callbacks, strict=True):
            replica = product.replica(name, {"kafka": topics, "callbacks": {"port": port}})
            replica.start()
        for replica in product.replicas:
            replica.wait()
        product.owner()
        yield product


def bad_minute(product: Product, *, rest_seconds: float = 0.0) -> None:
    """Play it; each act goes on until it shows, and is followed by a rest, in which users go on posting.

    Raises:
        RuntimeError: an act did not show in time.
    """
    faults = product.simulator.faults

    def weather(*more: str, latency: str = _USUAL) -> None:
        faults.set([Fault.parse(text) for text in (*more, *_ALWAYS)])
        faults.set_latency(Latency.parse(latency))

    def calm() -> None:
        weather()
        time.sleep(rest_seconds)

    weather()
    with product.feed(_RATE):
        product.wait_for("packed_on", 1)
        calm()

        weather(latency=_SLOW)
        time.sleep(2 + rest_seconds / 2)
        calm()

        weather("code=588,share=0.4,operation=TextModerationPlus", "code=403,share=0.2,operation=ImageModeration")
        product.wait_for("throttled_total", 5)
        product.produce(f"{product.group_id}.state", [b"what does not belong here"], key=b"stray")
        calm()

        weather(f"code=408,service={_TEXT},count=2")
        product.wait_for("holding", 1)
        # Long enough for the process to notice, too short for the group.
        frozen = product.owner()
        frozen.freeze()
        time.sleep(2.5)
        weather(f"http_500,service={_IMAGES}")
        frozen.wake()
        product.wait_for("breaker_openings_total", 1)
        time.sleep(rest_seconds / 2)
        calm()

        product.fence()
        product.wait_for("rejoins_total", 1)
        calm()

        for _ in range(_TAKEOVERS):
            # The other takes over, and this one finds out when it wakes; mostly with calls on the wire.
            weather(latency=_SLOW)
            time.sleep(1.5)
            frozen = product.owner()
            frozen.freeze()
            product.owner()
            frozen.wake()
            weather()
            time.sleep(3)
            if product.total("discarded_cost_total") > 0:
                break
        for name in ("discarded_answers_total", "late_events_total", "tasks_given_up_total", "packed_calls_total"):
            product.wait_for(name, 1)
        product.wait_for("discarded_cost_total", 0.001, seconds=1)
        calm()


def _prepare(product: Product, broker: Broker, backfill: str) -> None:
    """Old records in every partition, of which some are gone, and offsets that are behind and beyond them."""
    broker.create_topic(backfill)
    risky = [word.text for word in truth.WORDS if word.language == "en" and word.level == "high" and word.mainland]
    for partition in range(4):
        texts = [f"{n} {partition} {'well' if n % 5 else risky[n % len(risky)]}" for n in range(_OLD_RECORDS)]
        values = [orjson.dumps({"id": f"b{partition}-{n}", "text": text}) for n, text in enumerate(texts)]
        product.produce(backfill, values, partition=partition)
    product.commit(backfill, 0, 0)
    product.commit(backfill, 1, 1_000_000)
    product.expire(backfill, 0, _EXPIRED)


_TEXT = "ugc_moderation_byllm"
