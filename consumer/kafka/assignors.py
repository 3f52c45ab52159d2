"""Who of a group gets which partitions, and how much of the account's quota: an assignor for each scale."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson
import structlog
from aiokafka.coordinator.assignors.abstract import AbstractPartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata

from consumer.record import Partition


if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping
    from typing import Literal


__all__ = ["assignor"]


_log = structlog.get_logger(__name__)

# The version of what members tell each other; what has another one, or none, counts as nothing said.
_VERSION = 1

# Far beyond any real epoch, and far from where numbers no longer fit.
_EPOCHS = 2**53


@dataclass(frozen=True, slots=True)
class _Claim:
    """What a member was given last, and in which of the group's assignments; the newest claim on a partition counts."""

    epoch: int = 0
    partitions: frozenset[Partition] = frozenset()


@dataclass(frozen=True, slots=True)
class _Member:
    """What a member had, and all partitions of the topics that it subscribes to."""

    claim: _Claim
    readable: frozenset[Partition]


def assignor(
    scale: Literal["failover", "share"],
    *,
    limits: Mapping[str, int],
    handed_out: Callable[[Mapping[str, int]], None],
    now: Callable[[], float] = time.time,
) -> type[AbstractPartitionAssignor]:
    """A new assignor for one consumer: it remembers what that consumer was given.

    `failover` gives everything to the member that has it already, else to one that stands by. `share` spreads the
    partitions evenly, and leaves each with the member that has it where balance allows. Both hand out all tokens of
    each bucket, in proportion to the partitions; with `share`, no more members work than the smallest bucket has
    tokens. What counts are the limits of the group's leader.

    Every member tells the number of the last assignment that it heard of, so that one that was frozen, and replaced
    meanwhile, gets nothing back when it wakes.

    Args:
        scale: How the group's members divide the work; members that differ in it cannot be in one group.
        limits: The account's limits by bucket, in calls a second.
        handed_out: Called with each assignment, before its partitions are announced: this member's whole tokens of
            each bucket in `limits`. They are 0 for a member without partitions. It must not raise.
        now: Seconds since the epoch.

    Raises:
        ValueError: there is no bucket, or one has no token.
    """
    if min(limits.values(), default=0) < 1:
        raise ValueError(f"each bucket needs at least one token to hand out, got {dict(limits)}")
    smallest = min(limits, key=lambda bucket: limits[bucket])
    plan = _failover if scale == "failover" else _share
    ours = _Claim()

    class Assignor(AbstractPartitionAssignor):  # type: ignore[misc]  # aiokafka ships no types
        """What aiokafka calls; its state is in the variables around it, since one class serves one consumer."""

        name = f"moderation-{scale}"

        @classmethod
        def metadata(cls, topics: Iterable[str]) -> ConsumerProtocolMemberMetadata:
            """What this member tells the leader when it joins."""
            told = _told(ours.epoch, partitions=_by_topic(ours.partitions))
            return ConsumerProtocolMemberMetadata(0, sorted(topics), told)

        @classmethod
        def assign(
            cls, cluster: Any, members: Mapping[str, ConsumerProtocolMemberMetadata]
        ) -> dict[str, ConsumerProtocolMemberAssignment]:
            """Divide partitions and tokens; called in the leader only."""
            topics = {topic for told in members.values() for topic in told.subscription}
            partitions = {
                topic: {Partition(topic, number) for number in cluster.partitions_for_topic(topic) or ()}
                for topic in topics
            }
            group = {
                name: _Member(
                    _claim(name, told.user_data),
                    frozenset[Partition]().union(*(partitions[topic] for topic in told.subscription)),
                )
                for name, told in members.items()
            }
            if scale == "share" and len(group) > limits[smallest]:
                _log.warning("more_members_than_tokens", members=len(group), tokens=limits[smallest], bucket=smallest)
            owned = plan(group, limits[smallest])
            unread = topics - {partition.topic for given in owned.values() for partition in given}
            if unread:
                _log.warning("topics_without_a_reader", topics=sorted(unread))
            weights = {name: len(given) for name, given in owned.items() if given}
            tokens = {bucket: _apportioned(limit, weights) for bucket, limit in limits.items()}
            # Counted from the time of day: a group whose members were all restarted is still ahead of one that slept.
            epoch = max(round(1000 * now()), 1 + max(member.claim.epoch for member in group.values()))
            return {
                name: ConsumerProtocolMemberAssignment(
                    0,
                    list(_by_topic(owned.get(name, ())).items()),
                    _told(epoch, tokens={bucket: shares.get(name, 0) for bucket, shares in tokens.items()}),
                )
                for name in group
            }

        @classmethod
        def on_assignment(cls, assignment: ConsumerProtocolMemberAssignment) -> None:
            """Remember what this member was given, and pass its tokens on."""
            nonlocal ours
            partitions = frozenset(Partition(*each) for each in assignment.partitions())
            match _read(assignment.user_data):
                case {"epoch": int(epoch), "tokens": dict(tokens)} if all(map(_is_count, tokens.values())):
                    ours = _Claim(epoch, partitions)
                    handed_out({bucket: tokens.get(bucket, 0) for bucket in limits})
                case _:
                    _log.error("tokens_unreadable", remedy="run the same version of the program in the whole group")
                    ours = _Claim(ours.epoch, partitions)
                    handed_out(dict.fromkeys(limits, 0))

    return Assignor


def _failover(members: Mapping[str, _Member], _: int) -> Mapping[str, Collection[Partition]]:
    """Everything to the newest holder, else to the standby that heard of the group last."""

    def rank(name: str) -> tuple[bool, bool, int, int]:
        # A holder comes before a standby of a later epoch: the holder need not have heard of that assignment yet, and
        # whoever was given its partitions since then would be a holder of that epoch.
        member = members[name]
        return bool(member.readable), bool(member.claim.partitions), member.claim.epoch, len(member.readable)

    holder = max(sorted(members), key=rank)
    return {holder: members[holder].readable}


def _share(members: Mapping[str, _Member], at_most: int) -> Mapping[str, Collection[Partition]]:
    """The partitions over at most so many members: evenly, and with as few moves as that takes.

    Of two members that may both read a partition of the one, the other never has two partitions less.
    """
    had: dict[Partition, str] = {}
    for name in sorted(members, key=lambda name: (-members[name].claim.epoch, name)):
        for partition in members[name].claim.partitions & members[name].readable:
            had.setdefault(partition, name)
    owned: dict[str, set[Partition]] = {name: set() for name in _working(members, Counter(had.values()), at_most)}
    for partition, name in had.items():
        if name in owned:
            owned[name].add(partition)
    readers = {
        partition: [name for name in owned if partition in members[name].readable]
        for partition in frozenset[Partition]().union(*(members[name].readable for name in owned))
    }
    free = readers.keys() - frozenset[Partition]().union(*owned.values())
    for partition in sorted(free):
        owned[min(readers[partition], key=lambda name: (len(owned[name]), name))].add(partition)
    while (move := _relief(owned, members)) is not None:
        partition, giver, taker = move
        owned[giver].remove(partition)
        owned[taker].add(partition)
    return owned


def _working(members: Mapping[str, _Member], had: Mapping[str, int], at_most: int) -> list[str]:
    """Who works when not all can: enough members to read every topic if that is possible, then who worked before."""
    waiting = sorted(members)
    unread = frozenset[Partition]().union(*(member.readable for member in members.values()))
    working: list[str] = []
    while waiting and len(working) < at_most:
        chosen = max(
            waiting,
            key=lambda name: (len(members[name].readable & unread), had.get(name, 0), len(members[name].readable)),
        )
        waiting.remove(chosen)
        working.append(chosen)
        unread -= members[chosen].readable
    return working


def _relief(owned: Mapping[str, set[Partition]], members: Mapping[str, _Member]) -> tuple[Partition, str, str] | None:
    """A partition to move, from whom and to whom, so that the load is more even; None when it cannot be."""
    by_load = sorted(owned, key=lambda name: (len(owned[name]), name))
    for giver in reversed(by_load):
        for taker in by_load:
            if len(owned[giver]) - len(owned[taker]) < 2:
                break
            movable = owned[giver] & members[taker].readable
            if movable:
                return max(movable), giver, taker
    return None


def _apportioned(tokens: int, weights: Mapping[str, int]) -> dict[str, int]:
    """All tokens, in proportion to the weights by largest remainder; but everybody gets at least one."""
    total = sum(weights.values())
    shares = {name: max(1, tokens * weights[name] // total) for name in weights}
    while shares and (left := tokens - sum(shares.values())):
        step = 1 if left > 0 else -1
        able = [name for name in shares if shares[name] + step >= 1]
        chosen = max(able, key=lambda name: step * (tokens * weights[name] - total * shares[name]))
        shares[chosen] += step
    return shares


def _by_topic(partitions: Iterable[Partition]) -> dict[str, list[int]]:
    topics: dict[str, list[int]] = {}
    for topic, number in sorted(partitions):
        topics.setdefault(topic, []).append(number)
    return topics


def _told(epoch: int, **more: object) -> bytes:
    return orjson.dumps({"version": _VERSION, "epoch": epoch, **more})


def _claim(name: str, user_data: bytes | None) -> _Claim:
    """What a member claims to have had; whatever we cannot read claims nothing."""
    match _read(user_data):
        case {"epoch": int(epoch), "partitions": dict(topics)} if 0 <= epoch < _EPOCHS and all(
            isinstance(numbers, list) and all(map(_is_count, numbers)) for numbers in topics.values()
        ):
            return _Claim(epoch, frozenset(Partition(topic, number) for topic in topics for number in topics[topic]))
        case _:
            _log.warning("claim_unreadable", member=name)
            return _Claim()


def _read(user_data: bytes | None) -> dict[str, Any]:
    """What was written in a version that we know; nothing otherwise."""
    try:
        told = orjson.loads(user_data or b"")
    except orjson.JSONDecodeError:
        return {}
    return told if isinstance(told, dict) and told.get("version") == _VERSION else {}


def _is_count(value: object) -> bool:
    return isinstance(value, int) and value >= 0
