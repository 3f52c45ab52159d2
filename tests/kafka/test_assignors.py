"""Who gets which partitions and tokens, whatever members tell, and whatever becomes of them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import orjson
import pytest
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from consumer.kafka.assignors import assignor
from tests.kafka.imagined import Member, Share, World, play
from tests.kafka.replica import LIMITS


if TYPE_CHECKING:
    import random
    from collections.abc import Collection

    from consumer.record import Partition
    from tests.kafka.imagined import Scale, Step, Told


# A busy machine is no reason to fail.
UNHURRIED = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=3),
    max_leaves=5,
)
CLAIMS = st.fixed_dictionaries(
    {
        "version": st.just(1),
        "epoch": st.integers(0, 5),
        "partitions": st.dictionaries(st.sampled_from("abcd"), st.lists(st.integers(0, 9)), max_size=4),
    }
)
SPOILT = st.fixed_dictionaries(
    {
        "version": st.integers(1, 2),
        "epoch": st.sampled_from([-1, 2**53 - 1, 2**63 - 1, 2**64 - 1]) | ANYTHING,
        "partitions": st.dictionaries(st.sampled_from("abcd"), st.lists(st.integers(-1, 1)) | ANYTHING) | ANYTHING,
    }
)
USER_DATA = st.none() | st.binary(max_size=20) | (CLAIMS | CLAIMS | SPOILT | CLAIMS | ANYTHING).map(orjson.dumps)
TOPICS = st.dictionaries(st.sampled_from("abcd"), st.integers(1, 9), min_size=1)
TOKENS = st.dictionaries(st.sampled_from(sorted(LIMITS)), st.integers(1, 120), min_size=1)
SCALES = st.sampled_from(["failover", "share"])
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["join", "leave", "freeze", "wake", "nothing"]),
        st.integers(0, 8),
        st.sets(st.integers(0, 8), max_size=3),
    ),
    max_size=15,
)


@st.composite
def groups(draw: st.DrawFn, *, scales: st.SearchStrategy[str] = SCALES, mixed: bool = True) -> tuple[World, Told]:
    """A world, and what some members tell: anything; where `mixed`, each subscribes to topics of its own."""
    world = World(draw(TOPICS), draw(scales), draw(TOKENS))  # type: ignore[arg-type]  # a sampled word is any str
    subscriptions = st.lists(st.sampled_from("abcd"), unique=True) if mixed else st.just(sorted(world.topics))
    names = st.text("mno", min_size=1, max_size=3)
    return world, draw(st.dictionaries(names, st.tuples(subscriptions, USER_DATA), min_size=1, max_size=9))


@UNHURRIED
@given(group=groups())
def test_whatever_members_tell_no_token_is_made_or_lost(group: tuple[World, Told]) -> None:
    """Tokens add up to each limit, nobody works without any, and nobody gets what it did not subscribe to."""
    world, told = group
    shares = world.decided(told)
    working = [share for share in shares.values() if share.partitions]
    assert bool(working) == any(world.readable(subscription) for subscription, _ in told.values())
    for bucket, limit in world.limits.items():
        assert sum(share.tokens[bucket] for share in shares.values()) == (limit if working else 0)
        assert all(share.tokens[bucket] >= 1 for share in working)
    for name, share in shares.items():
        assert share.partitions <= world.readable(told[name][0])
        assert share.partitions or set(share.tokens.values()) == {0}
    owners = Counter(partition for share in working for partition in share.partitions)
    assert set(owners.values()) <= {1}
    if world.scale == "share" and len(told) <= min(world.limits.values()):
        assert owners.keys() == world.readable({topic for subscription, _ in told.values() for topic in subscription})


@UNHURRIED
@given(group=groups(mixed=False))
def test_everything_is_read_however_many_stand_by(group: tuple[World, Told]) -> None:
    """Members of the same topics read every partition; one works in failover, else as many as there is work for."""
    world, told = group
    shares = world.decided(told)
    owned = [partition for share in shares.values() for partition in share.partitions]
    assert sorted(owned) == sorted(world.readable(world.topics))
    working = sum(bool(share.partitions) for share in shares.values())
    assert working == (1 if world.scale == "failover" else min(len(told), len(owned), *world.limits.values()))


@UNHURRIED
@given(group=groups(scales=st.just("failover")))
def test_in_failover_one_member_reads_all_it_can(group: tuple[World, Told]) -> None:
    """At most one member works, on all partitions of its topics, even when others subscribe to more."""
    world, told = group
    working = {name: share for name, share in world.decided(told).items() if share.partitions}
    assert len(working) <= 1
    assert all(share.partitions == world.readable(told[name][0]) for name, share in working.items())


@UNHURRIED
@given(group=groups(scales=st.just("share")))
def test_shares_are_even_and_tokens_follow_them(group: tuple[World, Told]) -> None:
    """No move would make two members more even, and tokens are in proportion to partitions to less than one."""
    world, told = group
    shares = world.decided(told)
    working = {name: share for name, share in shares.items() if share.partitions}
    assert len(working) <= min(world.limits.values())
    able = shares if len(shares) <= min(world.limits.values()) else working
    for one in able.values():
        for name, other in able.items():
            if one.partitions & world.readable(told[name][0]):
                assert len(one.partitions) <= len(other.partitions) + 1
    total = sum(len(share.partitions) for share in working.values())
    for bucket, limit in world.limits.items():
        exact = {name: limit * len(share.partitions) / total for name, share in working.items()}
        if all(tokens >= 1 for tokens in exact.values()):
            assert all(abs(working[name].tokens[bucket] - tokens) < 1 for name, tokens in exact.items())


@UNHURRIED
@given(group=groups(), order=st.randoms(use_true_random=False))
def test_every_leader_decides_alike(group: tuple[World, Told], order: random.Random) -> None:
    """The order in which members and topics are named makes no difference."""
    world, told = group
    shuffled = {
        name: (order.sample(told[name][0], len(told[name][0])), told[name][1])
        for name in order.sample(sorted(told), len(told))
    }
    assert world.decided(shuffled) == world.decided(told)


@UNHURRIED
@given(steps=STEPS)
def test_only_the_loss_of_its_holder_moves_the_work(steps: list[Step]) -> None:
    """Who was last told to work keeps all of it while it is there: no join, leave or waking zombie takes it away."""
    world = World({"a": 4, "b": 1}, "failover")
    holder: list[Member] = []

    def check(shares: dict[Member, Share], hearing: Collection[Member]) -> None:
        (working,) = [member for member, share in shares.items() if share.partitions]
        assert not holder or holder[0] not in shares or working is holder[0]
        assert shares[working] == Share(frozenset(world.readable("ab")), LIMITS)
        if working in hearing:
            holder[:] = [working]

    play(world, steps, check)


@UNHURRIED
@given(steps=STEPS)
def test_shares_move_only_for_balance(steps: list[Step]) -> None:
    """A member keeps all it was last told to have, or gives some up and gains nothing: zombies get nothing of it."""
    world = World({"a": 11, "b": 2}, "share", {"text": 100, "image": 26})
    before: dict[Member, frozenset[Partition]] = {}

    def check(shares: dict[Member, Share], hearing: Collection[Member]) -> None:
        sizes = [len(share.partitions) for share in shares.values()]
        assert sum(sizes) == 13
        assert max(sizes) - min(sizes) <= 1
        for member, had in before.items():
            if member in shares:
                kept = shares[member].partitions & had
                assert kept in (had, shares[member].partitions)
                assert kept == had or len(kept) >= 13 // len(shares)
        for bucket, limit in world.limits.items():
            assert sum(share.tokens[bucket] for share in shares.values()) == limit
        before.clear()
        before.update({member: shares[member].partitions for member in hearing})

    play(world, steps, check)


@UNHURRIED
@given(members=st.integers(1, 12), partitions=st.integers(1, 60))
def test_a_join_moves_only_what_the_new_member_gets(members: int, partitions: int) -> None:
    """A new member is given its part by the others, who move nothing among themselves; when it leaves they get it."""
    world = World({"a": partitions}, "share", {"text": 100})
    group = {f"m{number}": Member(world) for number in range(members)}
    before = world.rebalance(group)
    after = world.rebalance({**group, "new": Member(world)})
    assert len(after["new"].partitions) == partitions // (members + 1)
    assert all(after[name].partitions <= before[name].partitions for name in group)
    alone = world.rebalance(group)
    assert all(alone[name].partitions >= after[name].partitions for name in group)


@pytest.mark.parametrize("scale", ["failover", "share"])
def test_a_leader_whose_clock_is_behind_does_not_favour_who_slept(scale: Scale) -> None:
    """Every member knows what the group has come to, so a wrong clock does not make a new assignment look old."""
    world = World({"a": 2}, scale)
    zombie, successor, other = Member(world), Member(world), Member(world)
    world.rebalance({"0": zombie})
    world.rebalance({"0": zombie, "1": successor, "2": other})
    world.seconds = 10
    had = world.rebalance({"1": successor, "2": other})
    shares = world.rebalance({"0": zombie, "1": successor, "2": other})
    assert (shares["1"], shares["2"]) == (had["1"], had["2"])


@pytest.mark.parametrize("scale", ["failover", "share"])
def test_a_restart_of_all_others_does_not_favour_who_slept(scale: Scale) -> None:
    """A member frozen since before everybody else was restarted is still the one whose claim is old."""
    world = World({"a": 2}, scale)
    zombie, successor = Member(world), Member(world)
    for _ in range(5):
        world.rebalance({"zombie": zombie})
    had = world.rebalance({"successor": successor})["successor"].partitions
    shares = world.rebalance({"awake": zombie, "successor": successor})
    assert len(shares["successor"].partitions & had) == (2 if scale == "failover" else 1)
    assert world.rebalance({"awake": zombie, "successor": successor}) == shares


def test_a_restarted_static_member_goes_on_with_what_the_group_kept_for_it() -> None:
    """The broker gives a static member its old assignment without asking the leader; it holds the work again."""
    world = World({"a": 4}, "failover")
    active, standby = Member(world), Member(world)
    world.rebalance({"x": standby})
    world.rebalance({"a": active, "b": standby})
    kept = Member(world).assignor.assign(world, {"x": active.told("a"), "y": standby.told("a")})
    assert [bool(kept[name].assignment) for name in "xy"] == [False, True]
    restarted = Member(world)
    assert restarted.hear(kept["y"].encode()) == Share(frozenset(world.readable("a")), LIMITS)
    assert world.rebalance({"a": active, "z": restarted})["z"].partitions == world.readable("a")


def test_members_beyond_the_tokens_stand_by() -> None:
    """With fewer tokens than members those that work already go on, the others get nothing, and the log says so."""
    world = World({"a": 8}, "share", {"text": 50, "submit": 2})
    first, second, third = Member(world), Member(world), Member(world)
    before = world.rebalance({"y": first, "z": second})
    with capture_logs() as logs:
        after = world.rebalance({"x": third, "y": first, "z": second})
    assert after == {**before, "x": Share(frozenset(), {"text": 0, "submit": 0})}
    (warning,) = logs
    assert warning == {
        "event": "more_members_than_tokens",
        "log_level": "warning",
        "members": 3,
        "tokens": 2,
        "bucket": "submit",
    }


def test_too_few_tokens_cost_no_topic_its_reader() -> None:
    """Where only some may work, a member that alone reads a topic comes before one that worked already."""
    world = World({"a": 4, "b": 1}, "share", {"text": 2})
    first, second, third = Member(world), Member(world), Member(world)
    for name, data in world.assigned({"x": first.told("a"), "y": second.told("a")}).items():
        (first if name == "x" else second).hear(data)
    assigned = world.assigned({"x": first.told("a"), "y": second.told("a"), "z": third.told("b")})
    assert first.hear(assigned["x"]).partitions == world.readable("a")
    assert third.hear(assigned["z"]) == Share(frozenset(world.readable("b")), {"text": 1})


@pytest.mark.parametrize(
    ("sizes", "tokens", "expected"),
    [
        ([9, 1], 2, [1, 1]),
        ([9, 1], 3, [2, 1]),
        ([9, 1], 24, [22, 2]),
        ([9, 1, 1], 3, [1, 1, 1]),
        ([9, 1, 1], 4, [2, 1, 1]),
    ],
)
def test_a_member_with_little_to_read_has_a_token_all_the_same(
    sizes: list[int], tokens: int, expected: list[int]
) -> None:
    """Tokens are rounded so that they add up, and so that no member that works has none."""
    world = World(dict(zip("abc", sizes, strict=False)), "share", {"text": tokens})
    shares = world.decided({topic: ([topic], None) for topic in world.topics})
    assert [shares[topic].tokens["text"] for topic in world.topics] == expected


def test_a_topic_that_nobody_may_read_is_named() -> None:
    """A standby that subscribes to more than the holder takes nothing over; what is not read is in the log."""
    world = World({"a": 2, "b": 2}, "failover")
    holder, standby = Member(world), Member(world)
    holder.hear(world.assigned({"h": holder.told("a")})["h"])
    with capture_logs() as logs:
        assigned = world.assigned({"h": holder.told("a"), "s": standby.told("ab")})
    assert holder.hear(assigned["h"]).partitions == world.readable("a")
    assert not standby.hear(assigned["s"]).partitions
    assert [(line["event"], line["topics"]) for line in logs] == [("topics_without_a_reader", ["b"])]


@pytest.mark.parametrize(
    "foreign",
    [
        None,
        b"",
        b"\x00\x01a",
        b"[]",
        b"{}",
        b'{"version":2,"epoch":9,"partitions":{"a":[0]}}',
        b'{"version":1,"partitions":{"a":[0]}}',
        b'{"version":1,"epoch":-1,"partitions":{"a":[0]}}',
        b'{"version":1,"epoch":18446744073709551615,"partitions":{"a":[0]}}',
        b'{"version":1,"epoch":9,"partitions":{"a":0}}',
        b'{"version":1,"epoch":9,"partitions":{"a":[0,"0"]}}',
        b'{"version":1,"epoch":9,"partitions":{"a":[0.0]}}',
        b'{"version":1,"epoch":9,"partitions":["a"]}',
    ],
)
def test_a_claim_that_cannot_be_read_claims_nothing(foreign: bytes | None) -> None:
    """A member of a foreign version stands by beside one that had the work, and is named in the log."""
    world = World({"a": 1}, "failover")
    holder = Member(world)
    world.rebalance({"h": holder})
    with capture_logs() as logs:
        shares = world.decided({"f": (["a"], foreign), "h": (["a"], holder.told("a").user_data)})
    assert [bool(shares[name].partitions) for name in "fh"] == [False, True]
    assert [(line["event"], line["member"]) for line in logs] == [("claim_unreadable", "f")]


@pytest.mark.parametrize(
    "foreign",
    [
        None,
        b"\x00\x01a",
        b"[]",
        b'{"version":2,"epoch":9,"tokens":{"text":1}}',
        b'{"version":1,"tokens":{"text":1}}',
        b'{"version":1,"epoch":9,"tokens":{"text":-1}}',
        b'{"version":1,"epoch":9,"tokens":{"text":"1"}}',
        b'{"version":1,"epoch":9,"tokens":[1]}',
    ],
)
def test_an_assignment_without_tokens_allows_no_calls(foreign: bytes | None) -> None:
    """A member whose leader speaks another language has its partitions, no tokens, and an error in the log."""
    world = World({"a": 1}, "share")
    assignment = ConsumerProtocolMemberAssignment(0, [("a", [0])], foreign).encode()
    with capture_logs() as logs:
        assert Member(world).hear(assignment) == Share(frozenset(world.readable("a")), dict.fromkeys(LIMITS, 0))
    assert [line["event"] for line in logs] == ["tokens_unreadable"]


def test_a_bucket_that_the_leader_does_not_know_has_no_tokens() -> None:
    """In a group of two versions a member counts on no more than what its leader hands out."""
    leader, member = World({"a": 1}, "failover", {"text": 5}), World({"a": 1}, "failover", {"text": 9, "video": 3})
    assigned = leader.assigned({"m": Member(member).told("a")})
    assert Member(member).hear(assigned["m"]).tokens == {"text": 5, "video": 0}


@pytest.mark.parametrize("limits", [{}, {"text": 0, "image": 3}])
def test_there_must_be_something_to_hand_out(limits: dict[str, int]) -> None:
    """A bucket without a token, and no bucket at all, are refused at once."""
    with pytest.raises(ValueError, match="at least one token"):
        assignor("share", limits=limits, handed_out=lambda _: None)
