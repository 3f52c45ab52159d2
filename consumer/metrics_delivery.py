"""The part of the catalogue about what is in flight and how it is delivered: lanes, commits and the group."""

from __future__ import annotations

from consumer.meters import Counter, Gauge
from consumer.metric import Metric


__all__ = ["DELIVERY"]


DELIVERY: tuple[Metric, ...] = (
    Metric(
        "in_flight",
        Gauge,
        "Events being worked on.",
        "At its limit while the lag grows: raise delivery.max_in_flight or the quota.",
    ),
    Metric(
        "in_flight_bytes",
        Gauge,
        "Bytes of the records being worked on.",
        "At the memory budget: records are large or the service is slow.",
    ),
    Metric(
        "oldest_unfinished_seconds",
        Gauge,
        "Age of the record that has been worked on the longest.",
        "Grows without end: one event is stuck, or the consumer holds; /status names it.",
    ),
    Metric(
        "lag_records",
        Gauge,
        "Records in a partition that are not done yet.",
        "Grows for long: the quota or the service is too slow for the traffic.",
        ("topic", "partition"),
    ),
    Metric(
        "lanes", Gauge, "Partitions owned by this process.", "Zero on all replicas: nobody works; look at the group."
    ),
    Metric(
        "commits",
        Counter,
        "Commits of offsets, by outcome.",
        "Refusals outside rebalances mean that the session was lost.",
        ("outcome",),
    ),
    Metric(
        "commit_notes",
        Counter,
        "Notes found beside committed offsets that say which records above them are done, by outcome.",
        "Foreign ones were written by another program in this group: give it a group of its own.",
        ("outcome",),
    ),
    Metric(
        "lane_stalls",
        Counter,
        "Times that a partition took no more because one old record is unfinished and too much is done above it.",
        "Look at the oldest unfinished event in /status: one call does not end.",
        ("topic",),
    ),
    Metric(
        "stall_guard_shut",
        Counter,
        "Times that nothing was sent for a while since another process might have taken over, by reason.",
        "By `gap`: the process stood still, give it more CPU. By `unproven`: commits fail, look at the brokers.",
        ("reason",),
    ),
    Metric(
        "rebalances",
        Counter,
        "Times that partitions were assigned or revoked.",
        "Often without a deployment: members miss heartbeats.",
        ("what",),
    ),
    Metric(
        "rejoins",
        Counter,
        "Times that the group was left and joined anew with a new client, by reason.",
        "By `asked`: another process had taken over. By any other: the client did not recover after an outage.",
        ("reason",),
    ),
    Metric(
        "records_expired",
        Counter,
        "Offsets that the topic's retention deleted before they were read.",
        "These records were never judged: raise the retention, or find out why the lag outgrew it.",
        ("topic",),
    ),
    Metric(
        "held_partitions",
        Gauge,
        "Partitions of this process that are not read until a person says where they should go on.",
        "The log says why: the topic was made anew, has lost records, or holds records that cannot be read.",
        ("topic",),
    ),
)
